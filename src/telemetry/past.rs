//! The last outages that are over, for people who look.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::milliseconds::unix_ms;

use super::outages::OutageSummary;

/// Outages that are kept; the oldest gives way.
const KEPT_MAX: usize = 100;

/// An outage that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PastOutage {
    /// Numbers them, from 1, as long as the process lives.
    pub id: u64,
    /// The node that was lost.
    pub node: String,
    /// When the first session lost it, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// What came of it.
    #[serde(flatten)]
    pub summary: OutageSummary,
}

/// The book of them.
#[derive(Debug, Default)]
pub(crate) struct Past {
    kept: Mutex<(u64, VecDeque<PastOutage>)>,
}

impl Past {
    /// One is over that began so long `ago`.
    pub(crate) fn add(&self, node: String, summary: OutageSummary, ago: Duration) {
        let began_unix_ms = unix_ms(ago);
        let mut kept = self.kept.lock();
        let (count, list) = &mut *kept;
        *count = count.saturating_add(1);
        if list.len() >= KEPT_MAX {
            list.pop_front();
        }
        list.push_back(PastOutage { id: *count, node, began_unix_ms, summary });
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<PastOutage> {
        self.kept.lock().1.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_last_hundred_are_kept_the_newest_first() {
        let past = Past::default();
        for n in 0..250_u64 {
            let summary = OutageSummary { sessions: n, lasted_ms: 1_000, ..OutageSummary::default() };
            past.add("a".to_owned(), summary, Duration::from_secs(3));
        }
        let list = past.list();
        assert_eq!((list.len(), list[0].id, list[0].summary.sessions), (KEPT_MAX, 250, 249));
        assert_eq!(list[KEPT_MAX - 1].id, 151);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ago = u128::from(list[0].began_unix_ms).abs_diff(now.as_millis());
        assert!((3_000..5_000).contains(&ago), "{ago}");
    }
}
