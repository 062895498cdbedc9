//! How far a drain is, for people and machines.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What a drain does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Sessions are being moved.
    #[default]
    Moving,
    /// Only sessions are left that cannot move unseen, or whose moves came to nothing: it waits for them.
    Waiting,
    /// Nobody is left on the node.
    Done,
    /// It was called off.
    Cancelled,
}

impl Stage {
    /// Whether it has come to its end, one way or the other.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// Sessions that are left, for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Left {
    /// Why they wait.
    pub reason: String,
    /// How many.
    pub sessions: usize,
}

/// A drain at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// Sessions that were on the node, as far as it was looked.
    pub sessions: usize,
    /// Moved unseen.
    pub moved: usize,
    /// Restored elsewhere as after an outage: because the time for that had come, or the drain was called off
    /// when the rest of their web had gone.
    pub forced: usize,
    /// Ended by themselves meanwhile.
    pub ended: usize,
    /// Moves that came to nothing; most are tried again.
    pub failed: usize,
    /// Being moved now.
    pub under_way: usize,
    /// Still on the node, those under way included.
    pub remaining: usize,
    /// Sessions per second over the last seconds.
    pub rate: f64,
    /// Time until the movable ones are moved, in seconds, at this rate; none if it cannot be told.
    pub remaining_s: Option<u64>,
    /// Who is left, and why.
    pub left: Vec<Left>,
}

/// Sessions that wait, by reason. Reasons come from a fixed set, and from nodes: their number is bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(BTreeMap<String, usize>);

/// Different reasons that are told; further ones count as `other`.
const REASONS_MAX: usize = 16;

impl Reasons {
    pub(super) fn add(&mut self, reason: &str, sessions: usize) {
        let known = self.0.contains_key(reason) || self.0.len() < REASONS_MAX;
        let reason = if known { reason } else { "other" };
        *self.0.entry(reason.to_owned()).or_default() += sessions;
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Most of them first.
    pub(super) fn list(&self) -> Vec<Left> {
        let each = self.0.iter().map(|(reason, sessions)| (reason.clone(), *sessions));
        let mut list: Vec<Left> = each.map(|(reason, sessions)| Left { reason, sessions }).collect();
        list.sort_by_key(|left| std::cmp::Reverse(left.sessions));
        list
    }
}

/// How many were moved in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// By second since the start, newest last; at most [`SPEED_SECONDS`].
    seconds: Vec<(u64, u32)>,
}

const SPEED_SECONDS: usize = 10;

impl Speed {
    pub(super) fn count(&mut self, since_start: Duration) {
        let second = since_start.as_secs();
        match self.seconds.last_mut() {
            Some((last, count)) if *last == second => *count = count.saturating_add(1),
            _ => {
                if self.seconds.len() >= SPEED_SECONDS {
                    self.seconds.remove(0);
                }
                self.seconds.push((second, 1));
            }
        }
    }

    /// Per second, over the last ten or what there was of them.
    pub(super) fn per_second(&self, since_start: Duration) -> f64 {
        let span = since_start.as_secs_f64().clamp(1.0, 10.0);
        let oldest = since_start.as_secs().saturating_sub(10);
        let recent = self.seconds.iter().filter(|(second, _)| *second >= oldest);
        recent.map(|(_, count)| f64::from(*count)).sum::<f64>() / span
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_the_most_frequent_comes_first() {
        let mut reasons = Reasons::default();
        for n in 0..100_usize {
            reasons.add(&format!("reason {n}"), n);
        }
        reasons.add("reason 0", 10_000);
        let list = reasons.list();
        assert_eq!(list.len(), REASONS_MAX + 1);
        assert_eq!((&*list[0].reason, list[0].sessions), ("reason 0", 10_000));
        assert_eq!(list[1].reason, "other");
        assert_eq!(list.iter().map(|left| left.sessions).sum::<usize>(), 4_950 + 10_000);
    }

    #[test]
    fn speed_is_of_the_last_seconds() {
        let mut speed = Speed::default();
        for ms in (0..60_000).step_by(100) {
            speed.count(Duration::from_millis(ms));
        }
        assert!(speed.seconds.len() <= SPEED_SECONDS);
        let now = Duration::from_secs(60);
        assert!((speed.per_second(now) - 10.0).abs() < 1.5, "{}", speed.per_second(now));
        assert!(speed.per_second(Duration::from_secs(100)) < 0.1);
    }
}
