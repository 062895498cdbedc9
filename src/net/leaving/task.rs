//! The end of a proxy, stage by stage.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{activation, net::closing::CLOSE_TIME_MAX, session::SessionId, telemetry::events};

use super::{
    super::{
        live::{Mailbox, Note},
        shared::{Shared, empty},
    },
    Course, LeaveStage, LeaveStatus, Plan,
};

/// Sessions that would end within this time of each other are told together.
const TICK: Duration = Duration::from_millis(10);

/// How long connections that were there when the listeners closed may take to become sessions that stay.
const ON_THE_WAY_MAX: Duration = Duration::from_secs(1);

/// How often it is told how far it is: while sessions stay, and else.
const TOLD_EVERY_STAYING: Duration = Duration::from_secs(60);
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Sees to the end, until it is over or called off.
pub(super) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = go_through(&shared) => {}
        () = tell_progress(&shared) => {}
    }
}

async fn go_through(shared: &Arc<Shared>) {
    let leaving = &shared.leaving;
    let mut changes = leaving.course.subscribe();
    let _ = wait(&mut changes, |_, plan| plan.grace_until).await;
    if !leaving.advance(LeaveStage::Staying) {
        return events::drain_self_called_off();
    }
    leaving.closed.cancel();
    activation::let_go();
    tell(shared);
    tokio::select! {
        () = gone(shared) => {}
        _ = wait(&mut changes, |_, plan| plan.stay_until) => {}
        () = refuse_late_ones(shared) => {}
    }
    leaving.refusing.cancel();
    // From here on it cannot be called off.
    let _ = leaving.advance(LeaveStage::Closing);
    tell(shared);
    close_all(shared, &mut changes).await;
    // Media sockets that belong to no session, drains of nodes, and whoever became a session meanwhile.
    shared.stopping.cancel();
    shared.live.post_to_all(|| Note::Shutdown);
    let is_clean = tokio::select! {
        biased;
        () = gone(shared) => true,
        _ = wait(&mut changes, |course, plan| closing_began(course) + plan.over) => false,
    };
    shared.sum_up(shared.outages.all());
    let LeaveStatus { lasted_ms, sessions_closed, places_taken, .. } = leaving.status(shared);
    events::drain_self_ended(is_clean, places_taken, sessions_closed, lasted_ms);
    leaving.end(is_clean);
}

/// Whoever was accepted by the old process on a shared port has nobody else to go to: it is seen through, if it is
/// quick. Then waits for ever.
async fn refuse_late_ones(shared: &Shared) {
    sleep(ON_THE_WAY_MAX).await;
    shared.leaving.refusing.cancel();
    std::future::pending().await
}

fn closing_began(course: &Course) -> Instant {
    course.closing_began.unwrap_or_else(Instant::now)
}

/// Waits for a moment of the plan, which may be another one meanwhile; false: it was called off.
async fn wait(changes: &mut watch::Receiver<Course>, moment: impl Fn(&Course, &Plan) -> Instant) -> bool {
    loop {
        let at = {
            let course = changes.borrow_and_update();
            let Some(plan) = &course.plan else { return false };
            moment(&course, plan)
        };
        tokio::select! {
            () = sleep_until(at) => return true,
            // Its other end is as old as the proxy.
            _ = changes.changed() => {}
        }
    }
}

/// Completes when nobody is left.
async fn gone(shared: &Shared) {
    empty(&shared.handshakes).await;
    shared.live.empty().await;
    empty(&shared.closings).await;
}

/// Closes one session after the other, so that the last is told early enough to hear it in good order.
async fn close_all(shared: &Shared, changes: &mut watch::Receiver<Course>) {
    let mut waiting = in_their_order(shared);
    while !waiting.is_empty() {
        let gap = {
            let course = changes.borrow_and_update();
            let over = course.plan.map_or(Duration::ZERO, |plan| plan.over);
            let last = closing_began(&course) + over.saturating_sub(time_to_hear(over));
            let left = last.saturating_duration_since(Instant::now());
            left / u32::try_from(waiting.len()).unwrap_or(u32::MAX)
        };
        let at_once = TICK.as_nanos() / gap.as_nanos().max(1);
        let told = tell_next(shared, &mut waiting, usize::try_from(at_once.max(1)).unwrap_or(usize::MAX));
        shared.leaving.add_closed(told);
        if waiting.is_empty() {
            return;
        }
        tokio::select! {
            () = sleep(gap.max(TICK)) => {}
            // Who ordered it may have less time now.
            _ = changes.changed() => {}
        }
    }
}

/// Of the whole time, what the last one told has to hear of it and to answer.
fn time_to_hear(over: Duration) -> Duration {
    CLOSE_TIME_MAX.min(over.mul_f64(0.4))
}

/// Who has no server now gains most by going elsewhere; then whoever came first.
fn in_their_order(shared: &Shared) -> VecDeque<(SessionId, Arc<Mailbox>)> {
    let mut all = shared.live.after(SessionId(0), |_| true);
    all.sort_by_key(|(_, mailbox)| !mailbox.is_in_outage());
    all.into()
}

/// So many of them that still live are told to end; who has ended meanwhile takes nobody's turn.
fn tell_next(shared: &Shared, waiting: &mut VecDeque<(SessionId, Arc<Mailbox>)>, most: usize) -> usize {
    let mut told = 0;
    while told < most
        && let Some((id, mailbox)) = waiting.pop_front()
    {
        if shared.live.mailbox(id).is_some() {
            mailbox.post(Note::Shutdown);
            told += 1;
        }
    }
    told
}

/// Tells in the log how far it is, at a pace that does not depend on the number of sessions.
async fn tell_progress(shared: &Shared) {
    loop {
        let is_staying = shared.leaving.course.borrow().stage() == LeaveStage::Staying;
        sleep(if is_staying { TOLD_EVERY_STAYING } else { TOLD_EVERY }).await;
        tell(shared);
    }
}

fn tell(shared: &Shared) {
    let LeaveStatus { stage, sessions, sessions_closed, stage_ends_in_ms, .. } =
        shared.leaving.status(shared);
    events::drain_self_progress(stage.as_str(), sessions, sessions_closed, stage_ends_in_ms);
}
