use super::*;
use crate::session::{Epoch, MediaCommand};

const NOW: Timestamp = Timestamp::from_ms(5_000);
const UNTIL: Timestamp = Timestamp::from_ms(15_000);
const REQUEST: &[u8] =
    br#"{"message":"publishStream","data":[{"mediaSessionId":"a","name":"cam","sdp":"o"}]}"#;

fn stream(transport: Transport, up: bool) -> Stream {
    Stream::new((Kind::Publish, "a", "cam", false), transport, Some(Packed::plain(REQUEST)), up, NOW)
}

fn anchored() -> Stream {
    stream(Transport::Anchored(Box::new(ClientLeg::new(StreamKey::of_first_session(1)))), true)
}

/// Running on its first upstream, as the client's own request.
fn live(transport: Transport) -> Stream {
    let mut stream = stream(transport, true);
    stream.sent_as_it_is();
    assert!(stream.answer(), "the client's first answer");
    assert_eq!(stream.runs(), Running::News);
    stream.told_running();
    stream
}

fn replay(stream: &mut Stream) -> String {
    let message = stream.replayed("fresh".into(), UNTIL).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn the_first_request_goes_out_under_the_clients_id_and_a_replay_under_a_fresh_one() {
    let mut held = stream(Transport::Direct, false);
    assert!(held.is(Standing::Held) && !held.is_upstream());
    assert!(replay(&mut held).contains(r#""mediaSessionId":"a""#), "no upstream has seen it");
    assert_eq!(held.lost(NOW), Loss::Held);
    assert!(replay(&mut held).contains(r#""mediaSessionId":"fresh""#));
    assert_eq!((held.upstream_id(), held.client_id()), ("fresh", "a"));
}

#[test]
fn an_answered_direct_stream_cannot_be_replayed_and_others_can() {
    assert_eq!(live(Transport::Direct).lost(NOW), Loss::Lost);
    assert_eq!(live(Transport::Socket).lost(NOW), Loss::Held);
    let mut waiting = stream(Transport::Direct, true);
    waiting.sent_as_it_is();
    assert_eq!(waiting.lost(NOW), Loss::Held, "its client still takes an answer");
}

#[test]
fn what_a_replay_repeats_is_owed_to_nobody() {
    let mut socket = live(Transport::Socket);
    assert_eq!(socket.lost(NOW), Loss::Held);
    replay(&mut socket);
    assert!(!socket.answer(), "the client has one");
    assert_eq!(socket.runs(), Running::Known, "the proof is media");
    assert!(socket.awaits_media());
    assert_eq!(socket.proven(UNTIL).as_millis(), 10_000);
    assert_eq!(socket.runs(), Running::News, "said again in the same epoch, it is the server's own");
}

#[test]
fn a_word_that_comes_after_the_proof_is_known() {
    let mut socket = live(Transport::Socket);
    socket.lost(NOW);
    replay(&mut socket);
    socket.proven(NOW);
    assert_eq!(socket.runs(), Running::Known);
    assert!(!socket.answer(), "and so is the answer");
    assert!(socket.answer(), "once");
}

#[test]
fn for_direct_media_the_word_is_the_proof() {
    let mut direct = stream(Transport::Direct, true);
    direct.sent_as_it_is();
    direct.lost(NOW);
    replay(&mut direct);
    assert!(direct.answer(), "the client waits for it");
    assert_eq!(direct.runs(), Running::Proof { first: true });
}

#[test]
fn a_kept_session_may_have_it_alive() {
    let mut direct = live(Transport::Direct);
    direct.put_on_probation(UNTIL);
    assert!(direct.is(Standing::Live), "only what is lost is on probation");
    direct.lost(NOW);
    assert!(direct.may_be_kept() && direct.take_may_be_kept() && !direct.may_be_kept());
    direct.put_on_probation(UNTIL);
    assert_eq!(direct.ended(), End::OfKept);
    assert_eq!(direct.runs(), Running::Proof { first: false });
}

#[test]
fn a_stop_is_the_servers_to_answer_if_the_server_has_the_stream() {
    for (mut stream, over, wanted) in [
        (live(Transport::Direct), false, Stop::Forward),
        (live(Transport::Direct), true, Stop::Answer),
        (self::stream(Transport::Direct, false), false, Stop::Answer),
    ] {
        assert_eq!(stream.stop(over), wanted);
        assert_eq!(stream.is(Standing::Stopping), wanted == Stop::Forward);
    }
    let mut replayed = live(Transport::Socket);
    replayed.lost(NOW);
    replay(&mut replayed);
    assert_eq!(replayed.stop(false), Stop::TakeBack);
}

#[test]
fn a_stop_that_is_lost_with_its_upstream_may_not_have_been_heard() {
    let mut stopping = live(Transport::Direct);
    stopping.stop(false);
    assert_eq!(stopping.ended(), End::Answer);
    assert!(!stopping.may_be_kept());
    assert_eq!(stopping.lost(NOW), Loss::Stopped);
    assert!(stopping.may_be_kept());
}

#[test]
fn an_anchored_stream_goes_upstream_with_the_workers_offer() {
    let mut stream = anchored();
    let opened = stream.ask_for_offer(Epoch(0), UNTIL, false);
    let key = StreamKey::of_first_session(1);
    assert!(matches!(opened, Some(MediaCommand::Open { key: opened, .. }) if opened == key));
    assert_eq!(stream.opened_key(), Some(key));
    let message = stream.offer_made("ours", "fresh".into(), UNTIL).unwrap();
    assert!(String::from_utf8(message).unwrap().contains(r#""sdp":"ours""#));
    assert!(stream.is(Standing::Requested) && stream.offer_made("late", "x".into(), UNTIL).is_none());
    assert!(stream.answer_from_workers() && !stream.answer_from_workers());
    let again = stream.ask_for_offer(Epoch(1), UNTIL, true);
    assert!(matches!(again, Some(MediaCommand::Attach { narrow: false, .. })));
    stream.offer_made("ours", "fresh".into(), UNTIL);
    assert!(stream.is(Standing::Replayed) && !stream.shows_life());
    stream.told_running();
    stream.packets_come();
    assert!(stream.shows_life() && stream.awaits_media());
}

#[test]
fn packets_of_a_replay_that_is_over_say_nothing_of_the_next() {
    let mut stream = anchored();
    stream.ask_for_offer(Epoch(0), UNTIL, true);
    stream.offer_made("ours", "fresh".into(), UNTIL);
    stream.told_running();
    stream.packets_come();
    stream.retries_at(UNTIL, None);
    stream.packets_come();
    stream.ask_for_offer(Epoch(0), UNTIL, true);
    stream.offer_made("ours", "other".into(), UNTIL);
    assert!(!stream.shows_life());
}

#[test]
fn a_stream_that_goes_direct_waits_for_no_leg() {
    let mut stream = anchored();
    stream.ask_for_offer(Epoch(0), UNTIL, true);
    assert_eq!(stream.give_up_anchor(false), Some(true));
    assert!(stream.is(Standing::Held) && stream.is_direct() && stream.leg().is_none());
    assert_eq!(stream.give_up_anchor(true), None, "it makes no offer any more");
}

#[test]
fn it_is_told_what_ended_it_and_not_how_the_retries_failed() {
    let words = |text: &str| Some(text.as_bytes().into());
    let mut stream = live(Transport::Socket);
    stream.begins_to_wait(NOW);
    stream.retries_at(UNTIL, words("the end"));
    stream.retries_at(UNTIL, words("a retry"));
    assert_eq!(stream.take_end().as_deref(), Some(&b"the end"[..]));
    let mut first = self::stream(Transport::Socket, true);
    first.retries_at(UNTIL, words("one"));
    first.retries_at(UNTIL, words("two"));
    assert_eq!(first.refusal(), Some(&b"two"[..]));
    assert_eq!(first.take_end(), None, "it never ran");
}

#[test]
fn h264_that_was_refused_is_never_in_vain() {
    let mut stream = anchored();
    stream.has_no_video(true);
    assert!(stream.had_h264_in_vain());
    stream.has_no_video(false);
    assert!(!stream.had_h264_in_vain());
    stream.refuse_h264();
    stream.has_no_video(true);
    assert!(stream.goes_without_h264() && !stream.had_h264_in_vain());
}

#[test]
fn each_wait_has_its_deadline() {
    let settings = SessionSettings::default();
    assert_eq!(live(Transport::Direct).deadline(&settings), None);
    let held = stream(Transport::Direct, false);
    assert_eq!(held.deadline(&settings), Some(NOW + settings.hold.time_max));
    let mut lost = live(Transport::Direct);
    lost.lost(UNTIL);
    assert_eq!(lost.deadline(&settings), Some(UNTIL + settings.restore.report_after));
    let mut ran = live(Transport::Socket);
    ran.lost(NOW);
    assert_eq!(ran.deadline(&settings), None, "the tries of the outage bound it");
    ran.awaits_publisher(UNTIL);
    assert_eq!(ran.deadline(&settings), Some(UNTIL));
}
