#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{sync::Arc, time::Duration};

use super::{
    testing::{MemoryTape, redactor, replay},
    *,
};
use crate::{
    ids::{Epoch, NodeId, SessionId},
    registry::{Member, Registry},
    session::{DialError, Input, LossCause, Mail, Session, Timestamp},
    settings::SessionSettings,
    signaling::redactor::Names,
};

const BYTES_MAX: usize = 1024 * 1024;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn start(from_start: bool) -> Start {
    let settings = SessionSettings::default();
    Start { s: SessionId(1), t: at(5), from_start, seed: 7, node: NodeId(0), with_media: false, settings }
}

fn session() -> Member {
    let session = Session::new(SessionId(1), Arc::new(SessionSettings::default()), 7, at(5));
    Member::new(session, Arc::new(Registry::default()))
}

/// What a client with secrets says, up to a stream that plays.
fn begins(session: &mut Member) {
    let connection = br#"{"message":"connection","data":[{"appKey":"defaultApp","clientVersion":"2.0","authToken":"hush-1","sipPassword":"hush-2","custom":{"login":"hush-3"}}]}"#;
    let user_data = br#"{"message":"getUserData","data":[{"appKey":"defaultApp","authToken":"hush-4","status":"ESTABLISHED"}]}"#;
    let play = br#"{"message":"playStream","data":[{"mediaSessionId":"a1","name":"rtsp://u:hush-5@cam/1","mediaProvider":"MSE","sdp":"v=0\r\na=ice-pwd:hush-6\r\n"}]}"#;
    let playing = br#"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"a1","name":"rtsp://u:hush-5@cam/1","status":"PLAYING"}]}"#;
    session.handle(Input::ClientText(connection), at(10));
    session.take_outputs();
    session.handle(Input::UpstreamText(Epoch(0), user_data), at(20));
    session.take_outputs();
    session.handle(Input::ClientText(play), at(30));
    session.take_outputs();
    session.handle(Input::UpstreamText(Epoch(0), playing), at(40));
    session.take_outputs();
}

/// The upstream dies, a dial fails, another works, and all is restored.
fn outage(session: &mut Member) {
    session.handle(Input::UpstreamLost(Epoch(0), LossCause::EndOfFile), at(100));
    session.take_outputs();
    session.handle(Input::ClientText(br#"{"message":"nobodyKnows","data":["hush-7"]}"#), at(110));
    session.take_outputs();
    session.handle(
        Input::DialFailed(Epoch(1), DialError::Unreachable("no answer (ws://me:hush-8@wcs)".into())),
        at(120),
    );
    session.take_outputs();
    let due = session.next_timeout().unwrap();
    session.handle(Input::Timeout, due);
    let later = |ms| due + Duration::from_millis(ms);
    let dials = session.take_outputs();
    assert!(!dials.is_empty());
    session.handle(Input::UpstreamOpened(Epoch(2), NodeId(0)), later(3_000));
    session.take_outputs();
    session.handle(
        Input::UpstreamText(
            Epoch(2),
            br#"{"message":"getUserData","data":[{"authToken":"hush-9","status":"ESTABLISHED"}]}"#,
        ),
        later(3_010),
    );
    session.take_outputs();
    session.handle(Input::Mail(Mail::NameSettled("hush".into())), later(3_020));
    session.handle(Input::UpstreamText(Epoch(2), b"hush, no JSON"), later(3_030));
    session.take_outputs();
}

fn recorded(names: Names) -> MemoryTape {
    let (tape, mut session) = (MemoryTape::new(BYTES_MAX, names), session());
    session.record(Recorder::new(start(true), redactor(names), tape.boxed()));
    begins(&mut session);
    outage(&mut session);
    session.end_records(at(100_000));
    tape
}

#[test]
fn an_outage_replays_to_the_same_decisions() {
    for names in [Names::Shown, Names::Anonymous] {
        let tape = recorded(names);
        let report = tape.replay().unwrap();
        let one = &report.sessions[0];
        assert_eq!((report.is_same(), &one.difference), (Some(true), &None), "{names:?}");
        assert!(one.inputs >= 11 && one.decisions > 11 && one.unreadable == 1, "{one:?}");
    }
}

#[test]
fn nothing_that_was_recorded_holds_a_secret() {
    for line in recorded(Names::Shown).lines() {
        // The name of the settled stream is one.
        assert!(!line.replace(r#"{"name_settled":"hush"}"#, "").contains("hush"), "{line}");
    }
    let lines = recorded(Names::Anonymous).lines().join("\n");
    assert!(!lines.contains("hush") && !lines.contains("cam/1"), "{lines}");
}

#[test]
fn a_decision_that_is_another_is_found_with_its_line() {
    let lines = recorded(Names::Shown).lines();
    let at = lines.iter().position(|line| line.contains(r#""out":"dial""#)).unwrap();
    let mut other = lines.clone();
    other[at] = other[at].replace("epoch 1", "epoch 9");
    let difference = replay(&other, Names::Shown).unwrap().sessions[0].difference.clone().unwrap();
    // Lines count from one, and the heading is the first.
    assert_eq!(difference.line, Some(at + 2));
    assert!(
        difference.recorded.unwrap().contains("epoch 9") && difference.replayed.unwrap().contains("epoch 1")
    );
    let mut fewer = lines.clone();
    fewer.remove(at);
    let difference = replay(&fewer, Names::Shown).unwrap().sessions[0].difference.clone().unwrap();
    assert!(difference.replayed.is_some(), "{difference:?}");
    let asked = lines.iter().position(|line| line.contains(r#""line":"asked""#)).unwrap();
    let mut unasked = lines;
    unasked.remove(asked);
    let difference = replay(&unasked, Names::Shown).unwrap().sessions[0].difference.clone().unwrap();
    assert!(difference.replayed.unwrap().starts_with("asked "));
}

#[test]
fn what_began_before_is_shown_and_not_replayed() {
    let (tape, mut session) = (MemoryTape::new(BYTES_MAX, Names::Shown), session());
    begins(&mut session);
    session.record(Recorder::new(start(false), redactor(Names::Shown), tape.boxed()));
    outage(&mut session);
    let report = tape.replay().unwrap();
    assert_eq!((report.is_same(), report.sessions[0].from_start), (None, false));
    assert!(report.sessions[0].decisions > 5);
}

#[test]
fn a_session_that_is_waited_for_is_recorded_from_its_beginning() {
    for (stream, from_start) in [("rtsp://cam/1", Some(true)), ("another", None)] {
        let (tape, mut session) = (MemoryTape::new(BYTES_MAX, Names::Shown), session());
        session.record(Recorder::waiting(start(true), redactor(Names::Shown), tape.boxed(), stream));
        begins(&mut session);
        outage(&mut session);
        let report = tape.replay().unwrap();
        assert_eq!(report.sessions.first().map(|one| one.from_start), from_start, "{stream}");
        assert_eq!(report.is_same(), from_start, "{stream}");
    }
    // Without room for what is held the beginning is missing.
    let (tape, mut session) = (MemoryTape::new(BYTES_MAX, Names::Shown), session());
    let small = MemoryTape::new(recorded(Names::Shown).lines()[0].len() + 10, Names::Shown);
    session.record(Recorder::waiting(
        start(true),
        redactor(Names::Shown),
        Box::new(Small(small, tape.clone())),
        "rtsp://cam/1",
    ));
    begins(&mut session);
    assert_eq!(tape.replay().unwrap().sessions.first().map(|one| one.from_start), Some(false));
}

/// Holds little, and takes much.
struct Small(MemoryTape, MemoryTape);

impl Tape for Small {
    fn write(&mut self, lines: Vec<String>) -> bool {
        self.1.write(lines)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn hold(&mut self, bytes: usize) -> bool {
        self.0.hold(bytes)
    }

    fn release(&mut self) {
        self.0.release();
    }
}

#[test]
fn a_full_tape_ends_between_inputs() {
    let whole = recorded(Names::Shown).lines().iter().map(String::len).sum::<usize>();
    for share in 2..10 {
        let (tape, mut session) = (MemoryTape::new(whole * share / 10, Names::Shown), session());
        session.record(Recorder::new(start(true), redactor(Names::Shown), tape.boxed()));
        begins(&mut session);
        outage(&mut session);
        assert!(!session.is_recorded(), "its recorder is gone");
        assert_ne!(tape.replay().unwrap().is_same(), Some(false), "what is there replays ({share})");
    }
}

#[test]
fn two_record_one_session_each_with_placeholders_of_its_own() {
    let (one, two, mut session) =
        (MemoryTape::new(BYTES_MAX, Names::Shown), MemoryTape::new(BYTES_MAX, Names::Anonymous), session());
    session.record(Recorder::new(start(true), redactor(Names::Shown), one.boxed()));
    session.record(Recorder::new(start(true), redactor(Names::Anonymous), two.boxed()));
    begins(&mut session);
    outage(&mut session);
    assert_eq!((one.replay().unwrap().is_same(), two.replay().unwrap().is_same()), (Some(true), Some(true)));
    assert_eq!(one.lines().len(), two.lines().len());
    assert_ne!(one.lines(), two.lines());
}

#[test]
fn damaged_lines_are_told_with_their_number() {
    let lines = recorded(Names::Shown).lines();
    let told = |lines: &[String]| replay(lines, Names::Shown).unwrap_err().to_string();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines.insert(at, line.to_owned());
        told(&lines)
    };
    for (line, says) in [
        ("", "line 3: no line of a recording"),
        (r#"{"line":"nothing"}"#, "line 3"),
        (&lines[0], "begins twice"),
        (r#"{"line":"in","s":9,"t":1,"said":"timeout"}"#, "session s9 has not begun"),
        (r#"{"line":"in","s":1,"t":1,"said":"timeout"}"#, "before the line before"),
        (r#"{"line":"out","s":1,"out":"dial"}"#, "nobody was told"),
        (r#"{"line":"asked","s":1,"what":"name"}"#, "nobody was told"),
        (r#"{"line":"end","reason":"x"}"#, "line 4: something stands behind the end"),
        (
            r#"{"line":"recording","schema":1,"version":"1","anonymous":false,"began_unix_ms":0}"#,
            "second beginning",
        ),
    ] {
        let why = with(1, line);
        assert!(why.contains(says), "{line}: {why}");
    }
    let fact = r#"{"line":"in","s":1,"t":10,"said":{"media":[{"session":1,"number":1},{"nothing":1}]}}"#;
    assert!(with(1, fact).contains("no fact"), "{}", with(1, fact));
    assert_eq!(Replay::default().finish().unwrap_err(), ReadError::Empty);
    let newer = r#"{"line":"recording","schema":99,"version":"9.9","anonymous":false,"began_unix_ms":0}"#;
    let why = Replay::default().line(newer).unwrap_err().to_string();
    assert!(why.contains("9.9") && why.contains("99"), "{why}");
    assert!(Replay::default().line(&lines[0]).unwrap_err().to_string().contains("does not begin"));
}

#[test]
fn a_timeline_tells_who_said_what() {
    let lines: Vec<Line> =
        recorded(Names::Shown).lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> =
        lines.iter().filter_map(told).map(|(who, what)| format!("{who} {what}")).collect();
    for expected in [
        "session begins",
        "client → connection",
        "server → getUserData ESTABLISHED (epoch 0)",
        "server is lost (epoch 0): EndOfFile",
        "session ends",
    ] {
        assert!(told.iter().any(|line| line == expected), "{expected} in {told:#?}");
    }
    for begins in
        ["client → playStream rtsp://cam/1;redacted-", "  decides dial epoch 1", "  tells SessionRestored"]
    {
        assert!(told.iter().any(|line| line.starts_with(begins)), "{begins} in {told:#?}");
    }
}
