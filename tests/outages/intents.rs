//! The client's word during an outage: what it no longer wants is not replayed (rule R4).

use holdfast::load::webrtc_client::ClientOptions;
use serde_json::json;

use crate::common::{
    anchor,
    checks::{assert_no_violation, count},
    config, direct,
    page::{MSE_OFFER, Page, stream},
    pool,
    server::{Entry, Server},
    wait_until,
};

fn in_second_life<'a>(journal: &'a [Entry], what: &str) -> Vec<&'a Entry> {
    journal.iter().filter(|entry| entry.life == 2 && entry.what == what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_the_outage_cancels_and_is_answered() {
    let mut server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let page = Page::establish(proxy.address()).await;
    let pool = pool();
    // Three that would be replayed: an anchored publish and play, and an MSE play.
    let _camera = page.start_media(&pool, "p1", "cam", ClientOptions::publish()).await;
    page.wait_status("p1", "PUBLISHING").await;
    let _screen = page.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    page.send("playStream", stream("m1", "cam", false, "MSE", MSE_OFFER));
    page.wait_status("v1", "PLAYING").await;
    server.kill().await;
    page.unpublish("p1", "cam");
    page.stop("v1", "cam");
    page.stop("m1", "cam");
    page.wait_status("p1", "UNPUBLISHED").await;
    page.wait_status("v1", "STOPPED").await;
    page.wait_status("m1", "STOPPED").await;
    server.start_again().await;
    page.works().await;
    let journal = server.journal().await;
    assert!(in_second_life(&journal, "publish").is_empty(), "{journal:#?}");
    assert!(in_second_life(&journal, "play").is_empty(), "{journal:#?}");
    assert!(in_second_life(&journal, "stop").is_empty(), "{journal:#?}");
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "UNPUBLISHED"]);
    assert_no_violation(&server, "stops").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_leaves_during_the_outage_is_not_replayed() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let closed = Page::establish(proxy.address()).await;
    let cut = Page::establish(proxy.address()).await;
    let stays = Page::establish(proxy.address()).await;
    closed.publishing("p1", "one").await;
    cut.publishing("p2", "two").await;
    server.kill().await;
    closed.disconnect().await;
    drop(cut);
    wait_until("both sessions are gone", || proxy.facts().sessions == 1).await;
    server.start_again().await;
    stays.publishing("p3", "three").await;
    stays.wait_for_pings(2).await;
    let journal = server.journal().await;
    assert_eq!(in_second_life(&journal, "session").len(), 1, "{journal:#?}");
    assert_eq!(in_second_life(&journal, "publish").len(), 1, "{journal:#?}");
    assert_no_violation(&server, "leavers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_is_a_clean_close_and_no_outage() {
    // A server that keeps broken sessions: only a clean close frees the name at once.
    let server = Server::fake(json!({"sessions": {"linger_ms": 60_000}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    page.disconnect().await;
    server.wait_for("no session", |state| state["now"]["sessions"] == 0).await;
    // Whose process dies without a goodbye is closed cleanly at the server all the same.
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1-again", "cam").await;
    drop(page);
    let state = server.wait_for("no session", |state| state["now"]["sessions"] == 0).await;
    assert_eq!(state["now"]["lingering"], 0);
    let journal = server.journal().await;
    assert_eq!(count(&journal, "session"), 2, "nothing is restored: {journal:#?}");
    assert_no_violation(&server, "disconnects").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_of_the_proxy_leaves_no_ghost() {
    let server = Server::fake(json!({"sessions": {"linger_ms": 60_000}})).await;
    let proxy = direct(server.address).await;
    let pages = [Page::establish(proxy.address()).await, Page::establish(proxy.address()).await];
    pages[0].publishing("p1", "cam").await;
    assert!(proxy.shutdown().await, "in time");
    for page in &pages {
        let end = page.wait("the end", |told| told.ended.clone()).await;
        assert_eq!(end, "closed 1012");
    }
    server.wait_for("no session", |state| state["now"]["sessions"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn muted_stays_muted_on_the_next_server() {
    let mut server = Server::start(json!({})).await;
    let mut config = config(server.address, holdfast::config::MediaMode::Anchor);
    config.session.video.check_bitrate = holdfast::config::CheckBitrate::Off;
    let proxy = holdfast::net::Proxy::launch(config).await.unwrap();
    let page = Page::establish(proxy.address()).await;
    let camera = page.start_media(&pool(), "p1", "cam", ClientOptions::publish()).await;
    page.wait_status("p1", "PUBLISHING").await;
    page.send("sendStreamEvent", json!({"mediaSessionId": "p1", "type": "audioMuted"}));
    server.wait_for("muted", |state| state["streams"][0]["audio_muted"] == true).await;
    server.kill().await;
    server.start_again().await;
    server.wait_for("muted again", |state| state["streams"][0]["audio_muted"] == true).await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING"]);
    drop(camera);
}
