//! The words in which the state of a node is told.

use serde::{Deserialize, Serialize};

/// What a node is used for at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Sessions may go there.
    #[default]
    Up,
    /// There is reason to doubt that it serves: used after those that are up.
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

/// What an operator, or the agent of a node, wants of it.
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

/// Whether media passes through a node, whatever its state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// Nothing speaks against it.
    #[default]
    Healthy,
    /// Several legs were silent at once: it gets no new sessions while another node is usable.
    NoMedia,
}

impl MediaState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::NoMedia => "no_media",
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
    /// It answered.
    Answered,
    /// A dial or a probe did not reach it.
    Unreachable,
    /// Another node answered first.
    Overtaken,
    /// A session asked, and heard nothing.
    Silent,
    /// A check failed.
    Check,
    /// It refused clients in a row.
    Refusals,
    /// It went down again and again.
    Flapping,
    /// It closes its sessions as a server does that goes away.
    Leaving,
    /// Its agent asked for it.
    Agent,
    /// An operator asked for it.
    Operator,
    /// It is no longer in the configuration.
    Removed,
}

impl ReasonKind {
    /// The word for it, in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Overtaken => "overtaken",
            Self::Silent => "silent",
            Self::Check => "check",
            Self::Refusals => "refusals",
            Self::Flapping => "flapping",
            Self::Leaving => "leaving",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Removed => "removed",
        }
    }
}

/// Longest text of a reason, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// A reason with what is known beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) kind: ReasonKind,
    /// In a few words, for people.
    pub(crate) text: Box<str>,
}

impl Reason {
    pub(super) fn new(kind: ReasonKind, text: &str) -> Self {
        Self { kind, text: text.chars().take(TEXT_CHARS_MAX).collect() }
    }
}
