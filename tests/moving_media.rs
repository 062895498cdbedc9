//! A publisher and its player move from one simulated node to another with real media: neither page hears
//! anything, and the picture goes on (rule R15).
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
    config::MediaMode,
    drain::{Progress, Stage},
    load::webrtc_client::{ClientOptions, WebRtcClient},
    net::{DrainOrder, Proxy},
    session::{MoveOutcome, NodeId},
};
use serde_json::json;

const HERE: NodeId = NodeId(0);
const THERE: NodeId = NodeId(1);
/// How long a publisher that has moved keeps by itself what it left.
const HOLD: Duration = Duration::from_secs(4);

/// Two nodes, and a stream from one page to another at the first of them.
struct Bed {
    here: Server,
    there: Server,
    proxy: Proxy,
    publisher: Page,
    player: Page,
    camera: Arc<WebRtcClient>,
    screen: Arc<WebRtcClient>,
}

impl Bed {
    async fn new() -> Self {
        let (here, there) = (Server::start(json!({})).await, Server::start(json!({})).await);
        let mut config = config(here.address, MediaMode::Anchor);
        config.session.restore.move_hold = HOLD;
        config.net.upstream.url.push(format!("ws://{}", there.address).parse().unwrap());
        let proxy = Proxy::launch(config).await.unwrap();
        let pool = pool();
        let publisher = Page::establish(proxy.address()).await;
        let camera = publisher.start_media(&pool, "p", "cam", ClientOptions::publish()).await;
        publisher.wait_status("p", "PUBLISHING").await;
        let player = Page::establish(proxy.address()).await;
        let screen = player.start_media(&pool, "v", "cam", ClientOptions::play()).await;
        player.wait_status("v", "PLAYING").await;
        media_until(&screen, "a picture", |now| now.video.key_frames > 0).await;
        Self { here, there, proxy, publisher, player, camera, screen }
    }

    /// Moves the session that publishes, or that which plays.
    async fn moves(&self, publishes: bool) -> MoveOutcome {
        let all = self.proxy.survey(10).await;
        let belongings = all.iter().find(|one| one.publishes.is_empty() != publishes).unwrap();
        assert_eq!((belongings.node, belongings.bound_by), (HERE, None));
        self.proxy.move_session(belongings.session, THERE).await.expect("an outcome")
    }

    async fn picture_goes_on(&self) {
        let before = self.screen.stats();
        media_until(&self.screen, "the picture goes on", |now| {
            now.video.packets_received > before.video.packets_received + 100
        })
        .await;
    }

    /// Neither page heard more than it had to.
    fn nobody_heard(&self) {
        assert_eq!(self.publisher.statuses("p"), ["PUBLISHING"]);
        assert_eq!(self.player.statuses("v"), ["PLAYING"]);
        for (page, id) in [(&self.publisher, "p"), (&self.player, "v")] {
            assert_eq!(
                (page.remote_sdps(id), page.session_callbacks(), page.is_open()),
                (1, 2, true),
                "getUserData and getVersion once"
            );
        }
        assert!(!self.camera.stats().failed && !self.screen.stats().failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_and_its_player_move_and_nobody_hears_of_it() {
    let mut bed = Bed::new().await;
    assert_eq!(bed.moves(true).await, MoveOutcome::Done);
    bed.picture_goes_on().await;
    let before = bed.screen.stats();
    assert_eq!(bed.moves(false).await, MoveOutcome::Done);
    let publisher = bed.proxy.survey(10).await.into_iter().find(|one| !one.publishes.is_empty()).unwrap();
    assert_eq!((publisher.node, publisher.bound_by), (THERE, Some("moving")), "what it left still stands");
    bed.proxy.let_go(publisher.session);
    bed.here.wait_for("nobody is left at the old node", |state| state["now"]["sessions"] == 0).await;
    bed.picture_goes_on().await;
    bed.nobody_heard();
    let after = bed.screen.stats();
    assert!(after.video.missing == before.video.missing, "no hole where the sources meet: {after:#?}");
    // The old node may go now.
    bed.here.kill().await;
    bed.picture_goes_on().await;
    bed.nobody_heard();
    assert!(bed.there.violations().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_no_stream_gets_none_and_the_picture_goes_on() {
    let bed = Bed::new().await;
    bed.there.switch(json!({"streams": {"refuse": [{"verb": "publish", "info": "Stream failed"}]}})).await;
    assert_eq!(bed.moves(true).await, MoveOutcome::Returned("Stream failed".to_owned()));
    bed.picture_goes_on().await;
    bed.nobody_heard();
    // Its player finds no publisher there, and stays as well.
    assert!(matches!(bed.moves(false).await, MoveOutcome::Returned(_)));
    bed.picture_goes_on().await;
    bed.nobody_heard();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_cannot_follow_keeps_its_picture_until_it_can() {
    let bed = Bed::new().await;
    bed.there.switch(json!({"streams": {"refuse": [{"verb": "play", "info": "Stream failed"}]}})).await;
    bed.proxy.drain(HERE, DrainOrder::default()).unwrap();
    let progress = || -> Progress { bed.proxy.drain_status(HERE).unwrap().progress };
    wait_until("the player is named", || progress().left.iter().any(|left| left.reason == "Stream failed"))
        .await;
    assert_eq!((progress().stage, progress().moved, progress().remaining), (Stage::Waiting, 1, 1));
    // Longer than its publisher would keep by itself what it left.
    let_pass(HOLD * 2).await;
    bed.picture_goes_on().await;
    bed.nobody_heard();
    bed.there.switch(json!({"streams": {"refuse": []}})).await;
    wait_until("all have gone", || progress().stage == Stage::Done).await;
    assert_eq!((progress().moved, progress().forced), (2, 0));
    bed.here.wait_for("nobody is left there", |state| state["now"]["sessions"] == 0).await;
    bed.picture_goes_on().await;
    bed.nobody_heard();
}
