//! How many dials per second a node bears from restores, publishers first.
//!
//! Grants go out in slices: a handful of dials, then a pause, such that no stretch of one second
//! sees more than the rate. Who waits is bounded by the number of sessions, each of which has at
//! most one dial under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::session::Priority;

/// Slices per second, at high rates.
const SLICES: u32 = 50;

/// The budget of one node.
#[derive(Debug)]
pub(super) struct Budget {
    rate: u32,
    pace: Option<Pace>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    per_slice: u32,
    interval: Duration,
}

#[derive(Debug, Default)]
struct State {
    next_slice: Option<Instant>,
    left_in_slice: u32,
    publishers: VecDeque<oneshot::Sender<()>>,
    others: VecDeque<oneshot::Sender<()>>,
    pacing: bool,
}

impl Pace {
    fn new(rate: u32) -> Option<Self> {
        let per_slice = (rate / SLICES).max(1);
        let interval = match rate {
            0 => return None,
            // A window of one second may touch one slice more than fits into it: leave room.
            rate if per_slice > 1 => {
                Duration::from_secs(1).saturating_mul(per_slice) / rate.saturating_sub(per_slice).max(1)
            }
            rate => Duration::from_secs(1) / rate,
        };
        Some(Self { per_slice, interval })
    }
}

impl State {
    /// Takes one grant out of the current slice, or begins the next one when its time has come.
    fn take(&mut self, pace: Pace, now: Instant) -> bool {
        if self.next_slice.is_none_or(|next| now >= next) {
            self.next_slice = now.checked_add(pace.interval);
            self.left_in_slice = pace.per_slice;
        }
        match self.left_in_slice.checked_sub(1) {
            Some(left) => {
                self.left_in_slice = left;
                true
            }
            None => false,
        }
    }

    /// Whether somebody still waits. Whoever has gone away meanwhile is forgotten: it costs no
    /// grant.
    fn has_waiter(&mut self) -> bool {
        for queue in [&mut self.publishers, &mut self.others] {
            while queue.front().is_some_and(oneshot::Sender::is_closed) {
                queue.pop_front();
            }
        }
        !(self.publishers.is_empty() && self.others.is_empty())
    }

    fn next_waiter(&mut self) -> Option<oneshot::Sender<()>> {
        self.publishers.pop_front().or_else(|| self.others.pop_front())
    }
}

impl Budget {
    /// A budget of `rate` dials per second; 0 = no limit.
    pub(super) fn new(rate: u32) -> Arc<Self> {
        Arc::new(Self { rate, pace: Pace::new(rate), state: Mutex::default() })
    }

    /// Whether it is one of this rate.
    pub(super) const fn is_of(&self, rate: u32) -> bool {
        self.rate == rate
    }

    /// Waits until a dial is allowed.
    pub(super) async fn acquire(self: &Arc<Self>, priority: Priority) {
        let Some(pace) = self.pace else { return };
        let granted = {
            let mut state = self.state.lock();
            if !state.pacing && state.take(pace, Instant::now()) {
                return;
            }
            let (grant, granted) = oneshot::channel();
            match priority {
                Priority::Publisher => state.publishers.push_back(grant),
                Priority::Other => state.others.push_back(grant),
            }
            if !state.pacing {
                state.pacing = true;
                tokio::spawn(Arc::clone(self).grant_to_all(pace));
            }
            granted
        };
        // The sender lives in the queue until it grants.
        let _ = granted.await;
    }

    async fn grant_to_all(self: Arc<Self>, pace: Pace) {
        loop {
            let next = {
                let mut state = self.state.lock();
                while state.has_waiter() && state.take(pace, Instant::now()) {
                    if let Some(waiter) = state.next_waiter() {
                        let _ = waiter.send(());
                    }
                }
                if !state.has_waiter() {
                    state.pacing = false;
                    return;
                }
                state.next_slice.unwrap_or_else(Instant::now)
            };
            sleep_until(next).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    async fn grants(rate: u32, count: usize) -> Vec<Duration> {
        let budget = Budget::new(rate);
        let start = Instant::now();
        let waits = (0..count).map(|_| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                budget.acquire(Priority::Other).await;
                start.elapsed()
            })
        });
        let mut times = Vec::new();
        for wait in waits.collect::<Vec<_>>() {
            times.push(wait.await.unwrap());
        }
        times.sort();
        times
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_than_the_rate() {
        for rate in [1_u32, 7, 50, 99, 120, 1_000] {
            let wanted = rate as usize * 3;
            let times = grants(rate, wanted).await;
            assert_eq!(times.len(), wanted);
            for (index, start) in times.iter().enumerate() {
                let end = *start + Duration::from_millis(999);
                let seen = times[index..].iter().take_while(|time| **time < end).count();
                assert!(seen <= rate as usize, "{seen} in one second at rate {rate}");
            }
            let whole = times.last().unwrap().as_secs_f64();
            assert!(whole < 3.3, "{wanted} grants at rate {rate} took {whole} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn publishers_go_first() {
        let budget = Budget::new(10);
        budget.acquire(Priority::Other).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, priority) in [
            ("a", Priority::Other),
            ("b", Priority::Other),
            ("p", Priority::Publisher),
            ("q", Priority::Publisher),
        ] {
            let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                budget.acquire(priority).await;
                order.lock().push(name);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), ["p", "q", "a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit_and_who_left_costs_nothing() {
        assert!(grants(0, 5_000).await.iter().all(|time| time.is_zero()));
        let budget = Budget::new(1);
        budget.acquire(Priority::Other).await;
        for _ in 0..100 {
            let gone = tokio::time::timeout(Duration::from_millis(1), budget.acquire(Priority::Other)).await;
            assert!(gone.is_err());
        }
        let start = Instant::now();
        budget.acquire(Priority::Other).await;
        assert!(start.elapsed() <= Duration::from_secs(1));
    }
}
