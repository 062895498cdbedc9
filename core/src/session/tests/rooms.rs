//! Rooms across an outage (protocol S2.7).

use super::*;

fn join(operation: &str) -> Value {
    json!({"operationId": operation, "payload": {"command": "join", "options": {"name": "r"}}})
}

fn room(name: &str, info: Value) -> Value {
    json!({"payload": {"roomName": "r", "name": name, "info": info}})
}

fn in_room() -> Bed {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j1"));
    bed.server("DataStatusEvent", json!({"operationId": "j1", "status": "ACCEPTED"}));
    bed.server("OnDataEvent", room("STATE", json!(["ann", {"login": "bob", "name": "r-bob-1"}])));
    bed.clear();
    bed
}

#[test]
fn a_repeated_join_becomes_differences() {
    let mut bed = in_room();
    bed.lose();
    bed.reconnect();
    let again = bed.upstream_got("sendData")[0]["data"][0].clone();
    assert_ne!(again["operationId"], "j1", "a fresh operation");
    bed.server("OnDataEvent", room("STATE", json!(["bob", {"login": "cid", "name": "r-cid-1"}])));
    bed.server("DataStatusEvent", json!({"operationId": again["operationId"], "status": "ACCEPTED"}));
    let seen: Vec<_> =
        bed.client_got("OnDataEvent").iter().map(|m| m["data"][0]["payload"].clone()).collect();
    assert_eq!(
        seen,
        [
            json!({"roomName": "r", "name": "UNPUBLISHED", "info": {"login": "bob", "name": "r-bob-1"}}),
            json!({"roomName": "r", "name": "JOINED", "info": "cid"}),
            json!({"roomName": "r", "name": "PUBLISHED", "info": {"login": "cid", "name": "r-cid-1"}}),
        ]
    );
    assert!(bed.client_got("DataStatusEvent").is_empty());
    bed.clear();
    // Ann does not come back.
    for _ in 0..6 {
        bed.server("ping", Value::Null);
        bed.pass(1_000);
    }
    assert_eq!(bed.client_got("OnDataEvent")[0]["data"][0]["payload"], room("LEFT", json!("ann"))["payload"]);
}

#[test]
fn a_participant_that_joins_again_was_never_gone() {
    let mut bed = in_room();
    bed.lose();
    bed.reconnect();
    bed.server("OnDataEvent", room("STATE", json!([])));
    bed.server("OnDataEvent", room("JOINED", json!("ann")));
    assert!(bed.client_got("OnDataEvent").is_empty());
}

#[test]
fn a_join_without_an_answer_is_repeated_and_answered() {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j1"));
    bed.lose();
    assert!(bed.client_got("DataStatusEvent").is_empty());
    bed.reconnect();
    let operation = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
    bed.server("DataStatusEvent", json!({"operationId": operation, "status": "ACCEPTED"}));
    assert_eq!(
        bed.client_got("DataStatusEvent")[0]["data"][0],
        json!({"operationId": "j1", "status": "ACCEPTED"})
    );
    // Its STATE is the client's first and passes as it is.
    bed.server("OnDataEvent", room("STATE", json!(["ann"])));
    assert_eq!(bed.client_got("OnDataEvent").len(), 1);
}

#[test]
fn leaving_during_an_outage_is_final() {
    let mut bed = in_room();
    bed.lose();
    bed.client(
        "sendData",
        json!({"operationId": "l", "payload": {"command": "leave", "options": {"name": "r"}}}),
    );
    assert_eq!(bed.client_got("DataStatusEvent")[0]["data"][0]["status"], "ACCEPTED");
    bed.reconnect();
    assert!(bed.upstream_got("sendData").is_empty());
}

#[test]
fn streams_are_replayed_after_the_rooms() {
    let mut bed = in_room();
    bed.client("publishStream", publish("a", "r-me-1"));
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("publishStream").len() == 1, "not before the join is answered");
    let operation = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
    bed.server("DataStatusEvent", json!({"operationId": operation, "status": "ACCEPTED"}));
    assert_eq!(bed.upstream_got("publishStream").len(), 2);
}

#[test]
fn ends_in_a_room_just_before_the_loss_are_not_heard() {
    let mut bed = in_room();
    bed.server("OnDataEvent", room("UNPUBLISHED", json!({"login": "bob", "name": "r-bob-1"})));
    bed.server("OnDataEvent", room("LEFT", json!("bob")));
    bed.server("OnDataEvent", room("JOINED", json!("bob")));
    assert!(bed.client_got("OnDataEvent").is_empty(), "nor what follows them, out of turn");
    bed.lose();
    bed.pass(1_000);
    assert!(bed.client_got("OnDataEvent").is_empty());

    let mut bed = in_room();
    bed.server("OnDataEvent", room("LEFT", json!("bob")));
    bed.server("OnDataEvent", room("JOINED", json!("bob")));
    bed.pass(400);
    let names: Vec<_> =
        bed.client_got("OnDataEvent").iter().map(|m| m["data"][0]["payload"]["name"].clone()).collect();
    assert_eq!(names, ["LEFT", "JOINED"], "in an epoch that lives they come, in their order");
}

#[test]
fn the_old_stream_of_a_participant_that_joins_again_is_withdrawn_before_its_new_one() {
    let mut bed = in_room();
    bed.lose();
    bed.reconnect();
    bed.server("OnDataEvent", room("STATE", json!([])));
    bed.server("OnDataEvent", room("JOINED", json!("bob")));
    bed.server("OnDataEvent", room("PUBLISHED", json!({"login": "bob", "name": "r-bob-2"})));
    let seen: Vec<_> =
        bed.client_got("OnDataEvent").iter().map(|m| m["data"][0]["payload"].clone()).collect();
    assert_eq!(
        seen,
        [
            json!({"roomName": "r", "name": "UNPUBLISHED", "info": {"login": "bob", "name": "r-bob-1"}}),
            json!({"roomName": "r", "name": "PUBLISHED", "info": {"login": "bob", "name": "r-bob-2"}}),
        ]
    );
}
