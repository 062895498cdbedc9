//! What is found out about nodes, by asking them and by what they do to clients: checks of every kind, agents,
//! refusals in a row, and a node that is frozen and costs nobody more than a blink.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use holdfast::{
    config::{Config, Overrides},
    net::{NodeStatus, Proxy, Wish},
    simulator::{Simulator, SimulatorSettings},
};
use net_support::*;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_tungstenite::tungstenite::handshake::server::ErrorResponse;

/// A proxy in front of nodes `a`, `b`, ...; each with what is said of its health, and `more` in `[upstream]`.
async fn proxy(more: &str, nodes: &[(SocketAddr, &str)]) -> Proxy {
    let mut text = format!("[upstream]\nprobe_interval_ms = 50\n{more}\n");
    for ((address, health), name) in nodes.iter().zip(["a", "b", "c"]) {
        text.push_str(&format!("[[upstream.node]]\nname = \"{name}\"\nurl = \"ws://{address}\"\n"));
        if !health.is_empty() {
            text.push_str(&format!("health = {health}\n"));
        }
    }
    let mut net = Config::parse(&text, Path::new("some.toml"), &Overrides::default()).unwrap().net;
    net.listen.address = vec!["127.0.0.1:0".parse().unwrap()];
    start(net).await
}

fn node(proxy: &Proxy, name: &str) -> NodeStatus {
    proxy.nodes().into_iter().find(|node| node.name == name).unwrap()
}

async fn is(proxy: &Proxy, name: &str, state: &str) {
    wait_until(&format!("{name} is {state}"), || node(proxy, name).state == state).await;
}

fn accepts() -> Answer {
    Arc::new(|_, response| Ok(response))
}

#[tokio::test]
async fn a_check_by_websocket_finds_a_node_that_nobody_dials() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let check = "{ kind = \"websocket\", interval_ms = 50, timeout_ms = 500 }";
    let proxy = proxy("", &[(first.address, check), (second.address, check)]).await;
    let address = first.stop().await;
    is(&proxy, "a", "down").await;
    assert_eq!(node(&proxy, "b").state, "up");
    let _first = Upstream::with(address, accepts()).await;
    is(&proxy, "a", "up").await;
    assert_eq!(node(&proxy, "a").weight_percent, 10.0, "it starts slowly");
}

#[tokio::test]
async fn nobody_is_asked_where_that_is_off_or_there_is_one_node() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let off = "{ kind = \"off\" }";
    let _two = proxy("", &[(first.address, off), (second.address, off)]).await;
    let lone = Upstream::start().await;
    let _one = proxy("", &[(lone.address, "")]).await;
    let (third, fourth) = (Upstream::start().await, Upstream::start().await);
    let _asked = proxy("", &[(third.address, ""), (fourth.address, "")]).await;
    let dials = |upstream: &Upstream| upstream.dials.load(Ordering::SeqCst);
    wait_until("several are asked by default", || dials(&third) > 0 && dials(&fourth) > 0).await;
    assert_eq!([&first, &second, &lone].map(dials), [0; 3]);
}

#[tokio::test]
async fn nodes_are_asked_at_the_pace_that_is_set() {
    let upstream = Upstream::start().await;
    let begin = Instant::now();
    let proxy = proxy("", &[(upstream.address, "{ kind = \"tcp\", interval_ms = 100 }")]).await;
    let dials = || upstream.dials.load(Ordering::SeqCst);
    wait_until("it was asked ten times", || dials() >= 10).await;
    // A fifth less than the interval at most.
    assert!(begin.elapsed() >= Duration::from_millis(9 * 80), "{:?}", begin.elapsed());
    proxy.wish("a", Wish::Maintenance, true).unwrap();
    // One may be under way.
    let before = dials();
    let_pass(Duration::from_millis(400)).await;
    assert!(dials() <= before + 1, "{} more in maintenance", dials() - before);
}

#[tokio::test]
async fn a_check_by_tcp_is_believed_after_its_counts() {
    let upstream = Upstream::start().await;
    let side = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = side.local_addr().unwrap().port();
    let check = format!("{{ kind = \"tcp\", port = {port}, interval_ms = 200, rise = 2, fall = 3 }}");
    let proxy = proxy("", &[(upstream.address, &check)]).await;
    side.accept().await.unwrap();
    drop(side);
    is(&proxy, "a", "suspect").await;
    is(&proxy, "a", "down").await;
    let shown = node(&proxy, "a");
    assert!(shown.reason.contains("check by tcp") && shown.reason.contains("refused"), "{}", shown.reason);
    let side = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    is(&proxy, "a", "suspect").await;
    is(&proxy, "a", "up").await;
    drop(side);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_a_node_are_its_load_and_a_page_that_is_gone_is_a_failure() {
    let settings = SimulatorSettings { stat: Some("127.0.0.1:0".parse().unwrap()), ..Default::default() };
    let simulator = Simulator::start(settings).await.unwrap();
    let port = simulator.stat_address().unwrap().port();
    let check = |path: &str| {
        format!("{{ kind = \"http\", port = {port}, path = \"{path}\", interval_ms = 50, fall = 2 }}")
    };
    let (good, bad) = (check("/?action=stat"), check("/?action=other"));
    let proxy = proxy("", &[(simulator.address(), &good)]).await;
    let _client = connect(proxy.address()).await;
    let figure = || node(&proxy, "a").figures.connections;
    wait_until("the figures are there", || figure().is_some()).await;
    assert_eq!(node(&proxy, "a").figures.streams_in, Some(0.0));
    assert!(node(&proxy, "a").figures_age_ms.is_some_and(|age| age < 5_000));
    let other = self::proxy("", &[(simulator.address(), &bad)]).await;
    is(&other, "a", "down").await;
    assert!(node(&other, "a").reason.contains("status 404"), "{}", node(&other, "a").reason);
    simulator.shutdown().await;
}

/// An HTTP server that answers everything with these bytes, for ever.
async fn endless_page() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
            });
        }
    });
    port
}

#[tokio::test]
async fn a_page_without_an_end_is_read_to_its_bound() {
    let (upstream, port) = (Upstream::start().await, endless_page().await);
    let check = format!("{{ kind = \"http\", port = {port}, interval_ms = 50, fall = 1 }}");
    let proxy = proxy("", &[(upstream.address, &check)]).await;
    is(&proxy, "a", "down").await;
    assert!(node(&proxy, "a").reason.contains("cannot be read"), "{}", node(&proxy, "a").reason);
}

/// An agent that says this line, which can be changed.
async fn agent(line: &str) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(line.to_owned()));
    let says = Arc::clone(&said);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let line = format!("{}\n", says.lock());
            let _ = stream.write_all(line.as_bytes()).await;
        }
    });
    (port, said)
}

#[tokio::test]
async fn an_agent_drains_its_node_and_gives_it_back_and_an_operator_goes_first() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let (port, said) = agent("up 100%").await;
    let check = format!("{{ kind = \"agent\", port = {port}, interval_ms = 50 }}");
    let proxy = proxy("", &[(first.address, &check), (second.address, "{ kind = \"off\" }")]).await;
    let say = |line: &str| *said.lock() = line.to_owned();
    let _one = established(&proxy, &mut first, "t").await;
    say("drain");
    is(&proxy, "a", "draining").await;
    assert_eq!(node(&proxy, "a").reason_kind, "agent");
    let _two = established(&proxy, &mut second, "u").await;
    say("up 100%");
    is(&proxy, "a", "up").await;
    say("maint");
    is(&proxy, "a", "maintenance").await;
    say("ready");
    is(&proxy, "a", "up").await;
    say("down # disk full");
    is(&proxy, "a", "down").await;
    assert_eq!(node(&proxy, "a").reason, "its agent says down: disk full");
    say("up 40%");
    is(&proxy, "a", "up").await;
    proxy.wish("a", Wish::Drain, false).unwrap();
    say("ready 100%");
    let_pass(Duration::from_millis(200)).await;
    assert_eq!(node(&proxy, "a").state, "draining", "that is the operator's");
}

#[tokio::test]
async fn an_agent_that_is_not_there_or_never_ends_says_nothing() {
    let upstream = Upstream::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move { while stream.write_all(&[b'x'; 8_192]).await.is_ok() {} });
        }
    });
    let nobody = free_address().port();
    let checks = format!(
        "[{{ kind = \"agent\", port = {port}, interval_ms = 50 }}, \
          {{ kind = \"agent\", port = {nobody}, interval_ms = 50 }}]"
    );
    let proxy = proxy("", &[(upstream.address, &checks)]).await;
    wait_until("it was asked a few times", || asked.load(Ordering::SeqCst) >= 5).await;
    assert_eq!(node(&proxy, "a").state, "up");
}

#[tokio::test]
async fn a_node_that_refuses_clients_in_a_row_is_passed_by_for_a_while() {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&refuses);
    let answer: Answer = Arc::new(move |request, response| {
        let is_probe = request.headers().get("user-agent").is_some_and(|agent| agent == "holdfast-probe");
        if is_probe || !flag.load(Ordering::SeqCst) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = 503.try_into().unwrap();
        Err(refusal)
    });
    let first = Upstream::with("127.0.0.1:0".parse().unwrap(), answer).await;
    let mut second = Upstream::start().await;
    let off = "{ kind = \"off\" }";
    let more = "eject_after = 3\neject_ms = 1000\nmedia_retry_ms = 1000";
    let proxy = proxy(more, &[(first.address, off), (second.address, off)]).await;
    for path in ["/1", "/2", "/3"] {
        // Each on a path of its own, so that what is known of paths is no help.
        let _client = try_connect(proxy.address(), path, &[]).await.unwrap();
        second.accept().await;
    }
    let shown = node(&proxy, "a");
    assert_eq!((&*shown.state, &*shown.reason_kind), ("suspect", "refusals"), "{}", shown.reason);
    assert_eq!((shown.dials.refused, shown.dials.refused_5xx), (3, 3));
    let before = first.dials.load(Ordering::SeqCst);
    let _client = try_connect(proxy.address(), "/4", &[]).await.unwrap();
    assert_eq!(first.dials.load(Ordering::SeqCst), before, "it is not tried first");
    refuses.store(false, Ordering::SeqCst);
    is(&proxy, "a", "up").await;
}

/// A node as a process of its own, that can be frozen.
struct Frozen(Child);

impl Frozen {
    fn start(address: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["simulate", &format!("--listen={address}"), &format!("--control={}", free_address())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("ws://")), "it listens");
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_first_node_costs_no_client_more_than_a_blink() {
    let (first, second) = (free_address(), free_address());
    let frozen = Frozen::start(first);
    let _other = Frozen::start(second);
    let off = "{ kind = \"off\" }";
    let proxy = proxy("", &[(first, off), (second, off)]).await;
    let connected = async |count: usize| {
        let mut times = Vec::new();
        for _ in 0..count {
            let stream = TcpStream::connect(proxy.address()).await.unwrap();
            let begin = Instant::now();
            let (socket, _) =
                tokio_tungstenite::client_async(format!("ws://{}/", proxy.address()), stream).await.unwrap();
            times.push(begin.elapsed());
            drop(socket);
        }
        times.sort_unstable();
        times
    };
    let well = connected(50).await;
    assert!(node(&proxy, "a").dials.accepted > 0, "it was used");
    frozen.signal(Signal::STOP);
    let times = connected(200).await;
    let (p50, p99) = (times[99], times[197]);
    println!(
        "connect: well p99 {:?}; with the first node frozen p50 {p50:?}, p99 {p99:?}, worst {:?}",
        well[49], times[199]
    );
    assert!(p99 <= Duration::from_millis(50), "p99 {p99:?}");
    assert!(times[199] <= Duration::from_millis(500), "worst {:?}", times[199]);
    assert_ne!(node(&proxy, "a").state, "up");
    frozen.signal(Signal::CONT);
    is(&proxy, "a", "up").await;
}
