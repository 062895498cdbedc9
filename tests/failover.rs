//! A node that freezes, and a connection that dies without a word: sessions leave them by evidence, long before their
//! patience with silence is over, and only where something is won by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{sync::Arc, time::Duration};

use holdfast::{
    config::{Config, MediaMode, Overrides},
    load::{self, LoadSettings, Scenario, Summary},
    net::Proxy,
    simulator::{Fault, Simulator, SimulatorSettings},
};
use net_support::{clients::Clients, in_time, let_pass, wait_until};
use serde_json::json;
use tokio::time::Instant;

/// Less than the patience with silence (15 s), and long on a busy machine.
const SOON: Duration = Duration::from_secs(10);

struct Farm {
    nodes: Vec<Simulator>,
    proxy: Arc<Proxy>,
    clients: Clients,
}

impl Farm {
    /// So many nodes, and one publisher and one player with real media.
    async fn start(nodes: usize) -> Self {
        let real = SimulatorSettings::default().with(&json!({"media": "real"})).unwrap();
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(Simulator::start(real.clone()).await.unwrap());
        }
        let flags = Overrides {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            upstream: started
                .iter()
                .map(|node| format!("ws://{}", node.address()).parse().unwrap())
                .collect(),
            media: Some(MediaMode::Anchor),
            media_listen: Some("127.0.0.1:0".parse().unwrap()),
            ..Overrides::default()
        };
        let proxy = Arc::new(Proxy::launch(Config::load(None, &flags).unwrap()).await.unwrap());
        let settings = LoadSettings {
            scenario: Scenario::PublishPlay,
            media: load::Media::Real,
            sessions: 2,
            players_per_stream: 1,
            hold: Duration::from_secs(600),
            ..LoadSettings::new(format!("ws://{}", proxy.address()).parse().unwrap())
        };
        let mut farm = Self { nodes: started, proxy, clients: Clients::start(settings) };
        farm.until_picture(1).await;
        farm
    }

    fn fault(&self, node: usize, fault: serde_json::Value) {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        self.nodes[node].fault(fault).unwrap();
    }

    /// The node where both sessions are.
    fn place(&self) -> usize {
        let nodes = self.proxy.nodes();
        nodes.iter().position(|node| node.sessions == 2).unwrap_or_else(|| panic!("{nodes:?}"))
    }

    fn sessions_on(&self, node: usize) -> usize {
        self.proxy.nodes()[node].sessions
    }

    async fn until_picture(&mut self, moves: u64) {
        let wanted = self.clients.until("the picture", |now| now.pictures == Some((moves, 1)));
        in_time("the picture", wanted).await;
    }

    async fn end(self) -> Summary {
        self.clients.end().await
    }
}

fn assert_picture(summary: &Summary) {
    let media = summary.media.as_ref().unwrap();
    assert_eq!((summary.lost, summary.reported, media.players_moving), (0, 0, 1), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_is_suspected_and_left_while_another_is_up() {
    let mut farm = Farm::start(2).await;
    let node = farm.place();
    let began = Instant::now();
    farm.fault(node, json!({"fault": "freeze"}));
    wait_until("it is suspected", || farm.proxy.nodes()[node].state != "up").await;
    wait_until("its sessions are on the other node", || farm.sessions_on(1 - node) == 2).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    farm.until_picture(1).await;
    farm.fault(node, json!({"fault": "thaw"}));
    wait_until("it is up again", || farm.proxy.nodes()[node].state == "up").await;
    assert_picture(&farm.end().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_connection_to_a_node_that_lives_is_left_and_made_anew() {
    let farm = Farm::start(1).await;
    let handshakes = || farm.nodes[0].summary()["counters"]["handshakes"].as_u64().unwrap();
    let before = handshakes();
    let began = Instant::now();
    // Neither FIN nor RST, and media as well: the path is gone, the node is not.
    farm.fault(0, json!({"fault": "black_hole", "newcomers": "served", "media": true}));
    wait_until("both sessions are connected anew", || handshakes() >= before + 2).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    farm.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_without_another_is_waited_for() {
    let mut farm = Farm::start(1).await;
    farm.fault(0, json!({"fault": "freeze"}));
    wait_until("it is suspected", || farm.proxy.nodes()[0].state != "up").await;
    farm.until_picture(0).await;
    let_pass(Duration::from_secs(4)).await;
    assert_eq!(farm.proxy.facts().outages, 0, "nothing would be won");
    farm.fault(0, json!({"fault": "thaw"}));
    farm.until_picture(1).await;
    assert_picture(&farm.end().await);
}
