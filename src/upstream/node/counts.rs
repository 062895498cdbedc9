//! What is counted of one node: dials by how they ended, how long they took, and who has a seat there.
//! Counters only; nothing is decided here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::upstream::dial::DialFailure;

/// Upper ends of the buckets of [`DialCounts::buckets`], in milliseconds; the last bucket has none.
pub const DIAL_BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];
/// So many dials are looked at for what is usual.
const RECENT_MAX: usize = 128;
/// Fewer say nothing of it.
const USUAL_MIN: usize = 4;

/// How the dials to a node ended, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DialCounts {
    /// It took the client's handshake.
    pub accepted: u64,
    /// It answered with another HTTP status.
    pub refused: u64,
    /// Of these, with one of 5xx: it, or a gateway before it, was in trouble.
    pub refused_5xx: u64,
    /// It answered with a 101 that is wrong.
    pub bad_handshake: u64,
    /// It was not reached, or did not answer in time.
    pub unreachable: u64,
    /// This machine lacked something.
    pub local: u64,
    /// Another node answered first.
    pub overtaken: u64,
    /// How many answers took how long, bucket by bucket, not summed up; see [`DIAL_BUCKETS_MS`].
    pub buckets: Vec<u64>,
    /// All times in `buckets` together, in microseconds.
    pub sum_us: u64,
    /// The middle of the last dials that were answered, in milliseconds.
    pub p50_ms: Option<f64>,
    /// What one in a hundred of these exceeds, in milliseconds.
    pub p99_ms: Option<f64>,
}

/// Counts as they are kept.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Dials {
    accepted: AtomicU64,
    refused: AtomicU64,
    refused_5xx: AtomicU64,
    bad_handshake: AtomicU64,
    unreachable: AtomicU64,
    local: AtomicU64,
    overtaken: AtomicU64,
    buckets: [AtomicU64; DIAL_BUCKETS_MS.len() + 1],
    sum_us: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    times: Vec<Duration>,
    next: usize,
}

impl Recent {
    fn note(&mut self, time: Duration) {
        match self.times.get_mut(self.next) {
            Some(oldest) => *oldest = time,
            None => self.times.push(time),
        }
        self.next = (self.next + 1) % RECENT_MAX;
    }

    fn at(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((sorted.len() * percent / 100).min(last)).copied()
    }
}

fn more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Dials {
    /// A dial has ended like this, after this time.
    pub(in crate::upstream) fn note(&self, failure: Option<&DialFailure>, took: Duration) {
        let is_answer = match failure {
            None => (more(&self.accepted), true).1,
            Some(DialFailure::Refused(refusal)) => {
                if refusal.status >= 500 {
                    more(&self.refused_5xx);
                }
                (more(&self.refused), true).1
            }
            Some(DialFailure::BadHandshake(_)) => (more(&self.bad_handshake), true).1,
            Some(DialFailure::Unreachable(_)) => (more(&self.unreachable), false).1,
            Some(DialFailure::Local(_)) => (more(&self.local), false).1,
        };
        if is_answer {
            let bucket = DIAL_BUCKETS_MS.iter().position(|end| took <= Duration::from_millis(*end));
            if let Some(bucket) = self.buckets.get(bucket.unwrap_or(DIAL_BUCKETS_MS.len())) {
                more(bucket);
            }
            self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.recent.lock().note(took);
        }
    }

    /// A probe was answered after this time: no dial that is counted, but what is usual shows in it.
    pub(in crate::upstream) fn observe(&self, took: Duration) {
        self.recent.lock().note(took);
    }

    /// What an answer usually takes: of the last dials and probes all but one in twenty were as quick. `None`
    /// as long as there are too few.
    pub(in crate::upstream) fn usual(&self) -> Option<Duration> {
        let recent = self.recent.lock();
        (recent.times.len() >= USUAL_MIN).then(|| recent.at(95)).flatten()
    }

    /// A dial was dropped because another node answered first.
    pub(in crate::upstream) fn note_overtaken(&self) {
        more(&self.overtaken);
    }

    /// All of them at this moment.
    pub(in crate::upstream) fn counts(&self) -> DialCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let recent = self.recent.lock();
        DialCounts {
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            refused_5xx: read(&self.refused_5xx),
            bad_handshake: read(&self.bad_handshake),
            unreachable: read(&self.unreachable),
            local: read(&self.local),
            overtaken: read(&self.overtaken),
            buckets: self.buckets.iter().map(read).collect(),
            sum_us: read(&self.sum_us),
            p50_ms: recent.at(50).map(ms),
            p99_ms: recent.at(99).map(ms),
        }
    }
}

/// A session's place on a node, from its dial until it leaves; counted as long as it is kept.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// One more on the node of this counter.
    pub(in crate::upstream) fn take(sessions: &Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_counted_by_outcome_and_time() {
        let dials = Dials::default();
        for ms in 1..=100 {
            dials.note(None, Duration::from_millis(ms));
        }
        dials.note(Some(&DialFailure::Unreachable("x".into())), Duration::from_secs(5));
        dials.note(Some(&DialFailure::BadHandshake("x".into())), Duration::from_secs(6));
        dials.note_overtaken();
        let counts = dials.counts();
        assert_eq!((counts.accepted, counts.unreachable, counts.bad_handshake), (100, 1, 1));
        assert_eq!((counts.overtaken, counts.refused, counts.local), (1, 0, 0));
        assert_eq!(counts.buckets, [1, 1, 3, 5, 15, 25, 50, 0, 0, 0, 0, 0, 1]);
        assert_eq!(counts.sum_us, 5_050_000 + 6_000_000);
        assert_eq!((counts.p50_ms, counts.p99_ms), (Some(51.0), Some(100.0)));
    }

    #[test]
    fn what_is_usual_is_that_of_the_last_dials() {
        let dials = Dials::default();
        (0..10_000).for_each(|_| dials.note(None, Duration::from_millis(900)));
        (0..RECENT_MAX).for_each(|_| dials.note(None, Duration::from_millis(3)));
        assert_eq!(dials.counts().p99_ms, Some(3.0));
        assert_eq!(dials.recent.lock().times.len(), RECENT_MAX);
        assert_eq!(dials.usual(), Some(Duration::from_millis(3)));
        (0..6).for_each(|_| dials.observe(Duration::from_secs(2)));
        assert_eq!(dials.usual(), Some(Duration::from_millis(3)), "a few that were slow change nothing");
        assert_eq!(Dials::default().usual(), None);
    }

    #[test]
    fn a_seat_is_counted_as_long_as_it_is_kept() {
        let sessions = Arc::new(AtomicUsize::new(0));
        let seats = [Seat::take(&sessions), Seat::take(&sessions)];
        assert_eq!(sessions.load(Ordering::Relaxed), 2);
        drop(seats);
        assert_eq!(sessions.load(Ordering::Relaxed), 0);
    }
}
