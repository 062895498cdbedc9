//! How long media stood still of late, as one distribution that whoever looks takes with him. Costs the same
//! however much happens, and however long nobody looks.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::milliseconds::ms;

/// Longest gap that is told apart, in milliseconds.
const GAP_MS_MAX: u64 = 24 * 3_600_000;

/// Gaps since the last look.
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

/// Where they are noted.
#[derive(Debug)]
pub(crate) struct RecentGaps(Mutex<Option<Histogram<u32>>>);

impl Default for RecentGaps {
    fn default() -> Self {
        // The bounds are valid; if they were not, no gap would be told.
        Self(Mutex::new(Histogram::new_with_bounds(1, GAP_MS_MAX, 2).ok()))
    }
}

impl RecentGaps {
    /// Media stood still for so long.
    pub(crate) fn add(&self, gap: Duration) {
        let ms = ms(gap);
        if let Some(gaps) = &mut *self.0.lock() {
            gaps.saturating_record(ms.clamp(1, GAP_MS_MAX));
        }
    }

    /// What was noted since this was asked last.
    pub(crate) fn take(&self) -> GapFigures {
        let mut noted = self.0.lock();
        let Some(gaps) = noted.as_mut().filter(|gaps| !gaps.is_empty()) else { return GapFigures::default() };
        let at = |quantile| gaps.value_at_quantile(quantile);
        let figures = GapFigures { count: gaps.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: gaps.max() };
        gaps.reset();
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
