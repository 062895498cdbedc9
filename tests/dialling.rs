//! How sessions and clients are dialled when nodes refuse, hang, or take a session and close it: at the
//! pace of each session's backoff, each node once per try, and past a node that hangs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use holdfast::{
    config::{NetSettings, SessionSettings},
    net::Proxy,
};
use net_support::*;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    Error,
    handshake::server::{ErrorResponse, Request, Response},
};

/// What a node does with handshakes, and what it has seen of them.
struct Gate {
    /// 101 lets them in.
    status: AtomicU16,
    /// Dials that are no probes; probes of the path; probes of anything else.
    dials: AtomicUsize,
    probes: AtomicUsize,
    other_probes: AtomicUsize,
}

const PATH: &str = "/wss";

impl Gate {
    fn new(status: u16) -> Arc<Self> {
        Arc::new(Self {
            status: AtomicU16::new(status),
            dials: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            other_probes: AtomicUsize::new(0),
        })
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    fn answer(&self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let is_probe = request.headers().get("user-agent").is_some_and(|agent| agent == "holdfast-probe");
        let counter = match (is_probe, request.uri().path() == PATH) {
            (false, _) => &self.dials,
            (true, true) => &self.probes,
            (true, false) => &self.other_probes,
        };
        counter.fetch_add(1, Ordering::SeqCst);
        let status = self.status.load(Ordering::SeqCst);
        // Like a web server in front: other paths are something else and always there.
        if status == 101 || request.uri().path() != PATH {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = status.try_into().unwrap();
        if status == 302 {
            refusal.headers_mut().insert("location", "/wss".parse().unwrap());
        }
        Err(refusal)
    }
}

async fn node(address: SocketAddr, gate: &Arc<Gate>) -> Upstream {
    let gate = Arc::clone(gate);
    Upstream::with(address, Arc::new(move |request, response| gate.answer(request, response))).await
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A node that takes connections and says nothing.
async fn hanging_node() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (address, taken)
}

async fn start_with(settings: NetSettings, change: impl FnOnce(&mut SessionSettings)) -> Proxy {
    let mut session = SessionSettings::default();
    change(&mut session);
    Proxy::start(settings, session).await.unwrap()
}

async fn established_on_path(proxy: &Proxy, upstream: &mut Upstream) -> (ClientSocket, UpstreamSocket) {
    let mut client = try_connect(proxy.address(), PATH, &[]).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    next_text(&mut server).await;
    send(&mut server, &user_data("t")).await;
    assert!(next_text(&mut client).await.contains("getUserData"));
    (client, server)
}

/// A path that is refused is dialled at the pace of the backoff, and the client lives through it.
async fn a_refused_path(status: u16) {
    let gate = Gate::new(101);
    let mut upstream = node(any_port(), &gate).await;
    let proxy = start(settings(&[upstream.address])).await;
    let (_client, server) = established_on_path(&proxy, &mut upstream).await;
    gate.set(status);
    drop(server);
    wait_until("the first dial is refused", || gate.dials() >= 2).await;
    let_pass(Duration::from_secs(3)).await;
    // At once, then after up to 250, 500, 1000, 2000 and 3000 ms, and once more by what a probe says.
    assert!(gate.dials() <= 12, "{} dials in 3 s with status {status}", gate.dials());
    let probes = gate.probes.load(Ordering::SeqCst);
    assert!((1..=8).contains(&probes), "{probes} probes of the path in 3 s");
    assert_eq!(gate.other_probes.load(Ordering::SeqCst), 0, "nothing else is");
    assert_eq!(proxy.facts().sessions, 1);
    gate.set(101);
    let (mut server, _) = upstream.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
}

#[tokio::test]
async fn a_refused_path_is_left_to_the_backoff() {
    let all = [502, 503, 404, 301, 302, 429].map(|status| tokio::spawn(a_refused_path(status)));
    for one in all {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_that_probes_do_not_see_is_left_to_the_backoff() {
    // As when it hangs on a cookie: probes are let in, the session is not.
    let refuses = Arc::new(AtomicUsize::new(0));
    let dials = Arc::new(AtomicUsize::new(0));
    let (flag, counter) = (Arc::clone(&refuses), Arc::clone(&dials));
    let answer: Answer = Arc::new(move |request, response| {
        if request.headers().get("user-agent").is_some_and(|agent| agent == "holdfast-probe") {
            return Ok(response);
        }
        counter.fetch_add(1, Ordering::SeqCst);
        if flag.load(Ordering::SeqCst) == 0 {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = 503.try_into().unwrap();
        Err(refusal)
    });
    let mut upstream = Upstream::with(any_port(), answer).await;
    let proxy = start(settings(&[upstream.address])).await;
    let (_client, server) = established_on_path(&proxy, &mut upstream).await;
    refuses.store(1, Ordering::SeqCst);
    drop(server);
    let_pass(Duration::from_secs(3)).await;
    let dials = dials.load(Ordering::SeqCst);
    assert!((2..=10).contains(&dials), "{dials} dials in 3 s");
}

#[tokio::test]
async fn every_node_is_dialled_once_per_try() {
    let gates = [Gate::new(503), Gate::new(500)];
    let first = node(any_port(), &gates[0]).await;
    let second = node(any_port(), &gates[1]).await;
    let mut settings = settings(&[first.address, second.address]);
    settings.listen.connect_hold = Duration::ZERO;
    let proxy = start(settings).await;
    for tries in 1..=3 {
        let refused = try_connect(proxy.address(), PATH, &[]).await;
        assert!(matches!(refused, Err(Error::Http(_))), "{refused:?}");
        assert_eq!([gates[0].dials(), gates[1].dials()], [tries, tries]);
    }
}

#[tokio::test]
async fn a_first_node_that_hangs_costs_one_client_its_share() {
    let (hangs, taken) = hanging_node().await;
    let mut second = Upstream::start().await;
    let mut settings = settings(&[hangs, second.address]);
    settings.upstream.next_node_after = Duration::from_secs(2);
    let proxy = start(settings).await;
    let begin = Instant::now();
    let _client = connect(proxy.address()).await;
    second.accept().await;
    let first = begin.elapsed();
    assert!(first >= Duration::from_secs(2) && first < Duration::from_secs(10), "{first:?}");
    // From now on it comes last, for as long as it does not answer: longer than any fixed time.
    wait_until("it is probed", || taken.load(Ordering::SeqCst) >= 2).await;
    for _ in 0..10 {
        let begin = Instant::now();
        let _client = connect(proxy.address()).await;
        second.accept().await;
        assert!(begin.elapsed() < Duration::from_millis(1_800), "{:?}", begin.elapsed());
        let_pass(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn a_node_is_probed_while_the_probe_of_another_hangs() {
    let (hangs, _) = hanging_node().await;
    let mut second = Upstream::start().await;
    let mut settings = settings(&[hangs, second.address]);
    settings.upstream.next_node_after = Duration::from_millis(200);
    let proxy = start_with(settings, |session| {
        // Only a probe brings it back in time.
        session.restore.backoff_initial = Duration::from_secs(3_000);
        session.restore.backoff_max = Duration::from_secs(3_000);
    })
    .await;
    for _ in 0..3 {
        let (_client, server) = established(&proxy, &mut second, "t").await;
        let address = second.stop().await;
        drop(server);
        // The dial of the session: the hanging node uses up its time.
        let_pass(Duration::from_millis(5_500)).await;
        second = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
        let (mut server, _) = second.accept().await;
        assert!(next_text(&mut server).await.contains("\"connection\""));
        // The session ends: the probe of the second node with it, that of the first hangs.
    }
}

#[tokio::test]
async fn nodes_that_fail_differently_are_waited_for_alike() {
    let gate = Gate::new(503);
    let refuses = node(any_port(), &gate).await;
    let mut second = Upstream::start().await;
    let proxy = start_with(settings(&[refuses.address, second.address]), |session| {
        session.restore.backoff_initial = Duration::from_secs(3_000);
        session.restore.backoff_max = Duration::from_secs(3_000);
    })
    .await;
    let (_client, server) = established_on_path(&proxy, &mut second).await;
    let address = second.stop().await;
    drop(server);
    wait_until("the session dials", || gate.dials() >= 2).await;
    let_pass(Duration::from_millis(300)).await;
    let mut second = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    let (mut server, _) = second.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
}

#[tokio::test]
async fn a_server_that_closes_after_get_user_data_uses_up_the_tries() {
    let mut upstream = Upstream::start().await;
    let proxy = start_with(settings(&[upstream.address]), |session| {
        session.restore.tries_max = 6;
        session.restore.backoff_max = Duration::from_millis(500);
    })
    .await;
    let (mut client, server) = established(&proxy, &mut upstream, "t").await;
    drop(server);
    for _ in 0..6 {
        let (mut server, _) = upstream.accept().await;
        assert!(next_text(&mut server).await.contains("\"connection\""));
        send(&mut server, &user_data("t")).await;
    }
    let close = close_of(&mut client).await;
    assert_eq!(close.map(|close| close.code.into()), Some(1001));
}

#[tokio::test]
async fn a_flapping_session_opens_few_connections_on_a_server_that_is_up() {
    let mut upstream = Upstream::start().await;
    let dials = Arc::clone(&upstream.dials);
    let proxy = start(settings(&[upstream.address])).await;
    let (_client, server) = established(&proxy, &mut upstream, "t").await;
    drop(server);
    let closing = tokio::spawn(async move {
        loop {
            let (mut server, _) = upstream.accept_forever().await.unwrap();
            tokio::spawn(async move {
                use futures_util::{SinkExt, StreamExt};
                if let Some(Ok(_)) = server.next().await {
                    let _ = server.send(tokio_tungstenite::tungstenite::Message::text(user_data("t"))).await;
                }
            });
        }
    });
    let_pass(Duration::from_secs(4)).await;
    // Probes included.
    let opened = dials.load(Ordering::SeqCst);
    assert!((4..=24).contains(&opened), "{opened} connections in 4 s");
    closing.abort();
}

#[tokio::test]
async fn a_client_is_held_behind_a_path_that_is_refused_for_a_while() {
    for status in [502, 503, 504] {
        let gate = Gate::new(status);
        let mut upstream = node(any_port(), &gate).await;
        let proxy = start(settings(&[upstream.address])).await;
        let address = proxy.address();
        let client = tokio::spawn(async move { try_connect(address, PATH, &[]).await });
        wait_until("the client is held", || proxy.facts().held == 1).await;
        let_pass(Duration::from_millis(700)).await;
        assert!(gate.dials() <= 6, "{} dials in 0.7 s", gate.dials());
        gate.set(101);
        upstream.accept().await;
        client.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_a_held_client_hears_in_the_end_is_the_upstreams_word() {
    let gate = Gate::new(502);
    let upstream = node(any_port(), &gate).await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.connect_hold = Duration::from_millis(1_500);
    let proxy = start(settings).await;
    match try_connect(proxy.address(), PATH, &[]).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 502),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn probes_are_bounded_however_many_paths_are_refused() {
    let probes = Arc::new(parking_lot::Mutex::new(std::collections::BTreeMap::<String, usize>::new()));
    let seen = Arc::clone(&probes);
    let answer: Answer = Arc::new(move |request, _| {
        if request.headers().get("user-agent").is_some_and(|agent| agent == "holdfast-probe") {
            *seen.lock().entry(request.uri().path().to_owned()).or_default() += 1;
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = 502.try_into().unwrap();
        Err(refusal)
    });
    let upstream = Upstream::with(any_port(), answer).await;
    let mut settings = settings(&[upstream.address]);
    settings.upstream.probe_paths_max = 3;
    settings.listen.connect_hold = Duration::from_secs(2);
    let proxy = start(settings).await;
    let clients: Vec<_> = (0..40)
        .map(|index| {
            let address = proxy.address();
            tokio::spawn(async move { try_connect(address, &format!("/app{index}?secret"), &[]).await })
        })
        .collect();
    let begin = Instant::now();
    for client in clients {
        assert!(client.await.unwrap().is_err());
    }
    let rounds = begin.elapsed().as_millis() / 500 + 1;
    let probes = probes.lock();
    let count: usize = probes.values().sum();
    assert!(count > 0 && count as u128 <= 3 * rounds, "{count} probes in {rounds} rounds");
    assert!(probes.keys().all(|path| !path.contains("secret")));
}
