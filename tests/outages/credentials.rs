//! What the server makes of repeated credentials (rule R8).

use std::time::Duration;

use holdfast::{config::MediaMode, load::webrtc_client::ClientOptions};
use serde_json::json;

use crate::common::{
    anchor,
    checks::{assert_no_violation, count},
    direct, let_pass,
    page::{Page, media_until},
    pool, proxy_with,
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_reported_once_and_not_hammered() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    page.send_data("op", json!({}));
    server.switch(json!({"sessions": {"refuse": {"info": "Forbidden"}}})).await;
    server.fault(json!({"fault": "drop"})).await;
    page.wait("the end of the socket", |told| told.ended.clone()).await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
    let refusals = page.look(|told| told.all("fail").cloned().collect::<Vec<_>>());
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(
        (&refusals[0]["info"], &refusals[0]["apiMethod"]),
        (&json!("Forbidden"), &json!("ConnectionStatusEvent"))
    );
    // Time in which a hammering proxy would have come again.
    let_pass(Duration::from_secs(1)).await;
    let journal = server.journal().await;
    assert_eq!(count(&journal, "connection refused"), 1, "{journal:#?}");
    // Let in again, the client authenticates anew.
    server.switch(json!({"sessions": {"refuse": null}})).await;
    Page::establish(proxy.address()).await.publishing("p2", "cam").await;
    assert_no_violation(&server, "refusal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_in_trouble_is_asked_again() {
    let server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let page = Page::establish(proxy.address()).await;
    let camera = page.start_media(&pool(), "p1", "cam", ClientOptions::publish()).await;
    page.wait_status("p1", "PUBLISHING").await;
    server.switch(json!({"sessions": {"refuse": {"info": "Service Unavailable", "times": 3}}})).await;
    server.fault(json!({"fault": "drop"})).await;
    server
        .wait_for("media of the next session", |state| {
            state["now"]["sessions"] == 1 && state["now"]["streams_live"] == 1
        })
        .await;
    page.wait_for_pings(2).await;
    assert!(page.is_open(), "{}", page.summary());
    assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{}", page.summary());
    assert_eq!(page.look(|told| told.all("fail").count()), 0, "{}", page.summary());
    let journal = server.journal().await;
    assert_eq!((count(&journal, "connection refused"), count(&journal, "session")), (3, 2), "{journal:#?}");
    assert_no_violation(&server, "transient refusals").await;
    drop(camera);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_handshake_is_final_too() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    server.switch(json!({"handshake": {"refuse_status": 403}})).await;
    server.fault(json!({"fault": "drop"})).await;
    page.wait("the end of the socket", |told| told.ended.clone()).await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
}

/// A client with `keepAlive` whose upstream keeps its session: it is resumed by token, and its
/// streams are proven by the server's word.
async fn resumed(mode: &str) {
    let changes = json!({"sessions": {"resume": mode, "streams_survive_loss": true}});
    let server = Server::fake(changes).await;
    let proxy = direct(server.address).await;
    let connection = json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "keepAlive": true});
    let page = Page::establish_as(proxy.address(), connection).await;
    page.publishing("p1", "cam").await;
    for round in 1..=2 {
        server.fault(json!({"fault": "drop"})).await;
        server.wait_for("resumed", |state| state["counters"]["resumed"] == round).await;
        page.wait_for_pings(2).await;
    }
    assert!(page.is_open());
    assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{mode}: {}", page.summary());
    assert_eq!(page.session_callbacks(), 2, "{mode}: {}", page.summary());
    page.unpublish("p1", "cam");
    page.wait_status("p1", "UNPUBLISHED").await;
    let journal = server.journal().await;
    assert_eq!(count(&journal, "session"), 1, "{mode}: {journal:#?}");
    assert_eq!(count(&journal, "publish"), 1, "{mode}: {journal:#?}");
    assert_no_violation(&server, mode).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_session_is_resumed_by_its_token() {
    resumed("same_token").await;
    resumed("new_token").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_not_kept_is_begun_again() {
    for (resume, stale) in [("off", json!(null)), ("same_token", json!("Session does not exist"))] {
        let sessions = json!({"resume": resume, "stale_token_info": stale});
        let mut server = Server::fake(json!({"sessions": sessions})).await;
        let proxy = direct(server.address).await;
        let connection = json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "keepAlive": true});
        let page = Page::establish_as(proxy.address(), connection).await;
        page.publishing("p1", "cam").await;
        server.kill().await;
        server.start_again().await;
        page.wait_status("p1", "FAILED").await;
        page.publishing("p2", "cam").await;
        assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{resume}: {}", page.summary());
        assert_eq!(page.session_callbacks(), 2, "{resume}: {}", page.summary());
        let journal = server.journal().await;
        assert_eq!(count(&journal, "session"), 2, "{resume}: {journal:#?}");
        assert_no_violation(&server, resume).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_resume_is_followed_by_an_ordinary_connection() {
    let server = Server::fake(json!({"sessions": {"resume": "same_token"}})).await;
    let proxy = proxy_with(server.address, MediaMode::Direct, |config| {
        config.session.restore.resume_wait = Duration::from_millis(500);
    })
    .await;
    let connection = json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "keepAlive": true});
    let page = Page::establish_as(proxy.address(), connection).await;
    page.publishing("p1", "cam").await;
    server.switch(json!({"withhold": ["getUserData"]})).await;
    server.fault(json!({"fault": "drop"})).await;
    server.wait_for("resumed", |state| state["counters"]["resumed"] == 1).await;
    server.switch(json!({"withhold": []})).await;
    page.wait_status("p1", "FAILED").await;
    page.publishing("p2", "screen").await;
    assert_eq!(page.session_callbacks(), 2, "{}", page.summary());
    assert_no_violation(&server, "unanswered resume").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anchored_media_goes_on_in_a_session_resumed_or_not() {
    for resume in ["off", "same_token", "new_token"] {
        let server = Server::start(json!({"sessions": {"resume": resume}})).await;
        let proxy = anchor(server.address).await;
        let connection = json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "keepAlive": true});
        let page = Page::establish_as(proxy.address(), connection).await;
        let pool = pool();
        let _camera = page.start_media(&pool, "p1", "cam", ClientOptions::publish()).await;
        page.wait_status("p1", "PUBLISHING").await;
        let screen = page.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
        media_until(&screen, "the first picture", |now| now.video.key_frames > 0).await;
        server.fault(json!({"fault": "drop"})).await;
        let before = screen.stats();
        media_until(&screen, &format!("{resume}: the picture goes on"), |now| {
            now.video.key_frames > before.video.key_frames
                && now.video.packets_received > before.video.packets_received + 60
        })
        .await;
        assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{resume}: {}", page.summary());
        assert_eq!(page.statuses("v1"), ["PLAYING"], "{resume}: {}", page.summary());
        assert_eq!(page.session_callbacks(), 2, "{resume}: {}", page.summary());
        assert_no_violation(&server, resume).await;
    }
}
