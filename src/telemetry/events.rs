//! The events an operator acts on: one line each, with the same names and fields wherever they
//! happen.
//!
//! Each line has `event` (a stable name for machines) and, from the first answer on, `session`.
//!
//! | event | level | means | fields |
//! |---|---|---|---|
//! | `connected` | info | the upstream took a client's handshake | `client`, `upstream`, and `certificate` where the client showed one |
//! | `node_down` | warn | a node cannot be reached | `node`, `from`, `after_ms`, `cause` |
//! | `node_suspect` | warn | there is reason to doubt that it answers | the same |
//! | `node_up` | info | it answers, or is in use again | `node`, `from`, `down_ms`, `cause` |
//! | `node_draining`, `node_maintenance` | info | an operator wants sessions elsewhere, or it out of use | `node`, `from`, `after_ms`, `cause` |
//! | `node_media_lost`, `node_media_back` | warn, info | several legs of media were silent at once; they are not, or it is tried again | `node`, `after_ms` |
//! | `outage_summary` | info, warn if somebody was told bad news | what came of the sessions that lost a node | `node`, `lasted_ms`, `sessions`, `sessions_restored`, `sessions_given_up`, `clients_left`, `attempts_failed`, `replays_refused`, `streams_restored`, `streams_reported`, `streams_cancelled`, `rooms_lost`, and where something was restored `gap_p50_ms`, `gap_p99_ms`, `gap_max_ms` |
//! | `drain_began` | info | sessions begin to leave a node | `node`, `rate` |
//! | `drain_ended` | info, warn if somebody noticed | a node is empty, or its drain was called off | `node`, `done`, `lasted_ms`, `moved`, `forced`, `ended`, `failed`, `remaining` |
//! | `drain_self_began` | info | the process is to end, or by another order | `by`, `sessions`, `grace_ms`, `stay_ms`, `over_ms` |
//! | `drain_self_progress` | info | how far that is: at each stage, and every 10 s (every 60 s while sessions stay) | `stage`, `sessions`, `closed`, `stage_ends_in_ms` |
//! | `drain_self_called_off` | info | it serves on | |
//! | `drain_self_ended` | info, warn if somebody was cut off | nobody is left, or the time for it is over | `clean`, `left`, `closed`, `lasted_ms` |
//! | `node_gone` | info | a node that is no longer in the configuration was left by all sessions | `node` |
//! | `reloaded` | info | a new configuration is in force, or nothing changed | `trigger`, `summary`, `generation`, `took_ms` |
//! | `reload_refused` | error | a new configuration was refused, the old one stays | `trigger`, `cause` |
//! | `admin_action` | info, warn if refused | somebody changed something on the admin side | `action`, `node`, `by`, `done` |
//! | `connection_refused` | warn | a socket never became a session | `client`, `cause` |
//! | `http_failed` | warn | a request that a route passed on got no whole answer | `route`, `server`, `cause` |
//! | `balancer_noticed` | warn | clients come through a balancer here, told once | `peer`, `set` |
//! | `client_gave_up` | info | it went away while it waited for an upstream | `client` |
//! | `session_up` | info | a client has its session | `app_key`, `mode` |
//! | `passed_through` | info | relayed without being understood, nothing will be restored | `cause` |
//! | `upstream_lost` | warn | an outage begins | `upstream`, `cause`, `streams` |
//! | `attempt_failed` | debug | a dial of a restore failed | `upstream`, `attempt`, `cause` |
//! | `replay_refused` | warn | the server answered the dial but not the session | `upstream`, `attempt`, `cause`, `retry` |
//! | `restored` | debug | the session stands again | `upstream`, `attempts`, `outage_ms` |
//! | `moved` | debug | a session moved to another node, or its move came to nothing (`cause`) | `upstream`, `to_node`, `took_ms` |
//! | `stream_outcome` | debug, warn if `reported` | how one stream left an outage | `stream`, `id`, `kind`, `outcome`, `after_ms` |
//! | `stream_retry` | debug | a refused stream is tried again | `stream`, `attempt`, `cause` |
//! | `stream_elsewhere` | warn | a request was refused because its stream runs on another node, where the session could not go | `upstream`, `stream`, `kind`, `runs_on` |
//! | `room_elsewhere` | warn | a client joined a room whose other participants are on another node, where the session could not go | `upstream`, `room`, `others_on` |
//! | `retried_without_h264` | info | a refused publish is tried without H264 | `stream` |
//! | `unanchorable` | warn | a stream's media goes directly, past the proxy | `stream`, `cause` |
//! | `media_lost` | warn | the media of an anchored stream is gone | `stream`, `cause` |
//! | `client_leg_revived` | info | a client's media is back after a silence | `stream`, `silence_ms` |
//! | `codec_changed` | info | a publisher changed its codec | `stream`, `codec` |
//! | `no_video` | warn | a publisher sends no video, and is asked for a key frame | `stream`, `never_sent` |
//! | `video_back` | info | such a publisher sends video after all | `stream` |
//! | `media_gap` | debug | media stood still because of a restore | `stream`, `kind`, `gap_ms` |
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
//! | `session_end` | info | a session is over, in full; only with `access.target = "log"` | those of `[access]` |
//! | `log_lines_dropped` | warn | lines were not taken fast enough, or could not be written (`log`, or `access`) | `log`, `lines`, `cause` |
//! | `log_reopened`, `log_reopen_failed` | info, warn | SIGUSR1: a file of lines was opened anew, or could not be | `log`, `error` |
//! | `watchdog_withheld`, `watchdog_resumed` | error, warn | the service manager hears no sign of life, because of this; it does again | `cause` |
//! | `certificates_changed` | info | what new handshakes go by is another | `changes` |
//! | `certificate_unusable` | warn | a file was changed to what cannot be used; what was there before is still shown | `file`, `cause` |
//! | `certificate_ends` | warn, error where it has ended | once a day from 14 days ahead; of OCSP answers when they have, of lists of revoked certificates in the last tenth of their time (with `client_crl_ended = "use"` when they have) | `file`, `what`, `ends`, `in_days` |
//! | `staple_unusable` | warn | the OCSP answer in a file is not shown; `former_shown`: that of before still is | `file`, `cause`, `former_shown` |
//! | `signal_ignored` | info | a signal that does not end the proxy | `signal` |
//! | `panic` | error | a defect of Holdfast, to be reported | `thread`, `place`, `cause` |
//!
//! One outage is few lines, however many sessions it hits: of each event the first in an outage of a node is
//! told at its level and those that follow at debug, until `outage_summary` tells what came of all. A node that
//! changes its state many times a second is told four times in four seconds, and then where it ended up.
//!
//! Lines about refused connections, which strangers can cause, are bounded per address and minute; what exceeds
//! that is counted (`lines_untold`) and goes to debug.
//!
//! Names and reasons come from clients and servers: they are cut and cleaned here. Tokens, SDP,
//! `custom` and whole messages are never passed to this module.

use std::{fmt, net::IpAddr, time::Duration};

use tracing::{info, warn};

use crate::milliseconds::ms;

use super::{anonymous, flood, outages::OutageSummary};
use crate::{drain::Progress, session::SessionId, signaling::redact::without_credentials};

/// Longest text of a client or server that gets into a line, in characters.
const TEXT_CHARS_MAX: usize = 128;

/// Writes a line at its level, or at debug where that was said before.
macro_rules! line {
    ($is_loud:expr, $level:ident, $($line:tt)*) => {
        if $is_loud { tracing::$level!($($line)*) } else { tracing::debug!($($line)*) }
    };
}

mod certificates;
mod session;
pub(crate) use certificates::{
    Ending, certificate_ends, certificate_unusable, certificates_changed, staple_unusable,
};
pub(crate) use session::{dial, facts, loss, report_as};

/// Sessions begin to leave a node, so many per second at most.
pub fn drain_began(node: &str, rate: u32) {
    info!(event = "drain_began", node, rate, "sessions leave a node");
}

/// A node is empty, or its drain was called off.
pub fn drain_ended(node: &str, progress: &Progress, done: bool, lasted_ms: u64) {
    let Progress { moved, forced, ended, failed, remaining, .. } = *progress;
    let was_noticed = forced > 0;
    if was_noticed {
        warn!(
            event = "drain_ended",
            node, done, lasted_ms, moved, forced, ended, failed, remaining, "drain ended"
        );
    } else {
        info!(
            event = "drain_ended",
            node, done, lasted_ms, moved, forced, ended, failed, remaining, "drain ended"
        );
    }
}

/// The process is to end: in milliseconds, for how long new sessions are still taken, for how long those that are
/// there stay, and within what time the rest is closed.
pub(crate) fn drain_self_began(by: &str, sessions: usize, [grace_ms, stay_ms, over_ms]: [u64; 3]) {
    info!(event = "drain_self_began", by, sessions, grace_ms, stay_ms, over_ms, "shutting down");
}

/// How far the end of the process is.
pub(crate) fn drain_self_progress(stage: &str, sessions: usize, closed: usize, stage_ends_in_ms: u64) {
    info!(event = "drain_self_progress", stage, sessions, closed, stage_ends_in_ms, "on the way to the end");
}

/// The process serves on.
pub(crate) fn drain_self_called_off() {
    info!(event = "drain_self_called_off", "new clients are welcome again");
}

/// Nobody is left, or the time for it is over.
pub(crate) fn drain_self_ended(clean: bool, left: usize, closed: usize, lasted_ms: u64) {
    if clean {
        info!(event = "drain_self_ended", clean, left, closed, lasted_ms, "shut down");
    } else {
        warn!(event = "drain_self_ended", clean, left, closed, lasted_ms, "shut down, and cut somebody off");
    }
}

/// A node that is no longer in the configuration has been left by all sessions.
pub fn node_gone(node: &str) {
    info!(event = "node_gone", node, "a node that is no longer in the configuration is gone");
}

/// A new configuration was put in force, or is the one that is.
pub fn reloaded(trigger: &str, summary: &str, generation: u64, took_ms: u64) {
    info!(event = "reloaded", trigger, summary, generation, took_ms, "configuration reloaded");
}

/// A new configuration was refused: the old one stays in force, all of it.
pub fn reload_refused(trigger: &str, cause: &str) {
    let cause = without_credentials(cause);
    tracing::error!(event = "reload_refused", trigger, %cause, "the new configuration was refused, nothing changed");
}

/// Somebody changed something on the admin side, or was refused by the state of things.
pub fn admin_action(action: &str, node: &str, by: &dyn fmt::Display, done: bool) {
    if done {
        info!(event = "admin_action", action, node, %by, done, "an operator's order");
    } else {
        warn!(event = "admin_action", action, node, %by, done, "an operator's order was refused");
    }
}

/// The upstream took a client's handshake: both sockets stand.
pub fn connected(
    session: SessionId,
    client: &dyn fmt::Display,
    upstream: &dyn fmt::Display,
    certificate: Option<&str>,
) {
    let (client, certificate) = (anonymous::text(client), certificate.map(clean));
    info!(event = "connected", %session, %client, %upstream, certificate, "client connected");
}

/// A socket never became a session: a bad handshake, silence, a limit.
pub fn connection_refused(client: &dyn fmt::Display, cause: &dyn fmt::Display) {
    let (is_loud, cause) = (flood::is_told(client), clean(&anonymous::text(cause)));
    let client = anonymous::text(client);
    line!(is_loud, warn, event = "connection_refused", %client, cause, "connection refused");
}

/// A request that a route passed on got no whole answer. The caller bounds how often that is told.
pub fn http_failed(route: &str, server: &dyn fmt::Display, cause: &dyn fmt::Display) {
    let cause = clean(&cause.to_string());
    warn!(event = "http_failed", route, %server, cause, "a request that was passed on failed");
}

/// A client went away in its handshake, before an upstream had answered.
pub fn client_gave_up(client: &dyn fmt::Display) {
    let (is_loud, client) = (flood::is_told(client), anonymous::text(client));
    line!(
        is_loud,
        info,
        event = "client_gave_up",
        client,
        "the client gave up: no upstream had answered it yet"
    );
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

/// A node has gone from one state into another, for this reason; `lasted` is how long it was in the first.
pub(crate) fn node_state(
    node: &dyn fmt::Display,
    (from, to): (&'static str, &'static str),
    reason: &str,
    lasted: Duration,
) {
    let (cause, after_ms) = (clean(reason), ms(lasted));
    match to {
        "up" => {
            info!(event = "node_up", %node, from, down_ms = after_ms, cause, "sessions may use the server")
        }
        "suspect" => warn!(event = "node_suspect", %node, from, after_ms, cause, "a server may not answer"),
        "down" => warn!(event = "node_down", %node, from, after_ms, cause, "a server cannot be reached"),
        "draining" => {
            info!(event = "node_draining", %node, from, after_ms, cause, "a server is being emptied")
        }
        _ => info!(event = "node_maintenance", %node, from, after_ms, cause, "a server is out of use"),
    }
}

/// Media passes through a node again, or does not any more; `lasted` is how long it was the other way.
pub(crate) fn node_media(node: &dyn fmt::Display, passes: bool, lasted: Duration) {
    let after_ms = ms(lasted);
    if passes {
        info!(event = "node_media_back", %node, after_ms, "media passes through the server, or is tried again");
    } else {
        warn!(event = "node_media_lost", %node, after_ms, "the server answers and passes no media");
    }
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
    use super::*;
    use crate::telemetry::LogCapture;

    #[test]
    fn the_driver_has_its_own_events() {
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        let client = "127.0.0.1:5000";
        connected(SessionId(7), &client, &"ws://wcs:8080", None);
        connection_refused(&client, &"no WebSocket handshake");
        session_ended(SessionId(7), &"client closed 1000", Duration::from_secs(1));
        balancer_noticed(IpAddr::from([127, 0, 0, 1]), false);
        drop(guard);
        for name in ["balancer_noticed", "connected", "connection_refused", "session_ended"] {
            assert_eq!(capture.lines_with(&format!("\"event\":\"{name}\"")).len(), 1);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(clean(&"x".repeat(TEXT_CHARS_MAX)).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(clean(&"x".repeat(1_000_000)).chars().count(), TEXT_CHARS_MAX + 1);
    }
}
