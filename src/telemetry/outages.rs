//! The book of outages: what happens to hundreds of sessions at once becomes one line per node.
//!
//! A session is in it from the loss of its upstream until it stands again and each of its streams has its
//! outcome, or until it ends. Of each kind of event the first of an outage is told at its level, those that
//! follow at debug, and all of them are counted. Decides nothing and waits for nobody.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    ids::NodeId,
    milliseconds::ms,
    session::{Event, LossCause, Outcome, SessionId, Timestamp},
};

use super::{events, gaps::Gaps};

/// How long an outage must have been over before it is summed up: other sessions may still find out that
/// they lost the same node.
const QUIET: Duration = Duration::from_secs(2);
/// How long streams may owe an outcome after all sessions stand again, before the sum is made without them.
const OWING_MAX: Duration = Duration::from_secs(120);

/// What came of one outage of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutageSummary {
    /// Why the first of its sessions lost it.
    pub cause: String,
    /// From the first loss to the last outcome.
    pub lasted_ms: u64,
    /// Sessions that lost the node, and what became of them.
    pub sessions: u64,
    pub sessions_restored: u64,
    pub sessions_given_up: u64,
    /// Sessions whose client left meanwhile.
    pub clients_left: u64,
    /// Dials that failed, and sessions that a server refused on a connection that stood.
    pub attempts_failed: u64,
    pub replays_refused: u64,
    pub streams_restored: u64,
    pub streams_reported: u64,
    pub streams_cancelled: u64,
    pub rooms_lost: u64,
    /// From the loss to the proof, of each stream that was restored and of each session without streams.
    pub gap_p50_ms: u64,
    pub gap_p99_ms: u64,
    pub gap_max_ms: u64,
}

impl OutageSummary {
    /// Whether somebody was told bad news.
    pub(crate) const fn hurt(&self) -> bool {
        self.sessions_given_up > 0 || self.streams_reported > 0 || self.rooms_lost > 0
    }
}

/// An outage of a node that is over.
#[derive(Debug)]
pub(crate) struct OutageOver {
    pub(crate) node: NodeId,
    /// When its first session lost it.
    pub(crate) began: Timestamp,
    pub(crate) summary: OutageSummary,
}

/// All outages that go on.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    sessions: HashMap<SessionId, Owing>,
    nodes: HashMap<NodeId, NodeOutage>,
    /// Outages of each node since the process began.
    begun: HashMap<NodeId, u64>,
}

/// The outages of one node at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeOutages {
    /// Since the process began.
    pub(crate) begun: u64,
    /// One goes on.
    pub(crate) is_running: bool,
}

/// A session in an outage.
#[derive(Debug)]
struct Owing {
    node: NodeId,
    is_down: bool,
    /// Streams without their outcome.
    streams: usize,
}

#[derive(Debug)]
struct NodeOutage {
    began: Timestamp,
    last_news: Timestamp,
    /// Sessions of it in the book, and how many of these are down.
    open: usize,
    gaps: Gaps,
    counts: OutageSummary,
    /// Kinds of events that were told.
    told: BTreeSet<&'static str>,
}

impl NodeOutage {
    fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            last_news: now,
            open: 0,
            gaps: Gaps::default(),
            counts: OutageSummary::default(),
            told: BTreeSet::new(),
        }
    }

    fn sum_up(self) -> OutageSummary {
        self.sum(self.last_news)
    }

    /// What it has come to, with its last news so long after its beginning.
    fn sum(&self, until: Timestamp) -> OutageSummary {
        let gaps = self.gaps.figures();
        OutageSummary {
            lasted_ms: ms(until.since(self.began)),
            gap_p50_ms: gaps.p50_ms,
            gap_p99_ms: gaps.p99_ms,
            gap_max_ms: gaps.max_ms,
            ..self.counts.clone()
        }
    }
}

impl Outages {
    /// Enters what a session reports. True if it is to be told at its level: it belongs to no outage, or is
    /// the first of its kind in it.
    pub(crate) fn note(&self, session: SessionId, node: NodeId, event: &Event, now: Timestamp) -> bool {
        let mut book = self.book.lock();
        if let Event::UpstreamLost { streams, cause } = event {
            book.lost(session, node, *streams, now);
            book.because(node, *cause);
        }
        book.count(session, event, now)
    }

    /// A session is over. True if that is to be told at its level.
    pub(crate) fn ended(&self, session: SessionId, client_left: bool, now: Timestamp) -> bool {
        let mut book = self.book.lock();
        let Some(owing) = book.sessions.remove(&session) else { return true };
        let Some(outage) = book.nodes.get_mut(&owing.node) else { return true };
        outage.open = outage.open.saturating_sub(1);
        outage.last_news = now;
        if owing.is_down && client_left {
            outage.counts.clients_left += 1;
        }
        outage.told.insert(if client_left { "client_left" } else { "session_ended" })
    }

    /// What there was and is of a node.
    pub(crate) fn of(&self, node: NodeId) -> NodeOutages {
        let book = self.book.lock();
        let begun = book.begun.get(&node).copied().unwrap_or_default();
        NodeOutages { begun, is_running: book.nodes.contains_key(&node) }
    }

    /// The node is no more.
    pub(crate) fn forget(&self, node: NodeId) {
        self.book.lock().begun.remove(&node);
    }

    /// What came so far of those that go on, by node.
    pub(crate) fn running(&self, now: Timestamp) -> Vec<(NodeId, OutageSummary)> {
        let book = self.book.lock();
        let mut running: Vec<_> = book.nodes.iter().map(|(node, outage)| (*node, outage.sum(now))).collect();
        running.sort_unstable_by_key(|(node, _)| *node);
        running
    }

    /// The outages that are over by now, by node.
    pub(crate) fn over(&self, now: Timestamp) -> Vec<OutageOver> {
        let mut book = self.book.lock();
        let book = &mut *book;
        let down: BTreeSet<NodeId> =
            book.sessions.values().filter(|owing| owing.is_down).map(|owing| owing.node).collect();
        let is_over = |node: &NodeId, outage: &NodeOutage| {
            let quiet = now.since(outage.last_news);
            (outage.open == 0 && quiet >= QUIET) || (!down.contains(node) && quiet >= OWING_MAX)
        };
        let over: Vec<NodeId> =
            book.nodes.iter().filter(|(node, outage)| is_over(node, outage)).map(|(node, _)| *node).collect();
        book.take(&over)
    }

    /// What there is to say of those that go on, at the end of the process.
    pub(crate) fn all(&self) -> Vec<OutageOver> {
        let mut book = self.book.lock();
        let all: Vec<NodeId> = book.nodes.keys().copied().collect();
        book.take(&all)
    }
}

impl Book {
    fn lost(&mut self, session: SessionId, node: NodeId, streams: usize, now: Timestamp) {
        if let Some(owing) = self.sessions.get_mut(&session) {
            // It falls again before it stood: the same outage.
            owing.is_down = true;
            owing.streams = streams;
            return;
        }
        self.sessions.insert(session, Owing { node, is_down: true, streams });
        let begun = &mut self.begun;
        let outage = self.nodes.entry(node).or_insert_with(|| {
            *begun.entry(node).or_default() += 1;
            NodeOutage::new(now)
        });
        outage.open += 1;
        outage.counts.sessions += 1;
    }

    fn because(&mut self, node: NodeId, cause: LossCause) {
        if let Some(outage) = self.nodes.get_mut(&node).filter(|outage| outage.counts.cause.is_empty()) {
            outage.counts.cause = events::loss(cause);
        }
    }

    fn count(&mut self, session: SessionId, event: &Event, now: Timestamp) -> bool {
        let Some(owing) = self.sessions.get_mut(&session) else { return true };
        let Some(outage) = self.nodes.get_mut(&owing.node) else { return true };
        outage.last_news = now;
        let counts = &mut outage.counts;
        let mut is_given_up = false;
        match event {
            Event::AttemptFailed { .. } => counts.attempts_failed += 1,
            Event::ReplayRefused { .. } => counts.replays_refused += 1,
            Event::RoomLost { .. } => counts.rooms_lost += 1,
            Event::SessionRestored { outage: gap, .. } => {
                owing.is_down = false;
                counts.sessions_restored += 1;
                if owing.streams == 0 {
                    outage.gaps.add(*gap);
                }
            }
            Event::StreamOutcome { outcome, after, .. } => {
                owing.streams = owing.streams.saturating_sub(1);
                match outcome {
                    Outcome::Restored => {
                        counts.streams_restored += 1;
                        outage.gaps.add(*after);
                    }
                    Outcome::Reported => counts.streams_reported += 1,
                    Outcome::Cancelled => counts.streams_cancelled += 1,
                }
            }
            Event::GaveUp { .. } => {
                counts.sessions_given_up += 1;
                is_given_up = true;
            }
            _ => {}
        }
        // Its end is still to come, and belongs to the outage.
        if !owing.is_down && owing.streams == 0 && !is_given_up {
            outage.open = outage.open.saturating_sub(1);
            self.sessions.remove(&session);
        }
        outage.told.insert(events::facts(event).name)
    }

    fn take(&mut self, nodes: &[NodeId]) -> Vec<OutageOver> {
        self.sessions.retain(|_, owing| !nodes.contains(&owing.node));
        let over = |node: &NodeId| {
            let outage = self.nodes.remove(node)?;
            Some(OutageOver { node: *node, began: outage.began, summary: outage.sum_up() })
        };
        nodes.iter().filter_map(over).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::session::DialError;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn lost(streams: usize) -> Event {
        Event::UpstreamLost { cause: LossCause::EndOfFile, streams }
    }

    fn outcome(outcome: Outcome, after_ms: u64) -> Event {
        let (name, stream) = ("cam".to_owned(), "p".to_owned());
        Event::StreamOutcome {
            name,
            stream,
            kind: "publish",
            outcome,
            after: Duration::from_millis(after_ms),
        }
    }

    #[test]
    fn an_outage_of_many_is_one_sum() {
        let outages = Outages::default();
        let mut loud = 0;
        let mut note = |session, event: &Event, now| {
            loud += usize::from(outages.note(SessionId(session), NodeId(0), event, at(now)));
        };
        let restored = Event::SessionRestored { outage: Duration::from_secs(2), tries: 3 };
        for session in 0..300 {
            note(session, &lost(1), 1_000);
            note(session, &Event::AttemptFailed { tries: 1, error: DialError::Refused(502) }, 1_100);
        }
        assert!(outages.over(at(60_000)).is_empty(), "they are still down");
        assert_eq!(outages.of(NodeId(0)), NodeOutages { begun: 1, is_running: true }, "of all sessions one");
        let running = outages.running(at(2_000));
        let [(NodeId(0), so_far)] = &running[..] else { panic!("{running:?}") };
        assert_eq!((so_far.sessions, so_far.sessions_restored, so_far.lasted_ms), (300, 0, 1_000));
        for session in 0..300 {
            note(session, &restored, 3_000);
            let how = if session < 290 { Outcome::Restored } else { Outcome::Reported };
            note(session, &outcome(how, 2_000 + session), 3_500);
        }
        // upstream_lost, attempt_failed, restored, stream_outcome.
        assert_eq!(loud, 4);
        assert!(outages.over(at(4_000)).is_empty(), "others may follow");
        let over = outages.over(at(6_000));
        let [OutageOver { node: NodeId(0), summary: sum, .. }] = &over[..] else { panic!("{over:?}") };
        assert_eq!((sum.sessions, sum.sessions_restored, sum.attempts_failed), (300, 300, 300));
        assert_eq!((sum.streams_restored, sum.streams_reported), (290, 10));
        assert!((2_100..2_200).contains(&sum.gap_p50_ms) && sum.gap_p99_ms > 2_250, "{sum:?}");
        assert!(sum.gap_max_ms >= 2_289 && sum.lasted_ms == 2_500, "{sum:?}");
        assert!(outages.over(at(100_000)).is_empty());
        assert_eq!(outages.of(NodeId(0)), NodeOutages { begun: 1, is_running: false });
    }

    #[test]
    fn who_gives_up_and_who_is_given_up_are_told_apart() {
        let outages = Outages::default();
        for session in 0..3 {
            outages.note(SessionId(session), NodeId(1), &lost(0), at(0));
        }
        assert!(outages.ended(SessionId(0), true, at(10)), "the first is told");
        assert!(!outages.ended(SessionId(1), true, at(20)));
        let gave_up = Event::GaveUp { reason: "no try succeeded".to_owned(), tries: 100 };
        assert!(outages.note(SessionId(2), NodeId(1), &gave_up, at(30)));
        outages.ended(SessionId(2), false, at(40));
        let OutageOver { node, summary: sum, .. } = outages.over(at(10_000)).remove(0);
        assert_eq!((node, sum.sessions, sum.clients_left, sum.sessions_given_up), (NodeId(1), 3, 2, 1));
        assert!(sum.hurt());
        assert!(outages.ended(SessionId(9), true, at(1)), "who was in no outage is told as ever");
    }

    #[test]
    fn streams_that_owe_their_outcome_for_ever_do_not_hold_the_sum() {
        let outages = Outages::default();
        outages.note(SessionId(1), NodeId(0), &lost(2), at(0));
        let restored = Event::SessionRestored { outage: Duration::from_secs(1), tries: 1 };
        outages.note(SessionId(1), NodeId(0), &restored, at(1_000));
        assert!(outages.over(at(60_000)).is_empty());
        let over = outages.over(at(122_000));
        assert_eq!((over.len(), over[0].began), (1, at(0)), "however long ago its last news is");
        assert!(outages.book.lock().sessions.is_empty());
    }
}
