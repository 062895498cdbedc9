//! Names that a dead session still holds (rule R7).

use std::time::{Duration, Instant};

use holdfast::{config::MediaMode, load::webrtc_client::ClientStats};
use serde_json::json;

use crate::{
    anchor::Pair,
    common::{
        anchor,
        checks::{assert_no_violation, count},
        direct,
        page::Page,
        pool, proxy_with,
        server::Server,
    },
};

/// The server keeps the broken session, and with it the name, for `linger_ms`.
pub async fn anchored_stream_waits_for_its_name(linger_ms: u64) {
    let server = Server::start(json!({"sessions": {"linger_ms": linger_ms}})).await;
    let proxy = anchor(server.address).await;
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    let before: ClientStats = pair.screen.stats();
    let struck = Instant::now();
    server.fault(json!({"fault": "drop"})).await;
    pair.media_goes_on("the ghost is gone", &before).await;
    assert!(struck.elapsed() >= Duration::from_millis(linger_ms), "the ghost was there");
    pair.assert_unaware("ghost");
    let journal = server.journal().await;
    let refused =
        journal.iter().filter(|e| e.what == "refused" && e.detail.contains("already in use")).count();
    assert!(refused > 0, "{journal:#?}");
    assert_no_violation(&server, "ghost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchored_stream_waits_for_its_name() {
    anchored_stream_waits_for_its_name(4_000).await;
}

/// The next publish of a page meets the ghost of its own session.
pub async fn the_next_publish_waits_for_its_name(linger_ms: u64) {
    let server = Server::fake(json!({"sessions": {"linger_ms": linger_ms}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    server.fault(json!({"fault": "drop"})).await;
    page.wait_status("p1", "FAILED").await;
    page.publishing("p2", "cam").await;
    assert_eq!(page.statuses("p2"), ["PUBLISHING"], "{}", page.summary());
    assert!(page.is_open());
    assert_no_violation(&server, "ghost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_publish_waits_for_its_name() {
    the_next_publish_waits_for_its_name(4_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_network_change_the_old_session_gives_up_the_name() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let old = Page::establish(proxy.address()).await;
    old.publishing("p1", "cam").await;
    old.go_silent();
    let new = Page::establish(proxy.address()).await;
    let asked = Instant::now();
    new.publishing("p2", "cam").await;
    // Three seconds are promised; a busy machine may add to them. Missing pongs would take 20.
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert_eq!(new.statuses("p2"), ["PUBLISHING"], "{}", new.summary());
    let state = server.wait_for("one session", |state| state["now"]["sessions"] == 1).await;
    assert_eq!(state["now"]["publishes"], 1);
    assert_no_violation(&server, "network change").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_holder_keeps_its_name() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let holder = Page::establish(proxy.address()).await;
    holder.publishing("p1", "cam").await;
    let other = Page::establish(proxy.address()).await;
    other.publish("p2", "cam");
    let info = other.status_info("p2", "FAILED").await;
    assert_eq!(info, "Stream name is already in use", "as the server refuses it");
    holder.wait_for_pings(2).await;
    assert_eq!(holder.statuses("p1"), ["PUBLISHING"]);
    assert!(holder.is_open() && other.is_open());
    // Nobody else's stream was touched.
    let journal = server.journal().await;
    assert_eq!(count(&journal, "stop"), 0, "{journal:#?}");
    assert_no_violation(&server, "living holder").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_holds_the_name_is_left_alone() {
    let server = Server::fake(json!({})).await;
    let proxy = proxy_with(server.address, MediaMode::Direct, |_| {}).await;
    let stranger = Page::establish(server.address).await;
    stranger.publishing("s1", "cam").await;
    let page = Page::establish(proxy.address()).await;
    page.publish("p1", "cam");
    assert_eq!(page.status_info("p1", "FAILED").await, "Stream name is already in use");
    assert_eq!(stranger.statuses("s1"), ["PUBLISHING"]);
    let journal = server.journal().await;
    assert_eq!(journal.iter().filter(|e| e.what == "publish" && e.name == "cam").count(), 2, "{journal:#?}");
}
