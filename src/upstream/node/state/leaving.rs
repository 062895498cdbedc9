//! Whether a node goes away by itself, as the closes of its sessions say: code 1001 (going away) or 1012 (service
//! restart). A server that is shut down closes all of its sessions like that; one that sends a single client away
//! closes that one. So a single close says nothing, unless it was of the only session there is: then nobody else has
//! to move for it. Two within a second are believed. Where both belong to somebody who sends several clients away at
//! once, the others move for nothing, but they move unseen, and the node is used again after a minute.

use std::time::Duration;

use super::words::Verdict;
use crate::session::{SessionId, Timestamp};

/// Closes of so many different sessions are believed.
const SESSIONS: usize = 2;
/// Within this time.
const WITHIN: Duration = Duration::from_secs(1);
/// A node that has not gone by then does not go.
const LASTS_MAX: Duration = Duration::from_secs(60);

/// What closes say.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Sessions that were closed like that of late, each once; never more than are believed.
    closed: Vec<(SessionId, Timestamp)>,
    /// It goes away; until when that is believed.
    until: Option<Timestamp>,
    /// It was gone since.
    was_gone: bool,
}

impl Leaving {
    /// It has closed this session like that, beside which it has so many.
    pub(super) fn closed(&mut self, session: SessionId, others: usize, now: Timestamp) {
        if self.until.is_some() {
            return;
        }
        self.closed.retain(|(other, at)| *other != session && now.since(*at) < WITHIN);
        self.closed.push((session, now));
        if self.closed.len() >= SESSIONS || others == 0 {
            *self = Self { until: Some(now + LASTS_MAX), ..Self::default() };
        }
    }

    /// Time goes on, and dials say this of it: it is over when it is back, or has not gone. True if it is back.
    pub(super) fn look(&mut self, dials: Verdict, now: Timestamp) -> bool {
        let Some(until) = self.until else { return false };
        self.was_gone |= dials == Verdict::Gone;
        let is_back = self.was_gone && dials == Verdict::Well;
        if is_back || now >= until {
            *self = Self::default();
        }
        is_back
    }

    /// Somebody knows better.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether it goes away.
    pub(super) const fn is_on(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn one_that_is_sent_away_says_nothing_and_two_or_all_do() {
        let mut leaving = Leaving::default();
        for n in 0..100 {
            leaving.closed(SessionId(1), 5, at(n));
            assert!(!leaving.is_on(), "again and again the same one");
        }
        for n in 1..100 {
            leaving.closed(SessionId(n), 5, at(n * 1_100));
            assert!(!leaving.is_on(), "now and then one");
        }
        assert!(leaving.closed.len() <= SESSIONS);
        leaving.closed(SessionId(200), 5, at(99 * 1_100 + 999));
        assert!(leaving.is_on());
        let mut leaving = Leaving::default();
        leaving.closed(SessionId(1), 0, at(0));
        assert!(leaving.is_on(), "the only one");
    }

    #[test]
    fn it_is_over_when_the_node_is_back_or_has_not_gone() {
        let mut leaving = Leaving::default();
        leaving.closed(SessionId(1), 0, at(0));
        for verdict in [Verdict::Well, Verdict::Doubtful, Verdict::Gone, Verdict::Doubtful] {
            assert!(!leaving.look(verdict, at(59_999)) && leaving.is_on(), "{verdict:?}");
        }
        assert!(leaving.look(Verdict::Well, at(59_999)) && !leaving.is_on());
        leaving.closed(SessionId(1), 0, at(100_000));
        leaving.closed(SessionId(2), 0, at(159_000));
        assert!(!leaving.look(Verdict::Well, at(160_000)) && !leaving.is_on(), "it never went");
    }
}
