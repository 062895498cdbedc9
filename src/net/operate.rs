//! What an operator orders of a running proxy: nodes out of use and back, sessions evened out, its own end.

use std::time::Duration;

use crate::{session::NodeId, telemetry::past::PastOutage, upstream::WishRefused};

use super::{
    Proxy, health,
    leaving::{LeaveCause, LeaveOrder, LeaveStatus, StayRefused},
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

    /// Begins to end, or goes on with that by another order: tells balancers, takes no new sessions, closes those
    /// that are left. Needs a tokio runtime.
    pub fn leave(&self, order: LeaveOrder, cause: LeaveCause<'_>) -> LeaveStatus {
        let shared = self.shared();
        shared.leaving.order(shared, order, cause)
    }

    /// Begins to end as the settings say, because a signal of this name came.
    pub fn leave_for_signal(&self, name: &str) -> LeaveStatus {
        self.leave(self.order_to_leave(), LeaveCause::Signal(name))
    }

    /// How it ends where nobody says otherwise.
    #[must_use]
    pub fn order_to_leave(&self) -> LeaveOrder {
        LeaveOrder::of(&self.shared().settings.load().limits)
    }

    /// Serves on, though the end was ordered.
    ///
    /// # Errors
    /// There is nothing to call off, or it is too late.
    pub fn stay(&self) -> Result<(), StayRefused> {
        self.shared().leaving.call_off()
    }

    /// How far its end is.
    #[must_use]
    pub fn leaving(&self) -> LeaveStatus {
        let shared = self.shared();
        shared.leaving.status(shared)
    }

    /// Completes when it has ended; true if nobody was left.
    pub async fn left(&self) -> bool {
        self.shared().leaving.ended().await
    }

    /// What speaks against its being alive: a runtime that has not shown itself for this long (10 s at most), a
    /// media worker that hangs or has ended. Waits for nothing that they do.
    #[must_use]
    pub fn faults(&self, patience: Duration) -> Vec<&'static str> {
        health::faults(self.shared(), patience)
    }
}
