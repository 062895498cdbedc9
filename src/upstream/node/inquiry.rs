//! The second dial to a node beside connections that are silent: one for all who ask at once, and how often others are
//! alarmed by it.

use std::time::Duration;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

/// How long an answer is good for those who ask later.
const FRESH: Duration = Duration::from_secs(1);
/// Sessions of a node are alarmed so often at most.
const ALARM_EVERY: Duration = Duration::from_secs(1);

/// Whether the node answered, or that nobody can say.
pub(in crate::upstream) type Asked = Shared<BoxFuture<'static, Option<bool>>>;

/// What is kept of it with its node.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Inquiry {
    asked: Option<(Instant, Asked)>,
    alarmed: Option<Instant>,
}

impl Inquiry {
    /// The inquiry that goes on, or was made a moment ago; else the one that is made now.
    pub(in crate::upstream) fn join(
        &mut self,
        ask: impl FnOnce() -> BoxFuture<'static, Option<bool>>,
    ) -> Asked {
        let fresh = |(at, asked): &(Instant, Asked)| asked.peek().is_none() || at.elapsed() < FRESH;
        if let Some((_, asked)) = self.asked.as_ref().filter(|known| fresh(known)) {
            return asked.clone();
        }
        let asked = ask().shared();
        self.asked = Some((Instant::now(), asked.clone()));
        asked
    }

    /// Whether others are to be told now: not again and again.
    pub(in crate::upstream) fn may_alarm(&mut self) -> bool {
        let is_due = self.alarmed.is_none_or(|at| at.elapsed() >= ALARM_EVERY);
        if is_due {
            self.alarmed = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_dial_and_its_answer_is_good_for_a_moment() {
        let (mut inquiry, dials) = (Inquiry::default(), Arc::new(AtomicUsize::new(0)));
        let dial = || {
            let dials = Arc::clone(&dials);
            move || {
                dials.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    Some(true)
                }
                .boxed()
            }
        };
        let first = inquiry.join(dial());
        let second = inquiry.join(dial());
        assert_eq!((first.await, second.await, dials.load(Ordering::Relaxed)), (Some(true), Some(true), 1));
        assert_eq!(
            (inquiry.join(dial()).await, dials.load(Ordering::Relaxed)),
            (Some(true), 1),
            "it is fresh"
        );
        tokio::time::sleep(FRESH).await;
        assert_eq!((inquiry.join(dial()).await, dials.load(Ordering::Relaxed)), (Some(true), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_is_given_once_a_second() {
        let mut inquiry = Inquiry::default();
        assert!(inquiry.may_alarm() && !inquiry.may_alarm());
        tokio::time::sleep(ALARM_EVERY).await;
        assert!(inquiry.may_alarm());
    }
}
