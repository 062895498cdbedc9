//! Taking sessions off nodes: which drains run, and how far each is. What goes when is decided by
//! [`crate::drain`]; here it is carried out.

mod task;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    drain::{self, Progress},
    session::NodeId,
    upstream::{NodeState, NodeStatus, Wish, WishRefused},
};

use super::shared::Shared;

/// Drains that are over and still told of.
const OVER_KEPT_MAX: usize = 64;

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOrder {
    /// Sessions per second.
    pub rate: u32,
    /// After so long those that cannot move unseen are restored elsewhere as after an outage.
    pub force_after: Option<Duration>,
    /// Nothing goes to the node when it is empty, probes included.
    pub then_maintenance: bool,
    /// Also where no other node of its pool is up.
    pub is_forced: bool,
}

/// Sessions per second where nobody says how many.
pub const DRAIN_RATE: u32 = 20;

impl Default for DrainOrder {
    fn default() -> Self {
        Self { rate: DRAIN_RATE, force_after: None, then_maintenance: false, is_forced: false }
    }
}

/// Why sessions leave a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// An operator wants it empty.
    #[default]
    Drain,
    /// An operator wants it empty, and out of use then.
    Maintenance,
    /// It has more than its share.
    Rebalance,
}

/// A drain at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainStatus {
    /// The node.
    pub node: String,
    /// Why sessions leave it.
    pub purpose: Purpose,
    /// How long it has gone on, or went on, in milliseconds.
    pub lasted_ms: u64,
    /// Sessions per second, at most.
    pub rate_max: u32,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
}

#[derive(Debug)]
struct Running {
    status: watch::Receiver<DrainStatus>,
    cancel: CancellationToken,
    /// How it is to go on.
    amend: watch::Sender<Ordered>,
    /// Nobody ordered it: the node itself wants to be left.
    is_followed: bool,
}

/// What is wanted of a drain, and why.
type Ordered = (Purpose, drain::Wish);

impl Running {
    /// It goes on by another order, unless it is over or called off. What becomes of it.
    fn amend(&mut self, order: Ordered) -> Option<DrainStatus> {
        if self.is_over() || self.cancel.is_cancelled() {
            return None;
        }
        self.is_followed = false;
        self.amend.send_replace(order);
        let (purpose, plan) = order;
        Some(DrainStatus { purpose, rate_max: plan.rate, ..self.status.borrow().clone() })
    }

    fn is_over(&self) -> bool {
        self.status.borrow().progress.stage.is_over()
    }
}

/// The drains of a proxy, one per node at a time.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    running: Mutex<BTreeMap<NodeId, Running>>,
}

impl Movers {
    /// Begins to take all sessions off a node; a drain of it that runs goes on by the new order.
    ///
    /// # Errors
    /// There is no such node, or no other one of its pool is up.
    pub(crate) fn drain(
        &self,
        shared: &Arc<Shared>,
        node: NodeId,
        order: DrainOrder,
    ) -> Result<DrainStatus, WishRefused> {
        let wish = if order.then_maintenance && shared.live.on_node(node) == 0 {
            Wish::Maintenance
        } else {
            Wish::Drain
        };
        shared.pool.wish(node, wish, order.is_forced)?;
        let purpose = if order.then_maintenance { Purpose::Maintenance } else { Purpose::Drain };
        let plan = drain::Wish { rate: order.rate.max(1), force_after: order.force_after, keep: None };
        let amended = self.running.lock().get_mut(&node).and_then(|running| running.amend((purpose, plan)));
        Ok(amended.unwrap_or_else(|| self.begin(shared, node, purpose, false, plan)))
    }

    /// Uses a node again; a drain of it is called off.
    ///
    /// # Errors
    /// There is no such node.
    pub(crate) fn undrain(&self, shared: &Arc<Shared>, node: NodeId) -> Result<(), WishRefused> {
        shared.pool.wish(node, Wish::InUse, false)?;
        self.cancel(node);
        Ok(())
    }

    /// Begins to take sessions off the nodes that have more than their share, by their weights. Those nodes.
    pub(crate) fn rebalance(&self, shared: &Arc<Shared>, rate: u32) -> Vec<DrainStatus> {
        let shares = shares(shared);
        let over = shares.into_iter().filter(|(node, _)| {
            // One that is being drained is left to that.
            self.running.lock().get(node).is_none_or(Running::is_over)
        });
        let over: Vec<(NodeId, usize)> = over.collect();
        let each = rate.max(1).div_ceil(u32::try_from(over.len().max(1)).unwrap_or(1));
        let begin = |(node, keep): (NodeId, usize)| {
            let plan = drain::Wish { rate: each, force_after: None, keep: Some(keep) };
            self.begin(shared, node, Purpose::Rebalance, false, plan)
        };
        over.into_iter().map(begin).collect()
    }

    /// Begins a drain of each node that is to be left and has sessions, whoever wants it: its agent may. Calls
    /// off those that were begun like this and are not wanted any more. To be called once in a while.
    pub(crate) fn follow(&self, shared: &Arc<Shared>) {
        for node in shared.pool.nodes() {
            let (runs, is_followed) = self.running.lock().get(&node.id).map_or((false, false), |running| {
                let runs = !running.is_over();
                (runs, runs && running.is_followed)
            });
            let leaves = [NodeState::Draining, NodeState::Maintenance];
            let is_left = leaves.iter().any(|state| node.state == state.as_str());
            if is_left && !runs && shared.live.on_node(node.id) > 0 {
                let plan = drain::Wish { rate: DRAIN_RATE, force_after: None, keep: None };
                self.begin(shared, node.id, Purpose::Drain, true, plan);
            } else if !is_left && is_followed {
                self.cancel(node.id);
            }
        }
    }

    fn cancel(&self, node: NodeId) {
        if let Some(running) = self.running.lock().get(&node) {
            running.cancel.cancel();
        }
    }

    /// How far the drain of a node is, or came; none if there was none of late.
    pub(crate) fn status(&self, node: NodeId) -> Option<DrainStatus> {
        self.running.lock().get(&node).map(|running| running.status.borrow().clone())
    }

    fn begin(
        &self,
        shared: &Arc<Shared>,
        node: NodeId,
        purpose: Purpose,
        is_followed: bool,
        plan: drain::Wish,
    ) -> DrainStatus {
        let status = DrainStatus {
            node: shared.pool.node_name(node),
            purpose,
            rate_max: plan.rate,
            ..DrainStatus::default()
        };
        let (told, watched) = watch::channel(status.clone());
        let cancel = shared.stopping.child_token();
        let (amend, amended) = watch::channel((purpose, plan));
        let running = Running { status: watched, cancel: cancel.clone(), amend, is_followed };
        let mut all = self.running.lock();
        if let Some(before) = all.insert(node, running) {
            before.cancel.cancel();
        }
        while all.len() > OVER_KEPT_MAX
            && let Some(over) = all.iter().find(|(_, running)| running.is_over()).map(|(node, _)| *node)
        {
            all.remove(&over);
        }
        drop(all);
        tokio::spawn(task::run(Arc::clone(shared), node, amended, (told, cancel)));
        status
    }
}

/// Nodes that have more than their share of the sessions, and that share. One session more is no reason to
/// move anybody.
fn shares(shared: &Shared) -> Vec<(NodeId, usize)> {
    let nodes = shared.pool.nodes();
    let usable = nodes.iter().filter(|node| node.state == NodeState::Up.as_str() && !node.backup);
    let usable: Vec<_> = usable.map(|node| (node, shared.live.on_node(node.id))).collect();
    let share = |node: &NodeStatus| {
        let of_pool = usable.iter().filter(|(other, _)| other.pool == node.pool);
        let (sessions, weights) = of_pool.fold((0_usize, 0_usize), |(sessions, weights), (other, there)| {
            (sessions + there, weights + usize::from(other.weight))
        });
        (sessions * usize::from(node.weight)).div_ceil(weights.max(1))
    };
    let shares = usable.iter().map(|(node, there)| (node.id, *there, share(node)));
    shares.filter(|(_, there, share)| there > share).map(|(node, _, share)| (node, share)).collect()
}
