//! The nodes by their ids. An id is given once and never again, so that whoever kept one cannot mean another
//! node by it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::RwLock;

use super::Node;
use crate::ids::NodeId;

/// Names of nodes that are gone and still known, for what is told of them later.
const GONE_KEPT_MAX: usize = 256;

/// All nodes of all pools, in the order of the configuration; those that are no longer in it come last.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Nodes {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<NodeId, Arc<Node>>,
    order: Vec<NodeId>,
    /// Ids that were given.
    given: u32,
    /// What the last that are gone were called.
    gone: VecDeque<(NodeId, Box<str>)>,
}

impl Nodes {
    /// Adds the node that is made for a new id.
    pub(in crate::upstream) fn add(&self, make: impl FnOnce(NodeId) -> Node) -> Arc<Node> {
        let mut known = self.known.write();
        let id = NodeId(known.given);
        known.given = known.given.saturating_add(1);
        let node = Arc::new(make(id));
        known.nodes.insert(id, Arc::clone(&node));
        known.order.push(id);
        node
    }

    /// This value stands for the node of its id from now on, if there is one.
    pub(in crate::upstream) fn replace(&self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        if let Some(known) = self.known.write().nodes.get_mut(&node.id) {
            *known = Arc::clone(&node);
        }
        node
    }

    /// Puts these before all others, in this order.
    pub(in crate::upstream) fn put_first(&self, first: &[NodeId]) {
        let mut known = self.known.write();
        let others: Vec<NodeId> = known.order.iter().filter(|id| !first.contains(id)).copied().collect();
        known.order = first.iter().copied().chain(others).collect();
    }

    /// The node is no more.
    pub(in crate::upstream) fn remove(&self, id: NodeId) {
        let mut known = self.known.write();
        known.order.retain(|one| *one != id);
        let Some(node) = known.nodes.remove(&id) else { return };
        if known.gone.len() >= GONE_KEPT_MAX {
            known.gone.pop_front();
        }
        known.gone.push_back((id, node.name.clone()));
    }

    /// The node of this id, as long as it is there.
    pub(in crate::upstream) fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        self.known.read().nodes.get(&id).cloned()
    }

    /// What the node of this id is or was called.
    pub(in crate::upstream) fn name(&self, id: NodeId) -> String {
        let known = self.known.read();
        let gone = || known.gone.iter().find(|(gone, _)| *gone == id).map(|(_, name)| name);
        known
            .nodes
            .get(&id)
            .map(|node| &node.name)
            .or_else(gone)
            .map_or_else(String::new, |name| name.to_string())
    }

    /// All nodes.
    pub(in crate::upstream) fn all(&self) -> Vec<Arc<Node>> {
        let known = self.known.read();
        known.order.iter().filter_map(|id| known.nodes.get(id)).cloned().collect()
    }

    /// The nodes of one pool that are in the configuration.
    pub(in crate::upstream) fn of(&self, pool: &str) -> Vec<Arc<Node>> {
        let mut nodes = self.all();
        nodes.retain(|node| *node.pool == *pool && !node.is_removed());
        nodes
    }
}
