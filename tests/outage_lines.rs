//! One outage of a server is few lines at the default level, however many sessions it hits and however long
//! it lasts, and the lines say what came of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    io::{BufRead, BufReader, Lines},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use net_support::*;
use serde_json::Value;
use tokio::task::JoinHandle;

const SESSIONS: usize = 300;

struct Proxy {
    child: Child,
    address: SocketAddr,
    lines: Option<Lines<BufReader<ChildStderr>>>,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json", "--listen=127.0.0.1:0", "--media=direct", "--admin=off"])
            .arg(format!("--upstream=ws://{upstream}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening =
            lines.by_ref().map(|line| json(&line.unwrap())).find(|line| line["message"] == "listening");
        let address = listening.expect("it ended")["address"].as_str().unwrap().parse().unwrap();
        Self { child, address, lines: Some(lines) }
    }

    /// Reads lines until one of this event; all of them.
    fn until(&mut self, event: &'static str) -> JoinHandle<Vec<Value>> {
        let mut lines = self.lines.take().unwrap();
        tokio::task::spawn_blocking(move || {
            let mut seen = Vec::new();
            for line in lines.by_ref() {
                seen.push(json(&line.unwrap()));
                if seen.last().unwrap()["event"] == event {
                    break;
                }
            }
            // The rest is read so that the proxy is not stopped by it.
            std::thread::spawn(move || lines.for_each(drop));
            seen
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A server of sessions without streams, for as long as it is not dropped.
async fn serve(address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let mut upstream = Upstream::with(address, std::sync::Arc::new(|_, response| Ok(response))).await;
    let address = upstream.address;
    let task = tokio::spawn(async move {
        let mut sessions = tokio::task::JoinSet::new();
        while let Some((mut socket, _)) = upstream.accept_forever().await {
            sessions.spawn(async move {
                use futures_util::{SinkExt, StreamExt};
                while let Some(Ok(message)) = socket.next().await {
                    if message.to_text().is_ok_and(|text| text.contains("\"connection\"")) {
                        let answer = user_data("token");
                        let _ = socket.send(tokio_tungstenite::tungstenite::Message::text(answer)).await;
                    }
                }
            });
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_sessions_for_thirty_seconds_are_few_lines() {
    let (upstream, server) = serve("127.0.0.1:0".parse().unwrap()).await;
    let mut proxy = Proxy::start(upstream);
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut client = connect(proxy.address).await;
        send(&mut client, CONNECTION).await;
        assert!(next_text(&mut client).await.contains("getUserData"));
        clients.push(client);
    }
    let outage = proxy.until("outage_summary");
    server.abort();
    let _ = server.await;
    wait_until("the server is gone", || std::net::TcpStream::connect(upstream).is_err()).await;
    // Each client answers pings meanwhile, or it would be taken for dead.
    let readers: Vec<JoinHandle<()>> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                use futures_util::{SinkExt, StreamExt};
                while let Some(Ok(message)) = client.next().await {
                    if message.to_text().is_ok_and(|text| text.contains("\"ping\"")) {
                        let pong = tokio_tungstenite::tungstenite::Message::text(r#"{"message":"pong"}"#);
                        let _ = client.send(pong).await;
                    }
                }
            })
        })
        .collect();
    let_pass(Duration::from_secs(30)).await;
    let (_, server) = serve(upstream).await;
    let lines = tokio::time::timeout(Duration::from_secs(120), outage).await.expect("a summary").unwrap();
    let told: Vec<&Value> = lines
        .iter()
        .filter(|line| !["connected", "session_up"].contains(&line["event"].as_str().unwrap_or("")))
        .collect();
    assert!(told.len() <= 20, "{} lines: {told:#?}", told.len());
    let count = |event: &str| told.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("node_down"), count("node_up"), count("outage_summary")), (1, 1, 1), "{told:#?}");
    assert_eq!((count("attempt_failed"), count("restored")), (0, 0), "{told:#?}");
    let sum = told.last().unwrap();
    let number = |key: &str| sum[key].as_u64().unwrap_or_else(|| panic!("{key} is no number: {sum}"));
    assert_eq!(
        (number("sessions"), number("sessions_restored")),
        (SESSIONS as u64, SESSIONS as u64),
        "{sum}"
    );
    assert!(number("gap_p50_ms") >= 29_000 && number("gap_p50_ms") <= number("gap_p99_ms"), "{sum}");
    assert!(number("gap_p99_ms") <= number("gap_max_ms") && number("lasted_ms") >= 29_000, "{sum}");
    readers.iter().for_each(JoinHandle::abort);
    join_all(readers).await;
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_while_the_server_is_away_is_told_as_that() {
    let (upstream, server) = serve("127.0.0.1:0".parse().unwrap()).await;
    let mut proxy = Proxy::start(upstream);
    let mut client = connect(proxy.address).await;
    send(&mut client, CONNECTION).await;
    assert!(next_text(&mut client).await.contains("getUserData"));
    server.abort();
    let _ = server.await;
    wait_until("the server is gone", || std::net::TcpStream::connect(upstream).is_err()).await;
    let lost = proxy.lines.as_mut().unwrap().by_ref().map(|line| json(&line.unwrap()));
    let mut lost = lost;
    lost.find(|line| line["event"] == "upstream_lost").expect("it ended");
    drop(client);
    let ended = in_time("the end of the session", proxy.until("session_ended")).await.unwrap();
    let cause = ended.last().unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("gave up while its upstream was down"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_in_its_handshake_is_told_as_that() {
    use tokio::io::AsyncWriteExt;
    let mut proxy = Proxy::start(free_address());
    let mut client = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut lines = proxy.lines.take().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let mut seen: Vec<Value> = Vec::new();
        for line in lines.by_ref() {
            seen.push(json(&line.unwrap()));
            // The client is held from about now on.
            if seen.last().unwrap()["event"] == "node_down" {
                break;
            }
        }
        (lines, seen)
    });
    let (lines, _) = in_time("the node is down", told).await.unwrap();
    proxy.lines = Some(lines);
    drop(client);
    let told = in_time("the line about it", proxy.until("client_gave_up")).await.unwrap();
    assert_eq!(told.last().unwrap()["event"], "client_gave_up", "{told:#?}");
    assert!(!told.iter().any(|line| line["event"] == "connection_refused"), "{told:#?}");
}
