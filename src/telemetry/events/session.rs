//! The events of session cores: what each is called, and its line. Both matches name every event, so that a
//! new one is given its name and its line before anything builds.

use std::fmt;

use holdfast_core::media::{Kind, StreamStats};

use super::clean;
use crate::{
    milliseconds::ms,
    session::{DialError, Event, LossCause, MoveOutcome, Outcome, SessionId},
};

/// Where a filter finds these lines: with the sessions they are about, not with whoever writes them.
const TARGET: &str = "holdfast::session";

/// What the log needs to know of an event besides its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The name in `event`; of each only the first of an outage is told at its level.
    pub(crate) name: &'static str,
    /// The stream, where a client's media can bring the event about as often as it likes.
    pub(crate) media_of: Option<&'a str>,
}

/// What the log needs to know of this event.
pub(crate) fn facts(event: &Event) -> Facts<'_> {
    let (name, media_of) = match event {
        Event::SessionUp { .. } => ("session_up", None),
        Event::PassedThrough { .. } => ("passed_through", None),
        Event::UpstreamLost { .. } => ("upstream_lost", None),
        Event::AttemptFailed { .. } => ("attempt_failed", None),
        Event::ReplayRefused { .. } => ("replay_refused", None),
        Event::SessionRestored { .. } => ("restored", None),
        Event::Moved { .. } => ("moved", None),
        Event::StreamOutcome { .. } => ("stream_outcome", None),
        Event::StreamRetry { .. } => ("stream_retry", None),
        Event::StreamElsewhere { name, .. } => ("stream_elsewhere", Some(name)),
        Event::RoomElsewhere { .. } => ("room_elsewhere", None),
        Event::RetriedWithoutH264 { name } => ("retried_without_h264", Some(name)),
        Event::Unanchorable { name, .. } => ("unanchorable", Some(name)),
        Event::MediaLost { name, .. } => ("media_lost", Some(name)),
        Event::ClientLegRevived { name, .. } => ("client_leg_revived", Some(name)),
        Event::CodecChanged { name, .. } => ("codec_changed", Some(name)),
        Event::NoVideo { name, .. } => ("no_video", Some(name)),
        Event::VideoBack { .. } => ("video_back", None),
        Event::MediaGap { .. } => ("media_gap", None),
        Event::MediaSummary { .. } => ("media_summary", None),
        Event::RoomLost { .. } => ("room_lost", None),
        Event::ClientDead { .. } => ("client_dead", None),
        Event::LimitReached { .. } => ("limit_reached", None),
        Event::GaveUp { .. } => ("gave_up", None),
    };
    Facts { name, media_of: media_of.map(String::as_str) }
}

/// What the session core reports. `upstream` is the node of the current or last connection.
#[cfg(test)]
pub(super) fn report(session: SessionId, upstream: &dyn fmt::Display, event: &Event) {
    report_as(session, upstream, event, true);
}

/// Writes what the session core reports; `upstream` is the node of the current or last connection. What is
/// not loud is the like of what was told before, and goes to debug.
pub(crate) fn report_as(session: SessionId, upstream: &dyn fmt::Display, event: &Event, loud: bool) {
    let name = facts(event).name;
    macro_rules! tell {
        ($level:ident, $($line:tt)*) => { line!(loud, $level, target: TARGET, event = name, %session, $($line)*) };
    }
    match event {
        Event::SessionUp { app_key, mode } => {
            tell!(info, app_key = clean(app_key), mode, "session up");
        }
        Event::PassedThrough { reason } => tell!(info, cause = reason, "session is only passed through"),
        Event::UpstreamLost { cause, streams } => {
            tell!(warn, %upstream, cause = loss(*cause), streams, "upstream lost");
        }
        Event::AttemptFailed { tries, error } => {
            tell!(debug, %upstream, attempt = tries, cause = dial(error), "dial failed");
        }
        Event::ReplayRefused { tries, info, retry } => {
            tell!(warn, %upstream, attempt = tries, cause = clean(info), retry, "session refused");
        }
        Event::SessionRestored { outage, tries } => {
            tell!(debug, %upstream, attempts = tries, outage_ms = ms(*outage), "session restored");
        }
        Event::Moved { from: _, to, outcome, took } => {
            let (to_node, took_ms) = (to.0, ms(*took));
            match outcome {
                MoveOutcome::Done => tell!(debug, %upstream, to_node, took_ms, "session moved"),
                MoveOutcome::Refused(reason) => {
                    tell!(debug, %upstream, to_node, took_ms, cause = reason, "session cannot move");
                }
                MoveOutcome::Returned(reason) => {
                    let cause = clean(reason);
                    tell!(debug, %upstream, to_node, took_ms, cause, "a move came to nothing");
                }
            }
        }
        Event::StreamOutcome { name: stream, stream: id, kind, outcome, after } => {
            let (stream, id, after_ms) = (clean(stream), clean(id), ms(*after));
            if *outcome == Outcome::Reported {
                tell!(warn, stream, id, kind, %outcome, after_ms, "stream lost");
            } else {
                tell!(debug, stream, id, kind, %outcome, after_ms, "stream settled");
            }
        }
        Event::StreamRetry { name: stream, info, tries } => {
            let (stream, cause) = (clean(stream), clean(info));
            tell!(debug, stream, attempt = tries, cause, "stream is tried again");
        }
        Event::StreamElsewhere { name: stream, kind, node } => {
            let (stream, runs_on) = (clean(stream), node.0);
            tell!(warn, %upstream, stream, kind, runs_on, "refused: the stream runs on another node");
        }
        Event::RoomElsewhere { room, node } => {
            let (room, others_on) = (clean(room), node.0);
            tell!(warn, %upstream, room, others_on, "the others in the room are on another node");
        }
        Event::RetriedWithoutH264 { name: stream } => {
            tell!(info, stream = clean(stream), "publish is tried without H264");
        }
        Event::Unanchorable { name: stream, reason } => {
            tell!(warn, stream = clean(stream), cause = clean(reason), "stream is not anchored");
        }
        Event::MediaLost { name: stream, reason } => {
            tell!(warn, stream = clean(stream), cause = clean(reason), "media of a stream is gone");
        }
        Event::ClientLegRevived { name: stream, silence } => {
            tell!(info, stream = clean(stream), silence_ms = ms(*silence), "client's media is back");
        }
        Event::CodecChanged { name: stream, codec } => {
            tell!(info, stream = clean(stream), codec = clean(codec), "publisher changed its codec");
        }
        Event::NoVideo { name: stream, never_sent } => {
            let stream = clean(stream);
            tell!(warn, stream, never_sent, "publisher sends no video: asked for a key frame");
        }
        Event::VideoBack { name: stream } => tell!(info, stream = clean(stream), "publisher sends video"),
        Event::MediaGap { name: stream, kind, gap } => {
            tell!(debug, stream = clean(stream), kind, gap_ms = ms(*gap), "media stood still");
        }
        Event::MediaSummary { name: stream, restored, numbers } => {
            summary(session, stream, *restored, numbers, loud);
        }
        Event::RoomLost { room, info } => {
            let (room, cause) = (clean(room), clean(info));
            tell!(warn, room, cause, "room does not take the client back");
        }
        Event::ClientDead { reason } => tell!(info, cause = reason, "client gives no sign of life"),
        Event::LimitReached { limit } => tell!(warn, limit, "a limit was reached"),
        Event::GaveUp { reason, tries } => {
            tell!(error, attempts = tries, cause = clean(reason), "gave up restoring the session");
        }
    }
}

/// Codec names come from descriptions of clients, so they are cleaned as well.
fn summary(session: SessionId, name: &str, restored: u32, numbers: &StreamStats, loud: bool) {
    // In tenths of a percent, so that the line shows no more digits than there are.
    let percent = |share: Option<f32>| share.map(|share| f64::from((share * 1_000.0).round()) / 10.0);
    let whole = |ms: Option<f32>| ms.map(|ms| f64::from(ms.round()));
    let codec = |name: &Option<String>| name.as_deref().map(clean).unwrap_or_default();
    let (client, upstream) = (&numbers.client, &numbers.upstream);
    line!(
        loud,
        info,
        target: TARGET,
        event = "media_summary",
        %session,
        stream = clean(name),
        kind = if numbers.kind == Some(Kind::Publish) { "publish" } else { "play" },
        video = codec(&numbers.video_codec),
        audio = codec(&numbers.audio_codec),
        client_packets_in = client.packets_received,
        client_bytes_in = client.bytes_received,
        client_packets_out = client.packets_sent,
        client_bytes_out = client.bytes_sent,
        client_loss_in_percent = percent(client.loss_received),
        client_loss_out_percent = percent(client.loss_sent),
        client_round_trip_ms = whole(client.round_trip_ms),
        upstream_packets_in = upstream.packets_received,
        upstream_bytes_in = upstream.bytes_received,
        upstream_packets_out = upstream.packets_sent,
        upstream_bytes_out = upstream.bytes_sent,
        upstream_loss_in_percent = percent(upstream.loss_received),
        upstream_loss_out_percent = percent(upstream.loss_sent),
        upstream_round_trip_ms = whole(upstream.round_trip_ms),
        key_frames = numbers.key_frames,
        restored,
        gaps_ms = ?numbers.gaps_ms,
        revivals = numbers.revivals,
        "media of a stream is over"
    );
}

pub(crate) fn loss(cause: LossCause) -> String {
    match cause {
        LossCause::Closed(code) => format!("closed with code {code}"),
        LossCause::EndOfFile => "end of file".to_owned(),
        LossCause::Reset => "connection reset".to_owned(),
        LossCause::Protocol => "broke the WebSocket protocol".to_owned(),
        LossCause::Stalled => "did not read".to_owned(),
        LossCause::Silent => "silent for too long".to_owned(),
        LossCause::Left => "left".to_owned(),
    }
}

pub(crate) fn dial(error: &DialError) -> String {
    match error {
        DialError::Unreachable(why) => clean(why),
        DialError::Refused(status) => format!("HTTP {status}"),
        DialError::Busy(status, wait) => format!("HTTP {status}, again after {} s", wait.as_secs()),
        DialError::Local(why) => format!("not dialled: {}", clean(why)),
        DialError::BadHandshake(why) => format!("bad handshake: {}", clean(why)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::{super::connection_refused, *};
    use crate::{session::NodeId, telemetry::LogCapture};

    fn one_of_each() -> Vec<(&'static str, Event)> {
        let text = || "cam\n1".to_owned();
        let second = Duration::from_secs(1);
        vec![
            ("session_up", Event::SessionUp { app_key: text(), mode: "auto" }),
            ("unanchorable", Event::Unanchorable { name: text(), reason: text() }),
            ("media_lost", Event::MediaLost { name: text(), reason: text() }),
            ("client_leg_revived", Event::ClientLegRevived { name: text(), silence: second }),
            ("codec_changed", Event::CodecChanged { name: text(), codec: text() }),
            ("no_video", Event::NoVideo { name: text(), never_sent: true }),
            ("video_back", Event::VideoBack { name: text() }),
            ("media_gap", Event::MediaGap { name: text(), kind: "play", gap: second }),
            (
                "media_summary",
                Event::MediaSummary {
                    name: text(),
                    restored: 1,
                    numbers: Box::new(StreamStats { video_codec: Some(text()), ..StreamStats::default() }),
                },
            ),
            ("passed_through", Event::PassedThrough { reason: "SFU" }),
            ("upstream_lost", Event::UpstreamLost { cause: LossCause::Closed(1001), streams: 2 }),
            ("attempt_failed", Event::AttemptFailed { tries: 1, error: DialError::Refused(502) }),
            ("replay_refused", Event::ReplayRefused { tries: 2, info: text(), retry: true }),
            ("restored", Event::SessionRestored { outage: second, tries: 3 }),
            (
                "moved",
                Event::Moved {
                    from: NodeId(0),
                    to: NodeId(1),
                    outcome: MoveOutcome::Returned(text()),
                    took: second,
                },
            ),
            (
                "stream_outcome",
                Event::StreamOutcome {
                    name: text(),
                    stream: text(),
                    kind: "publish",
                    outcome: Outcome::Reported,
                    after: second,
                },
            ),
            ("stream_retry", Event::StreamRetry { name: text(), info: text(), tries: 1 }),
            ("stream_elsewhere", Event::StreamElsewhere { name: text(), kind: "play", node: NodeId(1) }),
            ("room_elsewhere", Event::RoomElsewhere { room: text(), node: NodeId(1) }),
            ("retried_without_h264", Event::RetriedWithoutH264 { name: text() }),
            ("room_lost", Event::RoomLost { room: text(), info: text() }),
            ("client_dead", Event::ClientDead { reason: "no pong" }),
            ("limit_reached", Event::LimitReached { limit: "session.streams_max" }),
            ("gave_up", Event::GaveUp { reason: text(), tries: 100 }),
        ]
    }

    #[test]
    fn every_event_is_one_line_that_names_itself_and_its_session() {
        for (name, event) in one_of_each() {
            let capture = LogCapture::new();
            let guard = capture.on_this_thread();
            report(SessionId(7), &"ws://wcs:8080", &event);
            drop(guard);
            let text = capture.text();
            assert_eq!(text.lines().count(), 1, "{name}: {text}");
            let line: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["fields"]["event"], name);
            assert_eq!(line["fields"]["session"], "s7");
            assert_eq!(line["target"], TARGET, "{name} is not where the documents say");
            assert!(!text.contains("cam\\n1"), "{name} is not cleaned: {text}");
            let table = include_str!("../events.rs");
            assert!(table.contains(&format!("//! | `{name}` |")), "{name} is not documented");
        }
    }

    #[test]
    fn names_that_are_addresses_lose_their_passwords() {
        let name = || "rtsp%3A%2F%2Fadmin%3Ahunter2%40cam%2F1%3Fauth%3Dhunter2".to_owned();
        let (stream, after) = ("rtsp://admin:hunter2@cam/1?auth=hunter2".to_owned(), Duration::ZERO);
        let outcome = Outcome::Reported;
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        for event in [
            Event::StreamOutcome { name: name(), stream, kind: "play", outcome, after },
            Event::MediaLost { name: name(), reason: "no answer from rtsp://x:hunter2@cam".to_owned() },
            Event::AttemptFailed { tries: 1, error: DialError::Unreachable("ws://a:hunter2@wcs".to_owned()) },
        ] {
            report(SessionId(7), &"ws://wcs:8080", &event);
        }
        connection_refused(&"127.0.0.1:1", &"ws://a:hunter2@wcs is gone");
        drop(guard);
        let text = capture.text();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains("hunter2") && text.contains("rtsp://cam/1"), "{text}");
    }
}
