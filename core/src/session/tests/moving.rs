//! A session moves to another node, and its client hears nothing of it (rule R15).

use super::*;
use crate::settings::RestoreMode;

const THERE: NodeId = NodeId(1);

impl Bed {
    fn move_there(&mut self) {
        self.feed(Input::Move { to: THERE });
    }

    /// The connection beside the one that leads stands.
    pub(super) fn beside_opens(&mut self) -> Epoch {
        let (epoch, node) = *self.beside.last().unwrap();
        self.feed(Input::UpstreamOpened(epoch, node));
        epoch
    }

    /// The server there takes the session.
    fn greets(&mut self) {
        self.server("getUserData", json!({"authToken": "T9", "status": "ESTABLISHED"}));
    }

    /// Moved as far as that the new connection leads.
    fn under_way(mut self) -> Self {
        self.move_there();
        self.beside_opens();
        self
    }

    fn returned(&self) -> Option<&str> {
        if let Some(MoveOutcome::Returned(reason)) = self.moved.last() { Some(reason) } else { None }
    }
}

#[test]
fn a_session_without_streams_moves_and_its_client_hears_nothing() {
    let mut bed = Bed::new().established();
    bed.server("getVersion", json!("5.2"));
    bed.clear();
    bed.move_there();
    assert_eq!((bed.beside.as_slice(), bed.leads), ([(Epoch(1), THERE)].as_slice(), Epoch(0)));
    bed.client("somethingOdd", json!({"n": 1}));
    assert_eq!(bed.upstream_got("somethingOdd").len(), 1, "all goes on while the dial is under way");
    bed.clear();
    bed.beside_opens();
    assert_eq!((bed.leads, &bed.to_upstream[0]["message"]), (Epoch(1), &json!("connection")));
    assert!(bed.moved.is_empty() && bed.upstream_close.is_empty());
    bed.greets();
    bed.server("getVersion", json!("5.2"));
    assert_eq!(bed.moved, [MoveOutcome::Done]);
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::NoCode)], "nobody needs the old one");
    assert_eq!(bed.to_client, Vec::<Value>::new());
    assert_eq!(bed.session.belongings().node, THERE);
    let moved = |event: &&Event| matches!(event, Event::Moved { to: THERE, outcome: MoveOutcome::Done, .. });
    assert_eq!(bed.events.iter().filter(moved).count(), bed.events.len(), "one line: {:?}", bed.events);
    // What leads now is an upstream like any other.
    bed.lose();
    bed.pass(1_000);
    assert_eq!(bed.dials, [Epoch(2)]);
    bed.reconnect();
    assert_eq!(bed.to_client, Vec::<Value>::new());
}

#[test]
fn what_binds_a_session_refuses_the_move_at_once() {
    let refused = |mut bed: Bed, reason: &'static str| {
        assert_eq!(bed.session.belongings().bound_by.unwrap_or("there already"), reason);
        bed.move_there();
        assert_eq!(bed.moved, [MoveOutcome::Refused(reason)]);
        assert!(bed.beside.is_empty(), "{reason}");
    };
    let with = |field: &str, value: Value| {
        let mut bed = Bed::new();
        let mut fields = connection();
        fields[field] = value;
        bed.client("connection", fields);
        bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
        bed
    };
    refused(Bed::new(), "not established");
    refused(with("keepAlive", json!(true)), "keepAlive");
    let mut registered = with("sipLogin", json!("me"));
    registered.server("registered", Value::Null);
    refused(registered, "registration");
    let mut lost = Bed::new().established();
    lost.lose();
    refused(lost, "outage");
    let mut room = Bed::new().established();
    let join = json!({"operationId": "j", "payload": {"command": "join", "options": {"name": "r"}}});
    room.client("sendData", join);
    refused(room, "room");
    let mut call = Bed::new().established();
    call.client("call", json!({"callId": "c"}));
    refused(call, "call");
    let mut asks = Bed::new().established();
    asks.client("sendData", json!({"operationId": "o", "payload": {}}));
    refused(asks, "request");
    refused(Bed::new().established().publishing("a", "cam"), "direct media");
    refused(Bed::new().established().playing_mse("a", "cam"), "media socket");
    let passed = Bed::with(|settings| settings.restore.mode = RestoreMode::Passthrough);
    let mut there = Bed::new().established();
    there.feed(Input::Move { to: NodeId(0) });
    assert_eq!(there.moved, [MoveOutcome::Refused("there already")]);
    let mut twice = Bed::new().established();
    twice.move_there();
    twice.move_there();
    assert_eq!(twice.moved, [MoveOutcome::Refused("moving")]);
    let mut passed = passed;
    passed.client("connection", connection());
    assert_eq!(passed.session.belongings().bound_by, Some("passed through"));
}

#[test]
fn a_dial_that_fails_or_takes_too_long_touches_nothing() {
    let mut bed = Bed::new().established();
    bed.move_there();
    bed.feed(Input::DialFailed(Epoch(1), DialError::Unreachable("refused".to_owned())));
    assert_eq!(bed.returned(), Some("the dial failed: Unreachable(\"refused\")"));
    bed.move_there();
    bed.pass(5_000);
    assert_eq!(bed.returned(), Some("restore.move_timeout_ms is over"));
    assert_eq!(bed.upstream_close, [(Epoch(1), Close::NoCode), (Epoch(2), Close::NoCode)]);
    assert_eq!((bed.leads, bed.to_client.len()), (Epoch(0), 0));
    // A dial that succeeds all the same is nobody's.
    bed.feed(Input::UpstreamOpened(Epoch(2), THERE));
    assert_eq!((bed.leads, bed.moved.len()), (Epoch(0), 2));
}

#[test]
fn whatever_binds_it_when_the_other_node_answers_refuses_it_then() {
    let mut bed = Bed::new().established();
    bed.move_there();
    bed.client("call", json!({"callId": "c"}));
    bed.beside_opens();
    assert_eq!((bed.moved.as_slice(), bed.leads), ([MoveOutcome::Refused("call")].as_slice(), Epoch(0)));
    assert_eq!(bed.upstream_close, [(Epoch(1), Close::NoCode)]);
}

#[test]
fn what_comes_to_nothing_leaves_all_as_it_was() {
    type Fails = fn(&mut Bed);
    let fails: [(&str, Fails); 4] = [
        ("Forbidden", |bed| bed.server("fail", json!({"status": "FAILED", "info": "Forbidden"}))),
        ("Bad Gateway", |bed| bed.server("fail", json!({"status": "FAILED", "info": "Bad Gateway"}))),
        ("a connection was lost meanwhile", Bed::lose),
        ("restore.move_timeout_ms is over", |bed| bed.pass(5_000)),
    ];
    for (reason, fail) in fails {
        let mut bed = Bed::new().established().under_way();
        let tokens = bed.tokens.clone();
        bed.clear();
        fail(&mut bed);
        assert_eq!(bed.returned(), Some(reason));
        assert_eq!(
            (bed.leads, bed.upstream_close.as_slice()),
            (Epoch(0), [(Epoch(1), Close::NoCode)].as_slice())
        );
        let silent = bed.to_client.iter().all(|message| message["message"] == "ping");
        assert!(
            silent && bed.client_close.is_none() && bed.dials.is_empty(),
            "{reason}: {:?}",
            bed.to_client
        );
        assert_eq!((bed.tokens.clone(), bed.session.belongings().node), (tokens, NodeId(0)));
        bed.client("somethingOdd", json!({"n": 1}));
        bed.says_on(Epoch(0), "somethingElse", json!([1]));
        assert_eq!((bed.upstream_got("somethingOdd").len(), bed.client_got("somethingElse").len()), (1, 1));
        bed.says_on(Epoch(1), "somethingElse", json!([2]));
        assert_eq!(bed.client_got("somethingElse").len(), 1, "that connection is over");
        // And it may be tried again.
        bed.move_there();
        bed.beside_opens();
        bed.greets();
        assert_eq!((bed.moved.last(), bed.leads), (Some(&MoveOutcome::Done), Epoch(2)));
    }
}

#[test]
fn the_clients_words_wait_for_the_outcome_in_order() {
    for made in [true, false] {
        let mut bed = Bed::new().established().under_way();
        bed.clear();
        bed.client("playStream", json!({"mediaSessionId": "p", "name": "cam", "mediaProvider": "MSE"}));
        bed.client("somethingOdd", json!({"n": 1}));
        bed.client("sendData", json!({"operationId": "o", "payload": {}}));
        assert!(bed.to_upstream.is_empty() && bed.to_client.is_empty());
        assert!(bed.session.kept_bytes() > 0 && bed.session.held_back.messages() == 3);
        if made {
            bed.greets()
        } else {
            bed.lose()
        }
        let said: Vec<_> =
            bed.to_upstream.iter().map(|message| message["message"].as_str().unwrap()).collect();
        assert_eq!(said, ["playStream", "somethingOdd", "sendData"]);
        assert_eq!((bed.leads, bed.to_client.len()), (Epoch(u32::from(made)), 0));
    }
}

#[test]
fn a_client_that_says_too_much_meanwhile_ends_the_move() {
    let mut bed = Bed::with(|settings| settings.hold.count_max = 2).established().under_way();
    bed.clear();
    for n in 0..4 {
        bed.client("somethingOdd", json!({"n": n}));
    }
    assert_eq!((bed.returned(), bed.leads), (Some("the client has too much to say"), Epoch(0)));
    let said: Vec<_> =
        bed.to_upstream.iter().map(|message| message["data"][0]["n"].as_u64().unwrap()).collect();
    assert_eq!(said, [0, 1, 2, 3], "in order, and none is lost");
    let mut binary = Bed::new().established().under_way();
    binary.feed(Input::ClientBinary(b"x"));
    assert_eq!((binary.returned(), binary.leads), (Some("the client speaks something of its own"), Epoch(0)));
}

#[test]
fn the_node_that_is_left_is_answered_and_heard() {
    let mut bed = Bed::new().established().under_way();
    bed.clear();
    bed.says_on(Epoch(0), "ping", json!([null]));
    assert_eq!((bed.to_left.len(), &bed.to_left[0]["message"]), (1, &json!("pong")));
    bed.says_on(Epoch(0), "somethingElse", json!([1]));
    bed.says_on(Epoch(0), "OnDataEvent", json!([{"operationId": "x", "payload": {}}]));
    assert_eq!(bed.to_client.len(), 2, "what is of no stream and of no session is for the client");
    // What is said of the session is for the client only where the session stays.
    bed.says_on(Epoch(0), "notifyVideoFormat", json!([{"mediaSessionId": "x"}]));
    bed.says_on(Epoch(0), "fail", json!([{"status": "FAILED", "info": "odd"}]));
    assert_eq!(bed.to_client.len(), 2);
    bed.lose();
    let heard: Vec<_> = bed.to_client.iter().map(|message| message["message"].as_str().unwrap()).collect();
    assert_eq!(heard, ["somethingElse", "OnDataEvent", "notifyVideoFormat", "fail"]);
}

#[test]
fn a_node_that_is_left_and_says_too_much_ends_the_move() {
    let mut bed = Bed::with(|settings| settings.bounds.pending_requests_max = 2).established().under_way();
    bed.clear();
    for n in 0..3 {
        bed.says_on(Epoch(0), "notifyVideoFormat", json!([{"mediaSessionId": "x", "n": n}]));
    }
    let heard: Vec<_> =
        bed.to_client.iter().map(|message| message["data"][0]["n"].as_u64().unwrap()).collect();
    assert_eq!((heard.as_slice(), bed.leads), ([0, 1, 2].as_slice(), Epoch(0)));
    assert_eq!(bed.returned(), Some("the node that is left has too much to say"));
    let mut call = Bed::new().established().under_way();
    call.says_on(Epoch(0), "notifyIncomingCall", json!([{"callId": "c"}]));
    assert_eq!((call.leads, call.client_got("notifyIncomingCall").len()), (Epoch(0), 1));
}

#[test]
fn the_loss_of_what_is_left_makes_it_an_ordinary_way_back() {
    let mut bed = Bed::new().established().under_way();
    bed.clear();
    bed.client("somethingOdd", json!({"n": 1}));
    bed.feed(Input::UpstreamLost(Epoch(0), LossCause::Reset));
    assert_eq!((bed.leads, bed.dials.len()), (Epoch(1), 0));
    assert!(bed.returned().is_some_and(|reason| reason.contains("Reset")));
    assert!(matches!(bed.events[..], [Event::Moved { .. }, Event::UpstreamLost { .. }]), "{:?}", bed.events);
    bed.greets();
    assert!(bed.events.iter().any(|event| matches!(event, Event::SessionRestored { .. })));
    assert_eq!((bed.upstream_got("somethingOdd").len(), bed.to_client.len()), (1, 0));
    bed.lose();
    bed.pass(1_000);
    assert_eq!(bed.dials, [Epoch(2)]);
}

#[test]
fn a_loss_while_the_other_node_is_dialled_is_an_outage_like_any_other() {
    let mut bed = Bed::new().established();
    bed.move_there();
    bed.lose();
    assert_eq!(
        (bed.returned(), bed.dials.as_slice()),
        (Some("a connection was lost meanwhile"), [Epoch(2)].as_slice())
    );
    assert_eq!(bed.upstream_close, [(Epoch(1), Close::NoCode)]);
    bed.reconnect();
    assert_eq!(bed.to_client, Vec::<Value>::new());
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_both_nodes() {
    for under_way in [false, true] {
        let mut bed = Bed::new().established();
        bed.move_there();
        if under_way {
            bed.beside_opens();
        }
        bed.feed(Input::ClientClosed(Some(1000)));
        bed.upstream_close.sort_by_key(|(epoch, _)| *epoch);
        assert_eq!(bed.upstream_close, [(Epoch(0), Close::Code(1000)), (Epoch(1), Close::Code(1000))]);
        assert_eq!(bed.returned(), Some("the session ended"));
        assert_eq!(bed.registry.kept().bytes(), 0);
    }
}

#[test]
fn a_forced_move_is_an_outage_that_was_begun_on_purpose() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.feed(Input::ForceMove);
    assert_eq!(
        (bed.upstream_close.as_slice(), bed.dials.as_slice()),
        ([(Epoch(0), Close::NoCode)].as_slice(), [Epoch(1)].as_slice())
    );
    assert!(
        bed.events.iter().any(|event| matches!(event, Event::UpstreamLost { cause: LossCause::Left, .. }))
    );
    bed.reconnect();
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    // Whatever it was about to do.
    let mut moving = Bed::new().established().under_way();
    moving.feed(Input::ForceMove);
    assert_eq!(moving.upstream_close, [(Epoch(1), Close::NoCode), (Epoch(0), Close::NoCode)]);
    assert_eq!(moving.dials, [Epoch(2)]);
    moving.feed(Input::ForceMove);
    assert_eq!(moving.dials, [Epoch(2)], "it is on its way already");
}
