//! One session as the admin side tells it: what its client wants, and what befell it, outages and their verdicts
//! included; and that nothing secret is in any answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::{
    PATIENCE, anchor, direct,
    outage::Outage,
    page::{MSE_OFFER, Page, media_until, stream},
    pool,
    scrape::{admin_of, exchange},
    server::Server,
};
use holdfast::load::webrtc_client::ClientOptions;
use serde_json::{Value, json};
use tokio::time::timeout;

async fn get(admin: SocketAddr, path: &str) -> Value {
    let (status, _, body) = exchange(admin, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n")).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks until it is so.
async fn get_until(admin: SocketAddr, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let asked = async {
        loop {
            last = get(admin, path).await;
            if is_so(&last) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = timeout(PATIENCE, asked).await;
    assert!(in_time.is_ok(), "in vain: {path}: {last:#}");
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_rooms_and_an_outage_with_its_verdicts_are_told() {
    let mut server = Server::start(json!({})).await;
    let proxy = Arc::new(anchor(server.address).await);
    let admin = admin_of(&proxy).await;
    let pool = pool();
    let connection = json!({"appKey": "roomApp", "mediaProviders": ["WebRTC"], "custom": {"login": "anna"}});
    let page = Page::establish_as(proxy.address(), connection).await;
    assert_eq!(page.room_command("join", "join", json!({"name": "lounge"})).await, "ACCEPTED");
    let _camera = page.start_media(&pool, "p1", "cam", ClientOptions::publish()).await;
    page.wait_status("p1", "PUBLISHING").await;
    let screen = page.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    media_until(&screen, "the picture", |now| now.video.key_frames > 0).await;

    let before = get(admin, "/v1/sessions/s1").await;
    assert_eq!((&before["room_names"], &before["timeline"]), (&json!(["lounge"]), &json!([])), "{before:#}");
    let wants = |one: &Value| {
        let streams = one["streams"].as_array().unwrap().iter();
        streams
            .map(|s| format!("{} {} {}", s["kind"], s["name"], s["media"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(wants(&before), ["publish cam anchored", "play cam anchored"], "{before:#}");

    Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
    let after = get_until(admin, "/v1/sessions/s1", |one| {
        let streams = one["timeline"][0]["streams"].as_array();
        streams.is_some_and(|streams| {
            streams.len() == 2 && streams.iter().all(|s| s["gap_ms"].is_u64() && s["outcome"] == "restored")
        })
    })
    .await;
    let outage = &after["timeline"][0];
    assert_eq!((&outage["what"], &outage["streams_lost"]), (&"outage".into(), &2.into()), "{outage:#}");
    assert!(outage["dials_failed"].as_u64().unwrap() > 0 && outage["dial_error"].is_string(), "{outage:#}");
    assert!(outage["lasted_ms"].as_u64().unwrap() >= 500, "{outage:#}");
    for stream in outage["streams"].as_array().unwrap() {
        assert!(stream["after_ms"].as_u64().unwrap() >= outage["lasted_ms"].as_u64().unwrap(), "{outage:#}");
    }
    assert_eq!(wants(&after), wants(&before), "all is as it was");
    assert!(proxy.shutdown().await);
}

/// A session with a secret in everything that has one.
async fn talkative(address: SocketAddr) -> Page {
    let mut page = Page::open(address, "/ws?token=canary-url-query").await;
    page.connect(json!({
        "appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"],
        "authToken": "canary-auth-token", "custom": {"token": "canary-custom-token", "canary-custom-key": 1},
        "sipLogin": "100", "sipPassword": "canary-sip-password", "sipDomain": "pbx",
    }))
    .await;
    let mut publish = stream("p1", "cam", true, "WebRTC", common::page::OFFER);
    publish["custom"] = json!({"key": "canary-stream-custom"});
    publish["rtmpUrl"] = json!("rtmp://user:canary-rtmp-password@live.example/app");
    page.send("publishStream", publish);
    page.send("playStream", stream("m1", "cam", false, "MSE", MSE_OFFER));
    let camera = "rtsp://admin:canary-camera-password@10.0.0.1/1";
    page.send("playStream", stream("m2", camera, false, "MSE", MSE_OFFER));
    page.send_data("op", json!({"secret": "canary-data-payload"}));
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_holds_a_secret() {
    let mut server = Server::fake(json!({})).await;
    let proxy = Arc::new(direct(server.address).await);
    let admin = admin_of(&proxy).await;
    let page = talkative(proxy.address()).await;
    page.wait_status("p1", "PUBLISHING").await;
    Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    page.wait_status("p1", "FAILED").await;
    let one = get_until(admin, "/v1/sessions/s1", |one| {
        one["timeline"][0]["streams"].as_array().is_some_and(|streams| !streams.is_empty())
    })
    .await;
    assert_eq!(one["app_key"], "defaultApp", "it is told what it is: {one:#}");
    let mut secrets = vec!["canary".to_owned()];
    secrets.extend(page.user_data["authToken"].as_str().map(str::to_owned));
    for path in ["/v1/sessions/s1", "/v1/sessions", "/v1/nodes", "/v1/config", "/status"] {
        let text = get(admin, path).await.to_string();
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{path}: {text}");
        assert!(!text.contains("ice-pwd"), "{path}: {text}");
    }
    assert!(proxy.shutdown().await);
}
