//! What was counted and noted for tests and the control port, each within a bound.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    super::durations::as_millis(since)
}

/// Counts by key; past the bound new keys are counted as `other`.
pub(super) type Counts = BTreeMap<String, u64>;

/// Adds one to a key.
pub(super) fn count(counts: &mut Counts, key: &str, keys_max: usize) {
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else {
        let key = if counts.len() < keys_max { key } else { "other" };
        *counts.entry(key.to_owned()).or_default() += 1;
    }
}

/// How many came within any one second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The most so far.
    pub(super) per_second_max: usize,
    recent: VecDeque<Instant>,
}

impl Rate {
    pub(super) fn add(&mut self, now: Instant) {
        const WINDOW: Duration = Duration::from_secs(1);
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.per_second_max = self.per_second_max.max(self.recent.len());
    }
}

/// What one simulated process counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// TCP connections accepted.
    pub(super) dials: u64,
    /// When they came.
    pub(super) dial_rate: Rate,
    /// When `connection` messages came.
    pub(super) connect_rate: Rate,
    /// Handshakes completed.
    pub(super) handshakes: u64,
    /// Handshakes refused, by HTTP status.
    pub(super) refused: Counts,
    /// Handshakes that came to nothing for another reason.
    pub(super) broken_handshakes: u64,
    /// Messages received, by name.
    pub(super) asked: Counts,
    /// Messages sent, by name.
    pub(super) sent: Counts,
    /// Messages withheld, by name.
    pub(super) withheld: Counts,
    /// What became of publishes and plays, such as `publish: accepted` or
    /// `publish: Stream name is already in use`.
    pub(super) outcomes: Counts,
    /// Publishes asked for, by name.
    pub(super) publishes: Counts,
    /// Plays asked for, by name.
    pub(super) plays: Counts,
    /// How connections ended.
    pub(super) ends: Counts,
    /// Stops of streams that had just ended.
    pub(super) late_stops: u64,
    /// Connections reset because their queue was full.
    pub(super) queue_overflows: u64,
    /// Connections dropped because there were too many.
    pub(super) over_limit: u64,
    /// Sessions that were resumed by token.
    pub(super) resumed: u64,
    /// Fake media records handed to players.
    pub(super) fake_records: u64,
    /// WebSocket pings and pongs received.
    pub(super) control_frames: u64,
}

impl Counters {
    pub(super) fn dialled(&mut self, now: Instant) {
        self.dials += 1;
        self.dial_rate.add(now);
    }

    pub(super) fn sent(&mut self, name: &str, keys_max: usize) {
        count(&mut self.sent, name, keys_max);
    }

    pub(super) fn withheld(&mut self, name: &str) {
        *self.withheld.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn state(&self) -> Value {
        json!({
            "dials": self.dials,
            "dials_per_second_max": self.dial_rate.per_second_max,
            "connects_per_second_max": self.connect_rate.per_second_max,
            "handshakes": self.handshakes,
            "handshakes_refused": self.refused,
            "handshakes_broken": self.broken_handshakes,
            "asked": self.asked,
            "sent": self.sent,
            "withheld": self.withheld,
            "outcomes": self.outcomes,
            "publishes": self.publishes,
            "plays": self.plays,
            "ends": self.ends,
            "late_stops": self.late_stops,
            "queue_overflows": self.queue_overflows,
            "over_limit": self.over_limit,
            "resumed": self.resumed,
            "fake_records": self.fake_records,
            "control_frames": self.control_frames,
        })
    }
}

/// A handshake with what it brought along.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Handshake {
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) epoch: u64,
    pub(super) peer: String,
    /// Path and query.
    pub(super) target: String,
    /// The HTTP status of the answer.
    pub(super) status: u16,
    /// Names in lower case; values of repeated headers are joined by `, `.
    pub(super) headers: BTreeMap<String, String>,
}

/// Something a client must not do.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The simulated process that saw it; grows with each restart.
    pub epoch: u64,
    /// Which rule was broken.
    pub kind: ViolationKind,
    /// The connection.
    pub connection: u64,
    /// The session, if there was one.
    pub session: Option<u64>,
    /// Names and ids, no secrets.
    pub detail: String,
}

/// The rules that clients are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// A second publish of a name by the session that already publishes it.
    DuplicatePublish,
    /// A publish or play under a `mediaSessionId` that this process has seen in one before.
    ReusedMediaSessionId,
    /// A message name that no WCS client sends.
    UnknownVerb,
    /// A stop or unpublish of a stream that does not exist.
    StopOfNothing,
    /// A stop or unpublish of another session's stream.
    StopOfForeignStream,
    /// `stopStream` for a publish or `unPublishStream` for a play.
    StopOfWrongKind,
    /// A message before `connection` or `connectMediaTransport`.
    MessageBeforeConnection,
    /// A second `connection` on a socket.
    SecondConnection,
    /// A `pong` that no `ping` asked for.
    PongWithoutPing,
    /// Not JSON, no message name, or `data` that is not an array of one element.
    MalformedEnvelope,
    /// A message without the fields that it needs.
    MalformedMessage,
    /// A binary message on a signaling or media socket.
    BinaryMessage,
    /// A WebSocket frame that the protocol does not allow.
    WebSocketProtocol,
    /// `connectMediaTransport` with a token of no living session.
    UnknownMediaToken,
    /// A call verb for a call that the session does not have.
    UnknownCall,
}

/// The list of violations.
#[derive(Debug, Default)]
pub(super) struct Violations {
    pub(super) total: u64,
    pub(super) kinds: BTreeMap<ViolationKind, u64>,
    pub(super) list: Vec<Violation>,
}

impl Violations {
    pub(super) fn add(&mut self, violation: Violation, violations_max: usize) {
        tracing::warn!(
            kind = ?violation.kind, session = ?violation.session, detail = %violation.detail,
            "a client broke the protocol"
        );
        self.total += 1;
        *self.kinds.entry(violation.kind).or_default() += 1;
        if self.list.len() < violations_max {
            self.list.push(violation);
        }
    }

    pub(super) fn state(&self) -> Value {
        json!({"total": self.total, "kinds": self.kinds, "list": self.list})
    }
}

/// Something that happened to a stream, session or the server.
#[derive(Debug, Clone, Serialize)]
pub struct JournalEntry {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The simulated process; grows with each restart.
    pub epoch: u64,
    /// Number of the session.
    pub session: Option<u64>,
    /// For example `publish`, `publish accepted`, `stream ended`, `session lost`.
    pub what: &'static str,
    /// Stream name, room or fault.
    pub name: String,
    /// `mediaSessionId` or call id.
    pub id: String,
    /// Info text.
    pub detail: String,
}

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) dropped: u64,
    pub(super) entries: VecDeque<JournalEntry>,
}

impl Journal {
    pub(super) fn add(&mut self, entry: JournalEntry, journal_max: usize) {
        while self.entries.len() >= journal_max.max(1) {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_counted_in_any_second() {
        let mut counters = Counters::default();
        let start = Instant::now();
        for ms in [0, 900, 950, 1_100, 1_200, 1_899, 3_000] {
            counters.dialled(start + Duration::from_millis(ms));
        }
        assert_eq!(counters.dials, 7);
        // 900, 950, 1,100, 1,200 and 1,899 lie within less than a second.
        assert_eq!(counters.dial_rate.per_second_max, 5);
    }

    #[test]
    fn keys_are_bounded() {
        let mut counts = Counts::new();
        for key in ["a", "b", "c", "d", "a"] {
            count(&mut counts, key, 2);
        }
        assert_eq!(counts, Counts::from([("a".into(), 2), ("b".into(), 1), ("other".into(), 2)]));
    }

    #[test]
    fn the_journal_forgets_the_oldest() {
        let mut journal = Journal::default();
        for id in ["1", "2", "3"] {
            let entry = JournalEntry {
                at_ms: 0,
                epoch: 1,
                session: None,
                what: "publish",
                name: String::new(),
                id: id.to_owned(),
                detail: String::new(),
            };
            journal.add(entry, 2);
        }
        assert_eq!(journal.dropped, 1);
        assert_eq!(journal.entries.front().unwrap().id, "2");
    }

    #[test]
    fn violations_past_the_bound_are_still_counted() {
        let mut violations = Violations::default();
        for _ in 0..3 {
            let violation = Violation {
                at_ms: 0,
                epoch: 1,
                kind: ViolationKind::UnknownVerb,
                connection: 1,
                session: None,
                detail: String::new(),
            };
            violations.add(violation, 2);
        }
        assert_eq!((violations.total, violations.list.len()), (3, 2));
        assert_eq!(violations.kinds[&ViolationKind::UnknownVerb], 3);
    }
}
