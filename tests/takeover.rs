//! Who gets the name of a publisher that does not answer (rule R7), end to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use net_support::*;
use serde_json::json;

const IN_USE: &str = "Stream name is already in use";

fn request(id: &str) -> String {
    json!({"message": "publishStream", "data": [{"mediaSessionId": id, "name": "cam", "sdp": "offer"}]})
        .to_string()
}

fn status(id: &str, status: &str, info: &str) -> String {
    let fields =
        json!({"mediaSessionId": id, "name": "cam", "published": true, "status": status, "info": info});
    json!({"message": "notifyStreamStatusEvent", "data": [fields]}).to_string()
}

/// Whether a client with these headers ends a publisher that reads and answers nothing.
async fn taken_over(headers: &[(&'static str, &str)], identity: &[&str]) -> bool {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.identity_headers = identity.iter().map(|name| name.parse().unwrap()).collect();
    let mut session = holdfast::config::SessionSettings::default();
    session.restore.prove_alive = Duration::from_millis(300);
    let proxy = holdfast::net::Proxy::start(settings, session).await.unwrap();
    let own = [("origin", "https://page.example"), ("user-agent", "Browser/1"), ("cookie", "user=ann")];
    let mut holder = try_connect(proxy.address(), "/", &own).await.unwrap();
    let (mut first, _) = upstream.accept().await;
    send(&mut holder, CONNECTION).await;
    next(&mut first).await;
    send(&mut first, &user_data("t1")).await;
    send(&mut holder, &request("a")).await;
    next(&mut first).await;
    send(&mut first, &status("a", "PUBLISHING", "")).await;
    next_text(&mut holder).await;
    next_text(&mut holder).await;
    // From here on the holder is silent.
    let mut newcomer = try_connect(proxy.address(), "/", headers).await.unwrap();
    let (mut second, _) = upstream.accept().await;
    send(&mut newcomer, CONNECTION).await;
    next(&mut second).await;
    send(&mut second, &user_data("t2")).await;
    next_text(&mut newcomer).await;
    send(&mut newcomer, &request("b")).await;
    next(&mut second).await;
    send(&mut second, &status("b", "FAILED", IN_USE)).await;
    // Either the publish comes again, or its client hears of the refusal.
    let again = tokio::select! {
        message = next_text(&mut second) => message.contains("publishStream"),
        message = next_text(&mut newcomer) => {
            assert!(message.contains(IN_USE), "{message}");
            false
        }
    };
    assert_eq!(proxy.facts().sessions, if again { 1 } else { 2 });
    again
}

const SAME: [(&str, &str); 3] =
    [("origin", "https://page.example"), ("user-agent", "Browser/1"), ("cookie", "user=bob")];

#[tokio::test]
async fn the_same_client_takes_over() {
    assert!(taken_over(&SAME, &[]).await);
}

#[tokio::test]
async fn another_client_does_not() {
    assert!(!taken_over(&[SAME[0], ("user-agent", "Browser/2")], &[]).await);
    assert!(!taken_over(&[("origin", "https://other.example"), SAME[1]], &[]).await);
    assert!(!taken_over(&SAME, &["Cookie"]).await, "an identity header tells them apart");
}
