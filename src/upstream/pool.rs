//! The nodes, tried in the configured order, those known to be down last.

use std::{borrow::Cow, fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    config::UpstreamSettings,
    limits::{Files, Use},
    session::{Close, Priority, SessionId, Timestamp},
    wire::{side::Side, websocket::Role},
};

use super::{
    budget::Budget,
    dial::{Address, DialFailure, Dialed, PoolError},
    health::Health,
    news::News,
    outage::{Awaits, Outage, Waits},
    race::{Pace, race},
    request::ClientRequest,
};

/// How many restores within [`FALL_WINDOW`] make their sessions "fall together".
const FALL_TOGETHER_MIN: u32 = 16;
/// The window in which they are counted.
const FALL_WINDOW: Duration = Duration::from_secs(1);
/// The waits of a handshake that is held behind a path that is refused: at most the first, doubled up to
/// the last.
const HELD_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// Where it is not urgent, probes are this many intervals apart.
const QUIET_INTERVALS: u32 = 10;
/// Until a node has its turn in the budget, no other is tried beside it.
const NOT_YET: Duration = Duration::from_secs(24 * 3600);

/// Position of a node in the configuration.
pub(super) type NodeIndex = usize;

/// A node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its URL, without credentials.
    pub url: String,
    /// `in use`, or `did not answer lately`.
    pub state: Cow<'static, str>,
}

#[derive(Debug)]
struct Node {
    address: Address,
    budget: Arc<Budget>,
    health: Mutex<Health>,
    news: News,
}

#[derive(Debug)]
struct Falls {
    since: Instant,
    count: u32,
}

/// All upstream nodes.
#[derive(Debug)]
pub(crate) struct Pool {
    nodes: Vec<Node>,
    outage: Outage,
    probe_interval: Duration,
    next_node_after: Duration,
    fall_together_spread: Duration,
    falls: Mutex<Falls>,
    files: Arc<Files>,
}

impl Pool {
    /// The nodes of these settings.
    ///
    /// # Errors
    /// There is none, or a name cannot be used with TLS.
    pub(crate) fn new(
        settings: &UpstreamSettings,
        tls: &Arc<ClientConfig>,
        files: &Arc<Files>,
    ) -> Result<Arc<Self>, PoolError> {
        let node = |url: &crate::config::UpstreamUrl| {
            Ok(Node {
                address: Address::new(url.clone(), tls, settings, files)?,
                budget: Budget::new(settings.restore_rate),
                health: Mutex::new(Health::new(settings.probe_paths_max)),
                news: News::default(),
            })
        };
        let nodes = settings.url.iter().map(node).collect::<Result<Vec<_>, PoolError>>()?;
        if nodes.is_empty() {
            return Err(PoolError::NoNode);
        }
        Ok(Arc::new(Self {
            nodes,
            outage: Outage::default(),
            probe_interval: settings.probe_interval,
            next_node_after: settings.next_node_after,
            fall_together_spread: settings.fall_together_spread,
            files: Arc::clone(files),
            falls: Mutex::new(Falls { since: Instant::now(), count: 0 }),
        }))
    }

    /// The address of a node, for logs.
    pub(crate) fn node_name(&self, node: NodeIndex) -> String {
        self.nodes.get(node).map_or_else(String::new, |node| node.address.url().to_string())
    }

    /// The nodes for people who look.
    pub(crate) fn describe(&self) -> Vec<NodeStatus> {
        let describe = |node: &Node| {
            let state = if node.health.lock().is_down() { "did not answer lately" } else { "in use" };
            NodeStatus { url: node.address.url().to_string(), state: state.into() }
        };
        self.nodes.iter().map(describe).collect()
    }

    /// Dials for a client that is in its handshake. Not limited by the budget: nothing is being
    /// restored.
    pub(crate) async fn connect(self: &Arc<Self>, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, None).await
    }

    /// As [`Pool::connect`], for a client that was held while no node answered: all of these come
    /// at once when one does, so the budget paces them.
    async fn connect_held(self: &Arc<Self>, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, Some(Priority::Other)).await
    }

    /// Dials for a session that lost its upstream, when the budget allows.
    pub(crate) async fn redial(
        self: &Arc<Self>,
        request: &ClientRequest,
        priority: Priority,
    ) -> Result<Dialed, DialFailure> {
        sleep(self.spread()).await;
        self.try_in_turn(request, Some(priority)).await
    }

    /// Dials one node and no other, the given address of it first: media sockets belong where their
    /// session is.
    pub(crate) async fn dial_node(
        self: &Arc<Self>,
        (node, address): (NodeIndex, Option<SocketAddr>),
        request: &ClientRequest,
    ) -> Result<Dialed, DialFailure> {
        let target = self.nodes.get(node).ok_or_else(|| DialFailure::Unreachable("no such node".into()))?;
        target.budget.acquire(Priority::Other).await;
        self.dial(node, target, request, address).await
    }

    /// Each node once, the next when the one before failed or takes its time.
    async fn try_in_turn(
        self: &Arc<Self>,
        request: &ClientRequest,
        budget: Option<Priority>,
    ) -> Result<Dialed, DialFailure> {
        let dialling = Notify::new();
        let under_way = Mutex::new(Vec::new());
        let attempt = |index: NodeIndex| {
            let (dialling, under_way) = (&dialling, &under_way);
            async move {
                let Some(node) = self.nodes.get(index) else {
                    return Err(DialFailure::Unreachable("no such node".into()));
                };
                if let Some(priority) = budget {
                    node.budget.acquire(priority).await;
                }
                dialling.notify_one();
                under_way.lock().push(index);
                let result = self.dial(index, node, request, None).await;
                under_way.lock().retain(|one| *one != index);
                result
            }
        };
        let room = || self.files.take(Use::Attempt, 1);
        let pace = Pace { start: NOT_YET, alive: self.next_node_after };
        let result =
            race(self.order(request.path()), pace, &dialling, room, attempt, |f| f.is_of_the_node()).await;
        if result.is_ok() {
            // A node that another one has overtaken is not tried first by the next client.
            for index in under_way.into_inner() {
                self.unreachable(index, request.path(), &"another node answered first");
            }
        }
        result
    }

    /// The nodes in the order in which they are tried for this path. It is settled before the first
    /// dial: what that changes does not bring a node up twice.
    fn order(&self, path: &str) -> Vec<NodeIndex> {
        let now = Instant::now();
        let mut order: Vec<_> =
            self.nodes.iter().map(|node| node.health.lock().rank(path, now)).enumerate().collect();
        order.sort_by_key(|(index, rank)| (*rank, *index));
        order.into_iter().map(|(index, _)| index).collect()
    }

    async fn dial(
        self: &Arc<Self>,
        index: NodeIndex,
        node: &Node,
        request: &ClientRequest,
        address: Option<SocketAddr>,
    ) -> Result<Dialed, DialFailure> {
        let result = node.address.dial(index, request, address).await;
        let path = request.path();
        match &result {
            Ok(_) => {
                self.reached(node);
                let opened = node.health.lock().accepted(path);
                if opened {
                    self.outage.open(path);
                }
            }
            Err(failure @ DialFailure::Unreachable(_)) => self.unreachable(index, path, failure),
            Err(DialFailure::Local(_)) => {}
            Err(failure) => {
                self.reached(node);
                if failure.is_of_the_node() {
                    node.health.lock().refused(path, Instant::now());
                }
            }
        }
        if let Err(failure) = &result {
            tracing::debug!(node = %node.address.url(), %failure, "upstream dial failed");
        }
        result
    }

    fn unreachable(self: &Arc<Self>, index: NodeIndex, path: &str, cause: &dyn fmt::Display) {
        let Some(node) = self.nodes.get(index) else { return };
        node.health.lock().unreachable(path);
        node.news.fell(node.address.url(), cause);
        self.outage.fell(index);
        self.start_probe(index);
    }

    fn reached(&self, node: &Node) {
        node.news.rose(node.address.url());
        if node.health.lock().reached() {
            self.outage.announce();
        }
    }

    fn is_any_down(&self) -> bool {
        self.nodes.iter().any(|node| node.health.lock().is_down())
    }

    /// How long a restore waits before its dial, so that many of them do not come at once.
    fn spread(&self) -> Duration {
        let mut falls = self.falls.lock();
        if falls.since.elapsed() > FALL_WINDOW {
            *falls = Falls { since: Instant::now(), count: 0 };
        }
        falls.count = falls.count.saturating_add(1);
        if falls.count <= FALL_TOGETHER_MIN {
            return Duration::ZERO;
        }
        self.fall_together_spread.mul_f64(rand::random::<f64>())
    }

    /// A session waits for its next dial after this failure: it hears when what it failed for
    /// has changed, and nodes are probed until then.
    pub(crate) fn wait_after(
        self: &Arc<Self>,
        failure: &DialFailure,
        id: SessionId,
        session: Arc<dyn Waits>,
        path: &str,
    ) {
        let awaits = match failure {
            DialFailure::Unreachable(_) => Awaits::Node,
            DialFailure::Refused(_) | DialFailure::BadHandshake(_) => Awaits::Path(path.into()),
            DialFailure::Local(_) => return,
        };
        let for_node = awaits == Awaits::Node;
        self.outage.enter(id, session, awaits);
        if for_node && !self.is_any_down() {
            // It came back between the dial and now.
            self.outage.announce();
        }
        self.start_probes();
    }

    /// As [`Pool::wait_after`], for a session that has lost a connection which did not last: it hears
    /// of its node only if that was unreachable in between.
    pub(crate) fn wait_for_return(self: &Arc<Self>, id: SessionId, session: Arc<dyn Waits>) {
        self.outage.enter(id, session, Awaits::Return);
        self.start_probes();
    }

    /// The session is connected or has ended.
    pub(crate) fn stop_waiting(&self, session: SessionId) {
        self.outage.leave(session);
    }

    /// Holds a client in its handshake (rule R13) until a dial succeeds or is refused for reasons
    /// of the client's own, for at most `patience`.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn connect_when_up(
        self: &Arc<Self>,
        request: &ClientRequest,
        patience: Duration,
        mut last: DialFailure,
    ) -> Result<Dialed, DialFailure> {
        let _held = Held::new(self);
        let hold = async {
            let mut failures = 0;
            loop {
                self.may_have_changed(&last, failures).await;
                failures = failures.saturating_add(1);
                match self.connect_held(request).await {
                    Err(failure) if failure.is_outage() => last = failure,
                    result => return result,
                }
            }
        };
        match timeout(patience, hold).await {
            Ok(result) => result,
            Err(_) => Err(last),
        }
    }

    /// Waits until another dial of a handshake that is held may do better.
    async fn may_have_changed(&self, failure: &DialFailure, failures: u32) {
        if matches!(failure, DialFailure::Unreachable(_)) {
            let announced = self.outage.announced();
            tokio::pin!(announced);
            announced.as_mut().enable();
            if self.is_any_down() {
                return announced.await;
            }
            // It came back between the dial and now.
            return sleep(self.probe_interval).await;
        }
        let (first, most) = HELD_BACKOFF;
        let most = first.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(most);
        let least = first.min(most / 2);
        let wait = least.saturating_add((most.saturating_sub(least)).mul_f64(rand::random::<f64>()));
        let opened = self.outage.opened();
        let _ = timeout(wait, opened).await;
    }

    fn start_probes(self: &Arc<Self>) {
        for index in 0..self.nodes.len() {
            self.start_probe(index);
        }
    }

    fn start_probe(self: &Arc<Self>, index: NodeIndex) {
        if self.outage.start_probe(index) {
            tokio::spawn(Arc::clone(self).probe(index));
        }
    }

    /// Probes a node for as long as it is down or somebody waits.
    async fn probe(self: Arc<Self>, index: NodeIndex) {
        let Some(node) = self.nodes.get(index) else { return };
        loop {
            self.pause(index, node).await;
            let is_down = || node.health.lock().is_down();
            // Whoever found it down since it was asked left the probing to this task.
            let again =
                self.outage.probe_again(index, is_down()) || (is_down() && self.outage.start_probe(index));
            if !again {
                return;
            }
            let targets = node.health.lock().targets(self.outage.wanted_paths());
            join_all(targets.iter().map(|path| self.probe_path(index, node, path))).await;
        }
    }

    /// The time between two probes: short only for a node that is down while somebody waits, or after
    /// a loss. One that answers is not to be burdened.
    async fn pause(&self, index: NodeIndex, node: &Node) {
        sleep(self.probe_interval).await;
        let is_urgent =
            || self.outage.anybody_waits() && (node.health.lock().is_down() || self.outage.take_lost(index));
        let until = Instant::now() + self.probe_interval.saturating_mul(QUIET_INTERVALS - 1);
        loop {
            let changed = self.outage.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_urgent() || timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }

    async fn probe_path(self: &Arc<Self>, index: NodeIndex, node: &Node, path: &str) {
        node.budget.acquire(Priority::Publisher).await;
        let result = node.address.dial(index, &ClientRequest::probe(path), None).await;
        match &result {
            Err(failure @ DialFailure::Unreachable(_)) => return self.unreachable(index, path, failure),
            Err(DialFailure::Local(_)) => return,
            // It may refuse us for want of an Origin or a cookie, but it answers.
            Err(_) | Ok(_) => self.reached(node),
        }
        let opened = node.health.lock().probed(path, result.is_ok());
        if opened {
            self.outage.open(path);
        }
        if let Ok(dialed) = result {
            close_probe(dialed).await;
        }
    }
}

/// Says goodbye, so that the node sees no broken connection.
async fn close_probe(dialed: Dialed) {
    let mut side = Side::new(dialed.socket, Role::Server, &dialed.leftover);
    side.queue_close(Close::NoCode);
    std::future::poll_fn(|cx| {
        side.send(cx, &[], Timestamp::ZERO);
        side.poll_shutdown(cx)
    })
    .await
    .unwrap_or_default();
}

/// A handshake that is being held.
struct Held<'a>(&'a Arc<Pool>);

impl<'a> Held<'a> {
    fn new(pool: &'a Arc<Pool>) -> Self {
        pool.outage.enter_handshake();
        pool.start_probes();
        Self(pool)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.outage.leave_handshake();
    }
}
