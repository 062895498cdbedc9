//! Every way in which a server is dialled begins with the header that belongs there (`upstream.send_proxy`): media
//! sockets, restores, moves and newcomers with their client's, probes of doubt and of health with one of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{process::Command, time::Duration};

use common::{
    config,
    gate::{Gate, Header},
    outage::Outage,
    page::{MSE_OFFER, Page, stream},
    server::Server,
    wait_until,
};
use holdfast::{
    config::{Config, MediaMode, SendProxy},
    net::{DrainOrder, Proxy},
};
use serde_json::json;

/// Longer than any test: probes at this interval are never due.
const NEVER: Duration = Duration::from_secs(60);

/// Simulated servers, each behind a port that expects the header, and a proxy before them. The first is used.
struct Bed {
    servers: Vec<Server>,
    gates: Vec<Gate>,
    proxy: Proxy,
}

impl Bed {
    async fn start(kind: SendProxy, nodes: usize, change: impl FnOnce(&mut Config)) -> Self {
        let (mut servers, mut gates) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let server = Server::fake(json!({})).await;
            gates.push(Gate::before(server.address).await);
            servers.push(server);
        }
        let mut config = config(gates[0].address, MediaMode::Direct);
        config.net.upstream.url =
            gates.iter().map(|gate| format!("ws://{}", gate.address).parse().unwrap()).collect();
        config.net.upstream.policy = holdfast::config::Policy::First;
        config.net.upstream.send_proxy = kind;
        change(&mut config);
        Self { servers, gates, proxy: Proxy::launch(config).await.unwrap() }
    }

    async fn page(&self) -> Page {
        Page::establish(self.proxy.address()).await
    }

    /// A page that plays a stream by MSE, and its media socket.
    async fn player(&self, name: &str) -> (Page, Page) {
        let page = self.page().await;
        page.send("playStream", stream("m1", name, false, "MSE", MSE_OFFER));
        page.wait_status("m1", "PLAYING").await;
        let socket = Page::open(self.proxy.address(), "/").await;
        socket.send("connectMediaTransport", json!({"authToken": page.user_data["authToken"]}));
        records(&socket).await;
        (page, socket)
    }

    /// Each dial until now named the page it was for and the address that it had reached; and one that named nobody was
    /// a probe.
    fn assert_headers(&self, pages: &[&Page]) {
        for dial in self.gates.iter().flat_map(Gate::dials) {
            match &dial.header {
                Header::Of((client, reached)) => {
                    assert!(!dial.is_probe(), "a probe is nobody's: {dial:?}");
                    assert!(pages.iter().any(|page| page.address == *client), "{dial:?}");
                    assert_eq!(*reached, self.proxy.address(), "{dial:?}");
                }
                Header::Own => assert!(dial.is_probe(), "{dial:?}"),
                Header::Missing(_) => panic!("{dial:?}"),
            }
        }
    }
}

/// Waits for more of the records that a media socket brings.
async fn records(socket: &Page) {
    let before = socket.look(|told| told.binary.len());
    socket.wait("records", |told| (told.binary.len() > before + 5).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_sockets_say_whose_they_are_at_each_of_their_dials() {
    let mut bed = Bed::start(SendProxy::V2, 1, |_| {}).await;
    let publisher = bed.page().await;
    publisher.publishing("p1", "cam").await;
    let (player, socket) = bed.player("cam").await;
    let gate = &bed.gates[0];
    let first = gate.of(socket.address);
    assert!(first >= 1, "{:?}", gate.dials());
    // It breaks alone.
    bed.servers[0].fault(json!({"fault": "drop", "whom": {"media": true}})).await;
    wait_until("it is dialled again", || gate.of(socket.address) == first + 1).await;
    records(&socket).await;
    assert_eq!((gate.of(player.address), gate.of(publisher.address)), (1, 1));
    // With its session, and with the stream.
    Outage::Fin.strike(&mut bed.servers[0]).await;
    publisher.wait_status("p1", "FAILED").await;
    publisher.publishing("p2", "cam").await;
    wait_until("it is dialled once more", || gate.of(socket.address) == first + 2).await;
    records(&socket).await;
    assert_eq!((gate.of(player.address), gate.of(publisher.address)), (2, 2));
    bed.assert_headers(&[&publisher, &player, &socket]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_leave_a_node_are_named_on_the_other_moved_or_forced() {
    let bed = Bed::start(SendProxy::V1, 2, |_| {}).await;
    let idle = bed.page().await;
    let publisher = bed.page().await;
    publisher.publishing("p1", "cam").await;
    let (player, socket) = bed.player("cam").await;
    let all = [&idle, &publisher, &player, &socket];
    assert!(all.iter().all(|page| bed.gates[1].of(page.address) == 0), "the first node is used");
    let order =
        DrainOrder { rate: 100, force_after: Some(Duration::from_millis(300)), ..DrainOrder::default() };
    bed.proxy.drain(bed.proxy.nodes()[0].id, order).unwrap();
    for (page, name) in all.iter().zip(["idle", "publisher", "player", "media socket"]) {
        wait_until(&format!("the {name} is on the other node"), || bed.gates[1].of(page.address) == 1).await;
    }
    idle.works().await;
    bed.servers[1].wait_for("they are there", |state| state["now"]["sessions"] == 3).await;
    bed.assert_headers(&all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restores_and_newcomers_of_an_outage_are_named_and_its_probes_are_ours() {
    for kind in [SendProxy::V1, SendProxy::V2] {
        let mut bed = Bed::start(kind, 1, |config| {
            config.net.upstream.probe_interval = Duration::from_millis(20);
        })
        .await;
        let (one, two) = (bed.page().await, bed.page().await);
        bed.servers[0].kill().await;
        let gate = &bed.gates[0];
        let before = gate.own();
        let (address, server) = (bed.proxy.address(), &mut bed.servers[0]);
        let (newcomer, ()) = tokio::join!(Page::establish(address), async {
            wait_until("it is probed", || gate.own() > before + 2).await;
            server.start_again().await;
        });
        for page in [&one, &two, &newcomer] {
            page.works().await;
        }
        assert!([&one, &two].iter().all(|page| gate.of(page.address) >= 2), "{:?}", gate.dials());
        bed.assert_headers(&[&one, &two, &newcomer]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_dial_beside_a_silent_connection_is_our_own() {
    let bed = Bed::start(SendProxy::V2, 2, |config| {
        config.net.upstream.probe_interval = NEVER;
        config.session.keepalive.upstream_silence = NEVER;
    })
    .await;
    let page = bed.page().await;
    assert_eq!((bed.gates[0].own(), bed.gates[1].own()), (0, 0), "nothing is in question");
    bed.servers[0].fault(json!({"fault": "freeze"})).await;
    wait_until("the node is asked", || bed.gates[0].own() == 1).await;
    wait_until("the session leaves it", || bed.gates[1].of(page.address) == 1).await;
    page.works().await;
    bed.assert_headers(&[&page]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_a_configuration_says_that_it_is_our_own() {
    let server = Server::fake(json!({})).await;
    let gate = Gate::before(server.address).await;
    let url = format!("--upstream=ws://{}", gate.address);
    let checked = async |kind: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["check", "--connect", &url, "--listen=127.0.0.1:0", "--admin=off"]);
        command.env("HOLDFAST_UPSTREAM__SEND_PROXY", kind);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    for (nth, kind) in ["v1", "v2"].into_iter().enumerate() {
        let output = checked(kind).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(gate.own(), nth + 1, "{:?}", gate.dials());
    }
    assert!(!checked("off").await.status.success());
    assert!(matches!(gate.dials()[2].header, Header::Missing(_)), "{:?}", gate.dials());
}
