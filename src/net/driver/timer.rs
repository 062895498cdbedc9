//! The one timer of a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    session::{Close, Input, LossCause, Timestamp},
    wire::side::Pace,
};

use super::{Driver, events::EndCause, reading::From};

/// A timer that is moved to an earlier time at once and to a later one only when it has rung:
/// most messages push a deadline further away, and that must not cost anything.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    rings_at: Timestamp,
}

impl Timer {
    /// Ready once `due` has come.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        due: Timestamp,
        instant: impl Fn(Timestamp) -> Instant,
    ) -> Poll<()> {
        let rings_at = &mut self.rings_at;
        let sleep = self.sleep.get_or_insert_with(|| {
            *rings_at = due;
            Box::pin(sleep_until(instant(due)))
        });
        if *rings_at > due {
            *rings_at = due;
            sleep.as_mut().reset(instant(due));
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if *rings_at >= due {
                self.sleep = None;
                return Poll::Ready(());
            }
            *rings_at = due;
            sleep.as_mut().reset(instant(due));
        }
        Poll::Pending
    }
}

/// How long a session lives, where that is bounded: a tenth less at most, so that those that came together do not
/// leave together.
pub(super) fn life_of(most: Duration) -> Option<Duration> {
    (!most.is_zero()).then(|| most.mul_f64(1.0 - 0.1 * rand::random::<f64>()))
}

impl Driver {
    /// False: something was due and was done, so that there may be more to do.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(due) = self.next_due() else { return true };
        if due > now {
            let clock = self.shared.clock;
            return self.timer.poll(cx, due, |at| clock.instant(at)).is_pending();
        }
        self.on_due(now);
        false
    }

    fn next_due(&self) -> Option<Timestamp> {
        let core = if self.is_passed_through() { None } else { self.core.next_timeout() };
        let pace = Pace::new(&self.limits);
        [
            core,
            self.heard_by,
            self.lives_until,
            self.client.as_ref().and_then(|client| client.pace_due(pace)),
            self.upstream.as_ref().and_then(|upstream| upstream.pace_due(pace)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_due(&mut self, now: Timestamp) {
        if self.heard_by.is_some_and(|by| by <= now) {
            self.heard_by = None;
            return self.heard_nothing(now);
        }
        if self.lives_until.is_some_and(|until| until <= now) {
            self.lives_until = None;
            return self.close_as(EndCause::LifeOver, now);
        }
        let pace = Pace::new(&self.limits);
        if self.client.as_mut().is_some_and(|client| client.is_too_slow(pace, now)) {
            tracing::warn!(session = %self.id(), "the client takes too few bytes; dropped");
            return self.client_gone(None, now);
        }
        if self.upstream.as_mut().is_some_and(|upstream| upstream.is_too_slow(pace, now)) {
            return self.upstream_gone(LossCause::Stalled, now);
        }
        if self.is_passed_through() {
            return;
        }
        // Whom we do not read from must not seem silent; one that does not read either is dropped
        // for that, or is silent if it may take all the time it likes.
        let paced = !pace.time.is_zero();
        if self.is_paused() && (paced || !self.upstream_is_full()) {
            self.heard(From::Upstream(self.epoch), now);
        }
        if self.is_paused() && (paced || !self.client_is_full()) {
            self.heard(From::Client, now);
        }
        self.tell(Input::Timeout, now);
    }

    /// No first message, or nothing at all for long where nobody else asks for signs of life.
    fn heard_nothing(&mut self, now: Timestamp) {
        if self.is_passed_through() {
            self.end_cause = EndCause::Idle;
            self.close_client(Close::Code(1001));
            self.tell_client_closed(Some(1001), now);
        } else {
            tracing::warn!(session = %self.id(), "no first message in time");
            self.reject_client(1008, now);
        }
    }

    /// A session that is only passed through has been heard, from either side.
    pub(super) fn passed_something(&mut self, now: Timestamp) {
        if self.is_passed_through() {
            let patience = self.limits.passthrough_idle_timeout;
            self.heard_by = (!patience.is_zero()).then(|| now + patience);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_life_ends_in_its_last_tenth_and_those_that_came_together_do_not_end_together() {
        assert_eq!(life_of(Duration::ZERO), None);
        let most = Duration::from_secs(1_000);
        let lives: Vec<Duration> = (0..1_000).map(|_| life_of(most).unwrap()).collect();
        assert!(lives.iter().all(|life| (most.mul_f64(0.9)..=most).contains(life)));
        let within = |from: f64, to: f64| {
            lives.iter().filter(|life| (most.mul_f64(from)..most.mul_f64(to)).contains(*life)).count()
        };
        for tenth in 0..10 {
            let from = 0.9 + 0.01 * f64::from(tenth);
            // A hundred are to be expected in each.
            assert!(within(from, from + 0.01) > 40, "{tenth}");
        }
    }
}
