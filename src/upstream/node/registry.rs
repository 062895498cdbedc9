//! The nodes by their ids. An id is given once and never again, so that whoever kept one cannot mean another
//! node by it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use super::Node;
use crate::ids::NodeId;

/// All nodes of all pools, in the order in which they came.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Nodes {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<NodeId, Arc<Node>>,
    /// Ids that were given.
    given: u32,
}

impl Nodes {
    /// Adds the node that is made for a new id.
    ///
    /// # Errors
    /// Those of `make`.
    pub(in crate::upstream) fn add<E>(&self, make: impl FnOnce(NodeId) -> Result<Node, E>) -> Result<(), E> {
        let mut known = self.known.write();
        let id = NodeId(known.given);
        known.given = known.given.saturating_add(1);
        known.nodes.insert(id, Arc::new(make(id)?));
        Ok(())
    }

    /// The node of this id, as long as it is there.
    pub(in crate::upstream) fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        self.known.read().nodes.get(&id).cloned()
    }

    /// All nodes.
    pub(in crate::upstream) fn all(&self) -> Vec<Arc<Node>> {
        self.known.read().nodes.values().cloned().collect()
    }

    /// The nodes of one pool.
    pub(in crate::upstream) fn of(&self, pool: &str) -> Vec<Arc<Node>> {
        self.known.read().nodes.values().filter(|node| *node.pool == *pool).cloned().collect()
    }
}
