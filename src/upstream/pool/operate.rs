//! What operators and the parts above ask of the nodes, and what they wish.

use std::sync::Arc;

use super::Pool;
use crate::{
    config::DEFAULT_POOL,
    ids::NodeId,
    upstream::node::{Node, NodeStatus, Wish, state::Input},
};

/// Why a wish for a node is not fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishRefused {
    /// No node has this name or id.
    #[error("there is no such node")]
    NoSuchNode,
    /// No other node of its pool is up.
    #[error("no other node of its pool is up")]
    LastUsable,
}

impl Pool {
    /// The name of a node, for logs.
    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.nodes.get(node).map_or_else(String::new, |node| node.name.to_string())
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
        let leaves = wish != Wish::InUse && node.wish() == Wish::InUse;
        if leaves && !is_forced && !self.usable_elsewhere(id) {
            return Err(WishRefused::LastUsable);
        }
        self.wishes(&node, wish);
        Ok(())
    }

    fn wishes(self: &Arc<Self>, node: &Node, wish: Wish) {
        if node.tell(Input::Wish(wish), self.now()) {
            self.outage.announce();
        }
        if node.is_in_question() && node.pool.as_ref() == DEFAULT_POOL {
            self.start_probe(node.id);
        }
    }

    /// Writes lines of the log that were kept back; to be called once in a while.
    pub(crate) fn catch_up(&self) {
        let now = self.now();
        self.nodes.all().iter().for_each(|node| node.catch_up(now));
    }
}
