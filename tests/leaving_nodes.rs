//! Nodes that go away by themselves: what their closes say is the beginning of a drain, where several say it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{config, page::Page, server::Server, wait_until};
use holdfast::{
    config::{MediaMode, Policy},
    net::Proxy,
    session::NodeId,
};
use serde_json::json;
use tokio::net::TcpListener;

/// Two nodes, and sessions at the first of them.
struct Bed {
    here: Server,
    there: Server,
    proxy: Proxy,
    pages: Vec<Page>,
}

impl Bed {
    async fn of(sessions: usize) -> Self {
        let (here, there) = (Server::fake(json!({})).await, Server::fake(json!({})).await);
        let mut config = config(here.address, MediaMode::Direct);
        config.net.upstream.url.push(format!("ws://{}", there.address).parse().unwrap());
        config.net.upstream.policy = Policy::First;
        let proxy = Proxy::launch(config).await.unwrap();
        let mut pages = Vec::new();
        for _ in 0..sessions {
            pages.push(Page::establish(proxy.address()).await);
        }
        Self { here, there, proxy, pages }
    }

    async fn closes(&self, first: usize, code: u16) {
        let answer = self.here.fault(json!({"fault": "close", "code": code, "whom": {"first": first}})).await;
        assert_eq!(answer["struck"], first, "{answer}");
    }

    /// The state of the first node, and why.
    fn node(&self) -> (String, String) {
        let node = self.proxy.nodes().swap_remove(0);
        (node.state.to_string(), node.reason_kind.to_string())
    }

    async fn are_there(&self, sessions: usize) {
        self.there.wait_for("they are there", |state| state["now"]["sessions"] == sessions).await;
        self.here.wait_for("and not here", |state| state["now"]["sessions"] == 0).await;
    }

    async fn nobody_heard(&self) {
        for page in &self.pages {
            page.works().await;
            assert!(page.is_open() && page.session_callbacks() == 2, "{}", page.summary());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_closes_empty_a_node_until_it_is_back() {
    for code in [1001, 1012] {
        let mut bed = Bed::of(5).await;
        bed.closes(2, code).await;
        bed.are_there(5).await;
        assert_eq!(bed.node(), ("draining".to_owned(), "leaving".to_owned()));
        let drain = bed.proxy.drain_status(NodeId(0)).unwrap().progress;
        assert_eq!((drain.moved, drain.forced), (3, 0), "the others moved unseen: {drain:?}");
        bed.nobody_heard().await;
        bed.here.kill().await;
        // Nobody answers there: the second probe comes when the first has failed.
        let nobody = TcpListener::bind(bed.here.address).await.unwrap();
        for _ in 0..2 {
            drop(nobody.accept().await.unwrap());
        }
        drop(nobody);
        bed.here.start_again().await;
        wait_until("it is used again", || bed.node().0 == "up").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_that_is_sent_away_empties_no_node() {
    let bed = Bed::of(3).await;
    bed.closes(1, 1001).await;
    bed.here.wait_for("it came back", |state| state["now"]["sessions"] == 3).await;
    assert_eq!(bed.node().0, "up");
    bed.nobody_heard().await;
    assert_eq!(bed.there.state().await["now"]["sessions"], 0);
    // Nor do two that the server is done with.
    bed.closes(2, 1000).await;
    bed.here.wait_for("they came back", |state| state["now"]["sessions"] == 3).await;
    assert_eq!(bed.node().0, "up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_session_of_a_node_goes_elsewhere_at_once() {
    let bed = Bed::of(1).await;
    bed.closes(1, 1001).await;
    bed.are_there(1).await;
    assert_eq!(bed.node(), ("draining".to_owned(), "leaving".to_owned()));
    bed.nobody_heard().await;
}
