//! The events an operator acts on: one line each, with the same names and fields wherever they
//! happen.
//!
//! Each line has `event` (a stable name for machines) and, from the first answer on, `session`.
//!
//! | event | level | means | fields |
//! |---|---|---|---|
//! | `connected` | info | the upstream took a client's handshake | `client`, `upstream` |
//! | `connection_refused` | warn | a socket never became a session | `client`, `cause` |
//! | `balancer_noticed` | warn | clients come through a balancer here, told once | `peer`, `set` |
//! | `session_up` | info | a client has its session | `app_key`, `mode` |
//! | `passed_through` | info | relayed without being understood, nothing will be restored | `cause` |
//! | `upstream_lost` | warn | an outage begins | `upstream`, `cause`, `streams` |
//! | `attempt_failed` | info | a dial of a restore failed | `upstream`, `attempt`, `cause` |
//! | `replay_refused` | warn | the server answered the dial but not the session | `upstream`, `attempt`, `cause`, `retry` |
//! | `restored` | info | the session stands again | `upstream`, `attempts`, `outage_ms` |
//! | `stream_outcome` | info, warn if `reported` | how one stream left an outage | `stream`, `id`, `kind`, `outcome`, `after_ms` |
//! | `stream_retry` | info | a refused stream is tried again | `stream`, `attempt`, `cause` |
//! | `retried_without_h264` | info | a refused publish is tried without H264 | `stream` |
//! | `unanchorable` | warn | a stream's media goes directly, past the proxy | `stream`, `cause` |
//! | `media_lost` | warn | the media of an anchored stream is gone | `stream`, `cause` |
//! | `client_leg_revived` | info | a client's media is back after a silence | `stream`, `silence_ms` |
//! | `codec_changed` | info | a publisher changed its codec | `stream`, `codec` |
//! | `no_video` | warn | a publisher sends no video, and is asked for a key frame | `stream`, `never_sent` |
//! | `video_back` | info | such a publisher sends video after all | `stream` |
//! | `media_gap` | info | media stood still because of a restore | `stream`, `gap_ms` |
//! | `media_lines_withheld` | info | lines about a client's media that came again within a minute | `lines` |
//! | `media_stream_broke` | error | a fault of the media code ended a stream; others go on | `stream`, `cause`, `broken` |
//! | `media_order_lost` | error | a media worker is too far behind, or gone | `stream`, `cause`, `withheld` |
//! | `media_worker_ended`, `media_worker_waits`, `media_worker_restarted` | error, error, warn | a fault ended a media worker; its streams are reported | `address`, `cause`, `streams` |
//! | `media_summary` | info | an anchored stream is over | `stream`, `kind`, codecs, `key_frames`, `restored`, `gaps_ms`, `revivals`, per leg packets, bytes, loss (%) and round trip |
//! | `room_lost` | warn | a room did not take the client back | `room`, `cause` |
//! | `client_dead` | info | no sign of life from a client | `cause` |
//! | `limit_reached` | warn | a setting bounded a client | `limit` |
//! | `gave_up` | error | the end of patience: streams reported, socket closed | `attempts`, `cause` |
//! | `session_ended` | info | a session is over | `cause`, `lived_ms` |
//!
//! Names and reasons come from clients and servers: they are cut and cleaned here. Tokens, SDP,
//! `custom` and whole messages are never passed to this module.

use std::{fmt, net::IpAddr, time::Duration};

use tracing::{error, info, warn};

use crate::media::{Kind, LegStats, StreamStats};
use crate::session::{DialError, Event, LossCause, Outcome, SessionId};
use crate::signaling::redact::without_credentials;

/// Longest text of a client or server that gets into a line, in characters.
const TEXT_CHARS_MAX: usize = 128;

/// The upstream took a client's handshake: both sockets stand.
pub fn connected(session: SessionId, client: &dyn fmt::Display, upstream: &dyn fmt::Display) {
    info!(event = "connected", %session, %client, %upstream, "client connected");
}

/// A socket never became a session: a bad handshake, silence, a limit.
pub fn connection_refused(client: &dyn fmt::Display, cause: &dyn fmt::Display) {
    let cause = clean(&cause.to_string());
    warn!(event = "connection_refused", %client, cause, "connection refused");
}

/// A balancer forwards clients from this machine or next to it, and `media.advertise` is empty.
pub fn balancer_noticed(peer: IpAddr, trusted: bool) {
    let set = if trusted {
        "media.advertise to the address at which clients reach the media ports".to_owned()
    } else {
        format!(
            "media.advertise to the address at which clients reach the media ports, and \
             listen.trusted_proxies to [\"{peer}\"]"
        )
    };
    warn!(event = "balancer_noticed", %peer, set, "clients behind a balancer would send media to it");
}

/// A session is over; `cause` in a few words ("client closed 1000", "shutdown").
pub fn session_ended(session: SessionId, cause: &dyn fmt::Display, lived: Duration) {
    info!(event = "session_ended", %session, %cause, lived_ms = ms(lived), "session ended");
}

/// Lines about the media of this session were not written, because they were a minute ago.
pub fn media_lines_withheld(session: SessionId, lines: u64) {
    info!(event = "media_lines_withheld", %session, lines, "lines about media were withheld");
}

/// What the session core reports. `upstream` is the node of the current or last connection.
pub fn report(session: SessionId, upstream: &dyn fmt::Display, event: &Event) {
    match event {
        Event::SessionUp { .. }
        | Event::PassedThrough { .. }
        | Event::ClientDead { .. }
        | Event::LimitReached { .. } => report_session(session, event),
        Event::StreamOutcome { .. }
        | Event::StreamRetry { .. }
        | Event::RetriedWithoutH264 { .. }
        | Event::RoomLost { .. } => report_stream(session, event),
        Event::Unanchorable { .. }
        | Event::MediaLost { .. }
        | Event::ClientLegRevived { .. }
        | Event::CodecChanged { .. }
        | Event::NoVideo { .. }
        | Event::VideoBack { .. }
        | Event::MediaGap { .. }
        | Event::MediaSummary { .. } => report_media(session, event),
        Event::UpstreamLost { .. }
        | Event::AttemptFailed { .. }
        | Event::ReplayRefused { .. }
        | Event::SessionRestored { .. }
        | Event::GaveUp { .. } => report_outage(session, upstream, event),
    }
}

fn report_session(session: SessionId, event: &Event) {
    match event {
        Event::SessionUp { app_key, mode } => {
            let app_key = clean(app_key);
            info!(event = "session_up", %session, app_key, mode, "session up");
        }
        Event::PassedThrough { reason } => {
            info!(event = "passed_through", %session, cause = reason, "session is only passed through");
        }
        Event::ClientDead { reason } => {
            info!(event = "client_dead", %session, cause = reason, "client gives no sign of life");
        }
        Event::LimitReached { limit } => {
            warn!(event = "limit_reached", %session, limit, "a limit was reached");
        }
        _ => {}
    }
}

fn report_stream(session: SessionId, event: &Event) {
    match event {
        Event::StreamOutcome { name, stream: id, kind, outcome, after } => {
            let (stream, id) = (clean(name), clean(id));
            let after_ms = ms(*after);
            if *outcome == Outcome::Reported {
                warn!(event = "stream_outcome", %session, stream, id, kind, %outcome, after_ms, "stream lost");
            } else {
                info!(event = "stream_outcome", %session, stream, id, kind, %outcome, after_ms, "stream settled");
            }
        }
        Event::StreamRetry { name, info, tries } => {
            let (stream, cause) = (clean(name), clean(info));
            info!(event = "stream_retry", %session, stream, attempt = tries, cause, "stream is tried again");
        }
        Event::RetriedWithoutH264 { name } => {
            let stream = clean(name);
            info!(event = "retried_without_h264", %session, stream, "publish is tried without H264");
        }
        Event::RoomLost { room, info } => {
            let (room, cause) = (clean(room), clean(info));
            warn!(event = "room_lost", %session, room, cause, "room does not take the client back");
        }
        _ => {}
    }
}

fn report_media(session: SessionId, event: &Event) {
    match event {
        Event::Unanchorable { name, reason } => {
            let (stream, cause) = (clean(name), clean(reason));
            warn!(event = "unanchorable", %session, stream, cause, "stream is not anchored");
        }
        Event::MediaLost { name, reason } => {
            let (stream, cause) = (clean(name), clean(reason));
            warn!(event = "media_lost", %session, stream, cause, "media of a stream is gone");
        }
        Event::ClientLegRevived { name, silence } => {
            let (stream, silence_ms) = (clean(name), ms(*silence));
            info!(event = "client_leg_revived", %session, stream, silence_ms, "client's media is back");
        }
        Event::CodecChanged { name, codec } => {
            let (stream, codec) = (clean(name), clean(codec));
            info!(event = "codec_changed", %session, stream, codec, "publisher changed its codec");
        }
        Event::MediaGap { name, gap } => {
            let (stream, gap_ms) = (clean(name), ms(*gap));
            info!(event = "media_gap", %session, stream, gap_ms, "media stood still");
        }
        Event::MediaSummary { name, restored, numbers } => summary(session, name, *restored, numbers),
        Event::NoVideo { name, never_sent } => {
            let stream = clean(name);
            warn!(event = "no_video", %session, stream, never_sent, "publisher sends no video: asked for a key frame");
        }
        Event::VideoBack { name } => {
            info!(event = "video_back", %session, stream = clean(name), "publisher sends video");
        }
        _ => {}
    }
}

fn report_outage(session: SessionId, upstream: &dyn fmt::Display, event: &Event) {
    match event {
        Event::UpstreamLost { cause, streams } => {
            let cause = loss(*cause);
            warn!(event = "upstream_lost", %session, %upstream, cause, streams, "upstream lost");
        }
        Event::AttemptFailed { tries, error } => {
            let cause = dial(error);
            info!(event = "attempt_failed", %session, %upstream, attempt = tries, cause, "dial failed");
        }
        Event::ReplayRefused { tries, info, retry } => {
            let cause = clean(info);
            warn!(event = "replay_refused", %session, %upstream, attempt = tries, cause, retry, "session refused");
        }
        Event::SessionRestored { outage, tries } => {
            let outage_ms = ms(*outage);
            info!(event = "restored", %session, %upstream, attempts = tries, outage_ms, "session restored");
        }
        Event::GaveUp { reason, tries } => {
            let cause = clean(reason);
            error!(event = "gave_up", %session, attempts = tries, cause, "gave up restoring the session");
        }
        _ => {}
    }
}

/// Codec names come from descriptions of clients, so they are cleaned as well.
fn summary(session: SessionId, name: &str, restored: u32, numbers: &StreamStats) {
    let leg = |leg: &LegStats| {
        let share = |loss: Option<f32>| loss.map_or_else(|| "?".to_owned(), |l| format!("{:.1}", l * 100.0));
        format!(
            "in {} packets {} bytes, out {} packets {} bytes, loss in {} out {} %, round trip {} ms",
            leg.packets_received,
            leg.bytes_received,
            leg.packets_sent,
            leg.bytes_sent,
            share(leg.loss_received),
            share(leg.loss_sent),
            leg.round_trip_ms.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0}")),
        )
    };
    let codec = |name: &Option<String>| name.as_deref().map(clean).unwrap_or_default();
    info!(
        event = "media_summary",
        %session,
        stream = clean(name),
        kind = if numbers.kind == Some(Kind::Publish) { "publish" } else { "play" },
        video = codec(&numbers.video_codec),
        audio = codec(&numbers.audio_codec),
        client = leg(&numbers.client),
        upstream = leg(&numbers.upstream),
        key_frames = numbers.key_frames,
        restored,
        gaps_ms = ?numbers.gaps_ms,
        revivals = numbers.revivals,
        "media of a stream is over"
    );
}

fn loss(cause: LossCause) -> String {
    match cause {
        LossCause::Closed(code) => format!("closed with code {code}"),
        LossCause::EndOfFile => "end of file".to_owned(),
        LossCause::Reset => "connection reset".to_owned(),
        LossCause::Protocol => "broke the WebSocket protocol".to_owned(),
        LossCause::Stalled => "did not read".to_owned(),
        LossCause::Silent => "silent for too long".to_owned(),
    }
}

fn dial(error: &DialError) -> String {
    match error {
        DialError::Unreachable(why) => clean(why),
        DialError::Refused(status) => format!("HTTP {status}"),
        DialError::Busy(status, wait) => format!("HTTP {status}, again after {} s", wait.as_secs()),
        DialError::Local(why) => format!("not dialled: {}", clean(why)),
        DialError::BadHandshake(why) => format!("bad handshake: {}", clean(why)),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text from outside, fit for a line: cut, without control characters, and without the user names,
/// passwords and queries of addresses in it.
#[must_use]
pub fn clean(text: &str) -> String {
    let text = &without_credentials(text);
    let mut clean: String =
        text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::telemetry::LogCapture;

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
            ("media_gap", Event::MediaGap { name: text(), gap: second }),
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
            assert!(!text.contains("cam\\n1"), "{name} is not cleaned: {text}");
            let table = include_str!("events.rs");
            assert!(table.contains(&format!("//! | `{name}` |")), "{name} is not documented");
        }
    }

    #[test]
    fn the_driver_has_its_own_events() {
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        let client = "127.0.0.1:5000";
        connected(SessionId(7), &client, &"ws://wcs:8080");
        connection_refused(&client, &"no WebSocket handshake");
        session_ended(SessionId(7), &"client closed 1000", Duration::from_secs(1));
        balancer_noticed(IpAddr::from([127, 0, 0, 1]), false);
        drop(guard);
        for name in ["balancer_noticed", "connected", "connection_refused", "session_ended"] {
            assert_eq!(capture.lines_with(&format!("\"event\":\"{name}\"")).len(), 1);
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

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(clean(&"x".repeat(TEXT_CHARS_MAX)).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(clean(&"x".repeat(1_000_000)).chars().count(), TEXT_CHARS_MAX + 1);
    }
}
