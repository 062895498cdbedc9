//! Nothing secret gets into the log, at any level: canaries in everything that a client, a server
//! or an operator would not want to read there, carried through an outage and its restore.
//! A binary of its own, because it collects the log of the whole process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{
    anchor, direct,
    outage::Outage,
    page::{MSE_OFFER, Page, media_until, stream},
    pool,
    server::Server,
};
use holdfast::{load::webrtc_client::ClientOptions, telemetry::LogCapture};
use serde_json::{Value, json};

fn connection() -> Value {
    json!({
        "appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"], "keepAlive": true,
        "authToken": "canary-auth-token", "custom": {"token": "canary-custom-token", "canary-custom-key": 1},
        "sipLogin": "100", "sipAuthenticationName": "canary-sip-name", "sipPassword": "canary-sip-password",
        "sipDomain": "pbx", "sipRegisterRequired": true,
    })
}

/// A session that says all of it, in good and in bad ways.
async fn talkative(address: std::net::SocketAddr, offer: &str) -> Page {
    let mut page = Page::open(address, "/ws?token=canary-url-query").await;
    page.connect(connection()).await;
    let mut publish = stream("p1", "cam", true, "WebRTC", offer);
    publish["custom"] = json!({"key": "canary-stream-custom"});
    publish["rtmpUrl"] = json!("rtmp://user:canary-rtmp-password@live.example/app");
    page.send("publishStream", publish);
    page.send("playStream", stream("m1", "cam", false, "MSE", MSE_OFFER));
    page.send_data("op", json!({"secret": "canary-data-payload"}));
    page.send(
        "sendStreamEvent",
        json!({"mediaSessionId": "p1", "type": "data", "payload": "canary-stream-data"}),
    );
    page.send("pushLogs", json!({"logs": "canary-pushed-log"}));
    page.send("unheardOf", json!({"token": "canary-unknown-verb"}));
    page.send_text(r#"{"message":"sendData","data":{"not an array":"canary-malformed"}}"#.to_owned());
    page.send_text(r#"{"message":"sendData","data":["canary-broken-json"#.to_owned());
    page
}

/// Sockets that never become sessions.
async fn bad_beginnings(address: std::net::SocketAddr) {
    for first in [
        r#"{"message":"connection","data":"canary-first-data"}"#,
        r#"{"canary-first-key":"canary-first-value"}"#,
        "canary-first-text",
    ] {
        let page = Page::open(address, "/?canary-url-query").await;
        page.send_text(first.to_owned());
        let media = Page::open(address, "/").await;
        media.send("connectMediaTransport", json!({"authToken": "canary-media-token"}));
        page.disconnect().await;
        media.disconnect().await;
    }
}

/// SDP credentials that went over the wire, which are made by the parties themselves.
fn credentials_in(page: &Page) -> Vec<String> {
    page.look(|told| {
        let sdps = told.messages.iter().filter(|heard| heard.name == "setRemoteSDP");
        sdps.flat_map(|heard| credentials(heard.data[1].as_str().unwrap())).collect()
    })
}

fn credentials(sdp: &str) -> Vec<String> {
    let secret = ["a=ice-pwd:", "a=crypto:"];
    let values = sdp.lines().filter_map(|line| secret.iter().find_map(|key| line.strip_prefix(key)));
    values.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_log_holds_a_secret() {
    let log = LogCapture::new();
    log.everywhere().unwrap();
    let mut server = Server::start(json!({"sessions": {"resume": "new_token"}})).await;
    let (plain, anchored) = (direct(server.address).await, anchor(server.address).await);
    let pool = pool();
    let phone = pool.client(ClientOptions::publish()).await.unwrap();
    let talker = talkative(plain.address(), phone.offer()).await;
    bad_beginnings(plain.address()).await;
    let watcher = Page::establish(anchored.address()).await;
    let _camera = watcher.start_media(&pool, "p2", "screen", ClientOptions::publish()).await;
    watcher.wait_status("p2", "PUBLISHING").await;
    let screen = watcher.start_media(&pool, "v2", "screen", ClientOptions::play()).await;
    media_until(&screen, "the picture", |now| now.video.key_frames > 0).await;
    talker.wait_status("p1", "PUBLISHING").await;
    let before = screen.stats();

    Outage::Fin.strike(&mut server).await;
    server.wait_for("resumed by token", |state| state["counters"]["resumed"] != 0).await;
    Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
    media_until(&screen, "the picture goes on", |now| now.video.key_frames > before.video.key_frames).await;
    talker.wait_status("p1", "FAILED").await;
    server.switch(json!({"sessions": {"refuse": {"info": "Forbidden"}}})).await;
    Outage::Fin.strike(&mut server).await;
    talker.wait("the refusal", |told| told.ended.clone()).await;
    let mut secrets = credentials_in(&watcher);
    assert!(secrets.len() >= 2, "the answers hold credentials: {secrets:?}");
    secrets.extend(credentials_in(&talker));
    secrets.extend(credentials(phone.offer()));
    secrets.extend(["authToken"].iter().filter_map(|key| Some(talker.user_data[*key].as_str()?.to_owned())));
    assert!(plain.shutdown().await && anchored.shutdown().await);

    let text = log.text();
    for event in
        ["session_up", "upstream_lost", "restored", "stream_outcome", "session_ended", "replay_refused"]
    {
        assert!(text.contains(event), "{event} was logged, so the log was really collected");
    }
    let leaks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("canary") || secrets.iter().any(|secret| line.contains(&**secret)))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
