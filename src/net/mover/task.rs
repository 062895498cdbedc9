//! One drain: asks sessions what they have, tells them to move, hears what came of it.

use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    drain::{Act, Answer, Input, Plan, Stage},
    milliseconds::ms,
    session::{Belongings, MoveOutcome, NodeId, SessionId, Timestamp},
    telemetry::events,
    upstream::{self, ClientRequest},
};

use super::{DrainStatus, Ordered, Purpose};
use crate::net::{
    live::{self, MoveOrder, MoveReport, Note},
    shared::Shared,
};

/// Reports that wait to be taken; as many moves are under way at once at most.
const REPORTS_MAX: usize = 4_096;
/// How long sessions may take to say what they have: whoever is stuck is left for the next survey.
const SURVEY_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether those who were told are still there, and progress told where nothing else
/// happens.
const LOOK_EVERY: Duration = Duration::from_millis(250);

struct Task {
    shared: Arc<Shared>,
    node: NodeId,
    plan: Plan,
    began: Timestamp,
    told: watch::Sender<DrainStatus>,
    reports: mpsc::Sender<MoveReport>,
    surveyed: mpsc::Sender<Vec<Belongings>>,
    /// Who was told to move and has not answered.
    under_way: BTreeSet<SessionId>,
}

/// Runs a drain to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    node: NodeId,
    mut ordered: watch::Receiver<Ordered>,
    (told, cancel): (watch::Sender<DrainStatus>, CancellationToken),
) {
    let now = shared.clock.now();
    let (_, wish) = *ordered.borrow_and_update();
    let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
    let (surveyed, mut surveys) = mpsc::channel(1);
    let under_way = BTreeSet::new();
    let mut task =
        Task { plan: Plan::new(wish, now), began: now, shared, node, told, reports, surveyed, under_way };
    events::drain_began(&task.told.borrow().node, wish.rate);
    task.feed(Input::Timeout);
    let mut looks = interval(LOOK_EVERY);
    let mut is_called_off = false;
    while !task.plan.is_over() {
        let due = task.plan.next_timeout().map(|at| task.shared.clock.instant(at));
        tokio::select! {
            () = cancel.cancelled(), if !is_called_off => {
                is_called_off = true;
                task.feed(Input::Cancel);
            }
            Ok(()) = ordered.changed() => {
                let order = *ordered.borrow_and_update();
                task.amend(order);
            }
            Some(report) = reported.recv() => task.heard(report),
            Some(all) = surveys.recv() => task.feed(Input::Surveyed(all)),
            () = until(due) => task.feed(Input::Timeout),
            _ = looks.tick() => task.look(),
        }
    }
    task.finish();
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

impl Task {
    fn feed(&mut self, input: Input) {
        let now = self.shared.clock.now();
        let (shared, node) = (&self.shared, self.node);
        let asks = ClientRequest::probe("/").in_pool(shared.pool.pool_of(node));
        let mut choose = || shared.pool.place(&asks, &[node]);
        for act in self.plan.handle(input, now, &mut choose) {
            self.act(act);
        }
        self.tell();
    }

    fn amend(&mut self, (purpose, wish): Ordered) {
        self.told.send_modify(|status| (status.purpose, status.rate_max) = (purpose, wish.rate));
        self.feed(Input::Amended(wish));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Survey => self.survey(),
            Act::Move { session, to } => {
                self.under_way.insert(session);
                let order = MoveOrder { to, report: self.reports.clone() };
                self.post(session, Note::Move(order));
            }
            Act::Hold(session) => self.post(session, Note::Hold),
            Act::LetGo(session) => self.post(session, Note::LetGo),
            Act::Force { session, to } => self.post(session, Note::ForceMove { to }),
        }
    }

    /// Whoever is gone is found out by the next look.
    fn post(&self, session: SessionId, note: Note) {
        if let Some(mailbox) = self.shared.live.mailbox(session) {
            mailbox.post(note);
        }
    }

    fn heard(&mut self, MoveReport { session, outcome }: MoveReport) {
        self.under_way.remove(&session);
        let answer = match outcome {
            // It went there by itself meanwhile.
            MoveOutcome::Done | MoveOutcome::Refused(MoveOutcome::THERE_ALREADY) => Answer::Done,
            MoveOutcome::Refused(why) => Answer::Refused(why.to_owned()),
            MoveOutcome::Returned(why) => Answer::Returned(why),
        };
        self.feed(Input::Told(session, answer));
    }

    fn look(&mut self) {
        let gone: Vec<SessionId> = self
            .under_way
            .iter()
            .filter(|session| self.shared.live.mailbox(**session).is_none())
            .copied()
            .collect();
        for session in gone {
            self.under_way.remove(&session);
            self.feed(Input::Ended(session));
        }
        self.tell();
    }

    /// Asks all sessions of the node what they have.
    fn survey(&self) {
        let asked = self.shared.live.all_on_node(self.node);
        let (surveyed, node) = (self.surveyed.clone(), self.node);
        tokio::spawn(async move {
            let mut all = live::ask(asked.iter(), Note::Survey, SURVEY_MAX).await;
            // Some have left meanwhile.
            all.retain(|one| one.node == node);
            all.sort_by_key(|one| one.session);
            let _ = surveyed.send(all).await;
        });
    }

    fn tell(&self) {
        let now = self.shared.clock.now();
        let progress = self.plan.progress(now);
        let lasted_ms = ms(now.since(self.began));
        self.told.send_if_modified(|status| {
            let is_new = status.progress != progress;
            (status.progress, status.lasted_ms) = (progress, lasted_ms);
            is_new
        });
    }

    fn finish(self) {
        self.tell();
        let status = self.told.borrow().clone();
        let is_done = status.progress.stage == Stage::Done;
        if is_done && status.purpose == Purpose::Maintenance {
            // It was the operator's wish from the start; that it is the last one was asked then.
            let _ = self.shared.pool.wish(self.node, upstream::Wish::Maintenance, true);
        }
        events::drain_ended(&status.node, &status.progress, is_done, status.lasted_ms);
    }
}
