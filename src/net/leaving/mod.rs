//! The end of the process, in good order: balancers hear at once that no new clients are wanted, new ones are
//! still taken for a while, sessions that are there go on or end one after the other, and then it is over.
//!
//! What is here keeps how far that is, and what was ordered; when what is done stands in `task`. It ends no
//! process: whoever runs the proxy waits until it is empty.

mod task;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{LimitSettings, ShutdownMode},
    milliseconds::ms,
    telemetry::events,
};

use super::shared::Shared;

/// How the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveOrder {
    /// For so long new sessions are still taken, while balancers notice that they are not wanted.
    pub grace: Duration,
    /// Then for so long those that are there stay, unless they end by themselves.
    pub stay: Duration,
    /// The rest is closed within this time, one after the other.
    pub over: Duration,
}

impl LeaveOrder {
    /// What the settings say.
    #[must_use]
    pub const fn of(limits: &LimitSettings) -> Self {
        let stay = match limits.shutdown_mode {
            ShutdownMode::Paced => Duration::ZERO,
            ShutdownMode::Stay => limits.stay_max,
        };
        Self { grace: limits.ready_grace, stay, over: limits.shutdown_max }
    }
}

/// Who orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveCause<'a> {
    /// The system, by a signal: whoever sends it waits for the end, so that it only ever comes sooner, and is not
    /// called off.
    Signal(&'a str),
    /// An operator, let in by this.
    Operator(&'a str),
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveStage {
    /// It serves: nobody has ordered an end.
    #[default]
    Serving,
    /// Balancers are told; new sessions are still taken.
    Grace,
    /// No new sessions are taken; those that are there go on.
    Staying,
    /// Sessions are closed, one after the other.
    Closing,
    /// All of it is over.
    Ended,
}

impl LeaveStage {
    /// Its name in the log and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Grace => "grace",
            Self::Staying => "staying",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }
}

/// The end at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaveStatus {
    /// How far it is.
    pub stage: LeaveStage,
    /// Who ordered it: a signal by its name, `token` or `socket`.
    pub by: String,
    /// Since it was ordered, in milliseconds.
    pub lasted_ms: u64,
    /// When this stage is over at the latest, in milliseconds from now.
    pub stage_ends_in_ms: u64,
    /// Sessions when it was ordered.
    pub sessions_at_first: usize,
    /// Sessions that are there.
    pub sessions: usize,
    /// Sessions that were closed with 1012. The others that are gone ended by themselves.
    pub sessions_closed: usize,
    /// Places that are taken: sessions, media sockets, handshakes that wait. None: it is empty.
    pub places_taken: usize,
}

/// Why an end cannot be called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StayRefused {
    /// Nobody ordered one.
    #[error("nothing is to be called off: it serves")]
    Serves,
    /// A service manager waits for it.
    #[error("a signal ordered the end, and whoever sent it waits for it")]
    Signal,
    /// Its listeners are closed.
    #[error("it takes no new sessions any more, which cannot be taken back: start another process")]
    TooLate,
}

/// What was ordered, in moments.
#[derive(Clone, Copy, Debug)]
struct Plan {
    grace_until: Instant,
    stay_until: Instant,
    over: Duration,
}

impl Plan {
    fn of(order: LeaveOrder, now: Instant) -> Self {
        let grace_until = now + order.grace;
        Self { grace_until, stay_until: grace_until + order.stay, over: order.over }
    }

    /// Whatever of both comes first.
    fn sooner(self, other: Self) -> Self {
        Self {
            grace_until: self.grace_until.min(other.grace_until),
            stay_until: self.stay_until.min(other.stay_until),
            over: self.over.min(other.over),
        }
    }
}

/// Orders and progress.
#[derive(Clone, Debug, Default)]
struct Course {
    /// None: it serves.
    plan: Option<Plan>,
    stage: LeaveStage,
    /// A task sees to it.
    is_attended: bool,
    by: String,
    by_signal: bool,
    began: Option<Instant>,
    closing_began: Option<Instant>,
    sessions_at_first: usize,
    sessions_closed: usize,
    is_clean: bool,
}

impl Course {
    const fn stage(&self) -> LeaveStage {
        // Called off: the task is still to notice.
        if self.plan.is_none() { LeaveStage::Serving } else { self.stage }
    }

    fn stage_ends(&self) -> Option<Instant> {
        let plan = self.plan?;
        match self.stage {
            LeaveStage::Serving | LeaveStage::Grace => Some(plan.grace_until),
            LeaveStage::Staying => Some(plan.stay_until),
            LeaveStage::Closing => self.closing_began.map(|began| began + plan.over),
            LeaveStage::Ended => None,
        }
    }
}

/// The end of a proxy; one that serves has none.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    course: watch::Sender<Course>,
    /// Cancelled once no new connections are taken.
    pub(crate) closed: CancellationToken,
    /// Cancelled a moment later, when whoever was on the way has become a session.
    pub(crate) refusing: CancellationToken,
}

impl Leaving {
    /// Whether balancers are to send clients elsewhere.
    pub(crate) fn is_ordered(&self) -> bool {
        self.course.borrow().plan.is_some()
    }

    /// Whether sessions are being closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.course.borrow().stage() >= LeaveStage::Closing
    }

    /// Begins the end, or goes on with it by another order.
    pub(crate) fn order(
        &self,
        shared: &Arc<Shared>,
        order: LeaveOrder,
        cause: LeaveCause<'_>,
    ) -> LeaveStatus {
        let (now, sessions) = (Instant::now(), shared.live.sessions());
        let (by, is_signal) = match cause {
            LeaveCause::Signal(by) => (by, true),
            LeaveCause::Operator(by) => (by, false),
        };
        let mut is_unattended = false;
        self.course.send_modify(|course| {
            // Nobody comes any more whom there would be to wait for.
            let grace = if course.stage() > LeaveStage::Grace { Duration::ZERO } else { order.grace };
            let plan = Plan::of(LeaveOrder { grace, ..order }, now);
            is_unattended = !std::mem::replace(&mut course.is_attended, true);
            let before = course.plan;
            course.plan = Some(match before {
                Some(before) if is_signal || course.by_signal => before.sooner(plan),
                _ => plan,
            });
            course.by_signal |= is_signal;
            if before.is_none() {
                course.stage = LeaveStage::Grace;
                course.by = by.to_owned();
                (course.began, course.sessions_at_first) = (Some(now), sessions);
            }
        });
        events::drain_self_began(by, sessions, [order.grace, order.stay, order.over].map(ms));
        if is_unattended {
            tokio::spawn(task::run(Arc::clone(shared)));
        }
        self.status(shared)
    }

    /// Serves on.
    ///
    /// # Errors
    /// There is nothing to call off, or it is too late.
    pub(crate) fn call_off(&self) -> Result<(), StayRefused> {
        let mut result = Ok(());
        self.course.send_modify(|course| {
            result = match (course.stage(), course.by_signal) {
                (LeaveStage::Serving, _) => Err(StayRefused::Serves),
                (LeaveStage::Grace, false) => Ok(()),
                (LeaveStage::Grace, true) => Err(StayRefused::Signal),
                _ => Err(StayRefused::TooLate),
            };
            if result.is_ok() {
                course.plan = None;
            }
        });
        result
    }

    pub(crate) fn status(&self, shared: &Shared) -> LeaveStatus {
        let course = self.course.borrow().clone();
        let now = Instant::now();
        let stage = course.stage();
        let left = || Some(course.stage_ends()?.saturating_duration_since(now));
        let is_ordered = stage != LeaveStage::Serving;
        LeaveStatus {
            stage,
            by: if is_ordered { course.by.clone() } else { String::new() },
            lasted_ms: course.began.filter(|_| is_ordered).map_or(0, |began| ms(now - began)),
            stage_ends_in_ms: left().map_or(0, ms),
            sessions_at_first: if is_ordered { course.sessions_at_first } else { 0 },
            sessions: shared.live.sessions(),
            sessions_closed: course.sessions_closed,
            places_taken: shared.live.taken(),
        }
    }

    /// Completes when all of it is over; true if nobody was left.
    pub(crate) async fn ended(&self) -> bool {
        let mut changes = self.course.subscribe();
        let ended = changes.wait_for(|course| course.stage == LeaveStage::Ended).await;
        ended.is_ok_and(|course| course.is_clean)
    }

    /// The next stage, unless it was called off.
    fn advance(&self, stage: LeaveStage) -> bool {
        let mut goes_on = false;
        self.course.send_modify(|course| {
            goes_on = course.plan.is_some();
            if goes_on {
                course.stage = stage;
            } else {
                (course.stage, course.is_attended) = (LeaveStage::Serving, false);
            }
            if course.stage == LeaveStage::Closing {
                course.closing_began = Some(Instant::now());
            }
        });
        goes_on
    }

    fn add_closed(&self, sessions: usize) {
        self.course.send_if_modified(|course| {
            course.sessions_closed = course.sessions_closed.saturating_add(sessions);
            // Nobody waits for this number.
            false
        });
    }

    fn end(&self, is_clean: bool) {
        self.course.send_modify(|course| (course.stage, course.is_clean) = (LeaveStage::Ended, is_clean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_only_ever_hastens() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let long = Plan::of(LeaveOrder { grace: seconds(1), stay: seconds(3_600), over: seconds(60) }, now);
        let short = Plan::of(LeaveOrder { grace: seconds(5), stay: seconds(0), over: seconds(90) }, now);
        let both = long.sooner(short);
        assert_eq!(both.grace_until, now + seconds(1));
        assert_eq!(both.stay_until, now + seconds(5));
        assert_eq!(both.over, seconds(60));
    }

    #[test]
    fn the_settings_say_whether_sessions_stay() {
        let mut limits = LimitSettings { ready_grace: Duration::from_secs(3), ..LimitSettings::default() };
        let paced = LeaveOrder::of(&limits);
        assert_eq!((paced.grace, paced.stay), (Duration::from_secs(3), Duration::ZERO));
        limits.shutdown_mode = ShutdownMode::Stay;
        assert_eq!(LeaveOrder::of(&limits).stay, limits.stay_max);
    }
}
