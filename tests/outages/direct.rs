//! Direct media: only signaling passes through the proxy. Every WebRTC stream is reported FAILED
//! exactly once on a session that lives, and the next publish works.

use std::time::Duration;

use holdfast::config::MediaMode;
use serde_json::json;

use crate::{
    common::{
        checks::{assert_intents_once, assert_no_violation, count},
        direct, let_pass,
        outage::{OUTAGES, Outage},
        page::Page,
        proxy_with,
        server::Server,
    },
    side_by_side,
};

async fn one_failed_and_the_next_publish_works(outage: Outage) {
    // Silent sessions are noticed by the server after 1.4 s, before the proxy misses the server.
    let mut server = Server::fake(json!({"pings": {"interval_ms": 200, "missed_max": 7}})).await;
    let proxy = direct(server.address).await;
    let what = format!("{outage:?}");
    let publisher = Page::establish(proxy.address()).await;
    let player = Page::establish(proxy.address()).await;
    publisher.publishing("p1", "cam").await;
    player.playing("v1", "cam").await;
    let callbacks = publisher.session_callbacks();

    outage.strike(&mut server).await;
    publisher.wait_status("p1", "FAILED").await;
    player.wait_status("v1", "FAILED").await;
    publisher.publishing("p2", "cam").await;
    player.playing("v2", "cam").await;

    for page in [&publisher, &player] {
        assert!(page.is_open(), "{what}: {}", page.summary());
        assert_eq!(page.session_callbacks(), callbacks, "{what}: {}", page.summary());
    }
    player.wait_for_pings(2).await;
    assert_eq!(publisher.statuses("p1"), ["PUBLISHING", "FAILED"], "{what}");
    assert_eq!(player.statuses("v1"), ["PLAYING", "FAILED"], "{what}");
    assert_eq!(publisher.statuses("p2"), ["PUBLISHING"], "{what}");
    assert_eq!(player.statuses("v2"), ["PLAYING"], "{what}");
    let journal = server.journal().await;
    let epochs = 2;
    assert_eq!(count(&journal, "session"), 2 * epochs, "{what}: one connection per epoch\n{journal:#?}");
    assert_intents_once(&journal, &what);
    assert_no_violation(&server, &what).await;
    // No ghost: the server knows the two streams of the new sessions and nothing else, once it has
    // seen that the old ones are silent.
    server
        .wait_for("two sessions, two streams", |state| {
            state["now"]["sessions"] == 2 && state["now"]["publishes"] == 1 && state["now"]["plays"] == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_outage_reports_each_stream_once_on_a_living_session() {
    side_by_side(OUTAGES.iter().map(|outage| one_failed_and_the_next_publish_works(*outage))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_restarts_are_one_outage_each() {
    let mut server = Server::fake(json!({})).await;
    // Restarts soon after each other count as failures, but a server that was away and answers again is
    // not left to the backoff.
    let proxy = proxy_with(server.address, MediaMode::Direct, |config| {
        config.session.restore.backoff_initial = Duration::from_secs(600);
        config.session.restore.backoff_max = Duration::from_secs(600);
    })
    .await;
    let page = Page::establish(proxy.address()).await;
    let callbacks = page.session_callbacks();
    let restarts = 4;
    for round in 0..restarts {
        let id = format!("p{round}");
        page.publishing(&id, "cam").await;
        Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
        page.wait_status(&id, "FAILED").await;
        assert_eq!(page.statuses(&id), ["PUBLISHING", "FAILED"]);
    }
    page.publishing("last", "cam").await;
    assert!(page.is_open());
    assert_eq!(page.session_callbacks(), callbacks, "{}", page.summary());
    let journal = server.journal().await;
    assert_eq!(count(&journal, "session"), restarts + 1, "{journal:#?}");
    assert_intents_once(&journal, "restarts");
    assert_no_violation(&server, "restarts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_failures_before_the_end_is_one_failed() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    let burst =
        json!({"fault": "restart", "burst_info": "Stopped by session disconnect", "burst_gap_ms": 100});
    server.fault(burst).await;
    page.wait_status("p1", "FAILED").await;
    page.publishing("p2", "cam").await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
    assert_no_violation(&server, "burst").await;
}

/// The control: the same pages straight at the server. Their sockets end, or nothing comes any more.
async fn without_the_proxy_it_dies(outage: Outage) {
    let mut server = Server::fake(json!({"pings": {"interval_ms": 200, "missed_max": 5}})).await;
    let page = Page::establish(server.address).await;
    page.publishing("p1", "cam").await;
    outage.strike(&mut server).await;
    let what = format!("{outage:?}");
    if outage == Outage::BlackHole {
        page.send_data("op", json!({"hello": 1}));
        // What was on its way before may still come.
        let_pass(Duration::from_millis(500)).await;
        let pings = page.look(|told| told.pings);
        let_pass(Duration::from_secs(3)).await;
        assert_eq!(page.look(|told| told.pings), pings, "{what}: silent");
        assert!(page.data_statuses("op").is_empty(), "{what}: the promise hangs");
        server.wait_for("the session is gone", |state| state["now"]["sessions"] == 0).await;
    } else {
        page.wait(&format!("{what}: the end"), |told| told.ended.clone()).await;
        assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{what}: no word on the stream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_straight_at_the_server_sockets_die() {
    // A frozen server comes back to the same connections: what dies of that is the media, which
    // the long run shows.
    let outages = OUTAGES.iter().filter(|outage| !matches!(outage, Outage::Freeze(_)));
    side_by_side(outages.map(|outage| without_the_proxy_it_dies(*outage))).await;
}
