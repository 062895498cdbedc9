//! A process with few file descriptors: what does not fit is refused with 503, what was taken in is
//! served whole and restored, and whoever connects and says nothing locks nobody out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use net_support::{origin::*, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Error;

/// A proxy that may open this many files.
struct Proxy {
    child: Child,
    address: SocketAddr,
    sessions_max: u64,
}

impl Proxy {
    fn start(open_files: u32, upstream: SocketAddr, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -n {open_files} && exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json", "--listen=127.0.0.1:0", "--admin=off"])
            .arg(format!("--upstream=ws://{upstream}"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut line = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
        let listening = loop {
            let line = line();
            if line["message"] == "listening" {
                break line;
            }
        };
        // Its log goes on being read, or it would wait.
        std::thread::spawn(move || lines.for_each(drop));
        let address = listening["address"].as_str().unwrap().parse().unwrap();
        let sessions_max = listening["sessions_max"].as_u64().unwrap();
        Self { child, address, sessions_max }
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session, or the status of its refusal.
async fn try_establish(
    proxy: &Proxy,
    upstream: &mut Upstream,
) -> Result<(ClientSocket, UpstreamSocket), u16> {
    match try_connect_from("127.0.0.1", proxy.address).await {
        Ok(mut client) => {
            let (mut server, _) = upstream.accept().await;
            send(&mut client, CONNECTION).await;
            next_text(&mut server).await;
            send(&mut server, &user_data("t")).await;
            assert!(next_text(&mut client).await.contains("getUserData"));
            Ok((client, server))
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("neither taken nor refused: {error}"),
    }
}

/// The server of these sessions is there again at its address: each of them comes back, and is served.
async fn come_back(
    address: SocketAddr,
    sessions: Vec<(ClientSocket, UpstreamSocket)>,
) -> (Upstream, Vec<(ClientSocket, UpstreamSocket)>) {
    let (mut clients, servers): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
    drop(servers);
    let mut upstream = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    let mut servers = Vec::new();
    for index in 0..clients.len() {
        let (mut server, _) = upstream.accept().await;
        assert!(next_text(&mut server).await.contains("\"connection\""), "session {index}");
        send(&mut server, &user_data("t2")).await;
        servers.push(server);
    }
    // A message comes through.
    let text = r#"{"message":"OnDataEvent","data":[{"payload":1}]}"#;
    for server in &mut servers {
        send(server, text).await;
    }
    for client in &mut clients {
        while next_text(client).await != text {}
    }
    (upstream, clients.into_iter().zip(servers).collect())
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_what_was_taken_comes_back() {
    let mut upstream = Upstream::start().await;
    let proxy = Proxy::start(220, upstream.address, &["--media=direct"]);
    let mut sessions = Vec::new();
    let mut refused = 0;
    for _ in 0..150 {
        match try_establish(&proxy, &mut upstream).await {
            Ok(session) => sessions.push(session),
            Err(503) => refused += 1,
            Err(status) => panic!("refused with {status}"),
        }
    }
    let taken = sessions.len();
    assert!(taken as u64 <= proxy.sessions_max && taken >= 20 && refused > 0, "{taken}, {refused} refused");
    assert!(proxy.open_files() < 220);
    // All of them lose their server at once, while strangers take what is left for connections.
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(connection_from("127.0.0.1", proxy.address).await);
    }
    let address = upstream.stop().await;
    come_back(address, sessions).await;
    drop(strangers);
}

#[tokio::test]
async fn strangers_that_say_nothing_lock_nobody_out() {
    let mut upstream = Upstream::start().await;
    let proxy = Proxy::start(220, upstream.address, &["--media=direct"]);
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(connection_from("127.0.0.1", proxy.address).await);
    }
    let mut client = try_connect_from("127.0.0.2", proxy.address).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    assert!(proxy.open_files() < 220);
}

#[tokio::test]
async fn media_leaves_descriptors_to_sessions() {
    let mut upstream = Upstream::start().await;
    let direct = Proxy::start(400, upstream.address, &["--media=direct"]);
    let anchor = Proxy::start(400, upstream.address, &["--media-listen=127.0.0.1:0"]);
    assert!(anchor.sessions_max < direct.sessions_max && anchor.sessions_max >= 20);
    let mut sessions = Vec::new();
    for _ in 0..anchor.sessions_max / 2 {
        sessions.push(try_establish(&anchor, &mut upstream).await.unwrap());
    }
    assert!(anchor.open_files() < 300, "a quarter is kept for media");
}

#[tokio::test]
async fn strangers_that_are_refused_and_stay_lock_nobody_out() {
    let mut upstream = Upstream::start().await;
    let proxy = Proxy::start(220, upstream.address, &["--media=direct"]);
    let mut strangers = Vec::new();
    for _ in 0..900 {
        let mut stranger = connection_from("127.0.0.1", proxy.address).await;
        // Answered 400; the connection is left open.
        let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        strangers.push(stranger);
    }
    let mut client = try_connect_from("127.0.0.2", proxy.address).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    assert!(proxy.open_files() < 220);
}

/// What a client hears until that is all, or enough to know it; empty if its connection was ended.
async fn heard(client: &mut TcpStream) -> String {
    let mut heard = vec![0; 1_024];
    let bytes = client.read(&mut heard).await.unwrap_or(0);
    String::from_utf8_lossy(&heard[..bytes]).into_owned()
}

#[tokio::test]
async fn requests_that_do_not_fit_are_refused_and_leave_room_for_what_was_taken() {
    let (mut upstream, origin) = (Upstream::start().await, Origin::start().await);
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("descriptors-route.toml");
    let text = format!(
        "[http]\nserver_connection_idle_ms = 600000\n[[route]]\nhttp = 'http://{}'\n",
        origin.address
    );
    fs::write(&config, text).unwrap();
    let config = format!("--config={}", config.display());
    let proxy = Proxy::start(220, upstream.address, &["--media=direct", &config]);
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(try_establish(&proxy, &mut upstream).await.unwrap());
    }
    let before = proxy.open_files();
    // Each takes a descriptor for its client and one for its server, which takes its time. They are from many addresses.
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for nth in 1..=90 {
        let mut client = connection_from(&format!("127.0.1.{nth}"), proxy.address).await;
        // Whoever is refused may be so before this.
        let _ = client.write_all(get("/").as_bytes()).await;
        tokio::select! {
            mut server = origin.accept() => {
                head(&mut server).await;
                held.push((client, server));
            }
            answer = heard(&mut client) => {
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
                refused.push((client, answer));
            }
        }
    }
    assert!(held.len() >= 30 && refused.len() >= 30, "{} fit", held.len());
    assert!(refused.iter().any(|(_, answer)| answer.starts_with("HTTP/1.1 503")));
    assert!(proxy.open_files() < 220);

    // Sessions lose their server, and come back beside all of these.
    let address = upstream.stop().await;
    let (mut upstream, sessions) = come_back(address, sessions).await;

    // What was taken is answered, and its room is that of sessions again.
    for (client, server) in &mut held {
        say(server, OK).await;
        assert!(head(client).await.starts_with("HTTP/1.1 200"));
    }
    let (gone, _servers): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    drop((gone, refused));
    wait_until("all but a few are given back", || proxy.open_files() <= before + 8).await;
    let more = usize::try_from(proxy.sessions_max).unwrap() - sessions.len() - 4;
    let mut others = Vec::new();
    for _ in 0..more {
        others.push(try_establish(&proxy, &mut upstream).await.unwrap());
    }
}
