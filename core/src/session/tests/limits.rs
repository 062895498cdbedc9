//! Every bound of the session is reached once.

use super::*;

#[test]
fn more_streams_than_allowed_are_refused() {
    let mut bed = Bed::with(|settings| settings.bounds.streams_max = 1).established().publishing("a", "cam");
    bed.client("publishStream", publish("b", "two"));
    assert_eq!(bed.statuses(), ["b FAILED Session not ready"]);
    assert_eq!(bed.limits(), ["session.streams_max"]);
}

#[test]
fn the_hold_is_bounded_by_count_bytes_and_time() {
    let mut bed = Bed::with(|settings| settings.hold.count_max = 1).established();
    bed.lose();
    bed.client("publishStream", publish("a", "cam"));
    bed.client("publishStream", publish("b", "two"));
    bed.client("odd", json!({}));
    bed.client("odd", json!({}));
    assert_eq!(bed.statuses(), ["b FAILED Session not ready"]);
    assert_eq!(bed.limits(), ["hold.count_max", "hold.count_max"]);

    let mut bed = Bed::with(|settings| settings.hold.bytes_max = 100).established();
    bed.lose();
    bed.client("publishStream", publish("a", "cam"));
    bed.client("odd", json!({"x": "y".repeat(100)}));
    assert_eq!(bed.statuses(), ["a FAILED Session not ready"]);
    assert_eq!(bed.limits(), ["hold.bytes_max", "hold.bytes_max"]);

    let mut bed = Bed::new().established();
    bed.lose();
    bed.client("odd", json!({}));
    bed.pass(31_000);
    assert_eq!(bed.limits(), ["hold.ms_max"]);
}

#[test]
fn requests_calls_and_rooms_are_bounded() {
    let mut bed = Bed::with(|settings| {
        settings.bounds.pending_requests_max = 1;
        settings.bounds.calls_max = 1;
        settings.bounds.rooms_max = 1;
    })
    .established();
    for n in 0..2 {
        bed.client("sendData", json!({"operationId": format!("o{n}"), "payload": {}}));
        bed.client("call", json!({"callId": format!("c{n}")}));
        let options = json!({"name": format!("r{n}")});
        bed.client(
            "sendData",
            json!({"operationId": format!("j{n}"), "payload": {"command": "join", "options": options}}),
        );
    }
    assert_eq!(bed.limits(), ["session.pending_requests_max", "session.calls_max", "session.rooms_max"]);
    assert_eq!(bed.to_upstream.len(), 6, "what is not restored is still passed on");
}

#[test]
fn giving_up_answers_a_join_that_waits() {
    let mut bed = Bed::with(|settings| settings.restore.tries_max = 1).established();
    bed.client(
        "sendData",
        json!({"operationId": "j", "payload": {"command": "join", "options": {"name": "r"}}}),
    );
    bed.lose();
    bed.dial_fails();
    assert_eq!(bed.client_got("DataStatusEvent")[0]["data"][0]["status"], "FAILED");
}
