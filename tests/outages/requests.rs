//! Requests that an outage catches on their way: each of them settles, exactly once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    checks::{assert_no_violation, count},
    direct, let_pass,
    page::Page,
    server::Server,
};

/// All that was asked and is still open on a page.
fn ask_everything(page: &Page, round: &str) {
    page.send_data(&format!("op-{round}"), json!({"hello": "you"}));
    page.send("availableStream", json!({"mediaSessionId": format!("a-{round}"), "name": "other"}));
    page.send("snapshot", json!({"mediaSessionId": format!("s-{round}"), "name": "other"}));
    page.send("call", call(&format!("c-{round}")));
}

fn call(id: &str) -> Value {
    json!({"callId": id, "incoming": false, "hasVideo": false, "hasAudio": true, "status": "PENDING",
        "mediaProvider": "WebRTC", "sdp": crate::common::page::OFFER, "caller": "me", "callee": "you",
        "visibleName": "me"})
}

async fn everything_settles(page: &Page, round: &str) {
    let operation = format!("op-{round}");
    page.wait("sendData settles", |told| {
        told.all("DataStatusEvent").any(|event| event["operationId"] == *operation).then_some(())
    })
    .await;
    page.wait("available() settles", |told| {
        told.all("availableStream").any(|event| event["id"] == format!("a-{round}")).then_some(())
    })
    .await;
    page.wait("snapshot settles", |told| {
        told.all("notifyStreamEvent")
            .any(|event| {
                event["mediaSessionId"] == format!("s-{round}")
                    && event["type"].as_str().is_some_and(|kind| kind.starts_with("snapshot"))
            })
            .then_some(())
    })
    .await;
    page.wait("the call settles", |told| {
        let last = told.call_statuses(&format!("c-{round}")).pop()?;
        ["FAILED", "FINISH", "BUSY"].contains(&&*last).then_some(())
    })
    .await;
}

fn assert_settled_once(page: &Page, round: &str) {
    let operation = format!("op-{round}");
    assert_eq!(page.data_statuses(&operation).len(), 1, "{}", page.summary());
    let available =
        page.look(|told| told.all("availableStream").filter(|e| e["id"] == format!("a-{round}")).count());
    assert_eq!(available, 1, "{}", page.summary());
    let statuses = page.look(|told| told.call_statuses(&format!("c-{round}")));
    let ends = statuses.iter().filter(|status| ["FAILED", "FINISH", "BUSY"].contains(&&***status)).count();
    assert_eq!(ends, 1, "{}", page.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_its_way_settles_once() {
    let changes = json!({
        "withhold": ["DataStatusEvent", "availableStream", "notifyStreamEvent"],
        "sip": {"outcome": "rings"},
        "streams": {"stop_delay_ms": 60_000},
    });
    let mut server = Server::fake(changes).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    page.playing("v1", "cam").await;
    page.stop("v1", "cam");
    page.unpublish("p1", "cam");
    ask_everything(&page, "lost");
    server.wait_for("all is asked for", |state| state["counters"]["asked"]["call"] == 1).await;
    page.wait("the call rings", |told| {
        told.call_statuses("c-lost").contains(&"RING".to_owned()).then_some(())
    })
    .await;
    server.kill().await;
    everything_settles(&page, "lost").await;
    page.wait_status("p1", "UNPUBLISHED").await;
    page.wait_status("v1", "STOPPED").await;
    server.set("withhold", &json!([]));
    server.set("streams", &json!({}));
    server.start_again().await;
    // The promises of the next life work.
    page.works().await;
    assert_settled_once(&page, "lost");
    assert_eq!(page.data_statuses("op-lost"), ["FAILED"]);
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "UNPUBLISHED"], "{}", page.summary());
    assert_eq!(page.statuses("v1"), ["PLAYING", "STOPPED"], "{}", page.summary());
    let journal = server.journal().await;
    let late: Vec<_> = journal.iter().filter(|entry| entry.life == 2 && entry.what != "session").collect();
    assert!(late.is_empty(), "one-shot requests are never replayed: {late:#?}");
    assert_no_violation(&server, "requests").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_during_the_outage_settles_once() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    server.kill().await;
    ask_everything(&page, "held");
    let_pass(Duration::from_millis(500)).await;
    server.start_again().await;
    everything_settles(&page, "held").await;
    page.wait_status("p1", "FAILED").await;
    page.wait_for_pings(2).await;
    assert_settled_once(&page, "held");
    assert_eq!(count(&server.journal().await, "session"), 2);
    assert_no_violation(&server, "requests").await;
}
