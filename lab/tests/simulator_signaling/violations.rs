//! What clients must not do is recorded, each under its kind.

use serde_json::{Value, json};

use crate::client::{Client, wait_until};
use crate::simulator;

/// The kinds recorded after the client did what `act` does.
async fn kinds(act: impl AsyncFnOnce(&mut Client, &mut Client)) -> Value {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    let mut other = Client::establish(server.address()).await;
    act(&mut client, &mut other).await;
    wait_until("a violation is recorded", || !server.violations().is_empty()).await;
    server.summary()["violations"]["kinds"].clone()
}

#[tokio::test]
async fn a_second_publish_of_a_name() {
    let kinds = kinds(async |client, _| {
        client.publish("a", "cam").await;
        let refused = client.publish("b", "cam").await;
        assert_eq!(refused["info"], "Stream name is already in use");
    });
    assert_eq!(kinds.await, json!({"duplicate_publish": 1}));
}

#[tokio::test]
async fn a_reused_id() {
    let kinds = kinds(async |client, _| {
        client.publish("a", "cam").await;
        client.stop("unPublishStream", "a", "cam").await;
        client.status_of("a").await;
        client.publish("a", "cam").await;
    });
    assert_eq!(kinds.await, json!({"reused_media_session_id": 1}));
}

#[tokio::test]
async fn an_unknown_verb() {
    let kinds = kinds(async |client, _| client.send("frobnicate", Value::Null).await);
    assert_eq!(kinds.await, json!({"unknown_verb": 1}));
}

#[tokio::test]
async fn stops_that_fit_nothing() {
    let nothing = kinds(async |client, _| client.stop("stopStream", "none", "cam").await);
    assert_eq!(nothing.await, json!({"stop_of_nothing": 1}));
    let foreign = kinds(async |client, other| {
        other.publish("a", "cam").await;
        client.stop("unPublishStream", "a", "cam").await;
    });
    assert_eq!(foreign.await, json!({"stop_of_foreign_stream": 1}));
    let wrong = kinds(async |client, _| {
        client.publish("a", "cam").await;
        client.stop("stopStream", "a", "cam").await;
    });
    assert_eq!(wrong.await, json!({"stop_of_wrong_kind": 1}));
}

#[tokio::test]
async fn messages_out_of_turn() {
    let kinds = kinds(async |client, _| client.send("connection", json!({})).await);
    assert_eq!(kinds.await, json!({"second_connection": 1}));
    let server = simulator(json!({})).await;
    let mut early = Client::dial(server.address()).await;
    early.send("publishStream", json!({})).await;
    wait_until("the early message is recorded", || {
        server.summary()["violations"]["kinds"] == json!({"message_before_connection": 1})
    })
    .await;
}

#[tokio::test]
async fn a_pong_without_ping() {
    let kinds = kinds(async |client, _| client.send("pong", Value::Null).await);
    assert_eq!(kinds.await, json!({"pong_without_ping": 1}));
}

#[tokio::test]
async fn malformed_envelopes_and_messages() {
    let kinds = kinds(async |client, _| {
        for text in [
            "no json",
            "[]",
            r#"{"data":[null]}"#,
            r#"{"message":"pushLogs"}"#,
            r#"{"message":"pushLogs","data":[]}"#,
            r#"{"message":"pushLogs","data":[{},{}]}"#,
            r#"{"message":"pushLogs","data":{}}"#,
        ] {
            client.send_text(text.to_owned()).await;
        }
        client.send("sendData", json!({"payload": 1})).await;
        client.send_binary(vec![1, 2, 3]).await;
        client.send("hangup", json!({"callId": "none"})).await;
        // Comes after the others on the same socket.
        client.send("availableStream", json!({"mediaSessionId": "x", "name": "n"})).await;
        client.wait_for("availableStream").await;
    });
    let expected = json!({
        "malformed_envelope": 7, "malformed_message": 1, "binary_message": 1, "unknown_call": 1,
    });
    assert_eq!(kinds.await, expected);
}

#[tokio::test]
async fn a_late_stop_is_none() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    let fail = json!({"fault": "fail_stream", "info": "Stream failed"});
    server.fault(serde_json::from_value(fail).unwrap()).unwrap();
    client.stop("unPublishStream", "a", "cam").await;
    wait_until("the late stop is counted", || server.summary()["counters"]["late_stops"] == 1).await;
    assert!(server.violations().is_empty());
}

#[tokio::test]
async fn a_missing_id_is_told_to_the_client() {
    let kinds = kinds(async |client, _| {
        client.send("publishStream", json!({"name": "cam", "sdp": "v=0\r\n"})).await;
        let event = client.wait_for("notifyStreamStatusEvent").await;
        assert_eq!(event["info"], "MediaSessionId is null");
    });
    assert_eq!(kinds.await, json!({"malformed_message": 1}));
}

#[tokio::test]
async fn an_oversize_message_ends_the_connection() {
    let server = simulator(json!({"limits": {"message_bytes_max": 1000}})).await;
    let mut client = Client::establish(server.address()).await;
    client.send("pushLogs", json!({"logs": "x".repeat(2000)})).await;
    client.end().await;
    wait_until("the breach is recorded", || {
        server.summary()["violations"]["kinds"] == json!({"web_socket_protocol": 1})
    })
    .await;
}

#[tokio::test]
async fn memory_of_the_past_is_bounded() {
    let limits =
        json!({"journal_max": 3, "handshakes_max": 2, "keys_max": 2, "ids_max": 1, "violations_max": 1});
    let server = simulator(json!({"limits": limits})).await;
    for _ in 0..3 {
        Client::establish(server.address()).await.close().await;
    }
    let mut client = Client::establish(server.address()).await;
    for verb in ["one", "two", "three"] {
        client.send(verb, Value::Null).await;
    }
    client.publish("a", "cam").await;
    client.publish("b", "other").await;
    let state = server.state();
    assert_eq!(server.journal().len(), 3);
    assert_eq!(state["handshakes"].as_array().unwrap().len(), 2);
    assert_eq!(state["violations"]["total"], 3);
    assert_eq!(state["violations"]["list"].as_array().unwrap().len(), 1);
    // Two kinds have their own count, the rest share one.
    assert_eq!(state["counters"]["asked"], json!({"connection": 4, "one": 1, "other": 4}));
}
