//! Outages in their real length, with the settings as they are shipped. They run side by side.

use std::{pin::Pin, time::Duration};

use holdfast::{
    config::{KeepaliveSettings, MediaMode},
    net::Proxy,
};
use serde_json::json;

use crate::{
    anchor::Pair,
    common::{
        checks::{assert_intents_once, assert_no_violation},
        outage::Outage,
        page::{Page, media_until},
        pool, proxy_with,
        server::Server,
    },
    ghosts, side_by_side,
};

async fn as_shipped(server: &Server, media: MediaMode) -> Proxy {
    proxy_with(server.address, media, |config| {
        config.session.keepalive = KeepaliveSettings::default();
        config.net.upstream.dial_timeout = Duration::from_secs(5);
    })
    .await
}

fn slow_pings() -> serde_json::Value {
    json!({"pings": {"interval_ms": 5_000}})
}

async fn anchored(outage: Outage) {
    let mut server = Server::start(slow_pings()).await;
    let proxy = as_shipped(&server, MediaMode::Anchor).await;
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    let what = format!("{outage:?}, as shipped");
    outage.strike(&mut server).await;
    let before = pair.screen.stats();
    pair.media_goes_on(&what, &before).await;
    pair.assert_unaware(&what);
    assert_intents_once(&server.journal().await, &what);
    assert_no_violation(&server, &what).await;
}

/// Longer than the hold: what was published meanwhile fails once within it, the next one works.
async fn direct_for_forty_seconds() {
    let mut server = Server::fake(slow_pings()).await;
    let proxy = as_shipped(&server, MediaMode::Direct).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    let strike = Outage::Kill(Duration::from_secs(40)).strike(&mut server);
    let meanwhile = async {
        page.wait_status("p1", "FAILED").await;
        page.publish("p2", "cam");
        let patience = Duration::from_secs(38);
        page.wait_for(patience, "FAILED of p2", |told| (told.statuses("p2") == ["FAILED"]).then_some(()))
            .await;
    };
    tokio::join!(strike, meanwhile);
    page.publishing("p3", "cam").await;
    assert!(page.is_open());
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
    assert_eq!(page.statuses("p2"), ["FAILED"], "{}", page.summary());
    assert_eq!(page.session_callbacks(), 2, "{}", page.summary());
    assert_no_violation(&server, "40 s").await;
}

async fn direct_frozen_for_thirty_seconds() {
    let mut server = Server::fake(slow_pings()).await;
    let proxy = as_shipped(&server, MediaMode::Direct).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    Outage::Freeze(Duration::from_secs(30)).strike(&mut server).await;
    page.wait_status("p1", "FAILED").await;
    page.publishing("p2", "cam").await;
    assert!(page.is_open());
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
    assert_eq!(page.session_callbacks(), 2, "{}", page.summary());
    assert_no_violation(&server, "frozen").await;
}

/// The control: straight at a frozen server ICE gives up, and signaling says nothing about it.
async fn control_frozen() {
    let mut server = Server::start(slow_pings()).await;
    let pair = Pair::start(server.address, &pool(), "cam").await;
    let strike = Outage::Freeze(Duration::from_secs(30)).strike(&mut server);
    let media = media_until(&pair.screen, "ICE gives up", |now| now.failed);
    tokio::join!(strike, media);
    assert_eq!(pair.player.statuses("v1"), ["PLAYING"], "nobody tells the page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_of_real_length_are_survived() {
    let cases: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
        Box::pin(anchored(Outage::Kill(Duration::from_secs(40)))),
        Box::pin(anchored(Outage::Freeze(Duration::from_secs(30)))),
        Box::pin(anchored(Outage::Restarts(5, Duration::from_secs(6)))),
        Box::pin(direct_for_forty_seconds()),
        Box::pin(direct_frozen_for_thirty_seconds()),
        Box::pin(ghosts::the_next_publish_waits_for_its_name(20_000)),
        Box::pin(ghosts::anchored_stream_waits_for_its_name(20_000)),
        Box::pin(control_frozen()),
    ];
    side_by_side(cases).await;
}
