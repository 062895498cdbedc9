//! A connection that is silent: what is asked, what else is looked for, and when it is left (rule R12).

use super::*;
use crate::{
    media::{Fact, StreamKey},
    session::{Belongings, Evidence, Expected, Kind},
};

const KEY: StreamKey = StreamKey::of_first_session(1);

/// A session whose media has fallen silent, so that its upstream was asked.
fn asked() -> Bed {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.feed(Input::Media(KEY, Fact::UpstreamSilent { epoch: Epoch(0) }));
    assert_eq!((bed.asked, bed.doubts.len()), (1, 0));
    bed
}

#[test]
fn an_upstream_that_answers_no_ping_is_doubted_once() {
    let mut bed = asked();
    bed.pass(390);
    assert!(bed.doubts.is_empty());
    bed.pass(20);
    assert_eq!(bed.doubts, [Epoch(0)]);
    bed.pass(5_000);
    assert_eq!((bed.doubts.len(), bed.asked, bed.dials.len()), (1, 1, 0), "nothing follows by itself");
}

#[test]
fn an_answer_ends_the_doubt_and_makes_old_evidence_worthless() {
    let mut bed = asked();
    bed.pass(410);
    bed.feed(Input::UpstreamActivity(Epoch(0)));
    bed.feed(Input::Evidence(Epoch(0), Evidence::NodeSilent));
    assert!(bed.dials.is_empty() && bed.upstream_close.is_empty());
    // The next silence is asked about anew.
    bed.feed(Input::Media(KEY, Fact::UpstreamSilent { epoch: Epoch(0) }));
    bed.pass(410);
    assert_eq!((bed.asked, bed.doubts.len()), (2, 2));
}

#[test]
fn a_silent_node_is_left_at_once_where_another_would_answer() {
    let mut bed = asked();
    bed.pass(410);
    bed.feed(Input::Evidence(Epoch(0), Evidence::NodeSilent));
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::Abort)]);
    assert_eq!(bed.dials, [Epoch(1)]);
    assert!(bed.to_client.is_empty() && bed.client_close.is_none());
}

#[test]
fn a_dead_connection_to_a_node_that_lives_is_left_when_it_was_silent_for_long() {
    let mut bed = asked();
    bed.pass(410);
    bed.feed(Input::Evidence(Epoch(0), Evidence::NodeAnswers));
    bed.pass(2_500);
    assert!(bed.dials.is_empty(), "its answer may be late");
    bed.pass(100);
    assert_eq!(
        (bed.dials.as_slice(), bed.upstream_close.as_slice()),
        (&[Epoch(1)][..], &[(Epoch(0), Close::Abort)][..])
    );
}

#[test]
fn without_another_node_it_waits_as_long_as_ever() {
    let mut bed = asked();
    bed.pass(410);
    bed.feed(Input::Evidence(Epoch(0), Evidence::None));
    bed.pass(14_000);
    assert!(bed.dials.is_empty());
    bed.pass(1_000);
    assert_eq!(bed.dials, [Epoch(1)]);
}

#[test]
fn evidence_of_an_older_epoch_or_without_doubt_counts_for_nothing() {
    let mut bed = asked();
    bed.feed(Input::Evidence(Epoch(0), Evidence::NodeSilent));
    assert!(bed.dials.is_empty(), "nobody looked for it");
    bed.pass(410);
    bed.feed(Input::Evidence(Epoch(7), Evidence::NodeSilent));
    assert!(bed.dials.is_empty());
}

#[test]
fn whoever_hears_that_its_node_is_doubtful_asks_for_itself() {
    let mut bed = Bed::new().established();
    bed.feed(Input::NodeDoubtful);
    bed.feed(Input::NodeDoubtful);
    assert_eq!(bed.asked, 1, "once per silence");
    bed.pass(410);
    assert_eq!(bed.doubts, [Epoch(0)]);
    bed.feed(Input::Evidence(Epoch(0), Evidence::NodeSilent));
    assert_eq!(bed.dials, [Epoch(1)]);
}

#[test]
fn looking_for_evidence_can_be_switched_off() {
    let mut bed = Bed::with(|settings| settings.keepalive.probe_answer = Duration::ZERO).established();
    bed.feed(Input::NodeDoubtful);
    bed.pass(10_000);
    assert!(bed.doubts.is_empty());
}

#[test]
fn a_leg_is_expected_to_hear_what_its_server_says_that_runs() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    let expected = |bed: &Bed, epoch| {
        Expected::of(&bed.session, KEY, epoch).map(|leg| (leg.name.to_owned(), leg.kind, leg.is_expected))
    };
    let cam = |is_expected| Some(("cam".to_owned(), Kind::Publish, is_expected));
    assert_eq!(expected(&bed, Epoch(0)), cam(true));
    assert_eq!(expected(&bed, Epoch(1)), None, "that is not of now");
    assert_eq!(Expected::of(&bed.session, StreamKey::of_first_session(2), Epoch(0)), None);
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PAUSED", None));
    assert_eq!(expected(&bed, Epoch(0)), cam(false));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    assert_eq!(expected(&bed, Epoch(0)), cam(true));
    bed.unpublish("a", "cam");
    assert_eq!(expected(&bed, Epoch(0)), cam(false), "the server may be late with its answer");
    bed.lose();
    assert_eq!(expected(&bed, Epoch(0)), None);
}

#[test]
fn only_a_session_that_loses_nothing_leaves_for_its_media() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    assert!(Belongings::are_restorable(&bed.session));
    let bed = bed.playing_mse("m", "film");
    assert!(!Belongings::are_restorable(&bed.session), "what does not pass through us may be well");
}
