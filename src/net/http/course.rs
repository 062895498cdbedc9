//! Where a connection of a client stands: whose turn it is, and when its patience ends. Counts no requests.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::milliseconds::ms;

/// How often a request under way is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long each side may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the end of an answer to the next complete request.
    pub(crate) keep_alive: Duration,
    /// Without a byte in what has begun.
    pub(crate) idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first request is to be complete by then.
    First(Instant),
    /// A request is being answered.
    Busy,
    /// The next one is waited for since then.
    Next(Instant),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Course {
    begin: Instant,
    phase: Mutex<Phase>,
    patience: Patience,
    /// When its client last sent or took something, in milliseconds since the begin.
    read_ms: AtomicU64,
    written_ms: AtomicU64,
    /// The body of its request is waited for, or its client is to take what there is of the answer.
    wants_body: AtomicBool,
    has_more: AtomicBool,
    turned: Notify,
}

impl Course {
    /// One whose first request is to be complete by then.
    pub(crate) fn new(deadline: Instant, patience: Patience) -> Self {
        Self {
            begin: Instant::now(),
            phase: Mutex::new(Phase::First(deadline)),
            patience,
            read_ms: AtomicU64::new(0),
            written_ms: AtomicU64::new(0),
            wants_body: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            turned: Notify::new(),
        }
    }

    /// A request is complete.
    pub(crate) fn begin_request(&self) {
        self.client_read();
        self.client_written();
        self.turn(Phase::Busy);
    }

    /// Its answer is over.
    pub(crate) fn end_request(&self) {
        self.set_wants_body(false);
        self.set_has_more(false);
        self.turn(Phase::Next(Instant::now()));
    }

    fn turn(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.turned.notify_one();
    }

    /// Completes when it is somebody else's turn than it was.
    pub(crate) async fn turned(&self) {
        self.turned.notified().await;
    }

    /// Its client has sent something.
    pub(crate) fn client_read(&self) {
        self.read_ms.store(ms(self.begin.elapsed()), Ordering::Relaxed);
    }

    /// Its client has taken something.
    pub(crate) fn client_written(&self) {
        self.written_ms.store(ms(self.begin.elapsed()), Ordering::Relaxed);
    }

    /// Whether the body of its request is waited for.
    pub(crate) fn set_wants_body(&self, wants: bool) {
        self.wants_body.store(wants, Ordering::Relaxed);
    }

    /// Whether there is something for its client to take.
    pub(crate) fn set_has_more(&self, has: bool) {
        self.has_more.store(has, Ordering::Relaxed);
    }

    /// Whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        *self.phase.lock() == Phase::Busy
    }

    /// Whether it has had an answer.
    pub(crate) fn was_answered(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Next(_))
    }

    fn at(&self, moment: &AtomicU64) -> Instant {
        self.begin + Duration::from_millis(moment.load(Ordering::Relaxed))
    }

    /// When its client last sent or took something.
    pub(crate) fn last_moved(&self) -> Instant {
        self.at(&self.read_ms).max(self.at(&self.written_ms))
    }

    /// When it has to be looked at next, and whether its patience is over.
    pub(crate) fn look(&self, now: Instant) -> (Instant, bool) {
        let phase = *self.phase.lock();
        let until = match phase {
            Phase::First(deadline) => deadline,
            // What was written late is what the client takes late.
            Phase::Next(since) => since.max(self.at(&self.written_ms)) + self.patience.keep_alive,
            Phase::Busy => {
                let idle = self.patience.idle;
                let sends = self.wants_body.load(Ordering::Relaxed).then(|| self.at(&self.read_ms) + idle);
                let takes = self.has_more.load(Ordering::Relaxed).then(|| self.at(&self.written_ms) + idle);
                let until = sends.into_iter().chain(takes).min();
                return match until {
                    Some(until) if until <= now => (now, true),
                    Some(until) => (until.min(now + LOOK_EVERY), false),
                    None => (now + LOOK_EVERY, false),
                };
            }
        };
        (until, until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_turn_has_its_patience() {
        let patience = Patience { keep_alive: Duration::from_secs(3), idle: Duration::from_secs(5) };
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        let course = Course::new(Instant::now() + Duration::from_secs(2), patience);
        let is_over = || course.look(Instant::now()).1;
        pass(1).await;
        assert!(!is_over());
        pass(1).await;
        assert!(is_over(), "no request in time");
        course.begin_request();
        pass(100).await;
        assert!(!is_over(), "the server has patience of its own");
        course.set_wants_body(true);
        assert!(is_over(), "the client said nothing for long");
        course.client_read();
        pass(4).await;
        assert!(!is_over());
        pass(1).await;
        assert!(is_over());
        course.set_wants_body(false);
        course.set_has_more(true);
        assert!(is_over(), "nor took anything");
        course.client_written();
        assert!(!is_over());
        course.end_request();
        pass(2).await;
        course.client_written();
        pass(2).await;
        assert!(!is_over(), "the last of the answer was taken a moment ago");
        pass(1).await;
        assert!(is_over());
    }
}
