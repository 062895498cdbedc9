//! One node: how it is reached, what state it is in, and what is counted of it.
//!
//! What happens to a node is told here and nowhere else ([`Node::tell`]), so that every change of its state is
//! one line of the log and one count. Which node is dialled is decided in the pool.

mod counts;
mod inquiry;
mod news;
mod paths;
mod registry;
pub(super) mod state;
mod status;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{CheckKind, CheckSettings, NamedNode, UpstreamSettings},
    ids::NodeId,
    session::Timestamp,
    telemetry::events,
};

pub(super) use counts::Dials;
pub(crate) use counts::Seat;
pub use counts::{DIAL_BUCKETS_MS, DialCounts};
pub(super) use paths::Paths;
pub(super) use registry::Nodes;
pub use state::{MediaState, NodeState, Wish};
pub use status::{NodeStatus, StepCount};

use super::{
    budget::Budget,
    check::{Figures, Heard},
    dial::Address,
};
use inquiry::Inquiry;
use news::News;
use state::{Input, Machine, Rules, Verdict};

/// A node of a pool. What is said of it may change: then another value stands for it, which shares what is known
/// of it with all that came before.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    /// What it is called; another than it is written where a newer node has that name.
    pub(super) name: Box<str>,
    /// As it is written.
    pub(super) written_name: Box<str>,
    pub(super) pool: Arc<str>,
    pub(super) weight: u16,
    pub(super) is_backup: bool,
    pub(super) checks: Arc<[CheckSettings]>,
    /// Cancelled when these are not made any more.
    pub(super) checking: CancellationToken,
    pub(super) address: Address,
    pub(super) budget: Arc<Budget>,
    pub(super) paths: Arc<Mutex<Paths>>,
    pub(super) dials: Arc<Dials>,
    /// Whether it answers beside a connection that is silent.
    pub(super) inquiry: Arc<Mutex<Inquiry>>,
    heard: Arc<Mutex<Option<Heard>>>,
    /// For how long that says something.
    figures_kept: Duration,
    sessions: Arc<AtomicUsize>,
    health: Arc<Mutex<Health>>,
}

#[derive(Debug)]
struct Health {
    machine: Machine,
    state_news: News<NodeState>,
    media_news: News<MediaState>,
}

/// Lines of the log that are due.
type Lines = (Option<(NodeState, NodeState, Box<str>, Duration)>, Option<(MediaState, Duration)>);

/// What the states of a node go by.
fn rules(named: &NamedNode, settings: &UpstreamSettings) -> Rules {
    let by_websocket = named.checks.iter().filter(|check| check.kind == CheckKind::Websocket);
    Rules {
        rise: by_websocket.map(CheckSettings::rise).max().unwrap_or(1),
        checks: named.checks.iter().map(|check| (check.rise(), check.fall())).collect(),
        eject_after: settings.eject_after,
        eject: settings.eject,
        eject_max: settings.eject_max,
        slow_start: settings.slow_start,
        media_legs_min: settings.media_silent_legs,
        media_retry: settings.media_retry,
    }
}

fn figures_kept(checks: &[CheckSettings]) -> Duration {
    checks.iter().map(CheckSettings::interval).max().unwrap_or_default() * 3
}

impl Node {
    /// A node of which nothing is known.
    pub(super) fn new(
        id: NodeId,
        named: &NamedNode,
        settings: &UpstreamSettings,
        address: Address,
        now: Timestamp,
    ) -> Self {
        let health = Health {
            machine: Machine::new(rules(named, settings), now),
            state_news: News::new(now),
            media_news: News::new(now),
        };
        Self {
            id,
            name: named.name.as_str().into(),
            written_name: named.name.as_str().into(),
            pool: named.pool.as_str().into(),
            weight: named.settings.weight,
            is_backup: named.settings.backup,
            checks: named.checks.as_slice().into(),
            checking: CancellationToken::new(),
            address,
            budget: Budget::new(settings.restore_rate),
            paths: Arc::new(Mutex::new(Paths::new(settings.probe_paths_max))),
            dials: Arc::default(),
            inquiry: Arc::default(),
            heard: Arc::default(),
            figures_kept: figures_kept(&named.checks),
            sessions: Arc::default(),
            health: Arc::new(Mutex::new(health)),
        }
    }

    /// The same node where other things are said of it; its checks are to be started anew if they are others.
    pub(super) fn changed(
        &self,
        named: &NamedNode,
        settings: &UpstreamSettings,
        address: Address,
        now: Timestamp,
    ) -> Self {
        let are_other_checks = *self.checks != *named.checks;
        self.health.lock().machine.set_rules(rules(named, settings), are_other_checks, now);
        self.paths.lock().remember(settings.probe_paths_max);
        let mut node = Self {
            name: self.written_name.clone(),
            weight: named.settings.weight,
            is_backup: named.settings.backup,
            figures_kept: figures_kept(&named.checks),
            address: address.with_what_is_known_of(&self.address),
            ..self.clone()
        };
        if are_other_checks {
            self.checking.cancel();
            node.checks = named.checks.as_slice().into();
            node.checking = CancellationToken::new();
        }
        if !node.budget.is_of(settings.restore_rate) {
            // Whoever waits has its turn by the old pace.
            node.budget = Budget::new(settings.restore_rate);
        }
        node
    }

    /// The same node under another name: a newer one has its own.
    pub(super) fn renamed(&self) -> Self {
        Self { name: format!("{}~{}", self.written_name, self.id.0).into(), ..self.clone() }
    }

    /// Whether it is what is written here, whatever is said of it.
    pub(super) fn is_written(&self, named: &NamedNode) -> bool {
        *self.written_name == *named.name
            && *self.pool == *named.pool
            && *self.address.url() == named.settings.url
    }

    /// Whether just this is said of it.
    pub(super) fn is_as_written(&self, named: &NamedNode) -> bool {
        self.weight == named.settings.weight
            && self.is_backup == named.settings.backup
            && *self.checks == *named.checks
            && self.address.send_proxy() == named.send_proxy
    }

    /// Whether it is no longer in the configuration.
    pub(super) fn is_removed(&self) -> bool {
        self.health.lock().machine.is_removed()
    }

    /// Takes in what happened to it, and writes the lines that are due. True if it answers now and did not
    /// before.
    pub(super) fn tell(&self, input: Input<'_>, now: Timestamp) -> bool {
        self.tell_dated(input, now, now)
    }

    /// The same of a dial that began at `asked`.
    pub(super) fn tell_dated(&self, input: Input<'_>, asked: Timestamp, now: Timestamp) -> bool {
        let mut health = self.health.lock();
        let could_be_reached = health.can_be_reached();
        health.machine.handle_dated(input, asked, now);
        let lines = health.lines(now);
        let is_back = !could_be_reached && health.can_be_reached();
        drop(health);
        self.write(lines);
        is_back
    }

    fn write(&self, (state, media): Lines) {
        if let Some((from, to, reason, lasted)) = state {
            events::node_state(&self.name, (from.as_str(), to.as_str()), &reason, lasted);
        }
        if let Some((media, lasted)) = media {
            events::node_media(&self.name, media == MediaState::Healthy, lasted);
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

    /// Whether media passes.
    pub(super) fn media(&self) -> MediaState {
        self.health.lock().machine.media()
    }

    /// Whether the last dial or probe did not reach it.
    pub(super) fn is_gone(&self) -> bool {
        self.health.lock().machine.reach() == Verdict::Gone
    }

    /// Whether a probe has something to find out.
    pub(super) fn is_in_question(&self) -> bool {
        let health = self.health.lock();
        let is_open = health.machine.reach() != Verdict::Well || health.machine.is_leaving();
        is_open && health.machine.wish() != Wish::Maintenance && !health.machine.is_removed()
    }

    /// Whether there is doubt that a probe has to decide; one that goes away is watched, to see when it is back.
    pub(super) fn is_doubtful(&self) -> bool {
        let health = self.health.lock();
        health.machine.reach() == Verdict::Doubtful || health.machine.is_leaving()
    }

    /// Whether probes may go there.
    pub(super) fn takes_probes(&self) -> bool {
        self.wish() != Wish::Maintenance
    }

    /// Whether it behaves so that it should be out of the first row, and whether it is.
    pub(super) fn ejection(&self, now: Timestamp) -> (bool, bool) {
        let health = self.health.lock();
        (health.machine.wants_ejection(), health.machine.is_ejected(now))
    }

    /// Whether sessions may go there, and nothing speaks against it.
    pub(super) fn is_usable(&self) -> bool {
        let health = self.health.lock();
        health.machine.state() == NodeState::Up && health.machine.media() == MediaState::Healthy
    }

    /// It told of its load.
    pub(super) fn heard(&self, figures: Figures) {
        *self.heard.lock() = Some(Heard { figures, at: Instant::now(), sessions: self.sessions() });
    }

    /// How many sessions are there: our own or, where it tells how many connections it has, whoever they come
    /// from, all of them and what came and went of our own since.
    #[allow(clippy::cast_precision_loss)] // They are few.
    pub(super) fn load(&self) -> f64 {
        let sessions = self.sessions() as f64;
        let heard = self.heard.lock().filter(|heard| heard.at.elapsed() <= self.figures_kept);
        let told = heard.and_then(|heard| Some(heard.figures.connections? - heard.sessions as f64));
        // Fewer than ours: some are not there yet.
        sessions + told.unwrap_or_default().max(0.0)
    }

    /// What part of its weight it has.
    pub(super) fn part(&self, now: Timestamp) -> f64 {
        self.health.lock().machine.part(now)
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
    fn can_be_reached(&self) -> bool {
        self.machine.reach() != Verdict::Gone && self.machine.wish() != Wish::Maintenance
    }

    fn lines(&mut self, now: Timestamp) -> Lines {
        let (state, media) = (self.machine.state(), self.machine.media());
        let reason = || self.machine.reason().text.clone();
        let of_state = self.state_news.line(state, now).map(|line| (line.from, state, reason(), line.lasted));
        (of_state, self.media_news.line(media, now).map(|line| (media, line.lasted)))
    }
}
