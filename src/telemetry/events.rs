//! The events an operator acts on, one function each, so that their names and fields stay the
//! same wherever they happen.
//!
//! Each line has `event` (a stable name for machines) and `session`. Names and fields:
//!
//! | event | level | means | fields |
//! |---|---|---|---|
//! | `session_up` | info | a client has its session | `client`, `upstream` |
//! | `session_ended` | info | a session is over | `cause`, `lived_ms` |
//! | `session_refused` | warn | a socket never became a session | `client`, `cause` |
//! | `upstream_lost` | warn | an outage begins | `upstream`, `epoch`, `cause`, `streams` |
//! | `restore_attempt` | info | a dial of a restore | `epoch`, `attempt`, `waited_ms` |
//! | `restore_attempt_failed` | info | such a dial failed | `epoch`, `attempt`, `cause` |
//! | `restored` | info | an outage is over | `epoch`, `attempts`, `outage_ms`, `replay_ms`, `restored`, `reported`, `cancelled` |
//! | `stream_outcome` | info | how one stream left an outage | `stream`, `kind`, `outcome`, `cause`, `after_ms` |
//! | `gave_up` | error | the end of patience | `attempts`, `outage_ms`, `cause` |
//!
//! Stream names and application keys come from clients: they are cut and escaped here. Tokens,
//! SDP, `custom` and whole messages are never passed to this module.

use std::{fmt, net::SocketAddr, time::Duration};

use tracing::{error, info, warn};

use crate::session::SessionId;

/// Longest text of a client that gets into a line, in characters.
const CLIENT_TEXT_CHARS_MAX: usize = 128;

/// A client has its session: the upstream answered its handshake.
pub fn session_up(session: SessionId, client: SocketAddr, upstream: &impl fmt::Display) {
    info!(event = "session_up", %session, %client, %upstream, "session up");
}

/// A session is over; `cause` in a few words ("client closed 1000", "shutdown").
pub fn session_ended(session: SessionId, cause: &impl fmt::Display, lived: Duration) {
    info!(event = "session_ended", %session, %cause, lived_ms = ms(lived), "session ended");
}

/// A socket never became a session: bad handshake, bad first message, a limit.
pub fn session_refused(client: SocketAddr, cause: &impl fmt::Display) {
    warn!(event = "session_refused", %client, %cause, "connection refused");
}

/// An outage begins for a session that had this many streams.
pub fn upstream_lost(
    session: SessionId,
    upstream: &impl fmt::Display,
    epoch: u32,
    cause: &impl fmt::Display,
    streams: usize,
) {
    warn!(event = "upstream_lost", %session, %upstream, epoch, %cause, streams, "upstream lost");
}

/// A dial of a restore begins; the first attempt is 1.
pub fn restore_attempt(session: SessionId, epoch: u32, attempt: u32, waited: Duration) {
    info!(
        event = "restore_attempt",
        %session, epoch, attempt, waited_ms = ms(waited),
        "dialling again"
    );
}

/// A dial of a restore failed; another follows unless the session gives up.
pub fn restore_attempt_failed(session: SessionId, epoch: u32, attempt: u32, cause: &impl fmt::Display) {
    info!(event = "restore_attempt_failed", %session, epoch, attempt, %cause, "dial failed");
}

/// How an outage went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restored {
    /// The upstream connection that now serves the session.
    pub epoch: u32,
    /// Dials it took.
    pub attempts: u32,
    /// From the loss to the verdict on the last stream.
    pub outage: Duration,
    /// From the open upstream connection to the verdict on the last stream.
    pub replay: Duration,
    /// Streams proven alive.
    pub restored: usize,
    /// Streams whose client was told.
    pub reported: usize,
    /// Streams their client stopped meanwhile.
    pub cancelled: usize,
}

/// An outage is over: the session is up and every stream has its outcome.
pub fn restored(session: SessionId, outage: &Restored) {
    info!(
        event = "restored",
        %session,
        epoch = outage.epoch,
        attempts = outage.attempts,
        outage_ms = ms(outage.outage),
        replay_ms = ms(outage.replay),
        restored = outage.restored,
        reported = outage.reported,
        cancelled = outage.cancelled,
        "session restored"
    );
}

/// How a stream left an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Proven alive.
    Restored,
    /// The client was told FAILED.
    Reported,
    /// The client stopped it.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restored => "restored",
            Self::Reported => "reported",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A stream left an outage. `kind` is "publish" or "play", `after` the time since the loss.
pub fn stream_outcome(
    session: SessionId,
    stream: &str,
    kind: &str,
    outcome: Outcome,
    cause: &impl fmt::Display,
    after: Duration,
) {
    let stream = clean(stream);
    info!(
        event = "stream_outcome",
        %session, stream, kind, %outcome, %cause, after_ms = ms(after),
        "stream left the outage"
    );
}

/// The end of patience: the streams are reported and the socket is closed.
pub fn gave_up(session: SessionId, attempts: u32, outage: Duration, cause: &impl fmt::Display) {
    error!(
        event = "gave_up",
        %session, attempts, outage_ms = ms(outage), %cause,
        "gave up restoring the session"
    );
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text of a client, fit for a line: cut, and without control characters.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .take(CLIENT_TEXT_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(CLIENT_TEXT_CHARS_MAX).is_some() {
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

    #[test]
    fn every_event_names_itself_and_its_session() {
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        let session = SessionId(7);
        let client = SocketAddr::from(([127, 0, 0, 1], 5000));
        session_up(session, client, &"ws://wcs:8080");
        upstream_lost(session, &"ws://wcs:8080", 1, &"end of file", 2);
        restore_attempt(session, 2, 1, Duration::from_millis(20));
        restore_attempt_failed(session, 2, 1, &"refused");
        restored(session, &Restored { attempts: 2, ..Restored::default() });
        let second = Duration::from_secs(1);
        stream_outcome(session, "cam\n1", "publish", Outcome::Reported, &"no proof", second);
        gave_up(session, 100, Duration::from_secs(300), &"connection refused");
        session_ended(session, &"client closed 1000", second);
        session_refused(client, &"not a WebSocket handshake");
        drop(guard);

        let lines: Vec<Value> =
            capture.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 9);
        for line in &lines {
            let fields = &line["fields"];
            assert!(fields["event"].is_string(), "{line}");
            let refused = fields["event"] == "session_refused";
            assert!(refused || fields["session"] == "s7", "{line}");
        }
        assert_eq!(lines[5]["fields"]["stream"], "cam\u{fffd}1");
        assert_eq!(lines[5]["fields"]["after_ms"], 1000);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(clean(&"x".repeat(128)).chars().count(), 128);
        assert_eq!(clean(&"x".repeat(1_000_000)).chars().count(), 129);
    }
}
