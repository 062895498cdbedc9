//! One node: how it is reached, what state it is in, and what is counted of it.
//!
//! What happens to a node is told here and nowhere else ([`Node::tell`]), so that every change of its state is
//! one line of the log and one count. Which node is dialled is decided in the pool.

mod counts;
mod news;
mod paths;
mod registry;
pub(super) mod state;
mod status;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::{
    config::{NamedNode, UpstreamSettings},
    ids::NodeId,
    limits::Files,
    session::Timestamp,
    telemetry::events,
};

pub(super) use counts::Dials;
pub(crate) use counts::Seat;
pub use counts::{DIAL_BUCKETS_MS, DialCounts};
pub(super) use paths::Paths;
pub(super) use registry::Nodes;
pub use state::{NodeState, Wish};
pub use status::{NodeStatus, StepCount};

use super::{
    budget::Budget,
    dial::{Address, PoolError},
};
use news::News;
use state::{Input, Machine, Verdict};

/// A node of a pool.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) name: Box<str>,
    pub(super) pool: Box<str>,
    pub(super) weight: u16,
    pub(super) is_backup: bool,
    pub(super) address: Address,
    pub(super) budget: Arc<Budget>,
    pub(super) paths: Mutex<Paths>,
    pub(super) dials: Dials,
    sessions: Arc<AtomicUsize>,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    machine: Machine,
    news: News,
}

impl Node {
    /// A node of which nothing is known.
    ///
    /// # Errors
    /// Its host cannot be named in TLS.
    pub(super) fn new(
        id: NodeId,
        named: &NamedNode,
        settings: &UpstreamSettings,
        (tls, files): (&Arc<tokio_rustls::rustls::ClientConfig>, &Arc<Files>),
        now: Timestamp,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            id,
            name: named.name.as_str().into(),
            pool: named.pool.as_str().into(),
            weight: named.settings.weight,
            is_backup: named.settings.backup,
            address: Address::new(named.settings.url.clone(), tls, settings, files)?,
            budget: Budget::new(settings.restore_rate),
            paths: Mutex::new(Paths::new(settings.probe_paths_max)),
            dials: Dials::default(),
            sessions: Arc::default(),
            health: Mutex::new(Health { machine: Machine::new(now), news: News::new(now) }),
        })
    }

    /// Takes in what happened to it, and writes the line that is due. True if it answers now and did not
    /// before.
    pub(super) fn tell(&self, input: Input<'_>, now: Timestamp) -> bool {
        let mut health = self.health.lock();
        let could_be_used = health.can_be_used();
        health.machine.handle(input, now);
        let line = health.line(now);
        let is_back = !could_be_used && health.can_be_used();
        drop(health);
        self.write(line);
        is_back
    }

    /// Writes the line that was kept back, if there is room for it now.
    pub(super) fn catch_up(&self, now: Timestamp) {
        let line = self.health.lock().line(now);
        self.write(line);
    }

    fn write(&self, line: Option<(NodeState, NodeState, Box<str>, std::time::Duration)>) {
        if let Some((from, to, reason, lasted)) = line {
            events::node_state(&self.name, (from.as_str(), to.as_str()), &reason, lasted);
        }
    }

    /// What it is used for.
    pub(super) fn state(&self) -> NodeState {
        self.health.lock().machine.state()
    }

    /// What is wished of it.
    pub(super) fn wish(&self) -> Wish {
        self.health.lock().machine.wish()
    }

    /// Whether the last dial or probe did not reach it.
    pub(super) fn is_gone(&self) -> bool {
        self.health.lock().machine.verdict() == Verdict::Gone
    }

    /// Whether a probe has something to find out.
    pub(super) fn is_in_question(&self) -> bool {
        let health = self.health.lock();
        health.machine.verdict() != Verdict::Well && health.machine.wish() != Wish::Maintenance
    }

    /// Whether probes may go there.
    pub(super) fn takes_probes(&self) -> bool {
        self.wish() != Wish::Maintenance
    }

    /// What health says, whatever is wished.
    pub(super) fn verdict(&self) -> Verdict {
        self.health.lock().machine.verdict()
    }

    /// Whether there is doubt that a probe has to decide.
    pub(super) fn is_doubtful(&self) -> bool {
        self.health.lock().machine.verdict() == Verdict::Doubtful
    }

    /// Whether sessions may go there, and nothing speaks against it.
    pub(super) fn is_usable(&self) -> bool {
        self.state() == NodeState::Up
    }

    /// A place for one more session.
    pub(super) fn seat(&self) -> Seat {
        Seat::take(&self.sessions)
    }

    /// Sessions that have a place there.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// All that is known of it.
    pub(super) fn status(&self, now: Timestamp) -> NodeStatus {
        let health = self.health.lock();
        status::of(self, &health.machine, now)
    }
}

impl Health {
    /// It answers, and nobody has taken it out.
    fn can_be_used(&self) -> bool {
        self.machine.verdict() != Verdict::Gone && self.machine.wish() != Wish::Maintenance
    }

    fn line(&mut self, now: Timestamp) -> Option<(NodeState, NodeState, Box<str>, std::time::Duration)> {
        let state = self.machine.state();
        let line = self.news.line(state, now)?;
        Some((line.from, state, self.machine.reason().text.clone(), line.lasted))
    }
}
