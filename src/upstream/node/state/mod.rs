//! The state of one node: what health says of it and what is wished of it, and the one state that follows
//! from both. It is the only owner of that state; see `LIFECYCLE.md` beside it for the tables.
//!
//! A state machine without IO: what happened and the time come in, and what follows can be asked. Nothing
//! here dials, logs or reads a clock. Parts: the opinion of each source of news (`standing`), ejection, whether it
//! goes away by itself (`leaving`), and media, which is no part of the state but stands beside it.

mod ejection;
mod leaving;
mod media;
#[cfg(test)]
mod simulation;
mod standing;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    session::{SessionId, Timestamp},
    upstream::check::AgentReport,
};

use ejection::Ejection;
use leaving::Leaving;
use media::Media;
use standing::Standing;
pub use words::{MediaState, NodeState, Wish};
pub(crate) use words::{Reason, ReasonKind, Verdict};

/// Doubts that proved wrong are believed so often within the window, then not for the pause.
const WRONG_DOUBTS_MAX: u32 = 3;
const WRONG_DOUBTS_PAUSE: Duration = Duration::from_secs(10);
/// The least part of its weight that a node has.
const PART_MIN: f64 = 0.1;

/// What the states of a node go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Answers in a row that bring it from down to up.
    pub(crate) rise: u32,
    /// For each check but those by WebSocket: good and bad news in a row that are believed.
    pub(crate) checks: Vec<(u32, u32)>,
    /// Refusals in a row for which it is ejected; 0 = never.
    pub(crate) eject_after: u32,
    /// For how long, at first and at most.
    pub(crate) eject: Duration,
    pub(crate) eject_max: Duration,
    /// How long it takes to its full weight after it was down.
    pub(crate) slow_start: Duration,
    /// So many silent legs mean that it passes no media.
    pub(crate) media_legs_min: usize,
    /// When it is tried again.
    pub(crate) media_retry: Duration,
}

/// What happened to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// It answered a dial or a probe, whatever it said.
    Answered,
    /// It let a client in.
    Accepted,
    /// It refused a client, and that is not the client's fault.
    Refused,
    /// A dial or a probe did not reach it, for this reason.
    Unreachable(&'a str),
    /// Another node that was dialled later answered first.
    Overtaken,
    /// A session asked it for a sign of life and heard nothing.
    Silent,
    /// A check by WebSocket was not answered: a probe looks into it.
    Missed(&'a str),
    /// Another check, by its number, went like this.
    Check(usize, Result<(), &'a str>),
    /// Its agent, which is the check of this number, said this.
    Agent(usize, &'a AgentReport),
    /// An operator wants this.
    Wish(Wish),
    /// It has closed this session with a code that says that it goes away, and has so many others.
    ClosedGoingAway(SessionId, usize),
    /// What it did is reason to eject it, and the pool can bear it.
    Eject,
    /// So many legs that should hear of it hear nothing now, and nobody hears anything.
    MediaSilent(usize),
    /// A leg hears of it.
    MediaFlows,
    /// It is in the configuration, or no longer.
    Listed(bool),
    /// Time goes on.
    Tick,
}

/// The states between which it went, and why.
pub(crate) type Step = (NodeState, NodeState, ReasonKind);

/// The state of one node.
#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    dials: Standing,
    checks: Vec<Standing>,
    ejection: Ejection,
    media: Media,
    operator: Wish,
    agent: AgentWish,
    /// It is no longer in the configuration.
    is_removed: bool,
    leaving: Leaving,
    wrong_doubts: (u32, Timestamp),
    dated: Dated,
    /// When it came up after it was not there.
    risen: Option<Timestamp>,
    shown: NodeState,
    reason: Reason,
    since: Timestamp,
    steps: BTreeMap<Step, u64>,
}

/// How new the news of dials is that the opinion goes by. Dials overtake one another: what was asked before that
/// must not turn it.
#[derive(Clone, Copy, Debug)]
struct Dated {
    /// When the dial began that was answered last.
    answered: Timestamp,
    /// When it was last seen that a dial failed.
    failed: Timestamp,
}

/// What the agent of a node wants.
#[derive(Clone, Copy, Debug)]
struct AgentWish {
    wish: Wish,
    /// An operator said otherwise; until it says something else.
    is_overruled: bool,
    /// Of its weight.
    percent: u16,
}

impl AgentWish {
    /// No part of its weight is the same as no new sessions.
    const fn asks(self) -> Wish {
        if matches!(self.wish, Wish::InUse) && self.percent == 0 { Wish::Drain } else { self.wish }
    }
}

impl Machine {
    /// A node of which nothing is known.
    pub(crate) fn new(rules: Rules, now: Timestamp) -> Self {
        let dials = Standing::new(rules.rise, 1);
        Self {
            checks: rules.checks.iter().map(|(rise, fall)| Standing::new(*rise, *fall)).collect(),
            rules,
            ejection: Ejection::default(),
            media: Media::default(),
            operator: Wish::InUse,
            agent: AgentWish { wish: Wish::InUse, is_overruled: false, percent: 100 },
            is_removed: false,
            leaving: Leaving::default(),
            wrong_doubts: (0, now),
            dated: Dated { answered: Timestamp::ZERO, failed: Timestamp::ZERO },
            risen: None,
            shown: NodeState::Up,
            reason: dials.because.clone(),
            dials,
            since: now,
            steps: BTreeMap::new(),
        }
    }

    /// Takes in what happened just now.
    #[cfg(test)]
    fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        self.handle_dated(input, now, now);
    }

    /// Takes in what happened; what came of a dial was asked when that began.
    pub(crate) fn handle_dated(&mut self, input: Input<'_>, asked: Timestamp, now: Timestamp) {
        let (before, wished) = (self.dials.verdict, self.wish());
        match input {
            Input::Answered => self.answered(asked, now),
            Input::Accepted => {
                self.answered(asked, now);
                self.ejection.accepted();
            }
            Input::Refused => {
                self.answered(asked, now);
                self.ejection.refused(&self.rules);
            }
            Input::Unreachable(why) => self.unreachable(why, asked, now),
            Input::Overtaken => self.doubt(ReasonKind::Overtaken, "another node answered first", now),
            Input::Silent => self.doubt(ReasonKind::Silent, "a session asked and heard nothing", now),
            Input::Missed(why) => self.dials.doubt(ReasonKind::Check, why),
            Input::Check(nth, went) => self.check(nth, went),
            Input::Agent(nth, report) => self.agent_says(nth, report),
            Input::Wish(wish) => {
                self.operator = wish;
                if wish == Wish::InUse {
                    self.agent.is_overruled = true;
                    self.leaving.forget();
                }
            }
            Input::ClosedGoingAway(session, others) => self.leaving.closed(session, others, now),
            Input::Eject => self.ejection.eject(now, &self.rules),
            Input::MediaSilent(legs) => self.media.silent(legs, now, &self.rules),
            Input::MediaFlows => self.media.flows(),
            Input::Listed(is_listed) => self.is_removed = !is_listed,
            Input::Tick => {}
        }
        self.media.tick(now);
        if self.leaving.look(self.dials.verdict, now) {
            self.risen = Some(now);
        }
        if before != Verdict::Gone && self.dials.verdict == Verdict::Gone {
            self.ejection.fell(now, &self.rules);
        }
        if wished == Wish::Maintenance && self.wish() != Wish::Maintenance {
            // Nobody has looked at it meanwhile.
            self.dials.doubt(ReasonKind::Operator, "it was in maintenance until now");
        }
        self.settle(now);
    }

    fn answered(&mut self, asked: Timestamp, now: Timestamp) {
        if self.dials.verdict != Verdict::Well && asked < self.dated.failed {
            // It died while this answer was on its way.
            return;
        }
        self.dated.answered = self.dated.answered.max(asked);
        let is_soft = matches!(self.dials.because.kind, ReasonKind::Overtaken | ReasonKind::Silent);
        if self.dials.verdict == Verdict::Doubtful && is_soft {
            self.wrong_doubts = (self.wrong_doubts.0.saturating_add(1), now);
        }
        self.dials.good(ReasonKind::Answered, "it answered");
    }

    fn unreachable(&mut self, why: &str, asked: Timestamp, now: Timestamp) {
        if self.dials.verdict == Verdict::Well && asked < self.dated.answered {
            // It came back while this dial still waited.
            return;
        }
        self.dated.failed = now;
        self.dials.bad(ReasonKind::Unreachable, why);
    }

    /// Doubt without proof; not again and again where it proves wrong.
    fn doubt(&mut self, kind: ReasonKind, text: &str, now: Timestamp) {
        let (wrong, at) = self.wrong_doubts;
        if now.since(at) >= WRONG_DOUBTS_PAUSE {
            self.wrong_doubts.0 = 0;
        } else if wrong >= WRONG_DOUBTS_MAX {
            return;
        }
        self.dials.doubt(kind, text);
    }

    fn check(&mut self, nth: usize, went: Result<(), &str>) {
        let Some(standing) = self.checks.get_mut(nth) else { return };
        match went {
            Ok(()) => standing.good(ReasonKind::Answered, "its check is answered"),
            Err(why) => standing.bad(ReasonKind::Check, why),
        }
    }

    fn agent_says(&mut self, nth: usize, report: &AgentReport) {
        if let Some(health) = &report.health {
            self.check(nth, health.as_ref().copied().map_err(|why| &**why));
        }
        let before = self.agent.asks();
        if let Some(percent) = report.percent {
            self.agent.percent = percent;
        }
        if let Some(wish) = report.wish {
            self.agent.wish = wish;
        }
        if before != self.agent.asks() {
            self.agent.is_overruled = false;
        }
    }

    /// Brings what is shown in line with health and wish.
    fn settle(&mut self, now: Timestamp) {
        let (verdict, because) = self.health(now);
        let whose = self.whose_wish();
        let by = if whose == ReasonKind::Agent { "by its agent" } else { "by an operator" };
        let (to, reason) = match (self.wish(), verdict) {
            (Wish::Maintenance, _) => {
                (NodeState::Maintenance, Reason::new(whose, &format!("taken out {by}")))
            }
            (Wish::Drain, _) if whose == ReasonKind::Leaving => {
                let text = "it closes its sessions as a server that goes away";
                (NodeState::Draining, Reason::new(whose, text))
            }
            (Wish::Drain, _) if whose == ReasonKind::Removed => {
                (NodeState::Draining, Reason::new(whose, "it is no longer in the configuration"))
            }
            (Wish::Drain, _) => (NodeState::Draining, Reason::new(whose, &format!("drained {by}"))),
            (Wish::InUse, Verdict::Well) => (NodeState::Up, because),
            (Wish::InUse, Verdict::Doubtful) => (NodeState::Suspect, because),
            (Wish::InUse, Verdict::Gone) => (NodeState::Down, because),
        };
        if to == self.shown {
            // The same state for a reason that weighs more, or for the first time for one.
            let is_first = self.reason.kind == ReasonKind::New;
            if reason.kind != self.reason.kind && (to != NodeState::Up || is_first) {
                self.reason = reason;
            }
            return;
        }
        if matches!(to, NodeState::Down | NodeState::Maintenance) {
            self.risen = None;
        } else if matches!(self.shown, NodeState::Down | NodeState::Maintenance) {
            self.risen = Some(now);
        }
        let count = self.steps.entry((self.shown, to, reason.kind)).or_default();
        *count = count.saturating_add(1);
        (self.shown, self.reason, self.since) = (to, reason, now);
    }

    /// What all sources of news say: the worst counts.
    fn health(&self, now: Timestamp) -> (Verdict, Reason) {
        let out = self.ejection.why(now).map(|why| {
            let text = if why == ReasonKind::Flapping { "it came and went" } else { "it refuses clients" };
            (Verdict::Doubtful, Reason::new(why, text))
        });
        let standings = std::iter::once(&self.dials).chain(&self.checks);
        let standings = standings.map(|standing| (standing.verdict, standing.because.clone()));
        let worse = |worst: (Verdict, Reason), next: (Verdict, Reason)| {
            if next.0 > worst.0 { next } else { worst }
        };
        standings.chain(out).reduce(worse).unwrap_or((Verdict::Well, self.dials.because.clone()))
    }

    /// What it is now.
    pub(crate) const fn state(&self) -> NodeState {
        self.shown
    }

    /// Why.
    pub(crate) const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// For how long.
    pub(crate) const fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// What dials and probes say, whatever is wished and whatever checks say.
    pub(crate) const fn reach(&self) -> Verdict {
        self.dials.verdict
    }

    /// Whether it was put out of the first row for what it did.
    pub(crate) fn is_ejected(&self, now: Timestamp) -> bool {
        self.ejection.why(now).is_some()
    }

    /// Whether it should be.
    pub(crate) const fn wants_ejection(&self) -> bool {
        self.ejection.is_wanted()
    }

    /// Whether it goes away by itself.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving.is_on()
    }

    /// Whether it is no longer in the configuration.
    pub(crate) const fn is_removed(&self) -> bool {
        self.is_removed
    }

    /// Goes by other rules from now on. What checks said counts no more where others are made.
    pub(crate) fn set_rules(&mut self, rules: Rules, are_other_checks: bool, now: Timestamp) {
        if are_other_checks || rules.checks != self.rules.checks {
            self.checks = rules.checks.iter().map(|(rise, fall)| Standing::new(*rise, *fall)).collect();
        }
        self.dials.want(rules.rise);
        self.rules = rules;
        self.settle(now);
    }

    /// Whether media passes.
    pub(crate) const fn media(&self) -> MediaState {
        self.media.state
    }

    /// What is wished, whatever health says: an operator's word goes before that of the agent, and both before what
    /// the node seems to do by itself.
    pub(crate) const fn wish(&self) -> Wish {
        match self.whose_wish() {
            ReasonKind::Operator => self.operator,
            ReasonKind::Agent => self.agent.asks(),
            ReasonKind::Removed => Wish::Drain,
            _ if self.leaving.is_on() => Wish::Drain,
            _ => Wish::InUse,
        }
    }

    /// Whose it is; where it is in use, nobody has asked for anything else.
    const fn whose_wish(&self) -> ReasonKind {
        match (self.operator, self.agent.asks()) {
            (Wish::InUse | Wish::Drain, _) if self.is_removed => ReasonKind::Removed,
            (Wish::InUse, Wish::Drain | Wish::Maintenance) if !self.agent.is_overruled => ReasonKind::Agent,
            (Wish::InUse, _) => ReasonKind::Leaving,
            _ => ReasonKind::Operator,
        }
    }

    /// What part of its weight it has: what its agent says, less for a while after it was not there.
    pub(crate) fn part(&self, now: Timestamp) -> f64 {
        let agent = f64::from(self.agent.percent.max(1)) / 100.0;
        let slow = self.rules.slow_start.as_secs_f64();
        let ramp = match self.risen {
            Some(risen) if slow > 0.0 => (now.since(risen).as_secs_f64() / slow).clamp(PART_MIN, 1.0),
            _ => 1.0,
        };
        agent * ramp
    }

    /// How often it went from where to where, and why; as many entries as there are such steps at most.
    pub(crate) const fn steps(&self) -> &BTreeMap<Step, u64> {
        &self.steps
    }
}
