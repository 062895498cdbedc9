//! Attempts that start one after the other and then run side by side, until one succeeds (RFC 8305
//! section 5): a candidate that hangs takes no more than its share of the time.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::dial::DialFailure;

/// A sign of life of an attempt, with the time that it has from then on.
#[derive(Debug, Default)]
pub(super) struct Alive {
    sign: Notify,
    time: Mutex<Duration>,
}

impl Alive {
    /// It got somewhere: the next candidate gets its chance after this time.
    pub(super) fn give(&self, time: Duration) {
        *self.time.lock() = time;
        self.sign.notify_one();
    }
}

/// Tries the candidates until one succeeds, or fails in a way that is no reason to go on. The others
/// are dropped. The next candidate gets its chance so long after the `start` of the one before while that has
/// neither succeeded nor failed, or when it says with a sign of life; an attempt beside another one needs
/// `room`.
pub(super) async fn race<C, T, F, R>(
    candidates: impl IntoIterator<Item = C>,
    start: Duration,
    alive: &Alive,
    room: impl Fn() -> Option<R>,
    attempt: impl Fn(C) -> F,
    goes_on: impl Fn(&DialFailure) -> bool,
) -> Result<T, DialFailure>
where
    F: Future<Output = Result<T, DialFailure>>,
{
    let mut candidates = candidates.into_iter();
    let mut next = candidates.next();
    let mut running = FuturesUnordered::new();
    let mut failure: Option<DialFailure> = None;
    let mut next_at = Instant::now();
    loop {
        let alone = running.is_empty();
        if alone && next.is_none() {
            return Err(failure.unwrap_or_else(|| DialFailure::Unreachable("no address".into())));
        }
        if next.is_some() && (alone || Instant::now() >= next_at) {
            let held = if alone { None } else { room() };
            if alone || held.is_some() {
                running.extend(next.take().map(|candidate| with(held, attempt(candidate))));
                next = candidates.next();
            }
            next_at = Instant::now() + start;
        }
        tokio::select! {
            biased;
            Some(result) = running.next() => match result {
                Err(one) if goes_on(&one) => {
                    failure = Some(one.or_rather(failure));
                    next_at = Instant::now();
                }
                result => return result,
            },
            () = alive.sign.notified(), if next.is_some() => next_at = Instant::now() + *alive.time.lock(),
            () = sleep_until(next_at), if next.is_some() => {}
        }
    }
}

/// The attempt, and what it holds while it runs.
async fn with<R, T>(held: Option<R>, attempt: impl Future<Output = T>) -> T {
    let result = attempt.await;
    drop(held);
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const START: Duration = Duration::from_millis(250);
    const ALIVE: Duration = Duration::from_secs(2);

    /// Candidates are: (milliseconds until it connects, until it ends, whether it succeeds).
    type Candidate = (u64, u64, bool);

    async fn run(candidates: &[Candidate]) -> (Result<usize, DialFailure>, u128) {
        run_with(candidates, true).await
    }

    async fn run_with(candidates: &[Candidate], may_run_beside: bool) -> (Result<usize, DialFailure>, u128) {
        let (alive, begin) = (Alive::default(), Instant::now());
        let attempt = |(index, (connects, ends, succeeds)): (usize, Candidate)| {
            let alive = &alive;
            async move {
                sleep(Duration::from_millis(connects)).await;
                alive.give(ALIVE);
                sleep(Duration::from_millis(ends.saturating_sub(connects))).await;
                if succeeds { Ok(index) } else { Err(DialFailure::Unreachable("it failed".into())) }
            }
        };
        let candidates = candidates.iter().copied().enumerate();
        let room = || may_run_beside.then_some(());
        let result = race(candidates, START, &alive, room, attempt, |failure| failure.is_of_the_node()).await;
        (result, begin.elapsed().as_millis())
    }

    const NEVER: u64 = 1_000_000_000;

    #[tokio::test(start_paused = true)]
    async fn a_candidate_that_hangs_costs_its_share_only() {
        assert_eq!(run(&[(NEVER, NEVER, false), (10, 20, true)]).await, (Ok(1), 270));
        assert_eq!(run(&[(NEVER, NEVER, false), (NEVER, NEVER, false), (10, 20, true)]).await, (Ok(2), 520));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_connects_has_longer_to_answer() {
        assert_eq!(run(&[(10, 1_500, true), (10, 20, true)]).await, (Ok(0), 1_500));
        assert_eq!(run(&[(10, NEVER, true), (10, 20, true)]).await, (Ok(1), 2_030));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        assert_eq!(run(&[(10, 10, false), (10, 20, true)]).await, (Ok(1), 30));
        let (result, took) = run(&[(10, 10, false), (10, 10, false)]).await;
        assert!(result.is_err());
        assert_eq!(took, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_first_may_still_win() {
        assert_eq!(run(&[(300, 310, true), (100, 200, true)]).await, (Ok(0), 310));
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_they_take_turns() {
        assert_eq!(run_with(&[(10, 4_000, false), (10, 20, true)], false).await, (Ok(1), 4_020));
    }

    #[tokio::test(start_paused = true)]
    async fn no_candidate_is_a_failure() {
        assert!(run(&[]).await.0.is_err());
    }
}
