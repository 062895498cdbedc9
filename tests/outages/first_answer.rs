//! A publish that waits for its first answer when the server dies.

use std::time::Duration;

use holdfast::config::MediaMode;
use serde_json::json;

use crate::common::{
    checks::{assert_intents_once, assert_no_violation},
    direct,
    outage::Outage,
    page::Page,
    proxy_with,
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_its_answer_from_the_next_server() {
    let mut server = Server::fake(json!({"streams": {"publish_delay_ms": 60_000}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publish("p1", "cam");
    server.wait_for("the publish is asked for", |state| state["now"]["streams_pending"] == 1).await;
    server.kill().await;
    server.set("streams", &json!({"publish_delay_ms": 300}));
    server.start_again().await;
    page.wait_status("p1", "PUBLISHING").await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING"]);
    assert_eq!(page.remote_sdps("p1"), 1, "one answer");
    assert_intents_once(&server.journal().await, "slow publish");
    assert_no_violation(&server, "slow publish").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_for_during_the_outage_it_is_answered_after_it() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    server.kill().await;
    page.publish("p1", "cam");
    page.wait_for_pings(3).await;
    assert!(page.statuses("p1").is_empty(), "it waits");
    server.start_again().await;
    page.wait_status("p1", "PUBLISHING").await;
    assert_eq!((page.statuses("p1").len(), page.remote_sdps("p1")), (1, 1));
    assert_no_violation(&server, "held publish").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_hold_it_fails_once_and_the_next_one_works() {
    let mut server = Server::fake(json!({"streams": {"publish_delay_ms": 60_000}})).await;
    let hold = Duration::from_millis(1_500);
    let proxy =
        proxy_with(server.address, MediaMode::Direct, |config| config.session.hold.time_max = hold).await;
    let page = Page::establish(proxy.address()).await;
    page.publish("p1", "cam");
    server.wait_for("the publish is asked for", |state| state["now"]["streams_pending"] == 1).await;
    server.kill().await;
    page.publish("p2", "screen");
    page.wait_status("p1", "FAILED").await;
    page.wait_status("p2", "FAILED").await;
    server.set("streams", &json!({}));
    server.start_again().await;
    page.publishing("p3", "cam").await;
    page.publishing("p4", "screen").await;
    for id in ["p1", "p2"] {
        assert_eq!(page.statuses(id), ["FAILED"], "{}", page.summary());
        assert_eq!(page.remote_sdps(id), 0);
    }
    let journal = server.journal().await;
    let replayed = journal.iter().any(|entry| entry.life == 2 && (entry.id == "p1" || entry.id == "p2"));
    assert!(!replayed, "what was reported is not asked for again: {journal:#?}");
    assert_no_violation(&server, "past the hold").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_publishes_survive_a_second_restart() {
    let mut server = Server::fake(json!({"streams": {"publish_delay_ms": 60_000}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publish("p1", "cam");
    for _ in 0..2 {
        server.wait_for("the publish is asked for", |state| state["now"]["streams_pending"] == 1).await;
        Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    }
    server.wait_for("the publish is asked for", |state| state["now"]["streams_pending"] == 1).await;
    server.kill().await;
    server.set("streams", &json!({}));
    server.start_again().await;
    page.wait_status("p1", "PUBLISHING").await;
    assert_eq!((page.statuses("p1").len(), page.remote_sdps("p1")), (1, 1));
    assert_no_violation(&server, "slow publish, three restarts").await;
}
