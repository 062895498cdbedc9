//! What an operator orders of a running proxy: nodes out of use and back, sessions evened out.

use crate::{session::NodeId, telemetry::past::PastOutage, upstream::WishRefused};

use super::{
    Proxy,
    mover::{DrainOrder, DrainStatus},
};

impl Proxy {
    /// Begins to take all sessions off a node. Needs a tokio runtime.
    ///
    /// # Errors
    /// There is no such node, or no other one of its pool is up.
    pub fn drain(&self, node: NodeId, order: DrainOrder) -> Result<DrainStatus, WishRefused> {
        let shared = self.shared();
        shared.movers.drain(shared, node, order)
    }

    /// Uses a node again, and calls off a drain of it.
    ///
    /// # Errors
    /// There is no such node.
    pub fn undrain(&self, node: NodeId) -> Result<(), WishRefused> {
        let shared = self.shared();
        shared.movers.undrain(shared, node)
    }

    /// Begins to take sessions off the nodes that have more than their share; those nodes.
    pub fn rebalance(&self, rate: u32) -> Vec<DrainStatus> {
        let shared = self.shared();
        shared.movers.rebalance(shared, rate)
    }

    /// The last outages that are over, the newest first.
    #[must_use]
    pub fn past_outages(&self) -> Vec<PastOutage> {
        self.shared().past.list()
    }

    /// How far the drain of a node is; none if there was none of late.
    #[must_use]
    pub fn drain_status(&self, node: NodeId) -> Option<DrainStatus> {
        self.shared().movers.status(node)
    }
}
