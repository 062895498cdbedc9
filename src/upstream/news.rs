//! Whether the log knows that a node is down: one line when it falls, one when it rises, and no flood when it
//! does both many times a second.

use std::{fmt, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::events;

/// A node that was told of lately is told of again after this time at the earliest.
const TOLD_INTERVAL_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct News {
    began: Instant,
    state: Mutex<State>,
}

impl Default for News {
    fn default() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Since when it is down, as far as the log knows.
    down_since_ms: Option<u64>,
    told_ms: Option<u64>,
}

impl News {
    /// It could not be reached.
    pub(super) fn fell(&self, node: &dyn fmt::Display, cause: &dyn fmt::Display) {
        if self.state.lock().falls(self.now_ms()) {
            events::node_down(node, cause);
        }
    }

    /// It answered.
    pub(super) fn rose(&self, node: &dyn fmt::Display) {
        let down_ms = self.state.lock().rises(self.now_ms());
        if let Some(down_ms) = down_ms {
            events::node_up(node, Duration::from_millis(down_ms));
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn falls(&mut self, now_ms: u64) -> bool {
        let is_recent = self.told_ms.is_some_and(|told| now_ms.saturating_sub(told) < TOLD_INTERVAL_MS);
        if self.down_since_ms.is_some() || is_recent {
            return false;
        }
        self.down_since_ms = Some(now_ms);
        true
    }

    fn rises(&mut self, now_ms: u64) -> Option<u64> {
        let since = self.down_since_ms.take()?;
        self.told_ms = Some(now_ms);
        Some(now_ms.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_flaps_is_told_once_a_second() {
        let mut state = State::default();
        assert!(state.falls(0) && !state.falls(10), "one line per fall");
        assert_eq!(state.rises(500), Some(500));
        assert_eq!(state.rises(500), None);
        let told = (0..1_000).filter(|n| state.falls(500 + n) && state.rises(501 + n).is_some()).count();
        assert_eq!(told, 0);
        assert!(state.falls(1_501));
    }
}
