//! `sendData` and the room application.

use serde_json::{Value, json};

use crate::client::Client;
use crate::{assert_no_violation, simulator};

async fn participant(address: std::net::SocketAddr, login: &str) -> Client {
    Client::establish_as(address, json!({"appKey": "roomApp", "custom": {"login": login}})).await
}

async fn command(client: &mut Client, operation: &str, command: &str, options: Value) {
    let payload = json!({"command": command, "options": options});
    client.send("sendData", json!({"operationId": operation, "payload": payload})).await;
}

/// The next room event, as (name, info).
async fn event(client: &mut Client) -> (String, Value) {
    let mut event = client.wait_for("OnDataEvent").await;
    assert_eq!(event["payload"]["roomName"], "r");
    (event["payload"]["name"].as_str().unwrap().to_owned(), event["payload"]["info"].take())
}

#[tokio::test]
async fn a_room_tells_who_comes_publishes_speaks_and_goes() {
    let server = simulator(json!({})).await;
    let mut ann = participant(server.address(), "ann").await;
    command(&mut ann, "1", "join", json!({"name": "r"})).await;
    assert_eq!(event(&mut ann).await, ("STATE".to_owned(), json!([])));
    assert_eq!(ann.wait_for("DataStatusEvent").await, json!({"operationId": "1", "status": "ACCEPTED"}));

    let publish = json!({
        "mediaSessionId": "a", "name": "r-ann-1", "custom": {"name": "r"}, "mediaProvider": "WebRTC",
        "sdp": crate::client::OFFER,
    });
    ann.send("publishStream", publish).await;
    ann.status_of("a").await;

    let mut bob = participant(server.address(), "bob").await;
    command(&mut bob, "2", "join", json!({"name": "r"})).await;
    let state = json!([{"login": "ann", "name": "r-ann-1"}]);
    assert_eq!(event(&mut bob).await, ("STATE".to_owned(), state));
    assert_eq!(event(&mut ann).await, ("JOINED".to_owned(), json!("bob")));

    let publish = json!({
        "mediaSessionId": "b", "name": "r-bob-1", "custom": {"name": "r"}, "mediaProvider": "WebRTC",
        "sdp": crate::client::OFFER,
    });
    bob.send("publishStream", publish).await;
    assert_eq!(event(&mut ann).await, ("PUBLISHED".to_owned(), json!({"login": "bob", "name": "r-bob-1"})));
    command(&mut bob, "3", "sendMessage", json!({"roomConfig": {"name": "r"}, "to": "ann", "text": "hi"}))
        .await;
    assert_eq!(event(&mut ann).await, ("MESSAGE".to_owned(), json!({"from": "bob", "text": "hi"})));
    bob.stop("unPublishStream", "b", "r-bob-1").await;
    assert_eq!(event(&mut ann).await, ("UNPUBLISHED".to_owned(), json!({"login": "bob", "name": "r-bob-1"})));
    command(&mut bob, "4", "leave", json!({"name": "r"})).await;
    assert_eq!(event(&mut ann).await, ("LEFT".to_owned(), json!("bob")));
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_lost_participant_leaves() {
    let server = simulator(json!({})).await;
    let mut ann = participant(server.address(), "ann").await;
    command(&mut ann, "1", "join", json!({"name": "r"})).await;
    event(&mut ann).await;
    let mut bob = participant(server.address(), "bob").await;
    command(&mut bob, "2", "join", json!({"name": "r"})).await;
    event(&mut ann).await;
    drop(bob);
    assert_eq!(event(&mut ann).await, ("LEFT".to_owned(), json!("bob")));
}

#[tokio::test]
async fn data_can_fail_or_come_back() {
    let server = simulator(json!({"data": {"echo": true}})).await;
    let mut client = Client::establish(server.address()).await;
    client.send("sendData", json!({"operationId": "1", "payload": {"x": 1}})).await;
    assert_eq!(client.wait_for("DataStatusEvent").await["status"], "ACCEPTED");
    assert_eq!(client.wait_for("OnDataEvent").await["payload"], json!({"x": 1}));
    server.switch(&json!({"data": {"fail_info": "No", "echo": false}})).unwrap();
    client.send("sendData", json!({"operationId": "2", "payload": {}})).await;
    let failed = json!({"operationId": "2", "status": "FAILED", "info": "No"});
    assert_eq!(client.wait_for("DataStatusEvent").await, failed);
}

#[tokio::test]
async fn a_room_event_can_be_ordered() {
    let server = simulator(json!({})).await;
    let mut ann = participant(server.address(), "ann").await;
    command(&mut ann, "1", "join", json!({"name": "r"})).await;
    event(&mut ann).await;
    let order =
        json!({"fault": "room_event", "room": "r", "name": "MESSAGE", "info": {"from": "x", "text": "y"}});
    server.fault(serde_json::from_value(order).unwrap()).unwrap();
    assert_eq!(event(&mut ann).await.0, "MESSAGE");
    let order = json!({"fault": "room_event", "room": "none", "name": "MESSAGE"});
    assert!(server.fault(serde_json::from_value(order).unwrap()).is_err());
}
