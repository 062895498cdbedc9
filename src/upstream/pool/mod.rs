//! The nodes of all pools: dialling them one after the other, for clients in their handshake, for sessions
//! that lost theirs, and for media sockets.
//!
//! What a failed dial means for a node is decided in `node/state.rs`, which node comes first in `choose`, who
//! is probed and when in `probe`, who waits for what in `wait`.

mod choose;
mod evidence;
mod media;
mod operate;
mod policy;
mod probe;
mod reload;
mod wait;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    config::{HashBy, NetSettings, Policy, UpstreamSettings},
    ids::NodeId,
    limits::{Files, Use},
    milliseconds::ms,
    session::{Priority, Timestamp},
};

use super::{
    dial::{DialFailure, Dialed, PoolError},
    hearing::Hearing,
    node::{Node, Nodes, state::Input},
    outage::Outage,
    race::{Alive, race},
    request::ClientRequest,
};

pub use operate::WishRefused;
use policy::Turns;
pub(crate) use reload::{NodeChanges, Planned};

/// How many restores within [`FALL_WINDOW`] make their sessions "fall together".
const FALL_TOGETHER_MIN: u32 = 16;
/// The window in which they are counted.
const FALL_WINDOW: Duration = Duration::from_secs(1);
/// Until a node has its turn in the budget, no other is tried beside it.
const NOT_YET: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct Falls {
    since: Instant,
    count: u32,
}

/// What all nodes have in common.
#[derive(Debug)]
struct Ways {
    probe_interval: Duration,
    /// How long a node has to answer before the next one is dialled beside it: at least, at most.
    next_node_after: (Duration, Duration),
    eject_percent_max: usize,
    policy: Policy,
    hash_by: HashBy,
    fall_together_spread: Duration,
}

impl Ways {
    const fn of(upstream: &UpstreamSettings) -> Self {
        Self {
            probe_interval: upstream.probe_interval,
            next_node_after: (upstream.next_node_after_min, upstream.next_node_after),
            eject_percent_max: upstream.eject_percent_max,
            policy: upstream.policy,
            hash_by: upstream.hash_by,
            fall_together_spread: upstream.fall_together_spread,
        }
    }
}

/// All upstream nodes.
#[derive(Debug)]
pub(crate) struct Pool {
    nodes: Nodes,
    outage: Outage,
    ways: ArcSwap<Ways>,
    /// What the legs of sessions hear of the nodes.
    hearing: Mutex<Hearing>,
    turns: Mutex<Turns>,
    falls: Mutex<Falls>,
    files: Arc<Files>,
    began: Instant,
}

impl Pool {
    /// The nodes of these settings.
    ///
    /// # Errors
    /// There is none, or a name cannot be used with TLS.
    pub(crate) fn new(
        settings: &NetSettings,
        tls: &Arc<ClientConfig>,
        files: &Arc<Files>,
    ) -> Result<Arc<Self>, PoolError> {
        let planned = Planned::new(settings, (tls, files), None)?;
        let pool = Arc::new(Self {
            nodes: Nodes::default(),
            outage: Outage::default(),
            ways: ArcSwap::from_pointee(Ways::of(&settings.upstream)),
            hearing: Mutex::default(),
            turns: Mutex::default(),
            files: Arc::clone(files),
            falls: Mutex::new(Falls { since: Instant::now(), count: 0 }),
            began: Instant::now(),
        });
        pool.take_in(planned);
        Ok(pool)
    }

    /// The node of this id, as long as it is there.
    pub(super) fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes.get(id)
    }

    /// The time as the nodes know it.
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(ms(self.began.elapsed()))
    }

    /// Dials for a client that is in its handshake. Not limited by the budget: nothing is being
    /// restored.
    pub(crate) async fn connect(self: &Arc<Self>, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, None, None).await
    }

    /// As [`Pool::connect`], for a client that was held while no node answered: all of these come
    /// at once when one does, so the budget paces them.
    async fn connect_held(self: &Arc<Self>, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, Some(Priority::Other), None).await
    }

    /// Dials for a session that lost its upstream, which was on node `from`, when the budget allows.
    pub(crate) async fn redial(
        self: &Arc<Self>,
        request: &ClientRequest,
        priority: Priority,
        from: NodeId,
    ) -> Result<Dialed, DialFailure> {
        sleep(self.spread()).await;
        self.try_in_turn(request, Some(priority), Some(from)).await
    }

    /// Dials one node and no other, the given address of it first: media sockets belong where their
    /// session is, and a session that moves knows where to.
    pub(crate) async fn dial_node(
        self: &Arc<Self>,
        (node, address): (NodeId, Option<SocketAddr>),
        request: &ClientRequest,
    ) -> Result<Dialed, DialFailure> {
        let target = self.nodes.get(node).ok_or_else(no_such_node)?;
        target.budget.acquire(Priority::Other).await;
        self.dial(&target, request, address).await
    }

    /// Dials one node and no other for a session that goes there on purpose.
    pub(crate) async fn move_to(
        self: &Arc<Self>,
        node: NodeId,
        request: &ClientRequest,
    ) -> Result<Dialed, DialFailure> {
        let target = self.nodes.get(node).ok_or_else(no_such_node)?;
        if *target.pool != *request.pool() {
            return Err(DialFailure::Unreachable(format!("node {} is of another pool", target.name)));
        }
        let seat = target.seat();
        if target.is_removed() {
            return Err(no_such_node());
        }
        let dialed = self.dial_node((node, None), request).await?;
        Ok(Dialed { seat: Some(seat), ..dialed })
    }

    /// Each node once, the next when the one before failed or takes its time.
    async fn try_in_turn(
        self: &Arc<Self>,
        request: &ClientRequest,
        budget: Option<Priority>,
        from: Option<NodeId>,
    ) -> Result<Dialed, DialFailure> {
        let dialling = Alive::default();
        let under_way: Mutex<Vec<Arc<Node>>> = Mutex::new(Vec::new());
        let attempt = |node: Arc<Node>| {
            let (dialling, under_way) = (&dialling, &under_way);
            async move {
                let seat = node.seat();
                if node.is_removed() {
                    // Just now. Who has a seat before that is waited for.
                    return Err(no_such_node());
                }
                if let Some(priority) = budget {
                    node.budget.acquire(priority).await;
                }
                // Those who lost one node are to meet on one other: it is waited for even where it is slow.
                let patience =
                    if from.is_some() { self.ways.load().next_node_after.1 } else { self.patience(&node) };
                dialling.give(patience);
                under_way.lock().push(Arc::clone(&node));
                let result = self.dial(&node, request, None).await;
                under_way.lock().retain(|one| one.id != node.id);
                result.map(|dialed| Dialed { seat: Some(seat), ..dialed })
            }
        };
        let room = || self.files.take(Use::Attempt, 1);
        let order = self.order(request, from);
        if order.is_empty() {
            return Err(DialFailure::Unreachable("every node is in maintenance".into()));
        }
        let result = race(order, NOT_YET, &dialling, room, attempt, |f| f.is_of_the_node()).await;
        if result.is_ok() {
            // A node that another one has overtaken is not tried first by the next client.
            for node in under_way.into_inner() {
                node.dials.note_overtaken();
                self.tell(&node, Input::Overtaken);
            }
        }
        result
    }

    async fn dial(
        self: &Arc<Self>,
        node: &Arc<Node>,
        request: &ClientRequest,
        address: Option<SocketAddr>,
    ) -> Result<Dialed, DialFailure> {
        let (begin, asked) = (Instant::now(), self.now());
        node.paths.lock().dialled(request.path());
        let result = node.address.dial(node.id, request, address).await;
        node.dials.note(result.as_ref().err(), begin.elapsed());
        let path = request.path();
        match &result {
            Ok(_) => {
                self.tell_dated(node, Input::Accepted, asked);
                let opened = node.paths.lock().accepted(path);
                if opened {
                    self.outage.open(path);
                }
            }
            Err(failure @ DialFailure::Unreachable(_)) => self.unreachable(node, failure, asked),
            Err(DialFailure::Local(_)) => {}
            Err(failure) => {
                let is_of_the_node = failure.is_of_the_node();
                self.tell_dated(node, if is_of_the_node { Input::Refused } else { Input::Answered }, asked);
                if is_of_the_node {
                    node.paths.lock().refused(path, Instant::now());
                }
            }
        }
        if let Err(failure) = &result {
            tracing::debug!(node = %node.name, %failure, "upstream dial failed");
        }
        result
    }

    /// A dial that began at `asked` did not reach it.
    fn unreachable(self: &Arc<Self>, node: &Node, failure: &DialFailure, asked: Timestamp) {
        self.tell_dated(node, Input::Unreachable(&failure.to_string()), asked);
        self.outage.fell(node.id);
    }

    /// Something happened to a node: who waits for one is told if it is back, and a probe looks into what is
    /// in question.
    pub(super) fn tell(self: &Arc<Self>, node: &Node, input: Input<'_>) {
        self.tell_dated(node, input, self.now());
    }

    /// The same of a dial that began at `asked`.
    pub(super) fn tell_dated(self: &Arc<Self>, node: &Node, input: Input<'_>, asked: Timestamp) {
        let now = self.now();
        if node.tell_dated(input, asked, now) {
            self.announce(&node.pool);
        }
        let (is_wanted, is_out) = node.ejection(now);
        if is_wanted && !is_out && self.may_eject_another(&node.pool, now) {
            node.tell(Input::Eject, now);
        }
        if node.is_in_question() {
            self.start_probe(node.id);
        }
    }

    /// Whether one more node of a pool may be put behind the others for what it does.
    fn may_eject_another(&self, pool: &str, now: Timestamp) -> bool {
        let nodes = self.nodes.of(pool);
        let out = nodes.iter().filter(|node| node.ejection(now).1).count();
        out < nodes.len().saturating_mul(self.ways.load().eject_percent_max) / 100
    }

    /// How long a node has to answer before the next one is dialled beside it: what is usual for it, with
    /// room.
    fn patience(&self, node: &Node) -> Duration {
        let (least, most) = self.ways.load().next_node_after;
        node.dials.usual().map_or(most, |usual| usual.saturating_mul(3).max(least).min(most))
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
        self.ways.load().fall_together_spread.mul_f64(rand::random::<f64>())
    }
}

fn no_such_node() -> DialFailure {
    DialFailure::Unreachable("there is no such node".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A pool of these nodes, none of which is dialled.
    pub(super) fn pool(settings: &NetSettings) -> Arc<Pool> {
        try_pool(settings).unwrap()
    }

    fn try_pool(settings: &NetSettings) -> Result<Arc<Pool>, PoolError> {
        let tls = ClientConfig::builder()
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth();
        Pool::new(settings, &Arc::new(tls), &Files::new(crate::limits::Division::new(1_024, 0, 0)))
    }

    #[test]
    fn there_has_to_be_a_node() {
        assert!(matches!(try_pool(&NetSettings::default()), Err(PoolError::NoNode)));
    }
}
