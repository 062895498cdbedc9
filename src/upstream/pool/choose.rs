//! Which node is dialled first: by what it is used for, and among equals by the policy. A session that lost its
//! node goes back there, or where the others of that node go: what belongs together stays together.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{
    Pool,
    policy::{self, Candidate},
};
use crate::{
    config::Policy,
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
    pub(crate) fn place(&self, request: &ClientRequest, excluded: &[NodeId]) -> Option<NodeId> {
        let mut usable = self.order(request, None).into_iter().filter(|node| node.is_usable());
        usable.find(|node| !excluded.contains(&node.id)).map(|node| node.id)
    }

    /// The nodes of its pool in the order in which they are tried for this client, who was on node `from` before; none that is
    /// in maintenance. It is settled before the first dial: what that changes does not bring a node up twice.
    pub(super) fn order(&self, request: &ClientRequest, from: Option<NodeId>) -> Vec<Arc<Node>> {
        let now = Instant::now();
        let mut ranks: BTreeMap<Rank, Vec<Arc<Node>>> = BTreeMap::new();
        for node in self.nodes.of(request.pool()) {
            if let Some(rank) = rank(&node, request.path(), now) {
                ranks.entry(rank).or_default().push(node);
            }
        }
        let from = from.and_then(|from| self.nodes.get(from));
        ranks.into_values().flat_map(|equals| self.order_of(equals, request, from.as_deref())).collect()
    }

    /// The order among equals.
    fn order_of(
        &self,
        equals: Vec<Arc<Node>>,
        request: &ClientRequest,
        from: Option<&Node>,
    ) -> Vec<Arc<Node>> {
        let (policy, hash_by) = {
            let ways = self.ways.load();
            (ways.policy, ways.hash_by)
        };
        if policy == Policy::First || equals.len() < 2 {
            return equals;
        }
        let now = self.now();
        let candidates: Vec<Candidate<'_>> = equals
            .iter()
            .map(|node| Candidate {
                id: node.id,
                name: &node.name,
                weight: f64::from(node.weight),
                part: node.part(now),
                load: node.load(),
            })
            .collect();
        let order = match (from, policy) {
            (Some(from), _) => {
                let mut order = policy::hash(&candidates, from.name.as_bytes());
                // Stable.
                order.sort_by_key(|id| *id != from.id);
                order
            }
            (None, Policy::RoundRobin) => self.turns.lock().next(&candidates),
            (None, Policy::Hash) => policy::hash(&candidates, &request.hash_key(hash_by)),
            (None, Policy::LeastSessions | Policy::First) => policy::least_sessions(&candidates),
        };
        order.into_iter().filter_map(|id| equals.iter().find(|node| node.id == id).cloned()).collect()
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
        settings.upstream.policy = Policy::First;
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
            names(&pool.order(&ClientRequest::probe("/wss"), None)),
            ["up", "up2", "refuses", "silent", "suspect", "draining", "down"]
        );
        assert_eq!(
            names(&pool.order(&ClientRequest::probe("/"), None)),
            ["refuses", "up", "up2", "silent", "suspect", "draining", "down"]
        );
        // One that is drained and gone is no better than one that is gone.
        node("draining").tell(Input::Unreachable("refused"), now);
        assert_eq!(
            names(&pool.order(&ClientRequest::probe("/"), None)),
            ["refuses", "up", "up2", "silent", "suspect", "down", "draining"]
        );
    }

    /// A pool of nodes `a`, `b`, `c` with this policy.
    fn three(policy: Policy) -> Arc<Pool> {
        let mut settings = NetSettings::default();
        settings.upstream.url = ["a", "b", "c"].map(|n| format!("{n}=ws://{n}:1").parse().unwrap()).to_vec();
        settings.upstream.policy = policy;
        settings.upstream.health = Some(Default::default());
        pool(&settings)
    }

    #[tokio::test]
    async fn the_policy_orders_nodes_that_are_up() {
        let request = ClientRequest::probe("/");
        let firsts = |pool: &Pool| {
            let mut seats = Vec::new();
            let mut first = || {
                let node = pool.order(&request, None).swap_remove(0);
                seats.push(node.seat());
                node.name.to_string()
            };
            (0..6).map(|_| first()).collect::<String>()
        };
        assert_eq!(firsts(&three(Policy::First)), "aaaaaa");
        assert_eq!(firsts(&three(Policy::LeastSessions)), "abcabc");
        assert_eq!(firsts(&three(Policy::RoundRobin)), "abcabc");
        let by_hash = firsts(&three(Policy::Hash));
        assert!(by_hash.chars().all(|name| by_hash.starts_with(name)), "{by_hash}");
    }

    #[tokio::test]
    async fn sessions_that_lost_a_node_go_back_there_or_all_to_one() {
        for policy in [Policy::LeastSessions, Policy::RoundRobin, Policy::Hash] {
            let pool = three(policy);
            let b = pool.by_name("b").unwrap();
            let next = || pool.order(&ClientRequest::probe("/"), Some(b));
            let _seats: Vec<_> = (0..5).map(|_| next()[0].seat()).collect();
            assert_eq!(&*next()[0].name, "b", "it may have been the connection alone");
            pool.node(b).unwrap().tell(Input::Unreachable("refused"), pool.now());
            let heir = next().swap_remove(0);
            let _seats: Vec<_> = (0..50).map(|_| heir.seat()).collect();
            assert_eq!(next()[0].id, heir.id, "{policy:?}: however many are there already");
            assert_eq!(next()[2].id, b);
        }
    }

    #[tokio::test]
    async fn connections_that_a_node_tells_of_count_as_its_load() {
        let pool = three(Policy::LeastSessions);
        let node = pool.node(pool.by_name("a").unwrap()).unwrap();
        let _seat = node.seat();
        assert_eq!(node.load(), 1.0);
        let mut settings = NetSettings::default();
        settings.upstream.url = vec!["a=ws://a:1".parse().unwrap()];
        let http = crate::config::CheckSettings::of(crate::config::CheckKind::Http);
        settings.upstream.health = Some(crate::config::Checks(vec![http]));
        let pool = self::pool(&settings);
        let node = pool.node(pool.by_name("a").unwrap()).unwrap();
        let seats = [node.seat(), node.seat()];
        node.heard(crate::upstream::check::Figures { connections: Some(7.0), ..Default::default() });
        assert_eq!(node.load(), 7.0);
        let _third = node.seat();
        assert_eq!(node.load(), 8.0, "what came since");
        drop(seats);
        assert_eq!(node.load(), 6.0, "what went since");
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
