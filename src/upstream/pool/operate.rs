//! What operators and the parts above ask of the nodes, and what they wish.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Pool;
use crate::{
    ids::NodeId,
    session::SessionId,
    upstream::node::{NodeStatus, Wish, state::Input},
};

/// A server that is shut down closes its sessions at once: they tell of it within this time.
const OTHERS_TELL_WITHIN: Duration = Duration::from_millis(50);

/// Why a wish for a node is not fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishRefused {
    /// No node has this name or id.
    #[error("there is no such node")]
    NoSuchNode,
    /// It is no longer in the configuration, and sessions leave it.
    #[error("it is no longer in the configuration")]
    Removed,
    /// No other node of its pool is up.
    #[error("no other node of its pool is up")]
    LastUsable,
}

impl Pool {
    /// The name of a node, for logs.
    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.nodes.name(node)
    }

    /// The pool of a node; `None` if there is no such node.
    pub(crate) fn pool_of(&self, node: NodeId) -> Option<Arc<str>> {
        self.nodes.get(node).map(|node| Arc::clone(&node.pool))
    }

    /// All that is known of the nodes of all pools, those of `default` first.
    pub(crate) fn nodes(&self) -> Vec<NodeStatus> {
        let now = self.now();
        self.nodes.all().iter().map(|node| node.status(now)).collect()
    }

    /// The node of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<NodeId> {
        self.nodes.all().iter().find(|node| *node.name == *name).map(|node| node.id)
    }

    /// Whether a session may go to this node.
    pub(crate) fn is_usable(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_usable())
    }

    /// Whether another node of its pool is up: then a session need not wait for this one.
    pub(crate) fn usable_elsewhere(&self, node: NodeId) -> bool {
        let Some(node) = self.nodes.get(node) else { return false };
        self.nodes.of(&node.pool).iter().any(|other| other.id != node.id && other.is_usable())
    }

    /// An operator wants this of a node. The last node of a pool that is up is taken out of use only where
    /// that is forced.
    ///
    /// # Errors
    /// There is no such node, or it is the last one.
    pub(crate) fn wish(self: &Arc<Self>, id: NodeId, wish: Wish, is_forced: bool) -> Result<(), WishRefused> {
        let node = self.nodes.get(id).ok_or(WishRefused::NoSuchNode)?;
        if wish == Wish::InUse && node.is_removed() {
            return Err(WishRefused::Removed);
        }
        let leaves = wish != Wish::InUse && node.wish() == Wish::InUse;
        if leaves && !is_forced && !self.usable_elsewhere(id) {
            return Err(WishRefused::LastUsable);
        }
        self.tell(&node, Input::Wish(wish));
        Ok(())
    }

    /// A node has closed the connection of this session with a code that says that it goes away. Where another is
    /// usable that may be the beginning of a drain: true if it is, and was not before.
    pub(crate) fn closed_going_away(self: &Arc<Self>, id: NodeId, session: SessionId) -> bool {
        let Some(node) = self.nodes.get(id).filter(|_| self.usable_elsewhere(id)) else { return false };
        if node.wish() != Wish::InUse {
            return false;
        }
        // The session still has its own place there.
        self.tell(&node, Input::ClosedGoingAway(session, node.sessions().saturating_sub(1)));
        node.wish() != Wish::InUse
    }

    /// A session that was closed like that waits a moment: if the node goes away, others tell of it, and the
    /// session is not to go back there.
    pub(crate) async fn wait_for_others_who_leave(&self, id: NodeId) {
        let is_in_use = self.nodes.get(id).is_some_and(|node| node.wish() == Wish::InUse);
        if is_in_use && self.usable_elsewhere(id) {
            sleep(OTHERS_TELL_WITHIN).await;
        }
    }

    /// A session has asked its node for a sign of life and heard nothing for a while: a probe decides.
    pub(super) fn silent(self: &Arc<Self>, node: NodeId) {
        if let Some(node) = self.nodes.get(node) {
            self.tell(&node, Input::Silent);
        }
    }

    /// Time goes on: what ends by itself ends, and lines of the log that were kept back are written. To be
    /// called about once a second.
    pub(crate) fn tick(self: &Arc<Self>) {
        self.nodes.all().iter().for_each(|node| self.tell(node, Input::Tick));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::{config::NetSettings, upstream::pool::tests::pool};

    /// A pool of two nodes that nobody asks how they are.
    fn two_nodes() -> (Arc<Pool>, NodeId, NodeId) {
        let mut settings = NetSettings::default();
        settings.upstream.url =
            vec!["a=ws://192.0.2.1:1".parse().unwrap(), "b=ws://192.0.2.2:1".parse().unwrap()];
        settings.upstream.health = Some(Default::default());
        let pool = pool(&settings);
        let (a, b) = (pool.by_name("a").unwrap(), pool.by_name("b").unwrap());
        (pool, a, b)
    }

    #[tokio::test]
    async fn what_sessions_report_is_in_the_status() {
        let (pool, a, b) = two_nodes();
        pool.silent(a);
        let shown = pool.nodes().swap_remove(0);
        assert_eq!((&*shown.state, &*shown.reason_kind), ("suspect", "silent"));
        assert!(pool.usable_elsewhere(a) && !pool.usable_elsewhere(b));
        pool.silent(NodeId(99));
        assert_eq!(pool.node_name(NodeId(99)), "");
    }

    #[tokio::test]
    async fn no_more_than_their_share_of_the_nodes_is_ejected_at_once() {
        let (pool, a, b) = two_nodes();
        for node in [a, b] {
            let node = pool.node(node).unwrap();
            for _ in 0..10 {
                pool.tell(&node, Input::Refused);
            }
        }
        let states: Vec<_> = pool.nodes().into_iter().map(|node| node.state).collect();
        assert_eq!(states, ["suspect", "up"], "half of two");
    }
}
