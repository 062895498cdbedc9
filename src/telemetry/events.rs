//! The events an operator acts on: one line each, with the same names and fields wherever they
//! happen.
//!
//! Each line has `event` (a stable name for machines) and, from the first answer on, `session`.
//!
//! | event | level | means | fields |
//! |---|---|---|---|
//! | `connected` | info | the upstream took a client's handshake | `client`, `upstream` |
//! | `node_down` | warn | a node cannot be reached | `node`, `cause` |
//! | `node_up` | info | it answers again | `node`, `down_ms` |
//! | `outage_summary` | info, warn if somebody was told bad news | what came of the sessions that lost a node | `node`, `lasted_ms`, `sessions`, `sessions_restored`, `sessions_given_up`, `clients_left`, `attempts_failed`, `replays_refused`, `streams_restored`, `streams_reported`, `streams_cancelled`, `rooms_lost`, and where something was restored `gap_p50_ms`, `gap_p99_ms`, `gap_max_ms` |
//! | `connection_refused` | warn | a socket never became a session | `client`, `cause` |
//! | `balancer_noticed` | warn | clients come through a balancer here, told once | `peer`, `set` |
//! | `client_gave_up` | info | it went away while it waited for an upstream | `client` |
//! | `session_up` | info | a client has its session | `app_key`, `mode` |
//! | `passed_through` | info | relayed without being understood, nothing will be restored | `cause` |
//! | `upstream_lost` | warn | an outage begins | `upstream`, `cause`, `streams` |
//! | `attempt_failed` | debug | a dial of a restore failed | `upstream`, `attempt`, `cause` |
//! | `replay_refused` | warn | the server answered the dial but not the session | `upstream`, `attempt`, `cause`, `retry` |
//! | `restored` | debug | the session stands again | `upstream`, `attempts`, `outage_ms` |
//! | `stream_outcome` | debug, warn if `reported` | how one stream left an outage | `stream`, `id`, `kind`, `outcome`, `after_ms` |
//! | `stream_retry` | debug | a refused stream is tried again | `stream`, `attempt`, `cause` |
//! | `retried_without_h264` | info | a refused publish is tried without H264 | `stream` |
//! | `unanchorable` | warn | a stream's media goes directly, past the proxy | `stream`, `cause` |
//! | `media_lost` | warn | the media of an anchored stream is gone | `stream`, `cause` |
//! | `client_leg_revived` | info | a client's media is back after a silence | `stream`, `silence_ms` |
//! | `codec_changed` | info | a publisher changed its codec | `stream`, `codec` |
//! | `no_video` | warn | a publisher sends no video, and is asked for a key frame | `stream`, `never_sent` |
//! | `video_back` | info | such a publisher sends video after all | `stream` |
//! | `media_gap` | debug | media stood still because of a restore | `stream`, `gap_ms` |
//! | `media_lines_withheld` | info | lines about a client's media that came again within a minute | `lines` |
//! | `media_stream_broke` | error | a fault of the media code ended a stream; others go on | `stream`, `cause`, `broken` |
//! | `media_order_lost` | error | a media worker is too far behind, or gone | `stream`, `cause`, `withheld` |
//! | `media_worker_ended`, `media_worker_waits`, `media_worker_restarted` | error, error, warn | a fault ended a media worker; its streams are reported | `address`, `cause`, `streams` |
//! | `media_summary` | info | an anchored stream is over | `stream`, `kind`, `video`, `audio`, `key_frames`, `restored`, `gaps_ms`, `revivals`, and for `client_` and `upstream_` each `packets_in`, `bytes_in`, `packets_out`, `bytes_out`, `loss_in_percent`, `loss_out_percent`, `round_trip_ms` |
//! | `room_lost` | warn | a room did not take the client back | `room`, `cause` |
//! | `client_dead` | info | no sign of life from a client | `cause` |
//! | `limit_reached` | warn | a setting bounded a client | `limit` |
//! | `gave_up` | error | the end of patience: streams reported, socket closed | `attempts`, `cause` |
//! | `session_ended` | info | a session is over | `cause`, `lived_ms` |
//! | `memory` | warn, info when there is enough again | the memory budget runs short | `bytes`, `bytes_max` |
//! | `lines_untold` | warn | lines about refused connections that were kept back in the minute before | `lines` |
//! | `log_lines_dropped` | warn | stderr was not read fast enough | `lines` |
//! | `signal_ignored` | info | a signal that does not end the proxy | `signal` |
//! | `panic` | error | a defect of Holdfast, to be reported | `thread`, `place`, `cause` |
//!
//! One outage is few lines, however many sessions it hits: of each event the first in an outage of a node is
//! told at its level and those that follow at debug, until `outage_summary` tells what came of all.
//!
//! Lines about refused connections, which strangers can cause, are bounded per address and minute; what exceeds
//! that is counted (`lines_untold`) and goes to debug.
//!
//! Names and reasons come from clients and servers: they are cut and cleaned here. Tokens, SDP,
//! `custom` and whole messages are never passed to this module.

use std::{fmt, net::IpAddr, time::Duration};

use tracing::{debug, info, warn};

use super::flood;
use crate::media::{Kind, StreamStats};
use crate::net::outages::OutageSummary;
use crate::session::{DialError, Event, LossCause, Outcome, SessionId};
use crate::signaling::redact::without_credentials;

/// Longest text of a client or server that gets into a line, in characters.
const TEXT_CHARS_MAX: usize = 128;

/// Writes a line at its level, or at debug where that was said before.
macro_rules! line {
    ($is_loud:expr, $level:ident, $($line:tt)*) => {
        if $is_loud { tracing::$level!($($line)*) } else { tracing::debug!($($line)*) }
    };
}

/// The upstream took a client's handshake: both sockets stand.
pub fn connected(session: SessionId, client: &dyn fmt::Display, upstream: &dyn fmt::Display) {
    info!(event = "connected", %session, %client, %upstream, "client connected");
}

/// A socket never became a session: a bad handshake, silence, a limit.
pub fn connection_refused(client: &dyn fmt::Display, cause: &dyn fmt::Display) {
    let cause = clean(&cause.to_string());
    line!(flood::is_told(client), warn, event = "connection_refused", %client, cause, "connection refused");
}

/// A client went away in its handshake, before an upstream had answered.
pub fn client_gave_up(client: &dyn fmt::Display) {
    let is_loud = flood::is_told(client);
    line!(is_loud, info, event = "client_gave_up", %client, "the client gave up: no upstream had answered it yet");
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
    session_ended_as(session, cause, lived, true);
}

/// As [`session_ended`]; one of many that end in an outage goes to debug.
pub(crate) fn session_ended_as(session: SessionId, cause: &dyn fmt::Display, lived: Duration, is_loud: bool) {
    line!(is_loud, info, event = "session_ended", %session, %cause, lived_ms = ms(lived), "session ended");
}

/// A node cannot be reached any more.
pub fn node_down(node: &dyn fmt::Display, cause: &dyn fmt::Display) {
    let cause = clean(&cause.to_string());
    warn!(event = "node_down", %node, cause, "a server cannot be reached");
}

/// A node answers again.
pub fn node_up(node: &dyn fmt::Display, down: Duration) {
    info!(event = "node_up", %node, down_ms = ms(down), "the server answers again");
}

/// What came of the sessions that lost a node.
pub(crate) fn outage_summary(node: &dyn fmt::Display, sum: &OutageSummary) {
    // Where nothing was restored there is no gap to tell of: 0 would look like a good one.
    let known = |gap_ms: u64| (gap_ms > 0).then_some(gap_ms);
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                event = "outage_summary",
                %node,
                lasted_ms = sum.lasted_ms,
                sessions = sum.sessions,
                sessions_restored = sum.sessions_restored,
                sessions_given_up = sum.sessions_given_up,
                clients_left = sum.clients_left,
                attempts_failed = sum.attempts_failed,
                replays_refused = sum.replays_refused,
                streams_restored = sum.streams_restored,
                streams_reported = sum.streams_reported,
                streams_cancelled = sum.streams_cancelled,
                rooms_lost = sum.rooms_lost,
                gap_p50_ms = known(sum.gap_p50_ms),
                gap_p99_ms = known(sum.gap_p99_ms),
                gap_max_ms = known(sum.gap_max_ms),
                "an outage is over"
            )
        };
    }
    if sum.hurt() { tell!(warn) } else { tell!(info) }
}

/// Lines about the media of this session were not written, because they were a minute ago.
pub fn media_lines_withheld(session: SessionId, lines: u64) {
    info!(event = "media_lines_withheld", %session, lines, "lines about media were withheld");
}

/// What the session core reports. `upstream` is the node of the current or last connection.
pub fn report(session: SessionId, upstream: &dyn fmt::Display, event: &Event) {
    report_as(session, upstream, event, true);
}

/// As [`report`]; what is not loud is the like of what was told before, and goes to debug.
pub(crate) fn report_as(session: SessionId, upstream: &dyn fmt::Display, event: &Event, is_loud: bool) {
    match event {
        Event::SessionUp { .. }
        | Event::PassedThrough { .. }
        | Event::ClientDead { .. }
        | Event::LimitReached { .. } => report_session(session, event, is_loud),
        Event::StreamOutcome { .. }
        | Event::StreamRetry { .. }
        | Event::RetriedWithoutH264 { .. }
        | Event::RoomLost { .. } => report_stream(session, event, is_loud),
        Event::Unanchorable { .. }
        | Event::MediaLost { .. }
        | Event::ClientLegRevived { .. }
        | Event::CodecChanged { .. }
        | Event::NoVideo { .. }
        | Event::VideoBack { .. }
        | Event::MediaGap { .. }
        | Event::MediaSummary { .. } => report_media(session, event, is_loud),
        Event::UpstreamLost { .. }
        | Event::AttemptFailed { .. }
        | Event::ReplayRefused { .. }
        | Event::SessionRestored { .. }
        | Event::GaveUp { .. } => report_outage(session, upstream, event, is_loud),
    }
}

fn report_session(session: SessionId, event: &Event, is_loud: bool) {
    match event {
        Event::SessionUp { app_key, mode } => {
            let app_key = clean(app_key);
            line!(is_loud, info, event = "session_up", %session, app_key, mode, "session up");
        }
        Event::PassedThrough { reason } => {
            line!(is_loud, info, event = "passed_through", %session, cause = reason, "session is only passed through");
        }
        Event::ClientDead { reason } => {
            line!(is_loud, info, event = "client_dead", %session, cause = reason, "client gives no sign of life");
        }
        Event::LimitReached { limit } => {
            line!(is_loud, warn, event = "limit_reached", %session, limit, "a limit was reached");
        }
        _ => {}
    }
}

fn report_stream(session: SessionId, event: &Event, is_loud: bool) {
    match event {
        Event::StreamOutcome { name, stream: id, kind, outcome, after } => {
            let (stream, id) = (clean(name), clean(id));
            let after_ms = ms(*after);
            if *outcome == Outcome::Reported {
                line!(is_loud, warn, event = "stream_outcome", %session, stream, id, kind, %outcome, after_ms, "stream lost");
            } else {
                debug!(event = "stream_outcome", %session, stream, id, kind, %outcome, after_ms, "stream settled");
            }
        }
        Event::StreamRetry { name, info, tries } => {
            let (stream, cause) = (clean(name), clean(info));
            debug!(event = "stream_retry", %session, stream, attempt = tries, cause, "stream is tried again");
        }
        Event::RetriedWithoutH264 { name } => {
            let stream = clean(name);
            line!(is_loud, info, event = "retried_without_h264", %session, stream, "publish is tried without H264");
        }
        Event::RoomLost { room, info } => {
            let (room, cause) = (clean(room), clean(info));
            line!(is_loud, warn, event = "room_lost", %session, room, cause, "room does not take the client back");
        }
        _ => {}
    }
}

fn report_media(session: SessionId, event: &Event, is_loud: bool) {
    match event {
        Event::Unanchorable { name, reason } => {
            let (stream, cause) = (clean(name), clean(reason));
            line!(is_loud, warn, event = "unanchorable", %session, stream, cause, "stream is not anchored");
        }
        Event::MediaLost { name, reason } => {
            let (stream, cause) = (clean(name), clean(reason));
            line!(is_loud, warn, event = "media_lost", %session, stream, cause, "media of a stream is gone");
        }
        Event::ClientLegRevived { name, silence } => {
            let (stream, silence_ms) = (clean(name), ms(*silence));
            line!(is_loud, info, event = "client_leg_revived", %session, stream, silence_ms, "client's media is back");
        }
        Event::CodecChanged { name, codec } => {
            let (stream, codec) = (clean(name), clean(codec));
            line!(is_loud, info, event = "codec_changed", %session, stream, codec, "publisher changed its codec");
        }
        Event::MediaGap { name, gap } => {
            let (stream, gap_ms) = (clean(name), ms(*gap));
            debug!(event = "media_gap", %session, stream, gap_ms, "media stood still");
        }
        Event::MediaSummary { name, restored, numbers } => {
            summary(session, name, *restored, numbers, is_loud)
        }
        Event::NoVideo { name, never_sent } => {
            let stream = clean(name);
            line!(is_loud, warn, event = "no_video", %session, stream, never_sent, "publisher sends no video: asked for a key frame");
        }
        Event::VideoBack { name } => {
            line!(is_loud, info, event = "video_back", %session, stream = clean(name), "publisher sends video");
        }
        _ => {}
    }
}

fn report_outage(session: SessionId, upstream: &dyn fmt::Display, event: &Event, is_loud: bool) {
    match event {
        Event::UpstreamLost { cause, streams } => {
            let cause = loss(*cause);
            line!(is_loud, warn, event = "upstream_lost", %session, %upstream, cause, streams, "upstream lost");
        }
        Event::AttemptFailed { tries, error } => {
            let cause = dial(error);
            debug!(event = "attempt_failed", %session, %upstream, attempt = tries, cause, "dial failed");
        }
        Event::ReplayRefused { tries, info, retry } => {
            let cause = clean(info);
            line!(is_loud, warn, event = "replay_refused", %session, %upstream, attempt = tries, cause, retry, "session refused");
        }
        Event::SessionRestored { outage, tries } => {
            let outage_ms = ms(*outage);
            debug!(event = "restored", %session, %upstream, attempts = tries, outage_ms, "session restored");
        }
        Event::GaveUp { reason, tries } => {
            let cause = clean(reason);
            line!(is_loud, error, event = "gave_up", %session, attempts = tries, cause, "gave up restoring the session");
        }
        _ => {}
    }
}

/// Codec names come from descriptions of clients, so they are cleaned as well.
fn summary(session: SessionId, name: &str, restored: u32, numbers: &StreamStats, is_loud: bool) {
    // In tenths of a percent, so that the line shows no more digits than there are.
    let percent = |share: Option<f32>| share.map(|share| f64::from((share * 1_000.0).round()) / 10.0);
    let whole = |ms: Option<f32>| ms.map(|ms| f64::from(ms.round()));
    let codec = |name: &Option<String>| name.as_deref().map(clean).unwrap_or_default();
    let (client, upstream) = (&numbers.client, &numbers.upstream);
    line!(
        is_loud,
        info,
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
