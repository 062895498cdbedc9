//! The state of one node: what health says of it and what an operator wishes, and the one state that follows
//! from both. It is the only owner of that state.
//!
//! A state machine without IO: what happened and the time come in, transitions go out. Nothing here dials,
//! logs or reads a clock.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::session::Timestamp;

/// What a node is used for at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Sessions may go there.
    #[default]
    Up,
    /// There is reason to doubt that it answers: used after those that are up, until a probe decides.
    Suspect,
    /// It did not answer: used last, and probed.
    Down,
    /// An operator wants its sessions elsewhere: no new ones while another node is usable.
    Draining,
    /// An operator has taken it out: nothing goes there.
    Maintenance,
}

impl NodeState {
    /// The word for it, in logs, answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// That sessions use it.
    #[default]
    InUse,
    /// That they leave it.
    Drain,
    /// That nothing goes there, probes included.
    Maintenance,
}

impl Wish {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What health says, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It answers, or nothing is known.
    Well,
    /// It may not.
    Doubtful,
    /// It does not.
    Gone,
}

/// Why a node is what it is, as few words as a metric bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ReasonKind {
    /// Nothing has been seen of it yet.
    New,
    /// It answered a dial or a probe.
    Answered,
    /// A dial or a probe did not reach it.
    Unreachable,
    /// Another node answered first.
    Overtaken,
    /// An operator asked for it.
    Operator,
}

impl ReasonKind {
    /// The word for it, in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Overtaken => "overtaken",
            Self::Operator => "operator",
        }
    }
}

/// A reason with what is known beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) kind: ReasonKind,
    /// In a few words, for people.
    pub(crate) text: Box<str>,
}

impl Reason {
    fn new(kind: ReasonKind, text: impl Into<Box<str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// What happened to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// It answered, whatever it said.
    Answered,
    /// A dial or a probe did not reach it, for this reason.
    Unreachable(&'a str),
    /// Another node that was dialled later answered first.
    Overtaken,
    /// An operator wants this.
    Wish(Wish),
}

/// The states between which it went, and why.
pub(crate) type Step = (NodeState, NodeState, ReasonKind);

/// The state of one node.
#[derive(Debug)]
pub(crate) struct Machine {
    verdict: Verdict,
    /// Why health says so.
    because: Reason,
    wish: Wish,
    shown: NodeState,
    reason: Reason,
    since: Timestamp,
    steps: BTreeMap<Step, u64>,
}

impl Machine {
    /// A node of which nothing is known.
    pub(crate) fn new(now: Timestamp) -> Self {
        let because = Reason::new(ReasonKind::New, "nothing was heard of it yet");
        Self {
            verdict: Verdict::Well,
            reason: because.clone(),
            because,
            wish: Wish::InUse,
            shown: NodeState::Up,
            since: now,
            steps: BTreeMap::new(),
        }
    }

    /// Takes in what happened. True if the state is another one now.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Timestamp) -> bool {
        match input {
            Input::Answered => self.judge(Verdict::Well, ReasonKind::Answered, "it answered"),
            Input::Unreachable(why) => self.judge(Verdict::Gone, ReasonKind::Unreachable, why),
            // What is known to be gone is not made better by doubt.
            Input::Overtaken if self.verdict == Verdict::Well => {
                self.judge(Verdict::Doubtful, ReasonKind::Overtaken, "another node answered first");
            }
            Input::Overtaken => {}
            Input::Wish(wish) => {
                if self.wish == Wish::Maintenance
                    && wish != Wish::Maintenance
                    && self.verdict == Verdict::Well
                {
                    // Nobody has looked at it meanwhile.
                    self.judge(Verdict::Doubtful, ReasonKind::Operator, "it was in maintenance until now");
                }
                self.wish = wish;
            }
        }
        self.settle(now)
    }

    fn judge(&mut self, verdict: Verdict, kind: ReasonKind, text: &str) {
        if self.verdict != verdict {
            self.verdict = verdict;
            self.because = Reason::new(kind, text);
        }
    }

    /// Brings what is shown in line with health and wish.
    fn settle(&mut self, now: Timestamp) -> bool {
        let operator = |text: &str| Reason::new(ReasonKind::Operator, text);
        let (to, reason) = match (self.wish, self.verdict) {
            (Wish::Maintenance, _) => (NodeState::Maintenance, operator("taken out by an operator")),
            (Wish::Drain, _) => (NodeState::Draining, operator("drained by an operator")),
            (Wish::InUse, Verdict::Well) => (NodeState::Up, self.because.clone()),
            (Wish::InUse, Verdict::Doubtful) => (NodeState::Suspect, self.because.clone()),
            (Wish::InUse, Verdict::Gone) => (NodeState::Down, self.because.clone()),
        };
        if to == self.shown {
            return false;
        }
        let count = self.steps.entry((self.shown, to, reason.kind)).or_default();
        *count = count.saturating_add(1);
        (self.shown, self.reason, self.since) = (to, reason, now);
        true
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

    /// What health says, whatever is wished.
    pub(crate) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What is wished, whatever health says.
    pub(crate) const fn wish(&self) -> Wish {
        self.wish
    }

    /// How often it went from where to where, and why; as many entries as there are such steps at most.
    pub(crate) const fn steps(&self) -> &BTreeMap<Step, u64> {
        &self.steps
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn machine() -> Machine {
        Machine::new(at(0))
    }

    #[test]
    fn a_dial_that_fails_takes_a_node_down_and_an_answer_brings_it_back() {
        let mut node = machine();
        assert!(node.handle(Input::Unreachable("refused"), at(1)));
        assert!(!node.handle(Input::Unreachable("another"), at(2)), "that is no news");
        assert_eq!((node.state(), &*node.reason().text), (NodeState::Down, "refused"));
        assert_eq!(node.lasted(at(5)), Duration::from_millis(4));
        assert!(node.handle(Input::Answered, at(6)) && !node.handle(Input::Answered, at(7)));
        assert_eq!((node.state(), node.reason().kind), (NodeState::Up, ReasonKind::Answered));
        let down = (NodeState::Up, NodeState::Down, ReasonKind::Unreachable);
        assert_eq!((node.steps()[&down], node.steps().len()), (1, 2));
    }

    #[test]
    fn doubt_makes_a_node_suspect_and_what_is_down_stays_down() {
        let mut node = machine();
        assert!(node.handle(Input::Overtaken, at(1)));
        assert_eq!(node.state(), NodeState::Suspect);
        assert!(node.handle(Input::Unreachable("no answer"), at(2)));
        assert!(!node.handle(Input::Overtaken, at(3)));
        assert_eq!(node.state(), NodeState::Down);
    }

    #[test]
    fn a_wish_goes_before_health_and_health_goes_on_beneath_it() {
        let mut node = machine();
        assert!(node.handle(Input::Wish(Wish::Drain), at(1)));
        assert!(!node.handle(Input::Unreachable("refused"), at(2)));
        assert_eq!((node.state(), node.verdict()), (NodeState::Draining, Verdict::Gone));
        assert!(node.handle(Input::Wish(Wish::InUse), at(3)));
        assert_eq!((node.state(), &*node.reason().text), (NodeState::Down, "refused"));
    }

    #[test]
    fn a_node_that_leaves_maintenance_is_looked_at_first() {
        let mut node = machine();
        assert!(node.handle(Input::Wish(Wish::Maintenance), at(1)));
        assert!(node.handle(Input::Wish(Wish::InUse), at(2)));
        assert_eq!(node.state(), NodeState::Suspect);
        assert!(node.handle(Input::Answered, at(3)));
        assert_eq!(node.state(), NodeState::Up);
    }
}
