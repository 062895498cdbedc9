#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::session::{DialError, LossCause};

type Slot = Option<Box<Timeline>>;

fn note(slot: &mut Slot, event: &Event, at_ms: u64) {
    let names = |node: NodeId| if node.0 == 0 { "a".to_owned() } else { "b".to_owned() };
    Timeline::note(slot, (event, Timestamp::from_ms(at_ms)), NodeId(0), names);
}

fn lost(streams: usize) -> Event {
    Event::UpstreamLost { cause: LossCause::EndOfFile, streams }
}

fn outcome(name: &str, outcome: Outcome, after_ms: u64) -> Event {
    let after = Duration::from_millis(after_ms);
    Event::StreamOutcome { name: name.to_owned(), stream: "p1".to_owned(), kind: "publish", outcome, after }
}

fn gap(name: &str, gap_ms: u64) -> Event {
    Event::MediaGap { name: name.to_owned(), kind: "publish", gap: Duration::from_millis(gap_ms) }
}

fn moved(outcome: MoveOutcome) -> Event {
    Event::Moved { from: NodeId(0), to: NodeId(1), outcome, took: Duration::from_millis(300) }
}

fn restored(after_ms: u64) -> Event {
    Event::SessionRestored { outage: Duration::from_millis(after_ms), tries: 2 }
}

fn chapters(slot: &Slot) -> Vec<Chapter> {
    Timeline::chapters(slot.as_deref())
}

#[test]
fn whoever_had_no_outage_has_nothing() {
    let mut slot = None;
    note(&mut slot, &Event::SessionUp { app_key: "app".to_owned(), mode: "auto" }, 0);
    note(&mut slot, &gap("cam", 20), 1);
    Timeline::connected(&mut slot, "a", Timestamp::from_ms(2));
    assert!(slot.is_none(), "nothing is allocated");
    assert!(chapters(&slot).is_empty());
}

#[test]
fn an_outage_is_told_from_the_loss_to_the_last_verdict() {
    let mut slot = None;
    note(&mut slot, &lost(2), 1_000);
    for tries in 1..=3 {
        note(&mut slot, &Event::AttemptFailed { tries, error: DialError::Refused(502) }, 1_100);
    }
    Timeline::connected(&mut slot, "b", Timestamp::from_ms(2_000));
    assert_eq!(chapters(&slot)[0].outcome, None, "it goes on");
    note(&mut slot, &restored(1_200), 2_200);
    // The gap may be known before the verdict, and after it.
    note(&mut slot, &gap("cam", 1_400), 2_400);
    note(&mut slot, &outcome("cam", Outcome::Restored, 1_500), 2_500);
    note(&mut slot, &outcome("screen", Outcome::Reported, 1_600), 2_600);
    note(&mut slot, &gap("screen", 1_700), 2_700);
    let [outage] = &chapters(&slot)[..] else { panic!("one outage") };
    assert_eq!((&*outage.what, &*outage.from, outage.to.as_deref()), ("outage", "a", Some("b")));
    assert_eq!((outage.cause.as_deref(), outage.streams_lost), (Some("end of file"), 2));
    assert_eq!((outage.dials_failed, outage.dial_error.as_deref()), (3, Some("HTTP 502")));
    assert_eq!((outage.outcome.as_deref(), outage.lasted_ms), (Some("restored"), Some(1_200)));
    let steps: Vec<_> = outage.steps.iter().map(|step| (step.after_ms, &*step.what)).collect();
    assert_eq!(steps, [(1_000, "connected"), (1_200, "restored")]);
    let [cam, screen] = &outage.streams[..] else { panic!("{:?}", outage.streams) };
    assert_eq!(
        (cam.outcome.as_deref(), cam.after_ms, cam.gap_ms),
        (Some("restored"), Some(1_500), Some(1_400))
    );
    assert_eq!((screen.outcome.as_deref(), screen.gap_ms), (Some("reported"), Some(1_700)));
}

#[test]
fn who_falls_again_before_it_stands_is_in_the_same_outage() {
    let mut slot = None;
    note(&mut slot, &lost(1), 0);
    Timeline::connected(&mut slot, "b", Timestamp::from_ms(10));
    note(&mut slot, &lost(1), 20);
    note(&mut slot, &Event::GaveUp { reason: "no try succeeded".to_owned(), tries: 100 }, 30);
    let [outage] = &chapters(&slot)[..] else { panic!("one outage") };
    let steps: Vec<_> = outage.steps.iter().map(|step| &*step.what).collect();
    assert_eq!(steps, ["connected", "lost", "given_up"]);
    assert_eq!((outage.outcome.as_deref(), outage.lasted_ms), (Some("given_up"), Some(30)));
}

#[test]
fn moves_that_end_alike_are_one_entry() {
    let mut slot = None;
    for at in 0..1_000 {
        note(&mut slot, &moved(MoveOutcome::Refused("rooms")), at);
    }
    note(&mut slot, &moved(MoveOutcome::Done), 2_000);
    note(&mut slot, &gap("cam", 80), 2_100);
    let [refused, done] = &chapters(&slot)[..] else { panic!("two entries") };
    assert_eq!((refused.times, refused.cause.as_deref()), (1_000, Some("rooms")));
    assert_eq!(
        (done.outcome.as_deref(), done.to.as_deref(), done.lasted_ms),
        (Some("moved"), Some("b"), Some(300))
    );
    assert_eq!((&*done.streams[0].name, done.streams[0].gap_ms), ("cam", Some(80)));
}

#[test]
fn the_last_eight_are_kept() {
    let mut slot = None;
    for at in 0..100 {
        note(&mut slot, &lost(at), 0);
        note(&mut slot, &restored(at as u64), 0);
    }
    let kept: Vec<_> = chapters(&slot).iter().map(|chapter| chapter.streams_lost).collect();
    assert_eq!(kept, (92..100).collect::<Vec<_>>());
}

#[test]
fn what_an_outage_has_too_much_of_is_counted() {
    let mut slot = None;
    note(&mut slot, &lost(1_000), 0);
    for n in 0..1_000 {
        Timeline::connected(&mut slot, "b", Timestamp::from_ms(n));
        note(&mut slot, &outcome(&format!("cam{n}"), Outcome::Restored, n), n);
    }
    let [outage] = &chapters(&slot)[..] else { panic!("one outage") };
    assert_eq!((outage.steps.len(), outage.streams.len()), (STEPS_MAX, STREAMS_MAX));
    assert_eq!(outage.left_out as usize, 2_000 - STEPS_MAX - STREAMS_MAX);
}

#[test]
fn however_long_the_names_it_stays_within_its_bytes() {
    let mut slot = None;
    let long = "ü".repeat(100_000);
    for round in 0..20 {
        note(&mut slot, &lost(100), round);
        for n in 0..100 {
            let info = format!("{n}{long}");
            note(&mut slot, &Event::StreamRetry { name: long.clone(), info: info.clone(), tries: 1 }, n);
            note(&mut slot, &outcome(&info, Outcome::Reported, n), n);
            let bytes = slot.as_ref().unwrap().bytes();
            assert!(bytes <= BYTES_MAX, "{bytes}");
        }
        note(&mut slot, &restored(1), round);
    }
    let last = chapters(&slot).pop().unwrap();
    assert!(last.left_out > 0 && !last.steps.is_empty() && !last.streams.is_empty(), "{last:?}");
}

#[test]
fn passwords_in_names_do_not_get_here() {
    let mut slot = None;
    let camera = "rtsp://admin:hunter2@cam/1".to_owned();
    note(&mut slot, &lost(1), 0);
    let error = DialError::Unreachable("ws://x:hunter2@wcs is gone".to_owned());
    note(&mut slot, &Event::AttemptFailed { tries: 1, error }, 0);
    note(&mut slot, &Event::StreamRetry { name: camera.clone(), info: camera.clone(), tries: 1 }, 0);
    note(&mut slot, &Event::RoomLost { room: camera.clone(), info: camera.clone() }, 0);
    note(&mut slot, &outcome(&camera, Outcome::Reported, 1), 1);
    let text = serde_json::to_string(&chapters(&slot)).unwrap();
    assert!(!text.contains("hunter2") && text.contains("rtsp://cam/1"), "{text}");
}
