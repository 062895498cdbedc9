//! How long media stood still, or sessions were away, as a distribution: it costs the same however much happens. Of
//! the gaps of late whoever looks takes one with him, however long nobody looked.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::milliseconds::ms;

/// Longest gap that is told apart, in milliseconds.
const GAP_MS_MAX: u64 = 24 * 3_600_000;

/// Gaps in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GapFigures {
    /// How many.
    pub count: u64,
    /// The middle one, in milliseconds; 0 where there was none.
    pub p50_ms: u64,
    /// What one in a hundred exceeds.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

/// Gaps of any length as one distribution.
#[derive(Debug)]
pub(crate) struct Gaps(Option<Histogram<u32>>);

impl Default for Gaps {
    fn default() -> Self {
        // The bounds are valid; if they were not, no gap would be told.
        Self(Histogram::new_with_bounds(1, GAP_MS_MAX, 2).ok())
    }
}

impl Gaps {
    /// Something stood still for so long.
    pub(crate) fn add(&mut self, gap: Duration) {
        if let Some(gaps) = &mut self.0 {
            gaps.saturating_record(ms(gap).clamp(1, GAP_MS_MAX));
        }
    }

    /// What there is.
    pub(crate) fn figures(&self) -> GapFigures {
        let Some(gaps) = self.0.as_ref().filter(|gaps| !gaps.is_empty()) else {
            return GapFigures::default();
        };
        let at = |quantile| gaps.value_at_quantile(quantile);
        GapFigures { count: gaps.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: gaps.max() }
    }

    fn clear(&mut self) {
        if let Some(gaps) = &mut self.0 {
            gaps.reset();
        }
    }
}

/// Gaps of late, whoever notes them.
#[derive(Debug, Default)]
pub(crate) struct RecentGaps(Mutex<Gaps>);

impl RecentGaps {
    /// Media stood still for so long.
    pub(crate) fn add(&self, gap: Duration) {
        self.0.lock().add(gap);
    }

    /// What was noted since this was asked last.
    pub(crate) fn take(&self) -> GapFigures {
        let mut gaps = self.0.lock();
        let figures = gaps.figures();
        gaps.clear();
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gap_is_told_once() {
        let recent = RecentGaps::default();
        assert_eq!(recent.take(), GapFigures::default());
        for ms in 1..=100 {
            recent.add(Duration::from_millis(ms * 10));
        }
        recent.add(Duration::MAX);
        let told = recent.take();
        assert_eq!(told.count, 101);
        assert!((500..=520).contains(&told.p50_ms) && told.p99_ms >= 990, "{told:?}");
        assert!(told.max_ms >= GAP_MS_MAX, "{told:?}");
        assert_eq!(recent.take().count, 0);
    }
}
