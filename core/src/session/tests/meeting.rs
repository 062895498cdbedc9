//! Participants of one room meet on one node (rule R16).

use super::*;
use crate::session::{Participant, RoomKey};

const HERE: NodeId = NodeId(0);
const THERE: NodeId = NodeId(1);
const HEIR: NodeId = NodeId(2);

fn command(operation: &str, command: &str, room: &str) -> Value {
    json!({"operationId": operation, "payload": {"command": command, "options": {"name": room}}})
}

/// A session of a process, established on this node.
fn on(registry: &Arc<Registry>, id: u64, node: NodeId) -> Bed {
    let mut bed = Bed::member(id, registry, |_| {});
    bed.session = bed.session.with_node(node);
    bed.established()
}

/// A process with somebody in room `r` on the other node.
fn with_one_there() -> (Arc<Registry>, Bed) {
    let registry = Arc::new(Registry::default());
    let mut first = on(&registry, 1, THERE);
    first.join("r");
    assert_eq!(first.upstream_got("sendData").len(), 1);
    (registry, first)
}

impl Bed {
    fn join(&mut self, room: &str) {
        self.client("sendData", command(&format!("join {room}"), "join", room));
    }

    fn leave(&mut self, room: &str) {
        self.client("sendData", command(&format!("leave {room}"), "leave", room));
    }

    /// What became of the last join that reached the server.
    fn join_is(&mut self, status: &str) {
        let operation = self.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
        self.server("DataStatusEvent", json!({"operationId": operation, "status": status}));
    }

    /// Where the last dial was to go.
    fn toward(&self) -> Option<NodeId> {
        *self.toward.last().unwrap()
    }

    /// As others know it.
    fn participant(&self) -> Participant {
        Participant { session: self.session.id, node: self.session.upstream.node }
    }

    /// Lands on this node after a loss.
    fn lands(&mut self, node: NodeId) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::UpstreamOpened(epoch, node));
        self.server("getUserData", json!({"authToken": format!("T{}", epoch.0), "status": "ESTABLISHED"}));
    }

    fn is_taken_there(&mut self) {
        self.beside_opens();
        self.server("getUserData", json!({"authToken": "T9", "status": "ESTABLISHED"}));
    }

    fn joined_upstream(&self) -> usize {
        self.upstream_got("sendData").len()
    }

    fn told_of_rooms_elsewhere(&self) -> Vec<NodeId> {
        let node = |event: &Event| match event {
            Event::RoomElsewhere { node, .. } => Some(*node),
            _ => None,
        };
        self.events.iter().filter_map(node).collect()
    }

    /// Delivers what this one has for the other.
    fn posts_to(&mut self, other: &mut Self) {
        for (to, mail) in std::mem::take(&mut self.posts) {
            assert_eq!(to, other.session.id);
            other.feed(Input::Mail(mail));
        }
    }
}

#[test]
fn who_joins_a_room_goes_where_its_participants_are() {
    let (registry, _first) = with_one_there();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    bed.client("somethingOdd", json!({"n": 1}));
    assert_eq!((bed.beside.as_slice(), bed.to_upstream.len()), ([(Epoch(1), THERE)].as_slice(), 0));
    bed.is_taken_there();
    let said: Vec<_> = bed.to_upstream.iter().map(|message| message["message"].as_str().unwrap()).collect();
    assert_eq!(said, ["connection", "sendData", "somethingOdd"]);
    assert_eq!((bed.leads, bed.to_client.len(), bed.moved.len()), (Epoch(1), 0, 0), "nobody hears of it");
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::NoCode)]);
    assert_eq!((bed.session.belongings().node, bed.told_of_rooms_elsewhere().len()), (THERE, 0));
}

#[test]
fn two_who_join_a_new_room_at_the_same_moment_meet_where_the_first_is() {
    let registry = Arc::new(Registry::default());
    let (mut one, mut other) = (on(&registry, 1, HERE), on(&registry, 2, THERE));
    one.join("r");
    other.join("r");
    assert_eq!((one.joined_upstream(), one.beside.len()), (1, 0), "whoever decides first has the room");
    assert_eq!((other.joined_upstream(), other.beside.as_slice()), (0, [(Epoch(1), HERE)].as_slice()));
}

#[test]
fn a_room_that_was_refused_or_left_is_where_the_next_is() {
    let end: [fn(&mut Bed); 4] = [
        |first| first.join_is("FAILED"),
        |first| first.leave("r"),
        |first| first.feed(Input::ClientClosed(None)),
        |first| first.feed(Input::Shutdown),
    ];
    for end in end {
        let (registry, mut first) = with_one_there();
        end(&mut first);
        assert!(registry.rooms().is_empty());
        let mut bed = on(&registry, 2, HERE);
        bed.join("r");
        assert_eq!((bed.beside.len(), bed.joined_upstream()), (0, 1));
    }
}

#[test]
fn a_session_that_is_dropped_is_in_no_room() {
    let registry = Arc::new(Registry::default());
    let mut bed = on(&registry, 1, HERE);
    bed.join("r");
    bed.session.abandon(&mut &*registry);
    assert!(registry.rooms().is_empty() && registry.kept().bytes() == 0);
}

#[test]
fn who_cannot_go_joins_where_they_are_and_the_log_hears_of_it() {
    let (registry, _first) = with_one_there();
    let mut playing = on(&registry, 2, HERE).playing_mse("p", "cam");
    let mut talking = on(&registry, 3, HERE);
    talking.client("call", json!({"callId": "c"}));
    let mut in_another = on(&registry, 4, HERE);
    in_another.join("another");
    in_another.join_is("ACCEPTED");
    let mut alone = on(&registry, 5, HERE);
    alone.join("r");
    alone.feed(Input::DialFailed(Epoch(1), DialError::Refused(503)));
    for bed in [&mut playing, &mut talking, &mut in_another] {
        bed.join("r");
        assert!(bed.beside.is_empty());
    }
    for bed in [playing, talking, in_another, alone] {
        let join = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
        assert_eq!((join, bed.told_of_rooms_elsewhere()), (json!("join r"), vec![THERE]));
    }
}

#[test]
fn nobody_goes_to_a_room_where_that_is_switched_off_or_the_application_is_another() {
    let (registry, _first) = with_one_there();
    let mut off = Bed::member(2, &registry, |settings| settings.locality = false).established();
    off.join("r");
    assert_eq!((off.beside.len(), off.joined_upstream(), off.told_of_rooms_elsewhere().len()), (0, 1, 0));
    let mut other = Bed::member(3, &registry, |_| {});
    let mut fields = connection();
    fields["appKey"] = json!("another");
    other.client("connection", fields);
    other.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    other.join("r");
    assert_eq!((other.beside.len(), other.joined_upstream()), (0, 1));
    // Nor for what is no join, or has nothing by which it could be answered.
    let mut bed = on(&registry, 4, HERE);
    bed.client("sendData", json!({"payload": {"command": "join", "options": {"name": "r"}}}));
    bed.leave("r");
    assert!(bed.beside.is_empty());
}

#[test]
fn a_join_that_is_not_kept_leads_nobody() {
    let registry = Arc::new(Registry::default());
    let mut bed = Bed::member(1, &registry, |settings| settings.bounds.rooms_max = 0).established();
    bed.join("r");
    assert!(bed.joined_upstream() == 1 && registry.rooms().is_empty());
}

#[test]
fn after_a_loss_the_room_is_where_its_participants_come_back() {
    let registry = Arc::new(Registry::default());
    let (mut one, mut other) = (on(&registry, 1, HERE), on(&registry, 2, HERE));
    one.join("r");
    other.join("r");
    one.lose();
    other.lose();
    assert_eq!((one.toward(), other.toward()), (None, None), "both go where the node's sessions go");
    one.lands(HEIR);
    // The other's dial fails, and its node is back by now: it does not part from the first.
    other.dial_fails();
    other.pass(5_000);
    assert_eq!(other.toward(), Some(HEIR));
    other.lands(HERE);
    assert_eq!(other.told_of_rooms_elsewhere(), [HEIR], "where it cannot be had, the log hears of it");
    assert!(one.told_of_rooms_elsewhere().is_empty());
}

#[test]
fn who_joins_while_all_others_return_waits_for_the_first_of_them() {
    let (registry, mut first) = with_one_there();
    first.lose();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    bed.client("somethingOdd", json!({"n": 1}));
    assert_eq!((bed.beside.len(), bed.to_upstream.len()), (0, 0), "where it will be is not known");
    first.posts.clear();
    first.lands(HEIR);
    first.posts_to(&mut bed);
    assert_eq!(bed.beside, [(Epoch(1), HEIR)]);
    bed.is_taken_there();
    assert_eq!((bed.joined_upstream(), bed.upstream_got("somethingOdd").len()), (1, 1));
    assert!(bed.to_client.is_empty());
}

#[test]
fn who_waits_for_a_room_that_comes_to_its_own_node_stays() {
    let (registry, mut first) = with_one_there();
    first.lose();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    first.lands(HERE);
    first.posts_to(&mut bed);
    assert_eq!((bed.beside.len(), bed.joined_upstream()), (0, 1));
}

#[test]
fn a_wait_for_a_room_ends_in_any_case() {
    type End = fn(&mut Bed, &mut Bed);
    let ends: [(&str, End); 5] = [
        ("time", |bed, _| {
            let hold = u64::try_from(SessionSettings::default().hold.time_max.as_millis()).unwrap();
            bed.pass_in_health(hold - 1_000);
            assert_eq!(bed.joined_upstream(), 0);
            bed.pass_in_health(1_000);
        }),
        ("nobody comes back", |bed, first| {
            first.feed(Input::ClientClosed(None));
            first.posts_to(bed);
        }),
        ("the client stops", |bed, _| bed.client("stopStream", json!({"mediaSessionId": "x"}))),
        ("the client speaks something else", |bed, _| bed.feed(Input::ClientBinary(b"x"))),
        ("too much is said", |bed, _| {
            (0..SessionSettings::default().hold.count_max)
                .for_each(|n| bed.client("somethingOdd", json!({ "n": n })));
        }),
    ];
    for (why, end) in ends {
        let (registry, mut first) = with_one_there();
        first.lose();
        let mut bed = on(&registry, 2, HERE);
        bed.join("r");
        assert!(bed.session.moving.awaits_room());
        end(&mut bed, &mut first);
        assert_eq!((bed.joined_upstream(), bed.beside.len()), (1, 0), "{why}");
        let key = RoomKey::new(bed.session.client.application, "r");
        assert_eq!(registry.rooms().participants(key), [bed.participant()], "{why}");
        assert_eq!(bed.session.belongings().bound_by, Some("room"));
    }
}

#[test]
fn a_session_that_loses_its_node_while_it_waits_asks_again_where_it_lands() {
    let (registry, mut first) = with_one_there();
    first.lose();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    bed.lose();
    assert!(bed.client_got("DataStatusEvent").is_empty() && !bed.session.moving.awaits_room());
    first.lands(HEIR);
    assert!(first.posts.is_empty(), "it waits no more");
    bed.dial_fails();
    bed.pass(5_000);
    assert_eq!(bed.toward(), Some(HEIR));
    bed.lands(HEIR);
    assert_eq!(bed.joined_upstream(), 1);
    bed.feed(Input::ClientClosed(None));
    first.feed(Input::ClientClosed(None));
    assert!(registry.rooms().is_empty() && registry.rooms().bytes() == 0);
}

#[test]
fn who_finds_a_room_on_a_node_that_is_gone_waits_for_those_who_are_about_to_lose_it() {
    let gone: [fn(&mut Bed); 3] = [
        |bed| bed.feed(Input::DialFailed(Epoch(1), DialError::Unreachable("refused".to_owned()))),
        |bed| {
            bed.beside_opens();
            bed.lose();
        },
        |bed| bed.pass_in_health(5_000),
    ];
    for gone in gone {
        let (registry, mut first) = with_one_there();
        let mut bed = on(&registry, 2, HERE);
        bed.join("r");
        gone(&mut bed);
        assert!(bed.session.moving.awaits_room() && bed.upstream_got("sendData").is_empty());
        first.lose();
        first.posts.clear();
        first.lands(HEIR);
        first.posts_to(&mut bed);
        assert_eq!(bed.beside.last(), Some(&(Epoch(2), HEIR)));
        bed.is_taken_there();
        assert_eq!((bed.upstream_got("sendData").len(), bed.told_of_rooms_elsewhere().len()), (1, 0));
    }
}

#[test]
fn who_finds_a_room_on_a_node_that_only_others_reach_stays_after_a_while() {
    let (registry, _first) = with_one_there();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    bed.feed(Input::DialFailed(Epoch(1), DialError::Unreachable("refused".to_owned())));
    bed.pass_in_health(4_000);
    assert_eq!(bed.joined_upstream(), 0);
    bed.pass_in_health(1_000);
    assert_eq!((bed.joined_upstream(), bed.told_of_rooms_elsewhere()), (1, vec![THERE]));
    // The next word is another story.
    bed.join_is("ACCEPTED");
    bed.leave("r");
    bed.join_is("ACCEPTED");
    bed.join("r");
    assert_eq!(bed.beside.len(), 2);
}

#[test]
fn a_join_waits_only_so_often() {
    let (registry, mut first) = with_one_there();
    let mut bed = on(&registry, 2, HERE);
    bed.join("r");
    let mut moves = 0;
    while bed.joined_upstream() == 0 {
        assert!(moves < 10, "it never ends");
        moves = bed.beside.len();
        let (epoch, _) = *bed.beside.last().unwrap();
        bed.feed(Input::DialFailed(epoch, DialError::Unreachable("refused".to_owned())));
        let next = if moves % 2 == 0 { THERE } else { HEIR };
        first.lose();
        first.pass(5_000);
        first.posts.clear();
        first.lands(next);
        first.posts_to(&mut bed);
    }
    assert_eq!((moves, bed.told_of_rooms_elsewhere().len()), (2, 1));
}
