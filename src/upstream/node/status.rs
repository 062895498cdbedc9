//! What is told of a node, to people and to machines.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::milliseconds::ms;

use super::{DialCounts, Node, state::Machine};
use crate::{ids::NodeId, session::Timestamp, upstream::check::Figures};

/// A node at one moment. What one of another version does not tell is as good as nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Names it within this process.
    #[serde(skip)]
    pub id: NodeId,
    /// Its name, unique over all pools.
    pub name: String,
    /// The pool it belongs to.
    pub pool: String,
    /// Its URL, without credentials.
    pub url: String,
    /// `up`, `suspect`, `down`, `draining` or `maintenance`.
    pub state: Cow<'static, str>,
    /// Why, in a few words.
    pub reason: String,
    /// The same in one word of a fixed few.
    pub reason_kind: Cow<'static, str>,
    /// How long it is in this state, in milliseconds.
    pub for_ms: u64,
    /// What an operator or its agent wants of it: `in_use`, `drain` or `maintenance`.
    pub wish: Cow<'static, str>,
    /// Whether media passes: `healthy` or `no_media`.
    pub media: Cow<'static, str>,
    /// Its share of the sessions.
    pub weight: u16,
    /// What part of that it has now, in percent: less for a while after it was down, or as its agent says.
    pub weight_percent: f64,
    /// Whether it is used only where no other is usable.
    pub backup: bool,
    /// Sessions that are there or on their way.
    pub sessions: usize,
    /// What it tells of its load, where that is asked.
    pub figures: Figures,
    /// How long ago it told, in milliseconds.
    pub figures_age_ms: Option<u64>,
    /// How the dials of sessions to it ended.
    pub dials: DialCounts,
    /// How often it went from one state to another, and why.
    pub transitions: Vec<StepCount>,
}

/// How often a node went from one state to another for one kind of reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepCount {
    /// The state before.
    pub from: Cow<'static, str>,
    /// The state after.
    pub to: Cow<'static, str>,
    /// The kind of reason.
    pub reason: Cow<'static, str>,
    /// How often.
    pub count: u64,
}

/// All that is told of a node.
pub(super) fn of(node: &Node, machine: &Machine, now: Timestamp) -> NodeStatus {
    let reason = machine.reason();
    let heard = *node.heard.lock();
    NodeStatus {
        id: node.id,
        name: node.name.to_string(),
        pool: node.pool.to_string(),
        url: node.address.url().to_string(),
        state: machine.state().as_str().into(),
        reason: reason.text.to_string(),
        reason_kind: reason.kind.as_str().into(),
        for_ms: ms(machine.lasted(now)),
        wish: machine.wish().as_str().into(),
        media: machine.media().as_str().into(),
        weight: node.weight,
        weight_percent: machine.part(now) * 100.0,
        backup: node.is_backup,
        sessions: node.sessions(),
        figures: heard.map(|heard| heard.figures).unwrap_or_default(),
        figures_age_ms: heard.map(|heard| ms(heard.at.elapsed())),
        dials: node.dials.counts(),
        transitions: machine
            .steps()
            .iter()
            .map(|((from, to, kind), count)| StepCount {
                from: from.as_str().into(),
                to: to.as_str().into(),
                reason: kind.as_str().into(),
                count: *count,
            })
            .collect(),
    }
}
