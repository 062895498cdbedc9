//! News of a running proxy as server-sent events: what is told and when, as its description says, to no more
//! listeners than there may be, and for longer than any other answer takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use holdfast::{
    admin::{self, Door, Setup},
    config::AdminSettings,
    net::{DrainOrder, Proxy},
};
use net_support::*;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::watch,
};

async fn open(proxy: &Arc<Proxy>, settings: AdminSettings) -> SocketAddr {
    let door = Door::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = door.address().unwrap();
    let (_, starting) = watch::channel(Some(Arc::clone(proxy)));
    tokio::spawn(admin::serve_from_start(vec![door], Setup { settings, ..Setup::default() }, starting));
    address
}

/// What is asked for, and the lines of the answer as they come.
struct Asked(BufReader<TcpStream>);

impl Asked {
    async fn of(admin: SocketAddr, path: &str) -> (String, Self) {
        let mut socket = TcpStream::connect(admin).await.unwrap();
        socket.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut asked = Self(BufReader::new(socket));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(asked.0.read_line(&mut head).await.unwrap() > 0, "no answer: {head:?}");
        }
        (head.to_ascii_lowercase(), asked)
    }

    /// The next event: its name, and what it tells.
    async fn next(&mut self) -> (String, Value) {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = in_time("an event", self.0.read_line(&mut line)).await.unwrap();
            assert!(read > 0, "the events ended");
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim_end().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data.push_str(text.trim_end());
            } else if line == "\n" && !name.is_empty() {
                return (name, serde_json::from_str(&data).unwrap());
            }
        }
    }

    /// The next event of this name that is so.
    async fn until(&mut self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (found, told) = self.next().await;
            if found == name && is_so(&told) {
                return told;
            }
        }
    }
}

async fn events(admin: SocketAddr) -> Asked {
    let (head, asked) = Asked::of(admin, "/v1/events").await;
    assert!(head.starts_with("http/1.0 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_as_it_is_described() {
    let mut upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy, AdminSettings::default()).await;
    let body = raw_exchange(admin, b"GET /v1/openapi.json HTTP/1.0\r\n\r\n").await;
    let document: Value = serde_json::from_str(body.split_once("\r\n\r\n").unwrap().1).unwrap();
    let described =
        &document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    let described = described["x-events"].as_object().unwrap();
    let assert_described = |name: &str, told: &Value| {
        let mut schema = described[name]["data"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(told).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?} in {told:#}");
    };
    let mut listener = events(admin).await;
    let (name, state) = listener.next().await;
    assert_eq!(
        (name.as_str(), &state["sessions"]),
        ("state", &0.into()),
        "the first word is the present state"
    );
    assert_described("state", &state);

    let (client, server) = established(&proxy, &mut upstream, "token").await;
    let sample = listener.until("sample", |sample| sample["sessions"] == 1).await;
    assert_described("sample", &sample);
    assert_eq!(sample["nodes"][0]["sessions"], 1, "{sample:#}");

    drop(server);
    let begun = listener.until("outage_begun", |_| true).await;
    assert_described("outage_begun", &begun);
    assert_eq!((&begun["sessions"], &begun["node"]), (&1.into(), &upstream.address.to_string().into()));
    let (mut server, _) = upstream.accept().await;
    next_text(&mut server).await;
    // In the outage there is a sample of it.
    let sample = listener.until("sample", |sample| sample["sessions_in_outage"] == 1).await;
    assert_described("sample", &sample);
    assert_eq!(
        (&sample["outages"][0]["sessions"], &sample["sessions_lost"]),
        (&1.into(), &1.into()),
        "{sample:#}"
    );
    send(&mut server, &user_data("token2")).await;
    let over = listener.until("outage_over", |_| true).await;
    assert_described("outage_over", &over);
    assert_eq!((&over["id"], &over["sessions_restored"]), (&1.into(), &1.into()), "{over:#}");

    let node = proxy.nodes()[0].id;
    proxy.drain(node, DrainOrder { is_forced: true, ..DrainOrder::default() }).unwrap();
    let (mut nodes, mut drains) = (0, 0);
    while nodes == 0 || drains == 0 {
        let (name, told) = listener.next().await;
        assert_described(&name, &told);
        nodes += usize::from(name == "node" && told["state"] == "draining");
        drains += usize::from(name == "drain" && told["remaining"] == 1);
    }
    drop(client);
    listener.until("drain", |drain| drain["stage"] == "done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_go_on_for_longer_than_any_other_answer_and_are_not_pushed_out() {
    let upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let request_timeout = Duration::from_millis(200);
    let settings = AdminSettings { request_timeout, connections_max: 4, ..AdminSettings::default() };
    let admin = open(&proxy, settings).await;
    let mut listener = events(admin).await;
    // Connections that say nothing make room for others; the listener does not.
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(admin).await.unwrap());
    }
    for _ in 0..3 {
        listener.until("sample", |_| true).await;
    }
    let status = raw_exchange(admin, b"GET /health HTTP/1.0\r\n\r\n").await;
    assert!(status.starts_with("HTTP/1.0 200"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_listeners_than_there_may_be() {
    let upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy, AdminSettings { event_listeners_max: 2, ..AdminSettings::default() }).await;
    let mut first = events(admin).await;
    let second = events(admin).await;
    first.next().await;
    let (head, _) = Asked::of(admin, "/v1/events").await;
    assert!(head.starts_with("http/1.0 503"), "{head}");
    drop(second);
    // Who has gone makes room.
    let third = async {
        loop {
            let (head, asked) = Asked::of(admin, "/v1/events").await;
            if head.starts_with("http/1.0 200") {
                return asked;
            }
            tokio::task::yield_now().await;
        }
    };
    in_time("a place", third).await.until("sample", |_| true).await;
    drop(first);
    let nobody = open(&proxy, AdminSettings { event_listeners_max: 0, ..AdminSettings::default() }).await;
    assert!(Asked::of(nobody, "/v1/events").await.0.starts_with("http/1.0 503"));
}
