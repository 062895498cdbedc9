//! First messages of all kinds, second connections, and ids that are numbers.

use super::*;

#[test]
fn a_first_message_of_another_protocol_passes_through() {
    for first in ["", "hello", "[1,2]", "{\"data\":[]}", "{\"message\":7}"] {
        let mut bed = Bed::new();
        bed.feed(Input::ClientText(first.as_bytes()));
        assert!(bed.passthrough && bed.client_close.is_none(), "{first:?}");
        assert_eq!(bed.to_upstream.len(), 1, "{first:?}");
    }
    let mut bed = Bed::new();
    bed.session.handle(Input::ClientBinary(b"\0"), bed.now, &mut &*bed.registry);
    let outputs = bed.session.take_outputs();
    assert!(outputs.iter().any(|output| matches!(output, Output::ForwardToUpstream)), "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, Output::Mode(Mode::PassedThrough))), "{outputs:?}");
}

#[test]
fn signs_of_life_do_not_begin_anything() {
    let mut bed = Bed::new();
    for name in ["ping", "pong", "ping"] {
        bed.client(name, Value::Null);
    }
    assert_eq!(bed.to_upstream.len(), 3);
    let mut bed = bed.established().publishing("a", "cam");
    bed.lose();
    assert_eq!(bed.dials.len(), 1, "it became a session like any other");
}

#[test]
fn what_was_said_before_the_upstream_came_is_all_heard() {
    let mut bed = Bed::new();
    bed.lose();
    for name in ["ping", "hello", "world"] {
        bed.client(name, Value::Null);
    }
    assert!(bed.to_upstream.is_empty());
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    let names: Vec<_> = bed.to_upstream.iter().map(|message| message["message"].clone()).collect();
    assert_eq!(names, ["ping", "hello", "world"]);
    assert!(bed.passthrough);
}

#[test]
fn binary_before_anything_else_ends_with_its_upstream() {
    let mut bed = Bed::new();
    bed.lose();
    bed.feed(Input::ClientBinary(b"\0"));
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
}

fn second() -> Value {
    json!({"appKey": "defaultApp", "custom": {"login": "second"}})
}

/// A session whose client connected again, and its server answered.
fn connected_again() -> Bed {
    let mut bed = Bed::new().established();
    bed.client("connection", second());
    assert_eq!(bed.upstream_got("connection")[0]["data"][0], second());
    bed.server("getUserData", json!({"authToken": "T1", "status": "ESTABLISHED", "appKey": "defaultApp"}));
    assert_eq!(bed.client_got("getUserData")[0]["data"][0]["authToken"], "T1");
    assert!(!bed.tokens.contains("T0") && bed.tokens.contains("T1"));
    bed.clear();
    bed
}

#[test]
fn the_second_connection_is_what_is_replayed() {
    let mut bed = connected_again();
    bed.lose();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    assert_eq!(bed.upstream_got("connection").len(), 1);
    assert_eq!(bed.upstream_got("connection")[0]["data"][0], second());
    bed.server("getUserData", json!({"authToken": "T2", "status": "ESTABLISHED", "appKey": "defaultApp"}));
    assert!(bed.client_got("getUserData").is_empty(), "the replay's own answer is not for the client");
}

#[test]
fn a_second_connection_in_an_outage_is_the_one_the_next_upstream_gets() {
    for stage in ["dialling", "connecting"] {
        let mut bed = Bed::new().established();
        bed.lose();
        if stage == "connecting" {
            bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
        }
        bed.client("connection", second());
        if stage == "connecting" {
            bed.pass(3_000);
        }
        bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
        let told: Vec<_> =
            bed.upstream_got("connection").iter().map(|message| message["data"][0].clone()).collect();
        assert_eq!(told.last(), Some(&second()), "{stage}");
        bed.server(
            "getUserData",
            json!({"authToken": "T2", "status": "ESTABLISHED", "appKey": "defaultApp"}),
        );
        assert_eq!(bed.client_got("getUserData").len(), 1, "{stage}: the client waits for its answer");
    }
}

#[test]
fn a_refused_second_connection_is_an_answer() {
    let mut bed = Bed::new().established();
    bed.client("connection", second());
    bed.server(
        "fail",
        json!({"status": "FAILED", "info": "Forbidden", "apiMethod": "ConnectionStatusEvent"}),
    );
    bed.feed(Input::UpstreamLost(Epoch(0), LossCause::Closed(1000)));
    assert_eq!(bed.client_close, Some(Close::Code(1000)));
    assert!(bed.dials.is_empty());
}

#[test]
fn a_stream_whose_id_is_a_number_is_anchored() {
    let mut bed = Bed::anchored();
    let mut request = publish("x", "cam");
    request["mediaSessionId"] = json!(42);
    request["mediaProvider"] = json!("WebRTC");
    bed.client("publishStream", request);
    assert!(matches!(bed.media.as_slice(), [MediaCommand::Open { .. }]), "{:?}", bed.media);
}

#[test]
fn what_is_said_of_a_numeric_id_has_it_as_a_number() {
    let mut bed = Bed::new().established();
    let mut request = publish("x", "cam");
    request["mediaSessionId"] = json!(42);
    bed.client("publishStream", request);
    bed.server_all("setRemoteSDP", json!([42, "answer", true]));
    let mut running = status("x", "cam", "PUBLISHING", None);
    running["mediaSessionId"] = json!(42);
    bed.server("notifyStreamStatusEvent", running);
    bed.clear();
    bed.client("availableStream", json!({"mediaSessionId": 43, "name": "cam"}));
    bed.lose();
    bed.reconnect();
    bed.pass(6_000);
    let verdict = bed.client_got("notifyStreamStatusEvent")[0]["data"][0].clone();
    assert_eq!((&verdict["mediaSessionId"], &verdict["status"]), (&json!(42), &json!("FAILED")));
    assert_eq!(bed.client_got("availableStream")[0]["data"][0]["id"], 43);
}

#[test]
fn numeric_names_are_names() {
    let registry = Arc::new(Registry::default());
    for (id, name) in [(1, json!(7)), (2, json!(8))] {
        let mut bed = Bed::member(id, &registry, |_| {}).established();
        bed.client("publishStream", json!({"mediaSessionId": "a", "name": name, "sdp": "offer"}));
        bed.server_all("setRemoteSDP", json!(["a", "answer", true]));
        bed.server("notifyStreamStatusEvent", status("a", "x", "PUBLISHING", None));
    }
    assert_eq!(registry.names().get("7").holder.unwrap().session, SessionId(1));
    assert_eq!(registry.names().get("8").holder.unwrap().session, SessionId(2));
}

#[test]
fn the_clients_own_code_goes_upstream() {
    for code in [1000, 1001, 1011, 4001] {
        let mut bed = Bed::new().established();
        bed.feed(Input::ClientClosed(Some(code)));
        assert_eq!(bed.upstream_close, [(Epoch(0), Close::Code(code))]);
    }
}

fn modes(session: &mut Session, input: Input<'_>) -> Vec<Mode> {
    session.handle(input, Timestamp::from_ms(1_000), &mut &Registry::default());
    let modes = |output| if let Output::Mode(mode) = output { Some(mode) } else { None };
    session.take_outputs().into_iter().filter_map(modes).collect()
}

#[test]
fn the_first_message_says_what_the_socket_is() {
    let connect_media = br#"{"message":"connectMediaTransport","data":[{"authToken":"t"}]}"#;
    let connection = br#"{"message":"connection","data":[{"appKey":"a","clientVersion":"2.0"}]}"#;
    let mut session = Bed::new().session;
    for sign_of_life in [br#"{"message":"ping"}"#, br#"{"message":"pong"}"#] {
        assert_eq!(modes(&mut session, Input::ClientText(sign_of_life)), [], "it says nothing");
    }
    assert_eq!(modes(&mut session, Input::ClientText(connect_media)), [Mode::MediaSocket]);
    assert!(session.is_ended() && session.next_timeout().is_none(), "nothing is left to do");

    let mut session = Bed::new().session;
    assert_eq!(modes(&mut session, Input::ClientText(connection)), [Mode::Session]);
    assert_eq!(modes(&mut session, Input::ClientText(connect_media)), [], "it is a session already");

    let mut session = Bed::new().session;
    assert_eq!(modes(&mut session, Input::ClientBinary(b"x")), [Mode::Session, Mode::PassedThrough]);
}
