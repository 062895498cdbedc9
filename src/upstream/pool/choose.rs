//! Which node is dialled first: by what it is used for, then by the configured order.

use std::sync::Arc;

use tokio::time::Instant;

use super::Pool;
use crate::{
    config::DEFAULT_POOL,
    ids::NodeId,
    upstream::{
        node::{MediaState, Node, NodeState},
        request::ClientRequest,
    },
};

/// Where a node stands for one path, the best first. None of one rank is tried before all of the better
/// ones were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Up,
    /// Of the nodes that are there for when no other is.
    Backup,
    /// It is up and refused clients on this path a moment ago.
    Refusing,
    /// It is up and passes no media.
    NoMedia,
    Suspect,
    Draining,
    Down,
}

impl Pool {
    /// The node where a session of this client belongs now, other than those `excluded`; `None` if none of
    /// the others is up.
    // A session that moves will ask for it.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn place(&self, request: &ClientRequest, excluded: &[NodeId]) -> Option<NodeId> {
        let mut usable = self.order(request.path()).into_iter().filter(|node| node.is_usable());
        usable.find(|node| !excluded.contains(&node.id)).map(|node| node.id)
    }

    /// The nodes in the order in which they are tried for this path; none that is in maintenance. It is
    /// settled before the first dial: what that changes does not bring a node up twice.
    pub(super) fn order(&self, path: &str) -> Vec<Arc<Node>> {
        let now = Instant::now();
        let mut ranked: Vec<(Rank, Arc<Node>)> = self
            .nodes
            .of(DEFAULT_POOL)
            .into_iter()
            .filter_map(|node| Some((rank(&node, path, now)?, node)))
            .collect();
        // Stable: nodes of one rank keep the configured order.
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, node)| node).collect()
    }
}

/// `None`: nothing goes there.
fn rank(node: &Node, path: &str, now: Instant) -> Option<Rank> {
    let rank = match node.state() {
        NodeState::Maintenance => return None,
        NodeState::Down => Rank::Down,
        NodeState::Draining if node.is_gone() => Rank::Down,
        NodeState::Draining => Rank::Draining,
        NodeState::Suspect => Rank::Suspect,
        NodeState::Up if node.media() == MediaState::NoMedia => Rank::NoMedia,
        NodeState::Up if node.paths.lock().refuses(path, now) => Rank::Refusing,
        NodeState::Up if node.is_backup => Rank::Backup,
        NodeState::Up => Rank::Up,
    };
    Some(rank)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::{
        config::NetSettings,
        upstream::{
            node::{Wish, state::Input},
            pool::tests::pool,
        },
    };

    fn names(nodes: &[Arc<Node>]) -> Vec<&str> {
        nodes.iter().map(|node| &*node.name).collect()
    }

    #[tokio::test]
    async fn a_better_node_is_always_tried_before_a_worse_one() {
        let mut settings = NetSettings::default();
        let urls = ["down", "maintenance", "draining", "suspect", "silent", "refuses", "up", "up2"];
        settings.upstream.url =
            urls.iter().map(|name| format!("{name}=ws://{name}:1").parse().unwrap()).collect();
        let pool = pool(&settings);
        let node = |name: &str| pool.nodes.get(pool.by_name(name).unwrap()).unwrap();
        let now = pool.now();
        node("down").tell(Input::Unreachable("refused"), now);
        node("maintenance").tell(Input::Wish(Wish::Maintenance), now);
        node("draining").tell(Input::Wish(Wish::Drain), now);
        node("suspect").tell(Input::Overtaken, now);
        node("silent").tell(Input::MediaSilent(2), now);
        node("refuses").paths.lock().refused("/wss", Instant::now());
        assert_eq!(
            names(&pool.order("/wss")),
            ["up", "up2", "refuses", "silent", "suspect", "draining", "down"]
        );
        assert_eq!(
            names(&pool.order("/")),
            ["refuses", "up", "up2", "silent", "suspect", "draining", "down"]
        );
        // One that is drained and gone is no better than one that is gone.
        node("draining").tell(Input::Unreachable("refused"), now);
        assert_eq!(
            names(&pool.order("/")),
            ["refuses", "up", "up2", "silent", "suspect", "down", "draining"]
        );
    }

    #[tokio::test]
    async fn a_session_is_placed_on_a_node_that_is_up_or_nowhere() {
        let mut settings = NetSettings::default();
        settings.upstream.url = vec!["a=ws://a:1".parse().unwrap(), "b=ws://b:1".parse().unwrap()];
        let pool = pool(&settings);
        let request = ClientRequest::probe("/");
        let (a, b) = (pool.by_name("a").unwrap(), pool.by_name("b").unwrap());
        assert_eq!(pool.place(&request, &[]), Some(a));
        assert_eq!(pool.place(&request, &[a]), Some(b));
        assert_eq!(pool.place(&request, &[a, b]), None);
        pool.nodes.get(b).unwrap().tell(Input::Overtaken, pool.now());
        assert_eq!(pool.place(&request, &[a]), None);
    }
}
