//! Rooms across an outage: joined again before anything else, and told as differences.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    checks::{assert_intents_once, assert_no_violation, count},
    direct,
    outage::Outage,
    page::Page,
    server::Server,
};

async fn join(address: std::net::SocketAddr, login: &str) -> Page {
    let connection = json!({"appKey": "roomApp", "mediaProviders": ["WebRTC"], "custom": {"login": login}});
    let page = Page::establish_as(address, connection).await;
    assert_eq!(page.room_command(&format!("join-{login}"), "join", json!({"name": "r"})).await, "ACCEPTED");
    page.wait("STATE", |told| told.room_events().iter().any(|(name, _)| name == "STATE").then_some(())).await;
    page
}

fn events(page: &Page, name: &str) -> Vec<Value> {
    page.look(|told| {
        told.room_events().into_iter().filter(|(n, _)| n == name).map(|(_, info)| info).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_stay_and_nobody_is_told_twice() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let anna = join(proxy.address(), "anna").await;
    let bert = join(proxy.address(), "bert").await;
    let cora = join(proxy.address(), "cora").await;
    // Each of those who were there first has heard of those who came later.
    for (page, login) in [(&anna, "bert"), (&anna, "cora"), (&bert, "cora")] {
        page.wait("JOINED", |told| {
            told.room_events().iter().any(|(name, info)| name == "JOINED" && info == login).then_some(())
        })
        .await;
    }
    let before = [&anna, &bert].map(|page| page.look(|told| told.room_events().len()));
    // One of them leaves while the server is away.
    server.kill().await;
    cora.disconnect().await;
    server.start_again().await;
    anna.wait("LEFT of cora", |told| {
        told.room_events().iter().any(|(name, info)| name == "LEFT" && info == "cora").then_some(())
    })
    .await;
    bert.wait("LEFT of cora", |told| {
        told.room_events().iter().any(|(name, info)| name == "LEFT" && info == "cora").then_some(())
    })
    .await;
    server
        .wait_for("both are in", |state| state["rooms"]["r"].as_object().is_some_and(|r| r.len() == 2))
        .await;
    // The room works.
    let said = bert.room_command(
        "say",
        "sendMessage",
        json!({"roomConfig": {"name": "r"}, "to": "anna", "text": "hi"}),
    );
    assert_eq!(said.await, "ACCEPTED");
    anna.wait("the message", |told| {
        told.room_events().iter().any(|(name, info)| name == "MESSAGE" && info["text"] == "hi").then_some(())
    })
    .await;
    for (page, before) in [(&anna, before[0]), (&bert, before[1])] {
        assert_eq!(events(page, "STATE").len(), 1, "pages publish on STATE: {}", page.summary());
        assert_eq!(page.session_callbacks(), 2, "{}", page.summary());
        let joins = page.look(|told| {
            told.all("DataStatusEvent")
                .filter(|e| e["operationId"].as_str().unwrap().starts_with("join"))
                .count()
        });
        assert_eq!(joins, 1, "{}", page.summary());
        let new = page.look(|told| told.room_events().split_off(before));
        let joined = new.iter().filter(|(name, _)| name == "JOINED").count();
        assert_eq!(joined, 0, "a JOINED would wipe the streams of a participant: {new:?}");
    }
    let journal = server.journal().await;
    let joins =
        journal.iter().filter(|e| e.life == 2 && e.what == "room command" && e.detail == "join").count();
    assert_eq!((joins, count(&journal, "session")), (2, 5), "{journal:#?}");
    assert_no_violation(&server, "room").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_streams_end_once_and_are_announced_again() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let anna = join(proxy.address(), "anna").await;
    let bert = join(proxy.address(), "bert").await;
    let room = |id: &str, publish: bool| {
        let mut argument =
            crate::common::page::stream(id, "r-anna-12ab", publish, "WebRTC", crate::common::page::OFFER);
        argument["custom"] = json!({"name": "r"});
        argument
    };
    anna.send("publishStream", room("p1", true));
    anna.wait_status("p1", "PUBLISHING").await;
    bert.wait("PUBLISHED", |told| {
        told.room_events().iter().any(|(name, _)| name == "PUBLISHED").then_some(())
    })
    .await;
    bert.send("playStream", room("v1", false));
    bert.wait_status("v1", "PLAYING").await;
    Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
    anna.wait_status("p1", "FAILED").await;
    bert.wait_status("v1", "FAILED").await;
    anna.send("publishStream", room("p2", true));
    anna.wait_status("p2", "PUBLISHING").await;
    bert.wait("PUBLISHED again", |told| {
        (told.room_events().iter().filter(|(name, _)| name == "PUBLISHED").count() == 2).then_some(())
    })
    .await;
    bert.send("playStream", room("v2", false));
    bert.wait_status("v2", "PLAYING").await;
    assert_eq!(events(&bert, "STATE").len(), 1, "{}", bert.summary());
    assert_intents_once(&server.journal().await, "room streams");
    assert_no_violation(&server, "room streams").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_during_the_outage_is_not_joined_again() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let anna = join(proxy.address(), "anna").await;
    server.kill().await;
    assert_eq!(anna.room_command("leave", "leave", json!({"name": "r"})).await, "ACCEPTED");
    server.start_again().await;
    anna.works().await;
    let joined = server.journal().await.iter().any(|e| e.life == 2 && e.detail == "join");
    assert!(!joined, "not joined again");
    assert_no_violation(&server, "leave").await;
}
