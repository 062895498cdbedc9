//! Normal operation: everything passes as it is.

use super::*;

#[test]
fn a_session_in_good_health_changes_nothing() {
    let mut bed = Bed::new();
    bed.client("connection", connection());
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    bed.client("publishStream", publish("a", "cam"));
    bed.server_all("setRemoteSDP", json!(["a", "answer", true]));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    bed.client("somethingNew", json!({"x": 1}));
    bed.server("somethingElse", json!({"y": 2}));
    let names = |messages: &[Value]| -> Vec<String> {
        messages.iter().map(|message| message["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&bed.to_upstream), ["connection", "publishStream", "somethingNew"]);
    assert_eq!(
        names(&bed.to_client),
        ["getUserData", "setRemoteSDP", "notifyStreamStatusEvent", "somethingElse"]
    );
    assert!(bed.dials.is_empty());
}

#[test]
fn pings_are_answered_for_the_client_and_passed_on() {
    let mut bed = Bed::new().established();
    bed.server("ping", Value::Null);
    assert_eq!(bed.upstream_got("pong").len(), 1);
    assert_eq!(bed.client_got("ping").len(), 1);
    bed.client("pong", Value::Null);
    assert_eq!(bed.upstream_got("pong").len(), 1, "the client's pong stops here");
}

#[test]
fn a_client_that_answers_no_ping_is_ended() {
    let mut bed = Bed::new().established();
    for _ in 0..30 {
        bed.server("ping", Value::Null);
        bed.pass(5_000);
    }
    assert_eq!(bed.client_close, Some(Close::Abort));
    assert_eq!(bed.upstream_close.last(), Some(&(Epoch(0), Close::NoCode)));
}

#[test]
fn the_clients_close_closes_upstream_at_once() {
    let mut bed = Bed::new().established();
    bed.feed(Input::ClientClosed(None));
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::NoCode)]);
    assert!(bed.session.is_ended());
    assert!(bed.tokens.is_empty());
}

#[test]
fn sfu_and_old_clients_and_unknown_protocols_are_passed_through() {
    for first in [
        json!({"message": "connection", "data": [{"appKey": "sfuApp"}]}),
        json!({"message": "connection", "data": [{"clientVersion": "0.5.28"}]}),
        json!({"message": "connect", "data": [{}]}),
        json!({"message": "connection", "data": {"appKey": "x"}}),
    ] {
        let mut bed = Bed::new();
        bed.feed(Input::ClientText(first.to_string().as_bytes()));
        assert!(bed.passthrough, "{first}");
        assert_eq!(bed.to_upstream, [first]);
    }
}

#[test]
fn a_refused_connection_ends_as_the_server_ends_it() {
    let mut bed = Bed::new();
    bed.client("connection", connection());
    bed.server(
        "fail",
        json!({"status": "FAILED", "info": "Forbidden", "apiMethod": "ConnectionStatusEvent"}),
    );
    bed.feed(Input::UpstreamLost(Epoch(0), LossCause::Closed(1000)));
    assert_eq!(bed.client_got("fail").len(), 1);
    assert_eq!(bed.client_close, Some(Close::Code(1000)));
    assert!(bed.dials.is_empty());
}

#[test]
fn a_shutdown_closes_both_sides_cleanly() {
    let mut bed = Bed::new().established();
    bed.feed(Input::Shutdown);
    assert_eq!(bed.client_close, Some(Close::Code(1012)));
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::Code(1001))]);
}
