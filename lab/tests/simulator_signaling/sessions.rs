//! Greeting, refusal, pings, linger and resume.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Ended, wait_until};
use crate::{assert_no_violation, simulator};

#[tokio::test]
async fn get_user_data_echoes_the_connection() {
    let server = simulator(json!({})).await;
    let mut client = Client::dial(server.address()).await;
    let fields = json!({"appKey": "myApp", "custom": {"token": "x"}, "clientVersion": "2.0"});
    client.send("connection", fields).await;
    let (name, data) = client.message().await.unwrap();
    assert_eq!(name, "getUserData");
    assert_eq!(data[0]["appKey"], "myApp");
    assert_eq!(data[0]["custom"]["token"], "x");
    assert_eq!(data[0]["status"], "ESTABLISHED");
    assert!(!data[0]["authToken"].as_str().unwrap().is_empty());
    for tunnel in ["useWsTunnel", "useWsTunnelPacketization2", "useBase64BinaryEncoding"] {
        assert_eq!(data[0][tunnel], false);
    }
    assert_eq!(client.message().await.unwrap().0, "getVersion");
    assert_no_violation(&server);
}

#[tokio::test]
async fn get_version_can_come_first() {
    let server = simulator(json!({"sessions": {"version_order": "before"}})).await;
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({})).await;
    assert_eq!(client.message().await.unwrap().0, "getVersion");
    assert_eq!(client.message().await.unwrap().0, "getUserData");
}

#[tokio::test]
async fn a_refused_connection_stays_open_or_is_closed() {
    let server = simulator(json!({"sessions": {"refuse": {"info": "Forbidden"}}})).await;
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({})).await;
    let fail = client.wait_for("fail").await;
    assert_eq!(fail, json!({"status": "FAILED", "info": "Forbidden", "apiMethod": "ConnectionStatusEvent"}));
    assert!(client.quiet_for(Duration::from_millis(200)).await, "the socket stays open");

    server.switch(&json!({"sessions": {"refuse": {"close": true, "times": 1}}})).unwrap();
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({})).await;
    client.wait_for("fail").await;
    assert_eq!(client.end().await, Ended::Closed(None));
    Client::establish(server.address()).await;
}

#[tokio::test]
async fn refusals_can_be_narrowed_to_custom_data() {
    let refuse = json!({"info": "Unauthorized", "custom": {"token": "bad"}});
    let server = simulator(json!({"sessions": {"refuse": refuse}})).await;
    Client::establish_as(server.address(), json!({"custom": {"token": "good", "login": "a"}})).await;
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({"custom": {"token": "bad", "login": "a"}})).await;
    assert_eq!(client.wait_for("fail").await["info"], "Unauthorized");
}

#[tokio::test]
async fn pings_come_and_a_silent_client_is_dropped() {
    let server = simulator(json!({"pings": {"interval_ms": 20, "missed_max": 3}})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for_pings(6).await;
    client.pongs = false;
    assert_eq!(client.end().await, Ended::Fin);
    wait_until("the session ends", || server.summary()["now"]["sessions"] == 0).await;
    assert_eq!(server.summary()["counters"]["ends"]["missed pongs"], 1);
    assert_no_violation(&server);
}

#[tokio::test]
async fn pings_can_be_stalled_and_their_interval_changed() {
    let server = simulator(json!({"pings": {"interval_ms": 3_600_000}})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for("getVersion").await;
    server.switch(&json!({"pings": {"interval_ms": 10}})).unwrap();
    client.wait_for_pings(2).await;
    server.switch(&json!({"pings": {"stalled": true}})).unwrap();
    while !client.quiet_for(Duration::from_millis(150)).await {}
}

#[tokio::test]
async fn client_pings_are_answered_only_if_wanted() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for("getVersion").await;
    client.send("ping", Value::Null).await;
    client.send("availableStream", json!({"mediaSessionId": "x", "name": "n"})).await;
    assert_eq!(client.message().await.unwrap().0, "availableStream");
    server.switch(&json!({"pings": {"answer_client_pings": true}})).unwrap();
    client.send("ping", Value::Null).await;
    assert_eq!(client.message().await.unwrap().0, "pong");
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_lost_session_holds_its_names_for_the_linger() {
    let server = simulator(json!({"sessions": {"linger_ms": 2_000}})).await;
    let mut player = Client::establish(server.address()).await;
    let mut lost = Client::establish(server.address()).await;
    lost.publish("a", "cam").await;
    player.play("p", "cam").await;
    drop(lost);
    let ended = player.status_of("p").await;
    assert_eq!(ended["info"], "Stopped by publisher stop");
    let mut next = Client::establish(server.address()).await;
    assert_eq!(next.publish("b", "cam").await["info"], "Stream name is already in use");
    let refused_id = next.publish("a", "other").await;
    assert_eq!(refused_id["info"], "MediaSessionId is already in use");
    wait_until("the linger is over", || server.summary()["now"]["lingering"] == 0).await;
    assert_eq!(next.publish("c", "cam").await["status"], "PUBLISHING");
}

#[tokio::test]
async fn streams_may_survive_the_loss() {
    let sessions = json!({"linger_ms": 60_000, "streams_survive_loss": true});
    let server = simulator(json!({"sessions": sessions})).await;
    let mut lost = Client::establish(server.address()).await;
    lost.publish("a", "cam").await;
    drop(lost);
    wait_until("the loss is noticed", || server.summary()["now"]["lingering"] == 1).await;
    let mut player = Client::establish(server.address()).await;
    assert_eq!(player.play("p", "cam").await["status"], "PLAYING");
}

#[tokio::test]
async fn a_clean_close_frees_names_at_once() {
    let server = simulator(json!({"sessions": {"linger_ms": 60_000}})).await;
    let mut first = Client::establish(server.address()).await;
    first.publish("a", "cam").await;
    first.close().await;
    wait_until("the session ends", || server.summary()["now"]["sessions"] == 0).await;
    let mut next = Client::establish(server.address()).await;
    assert_eq!(next.publish("b", "cam").await["status"], "PUBLISHING");
}

async fn resumed(mode: &str) -> (holdfast_lab::simulator::Simulator, Client, String) {
    let sessions = json!({"resume": mode, "streams_survive_loss": true});
    let server = simulator(json!({"sessions": sessions})).await;
    let mut lost = Client::establish_as(server.address(), json!({"appKey": "x", "keepAlive": true})).await;
    lost.publish("a", "cam").await;
    let token = lost.token.clone();
    drop(lost);
    wait_until("the loss is noticed", || server.summary()["now"]["lingering"] == 1).await;
    let connection = json!({"appKey": "x", "keepAlive": true, "authToken": token});
    let client = Client::establish_as(server.address(), connection).await;
    (server, client, token)
}

#[tokio::test]
async fn keep_alive_resumes_under_the_same_token() {
    let (server, mut client, token) = resumed("same_token").await;
    assert_eq!(client.token, token);
    assert_eq!(client.status_of("a").await["status"], "PUBLISHING");
    client.stop("unPublishStream", "a", "cam").await;
    assert_eq!(client.status_of("a").await["status"], "UNPUBLISHED");
    assert_no_violation(&server);
}

#[tokio::test]
async fn keep_alive_resumes_under_a_new_token() {
    let (server, client, token) = resumed("new_token").await;
    assert_ne!(client.token, token);
    assert_eq!(server.summary()["counters"]["resumed"], 1);
    assert_eq!(server.summary()["now"]["sessions"], 1);
}

#[tokio::test]
async fn without_resume_a_token_brings_a_new_session() {
    let server = simulator(json!({})).await;
    let first = Client::establish_as(server.address(), json!({"keepAlive": true})).await;
    let again = json!({"keepAlive": true, "authToken": first.token});
    let second = Client::establish_as(server.address(), again).await;
    assert_ne!(first.token, second.token);
    assert_eq!(server.summary()["now"]["sessions"], 2);
}

#[tokio::test]
async fn a_stale_token_can_be_refused() {
    let sessions = json!({"resume": "same_token", "stale_token_info": "Session does not exist"});
    let server = simulator(json!({"sessions": sessions})).await;
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({"keepAlive": true, "authToken": "old"})).await;
    assert_eq!(client.wait_for("fail").await["info"], "Session does not exist");
}

#[tokio::test]
async fn get_user_data_can_be_late_or_missing() {
    let server = simulator(json!({"sessions": {"user_data_delay_ms": 600}})).await;
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({})).await;
    assert!(client.quiet_for(Duration::from_millis(200)).await);
    client.established().await;
    server.switch(&json!({"withhold": ["getUserData"], "sessions": {"user_data_delay_ms": 0}})).unwrap();
    let mut client = Client::dial(server.address()).await;
    client.send("connection", json!({})).await;
    assert_eq!(client.message().await.unwrap().0, "getVersion");
    assert_eq!(server.summary()["counters"]["withheld"]["getUserData"], 1);
}

#[tokio::test]
async fn an_sfu_client_is_answered_in_its_own_way() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish_as(server.address(), json!({"appKey": "sfuApp"})).await;
    client.send("joinRoom", json!({"internalMessageId": "7"})).await;
    assert_eq!(client.wait_for("sfuCallback").await["internalMessageId"], "7");
    assert_no_violation(&server);
}
