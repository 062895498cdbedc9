//! The one timer of a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::session::{Input, LossCause, Timestamp};

use super::Driver;

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
        let core = if self.passthrough { None } else { self.core.next_timeout() };
        [
            core,
            self.first_message_by,
            self.stall_due(self.client.as_ref()),
            self.stall_due(self.upstream.as_ref()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn stall_due(&self, side: Option<&super::Side>) -> Option<Timestamp> {
        let patience = self.shared.settings.limits.stall_timeout;
        if patience.is_zero() {
            return None;
        }
        Some(side?.blocked_since()? + patience)
    }

    fn on_due(&mut self, now: Timestamp) {
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        if is_due(self.first_message_by) {
            self.first_message_by = None;
            tracing::warn!(session = %self.id(), "no first message in time");
            self.reject_client(1008, now);
            return;
        }
        if is_due(self.stall_due(self.client.as_ref())) {
            tracing::warn!(session = %self.id(), "the client takes no bytes; dropped");
            self.client_gone(None, now);
            return;
        }
        if is_due(self.stall_due(self.upstream.as_ref())) {
            self.upstream_gone(LossCause::Stalled, now);
            return;
        }
        if self.passthrough {
            return;
        }
        // Whom we do not read from because the other side lags must not seem silent.
        if self.upstream_is_paused() {
            self.tell(Input::UpstreamActivity(self.epoch), now);
        }
        if self.client_is_paused() {
            self.tell(Input::ClientActivity, now);
        }
        self.tell(Input::Timeout, now);
    }
}
