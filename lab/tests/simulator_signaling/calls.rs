//! SIP registration and calls.

use serde_json::{Value, json};

use crate::client::{Client, OFFER};
use crate::{assert_no_violation, simulator};

async fn phone(address: std::net::SocketAddr) -> Client {
    let connection = json!({"sipLogin": "1001", "sipPassword": "p", "sipRegisterRequired": true});
    let mut client = Client::establish_as(address, connection).await;
    client.wait_for("registered").await;
    client
}

async fn place(client: &mut Client, id: &str) {
    let call = json!({"callId": id, "caller": "1001", "callee": "1002", "sdp": OFFER, "status": "PENDING"});
    client.send("call", call).await;
}

async fn status(client: &mut Client, message: &str) -> Value {
    client.wait_for(message).await["status"].take()
}

#[tokio::test]
async fn an_outgoing_call_is_answered_held_and_hung_up() {
    let server = simulator(json!({"sip": {"step_delay_ms": 5, "register_delay_ms": 5}})).await;
    let mut client = phone(server.address()).await;
    place(&mut client, "c").await;
    assert_eq!(status(&mut client, "notifyTryingResponse").await, "TRYING");
    assert_eq!(status(&mut client, "ring").await, "RING");
    let remote = client.wait_for_all("setRemoteSDP").await;
    assert_eq!((&remote[0], &remote[2]), (&json!("c"), &json!(true)));
    assert!(remote[1].as_str().unwrap().contains("a=sendrecv"));
    assert_eq!(status(&mut client, "talk").await, "ESTABLISHED");
    client.send("hold", json!({"callId": "c"})).await;
    assert_eq!(status(&mut client, "hold").await, "HOLD");
    client.send("unhold", json!({"callId": "c"})).await;
    assert_eq!(status(&mut client, "talk").await, "ESTABLISHED");
    client.send("hangup", json!({"callId": "c"})).await;
    assert_eq!(status(&mut client, "finish").await, "FINISH");
    assert_no_violation(&server);
}

#[tokio::test]
async fn an_outgoing_call_can_be_busy_or_fail() {
    let sip = json!({"step_delay_ms": 5, "register_delay_ms": 5, "outcome": "busy"});
    let server = simulator(json!({"sip": sip})).await;
    let mut client = phone(server.address()).await;
    place(&mut client, "c").await;
    assert_eq!(status(&mut client, "finish").await, "BUSY");
    server.switch(&json!({"sip": {"outcome": "failed"}})).unwrap();
    place(&mut client, "d").await;
    assert_eq!(status(&mut client, "finish").await, "FAILED");
}

#[tokio::test]
async fn a_transfer_completes_and_ends_the_call() {
    let server = simulator(json!({"sip": {"step_delay_ms": 5, "register_delay_ms": 5}})).await;
    let mut client = phone(server.address()).await;
    place(&mut client, "c").await;
    status(&mut client, "talk").await;
    client.send("transfer", json!({"callId": "c", "target": "1003"})).await;
    assert_eq!(status(&mut client, "notifyTransferEvent").await, "PENDING");
    assert_eq!(status(&mut client, "notifyTransferEvent").await, "COMPLETED");
    assert_eq!(status(&mut client, "finish").await, "FINISH");
}

#[tokio::test]
async fn an_incoming_call_brings_its_sdp_first() {
    let server = simulator(json!({"sip": {"register_delay_ms": 5}})).await;
    let mut client = phone(server.address()).await;
    let order = json!({"fault": "incoming_call", "whom": {"login": "1001"}, "caller": "bob", "id": "in"});
    server.fault(serde_json::from_value(order).unwrap()).unwrap();
    let mut order = Vec::new();
    while order.last().is_none_or(|name| name != "ring") {
        let (name, data) = client.message().await.unwrap();
        if name == "setRemoteSDP" {
            assert_eq!((&data[0], &data[2]), (&json!("in"), &json!(false)));
        }
        if name == "notifyIncomingCall" {
            assert_eq!((&data[0]["caller"], &data[0]["callee"]), (&json!("bob"), &json!("1001")));
        }
        order.push(name);
    }
    let order: Vec<&str> = order.iter().map(String::as_str).filter(|name| *name != "getVersion").collect();
    assert_eq!(order, ["setRemoteSDP", "notifyIncomingCall", "ring"]);
    client.send("answer", json!({"callId": "in", "sdp": OFFER})).await;
    assert_eq!(status(&mut client, "talk").await, "ESTABLISHED");
    server.fault(serde_json::from_value(json!({"fault": "end_call"})).unwrap()).unwrap();
    assert_eq!(status(&mut client, "finish").await, "FINISH");
    assert_no_violation(&server);
}
