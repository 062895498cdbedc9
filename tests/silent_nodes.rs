//! Nodes that answer and pass no media, under real media: which are left, and what is not their fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    config, let_pass,
    page::{Page, media_until},
    pool,
    server::Server,
    wait_until,
};
use holdfast::{
    config::{MediaMode, Policy},
    load::webrtc_client::{ClientOptions, ClientPool, WebRtcClient},
    net::Proxy,
};
use serde_json::json;

/// By then a node would have been found to pass no media.
const LONG: Duration = Duration::from_secs(5);

/// A stream from one page to another.
struct Show {
    publisher: Page,
    player: Page,
    camera: Arc<WebRtcClient>,
    screen: Arc<WebRtcClient>,
}

impl Show {
    async fn begin(proxy: &Proxy, pool: &ClientPool, name: &str) -> Self {
        let publisher = Page::establish(proxy.address()).await;
        let (p, v) = (format!("{name}-p"), format!("{name}-v"));
        let camera = publisher.start_media(pool, &p, name, ClientOptions::publish()).await;
        publisher.wait_status(&p, "PUBLISHING").await;
        let player = Page::establish(proxy.address()).await;
        let screen = player.start_media(pool, &v, name, ClientOptions::play()).await;
        player.wait_status(&v, "PLAYING").await;
        let show = Self { publisher, player, camera, screen };
        show.goes_on().await;
        show
    }

    async fn goes_on(&self) {
        let before = self.screen.stats();
        media_until(&self.screen, "the picture goes on", |now| {
            now.video.packets_received > before.video.packets_received + 100
        })
        .await;
    }

    fn nobody_heard(&self) {
        assert_eq!(self.publisher.statuses("cam-p"), ["PUBLISHING"]);
        assert_eq!(self.player.statuses("cam-v"), ["PLAYING"]);
        assert!(!self.camera.stats().failed && !self.screen.stats().failed);
    }
}

/// Two nodes, the first of which is used, and a stream there.
struct Bed {
    here: Server,
    there: Server,
    proxy: Proxy,
    pool: ClientPool,
    show: Show,
}

impl Bed {
    async fn new() -> Self {
        let (here, there) = (Server::start(json!({})).await, Server::start(json!({})).await);
        let mut config = config(here.address, MediaMode::Anchor);
        config.net.upstream.url.push(format!("ws://{}", there.address).parse().unwrap());
        config.net.upstream.policy = Policy::First;
        config.net.upstream.media_retry = Duration::from_secs(2);
        let proxy = Proxy::launch(config).await.unwrap();
        let pool = pool();
        let show = Show::begin(&proxy, &pool, "cam").await;
        Self { here, there, proxy, pool, show }
    }

    /// What is known of the first node: its state, and whether media passes.
    fn node(&self) -> (String, String) {
        let node = self.proxy.nodes().swap_remove(0);
        (node.state.to_string(), node.media.to_string())
    }

    async fn is_left(&self) {
        wait_until("it is seen that no media passes", || self.node().1 == "no_media").await;
        assert_eq!(self.node().0, "up", "it answers");
        let newcomer = Page::establish(self.proxy.address()).await;
        self.there.wait_for("a new session passes it by", |state| state["now"]["sessions"] == 3).await;
        self.here.wait_for("nobody is left there", |state| state["now"]["sessions"] == 0).await;
        self.show.goes_on().await;
        self.show.nobody_heard();
        newcomer.disconnect().await;
        wait_until("it is tried again", || self.node().1 == "healthy").await;
    }

    /// Whatever is silent, that is not for the node.
    async fn is_not_left(&self) {
        let_pass(LONG).await;
        assert_eq!(self.node(), ("up".to_owned(), "healthy".to_owned()));
        assert_eq!(self.there.state().await["now"]["sessions"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_network_carries_no_media_is_left() {
    let bed = Bed::new().await;
    bed.here.switch(json!({"media_server": {"silent": true}})).await;
    bed.is_left().await;
    assert!(bed.there.violations().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_passes_nothing_on_is_left_although_its_transports_stand() {
    let bed = Bed::new().await;
    bed.here.fault(json!({"fault": "withhold", "withheld": true})).await;
    bed.is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_that_pause_sleep_or_leave_are_no_fault_of_their_node() {
    let bed = Bed::new().await;
    bed.show.camera.set_sending(false);
    bed.is_not_left().await;
    bed.show.camera.set_sending(true);
    bed.show.goes_on().await;
    bed.show.camera.set_silent(true);
    bed.is_not_left().await;
    bed.show.camera.set_silent(false);
    bed.show.goes_on().await;
    bed.show.publisher.disconnect().await;
    bed.is_not_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_stream_beside_another_is_no_fault_of_the_node() {
    let bed = Bed::new().await;
    let other = Show::begin(&bed.proxy, &bed.pool, "other").await;
    bed.here.fault(json!({"fault": "withhold", "withheld": true, "streams": {"name": "cam"}})).await;
    bed.is_not_left().await;
    other.goes_on().await;
    let stuck = bed.show.screen.stats().video.packets_received;
    other.goes_on().await;
    assert_eq!(bed.show.screen.stats().video.packets_received, stuck, "it was dead all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_that_stood_still_passes_media_again() {
    let here = Server::start(json!({})).await;
    let proxy = Proxy::launch(config(here.address, MediaMode::Anchor)).await.unwrap();
    let pool = pool();
    let show = Show::begin(&proxy, &pool, "cam").await;
    here.fault(json!({"fault": "freeze", "for_ms": 4_000})).await;
    let_pass(LONG).await;
    show.goes_on().await;
    show.nobody_heard();
    wait_until("all is well", || proxy.nodes()[0].media == "healthy" && proxy.nodes()[0].state == "up").await;
}
