//! Participants of one room meet on one node, end to end: pages are sent to several nodes, and see each other in the
//! room all the same, also after the loss of its node (rule R16).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{page::Page, server::Server, wait_until};
use holdfast::{
    config::{MediaMode, Policy},
    net::{DrainOrder, Proxy},
};
use serde_json::json;

struct Farm {
    nodes: Vec<Server>,
    proxy: Proxy,
}

impl Farm {
    async fn start(policy: Policy) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Server::fake(json!({})).await);
        }
        let mut config = common::config(nodes[0].address, MediaMode::Direct);
        config.net.upstream.policy = policy;
        for node in &nodes[1..] {
            config.net.upstream.url.push(format!("ws://{}", node.address).parse().unwrap());
        }
        Self { proxy: Proxy::launch(config).await.unwrap(), nodes }
    }

    async fn page(&self, login: &str) -> Page {
        let connection =
            json!({"appKey": "roomApp", "mediaProviders": ["WebRTC"], "custom": {"login": login}});
        Page::establish_as(self.proxy.address(), connection).await
    }

    fn sessions(&self) -> Vec<usize> {
        self.proxy.nodes().iter().map(|node| node.sessions).collect()
    }

    /// The node where all these sessions are, once they are on one.
    async fn until_together(&self, sessions: usize) -> usize {
        let place = || self.sessions().iter().position(|there| *there == sessions);
        wait_until("all are on one node", || place().is_some()).await;
        place().unwrap()
    }
}

async fn join(page: &Page, login: &str) {
    assert_eq!(page.room_command(&format!("join-{login}"), "join", json!({"name": "r"})).await, "ACCEPTED");
}

/// The page knows exactly these others.
async fn sees(page: &Page, others: &[&str]) {
    let others: BTreeSet<String> = others.iter().map(|login| (*login).to_owned()).collect();
    page.wait("all others in the room", |told| {
        let mut known = BTreeSet::new();
        for (name, info) in told.room_events() {
            match &*name {
                "STATE" => {
                    known.extend(info.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()))
                }
                "JOINED" => drop(known.insert(info.as_str().unwrap().to_owned())),
                "LEFT" => drop(known.remove(info.as_str().unwrap())),
                _ => {}
            }
        }
        (known == others).then_some(())
    })
    .await;
}

fn heard(page: &Page, name: &str) -> usize {
    page.look(|told| told.room_events().iter().filter(|(heard, _)| heard == name).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participants_of_a_room_meet_wherever_they_were_sent() {
    let farm = Farm::start(Policy::RoundRobin).await;
    let (anna, bert, cora) = (farm.page("anna").await, farm.page("bert").await, farm.page("cora").await);
    assert_eq!(farm.sessions(), [1, 1, 1], "each is sent to a node of its own");
    // At the same moment: nobody was first.
    tokio::join!(join(&anna, "anna"), join(&bert, "bert"), join(&cora, "cora"));
    farm.until_together(3).await;
    sees(&anna, &["bert", "cora"]).await;
    sees(&bert, &["anna", "cora"]).await;
    sees(&cora, &["anna", "bert"]).await;
    for page in [&anna, &bert, &cora] {
        assert_eq!(page.look(|told| told.all("getUserData").count()), 1, "nobody hears of it");
        assert_eq!((heard(page, "STATE"), heard(page, "LEFT")), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_loss_of_its_node_a_room_is_on_one_other() {
    let mut farm = Farm::start(Policy::RoundRobin).await;
    let (anna, bert, cora) = (farm.page("anna").await, farm.page("bert").await, farm.page("cora").await);
    for (page, login) in [(&anna, "anna"), (&bert, "bert"), (&cora, "cora")] {
        join(page, login).await;
    }
    let place = farm.until_together(3).await;
    sees(&anna, &["bert", "cora"]).await;
    // Sent to the nodes that are left before anybody knows where the room will be.
    let others = [farm.page("dora").await, farm.page("emil").await, farm.page("finn").await];
    farm.nodes[place].kill().await;
    tokio::join!(join(&others[0], "dora"), join(&others[1], "emil"), join(&others[2], "finn"));
    let heir = farm.until_together(6).await;
    assert_ne!(heir, place);
    sees(&anna, &["bert", "cora", "dora", "emil", "finn"]).await;
    sees(&others[2], &["anna", "bert", "cora", "dora", "emil"]).await;
    for page in [&anna, &bert, &cora] {
        assert_eq!((heard(page, "STATE"), heard(page, "LEFT")), (1, 0), "who was there never left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_on_a_node_that_is_drained_waits_and_is_then_taken_to_one_other() {
    let farm = Farm::start(Policy::RoundRobin).await;
    let (anna, bert, cora) = (farm.page("anna").await, farm.page("bert").await, farm.page("cora").await);
    for (page, login) in [(&anna, "anna"), (&bert, "bert"), (&cora, "cora")] {
        join(page, login).await;
    }
    let place = farm.until_together(3).await;
    sees(&anna, &["bert", "cora"]).await;
    let node = farm.proxy.nodes()[place].id;
    let waits = || farm.proxy.drain_status(node).unwrap().progress;
    farm.proxy.drain(node, DrainOrder::default()).unwrap();
    wait_until("the room waits", || waits().left.iter().any(|left| left.sessions == 3)).await;
    assert!(waits().left[0].reason.contains("room"), "{:?}", waits());
    // So slow that one by one they would be seen to leave.
    let force =
        DrainOrder { rate: 1, force_after: Some(Duration::from_millis(200)), ..DrainOrder::default() };
    farm.proxy.drain(node, force).unwrap();
    wait_until("the node is empty", || farm.sessions()[place] == 0).await;
    assert_ne!(farm.until_together(3).await, place);
    assert_eq!(waits().forced, 3, "{:?}", waits());
    // It works there, and nobody who was in it has seen anybody leave.
    let dora = farm.page("dora").await;
    join(&dora, "dora").await;
    sees(&dora, &["anna", "bert", "cora"]).await;
    for (page, others) in [
        (&anna, ["bert", "cora", "dora"]),
        (&bert, ["anna", "cora", "dora"]),
        (&cora, ["anna", "bert", "dora"]),
    ] {
        sees(page, &others).await;
        assert_eq!((heard(page, "STATE"), heard(page, "LEFT")), (1, 0));
    }
}
