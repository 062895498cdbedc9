//! Nodes that come, change and go while the pool is in use.
//!
//! What can fail is done when the nodes are planned; taking them in cannot. A node that is no longer in the
//! configuration is drained: it stays as long as sessions are there, and none goes there any more.

use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::{Pool, Ways};
use crate::{
    config::{DEFAULT_POOL, NamedNode, NetSettings, UpstreamSettings},
    ids::NodeId,
    limits::Files,
    upstream::{
        check,
        dial::{Address, PoolError},
        node::{Node, state::Input},
    },
};

/// Most nodes that are no longer in the configuration and have sessions.
const LEFT_MAX: usize = 256;

/// The nodes of a configuration, which nothing speaks against any more.
#[derive(Debug)]
pub(crate) struct Planned {
    nodes: Vec<(NamedNode, Address)>,
    upstream: UpstreamSettings,
    /// How they are reached is other than it was, whatever is written of each.
    is_other_way: bool,
}

/// What became of the nodes, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeChanges {
    /// New ones.
    pub(crate) added: Vec<String>,
    /// Those of which something else is said.
    pub(crate) changed: Vec<String>,
    /// Those that were being left, and are not any more.
    pub(crate) returned: Vec<String>,
    /// Those that are no longer in the configuration.
    pub(crate) removed: Vec<NodeId>,
}

impl Planned {
    /// The nodes of these settings; `before` are those that hold now, if the TLS of nodes is the same as well.
    ///
    /// # Errors
    /// There is none, or a name cannot be used with TLS.
    pub(crate) fn new(
        settings: &NetSettings,
        (tls, files): (&Arc<ClientConfig>, &Arc<Files>),
        before: Option<&UpstreamSettings>,
    ) -> Result<Self, PoolError> {
        let upstream = &settings.upstream;
        let with_address = |named: NamedNode| {
            let to = (named.settings.url.clone(), named.send_proxy);
            let address = Address::new(to, tls, upstream, files)?;
            Ok((named, address))
        };
        let nodes: Vec<_> =
            settings.nodes().into_iter().map(with_address).collect::<Result<_, PoolError>>()?;
        if !nodes.iter().any(|(named, _)| named.pool == DEFAULT_POOL) {
            return Err(PoolError::NoNode);
        }
        let lists_aside =
            |one: &UpstreamSettings| UpstreamSettings { url: Vec::new(), node: Vec::new(), ..one.clone() };
        let is_other_way = before.is_none_or(|before| lists_aside(before) != lists_aside(upstream));
        Ok(Self { nodes, upstream: upstream.clone(), is_other_way })
    }
}

impl Pool {
    /// Whether there is room for what these nodes leave behind.
    ///
    /// # Errors
    /// There are too many nodes that sessions have not left yet.
    pub(crate) fn check_room(&self, planned: &Planned) -> Result<(), PoolError> {
        let stays = |node: &Node| planned.nodes.iter().any(|(named, _)| node.is_written(named));
        let left = self.nodes.all().iter().filter(|node| !stays(node)).count();
        if left > LEFT_MAX { Err(PoolError::TooManyLeft(left)) } else { Ok(()) }
    }

    /// From now on these are the nodes. What is known of those that stay is kept.
    pub(crate) fn take_in(self: &Arc<Self>, planned: Planned) -> NodeChanges {
        let Planned { nodes, upstream, is_other_way } = planned;
        self.ways.store(Arc::new(Ways::of(&upstream)));
        let mut changes = NodeChanges::default();
        let known = self.nodes.all();
        let stays = |node: &Node| nodes.iter().any(|(named, _)| node.is_written(named));
        for gone in known.iter().filter(|node| !stays(node) && !node.is_removed()) {
            self.tell(gone, Input::Listed(false));
            changes.removed.push(gone.id);
        }
        let mut order = Vec::new();
        for (named, address) in nodes {
            // Of several that were left the last is the one that is meant.
            let before = known.iter().rev().find(|node| node.is_written(&named));
            self.free_name(&named.name, before.map(|node| node.id));
            let node = match before {
                None => {
                    changes.added.push(named.name.clone());
                    let now = self.now();
                    let node = self.nodes.add(|id| Node::new(id, &named, &upstream, address, now));
                    check::start(self, &node);
                    node
                }
                Some(before) => {
                    self.take_back(before, &named, (&upstream, address, is_other_way), &mut changes)
                }
            };
            order.push(node.id);
        }
        self.nodes.put_first(&order);
        // Whoever waits for a node may find another one now.
        changes.removed.iter().for_each(|node| self.outage.fell(*node));
        self.outage.announce(|_| true);
        changes
    }

    fn take_back(
        self: &Arc<Self>,
        before: &Arc<Node>,
        named: &NamedNode,
        (upstream, address, is_other_way): (&UpstreamSettings, Address, bool),
        changes: &mut NodeChanges,
    ) -> Arc<Node> {
        let (was_removed, is_same) = (before.is_removed(), before.is_as_written(named));
        if !is_same {
            changes.changed.push(named.name.clone());
        }
        if is_same && !is_other_way && !was_removed {
            return Arc::clone(before);
        }
        let node = self.nodes.replace(before.changed(named, upstream, address, self.now()));
        if was_removed {
            changes.returned.push(named.name.clone());
            self.tell(&node, Input::Listed(true));
        }
        if *before.checks != *node.checks {
            check::start(self, &node);
        }
        node
    }

    /// No other node goes by this name.
    fn free_name(&self, name: &str, except: Option<NodeId>) {
        let all = self.nodes.all();
        for node in all.iter().filter(|node| *node.name == *name && Some(node.id) != except) {
            self.nodes.replace(node.renamed());
        }
    }

    /// Forgets the nodes that are no longer in the configuration and that nobody is on; those.
    pub(crate) fn let_go(&self, is_empty: impl Fn(NodeId) -> bool) -> Vec<(NodeId, String)> {
        let all = self.nodes.all();
        let gone = all.iter().filter(|node| node.is_removed() && node.sessions() == 0 && is_empty(node.id));
        let let_go = |node: &Arc<Node>| {
            node.checking.cancel();
            self.nodes.remove(node.id);
            self.outage.forget(node.id);
            (node.id, node.name.to_string())
        };
        gone.map(let_go).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::upstream::{node::Wish, pool::tests::pool, request::ClientRequest};

    fn settings(nodes: &[&str]) -> NetSettings {
        let mut settings = NetSettings::default();
        settings.upstream.url = nodes.iter().map(|node| node.parse().unwrap()).collect();
        settings.upstream.health = Some(Default::default());
        settings.upstream.policy = crate::config::Policy::First;
        settings
    }

    fn take_in(pool: &Arc<Pool>, to: &NetSettings) -> NodeChanges {
        let tls = ClientConfig::builder()
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth();
        let planned = Planned::new(to, (&Arc::new(tls), &pool.files), None).unwrap();
        pool.check_room(&planned).unwrap();
        pool.take_in(planned)
    }

    fn names(pool: &Pool) -> Vec<String> {
        pool.nodes().into_iter().map(|node| node.name).collect()
    }

    fn order(pool: &Pool) -> Vec<String> {
        pool.order(&ClientRequest::probe("/"), None).iter().map(|node| node.name.to_string()).collect()
    }

    #[tokio::test]
    async fn nodes_come_and_go_and_ids_are_never_given_twice() {
        let pool = pool(&settings(&["a=ws://a:1", "b=ws://b:1"]));
        let b = pool.by_name("b").unwrap();
        let seat = pool.node(b).unwrap().seat();
        let changes = take_in(&pool, &settings(&["c=ws://c:1", "a=ws://a:1"]));
        assert_eq!((changes.added, changes.removed), (vec!["c".to_owned()], vec![b]));
        assert_eq!(names(&pool), ["c", "a", "b"], "as it is written, then what is left");
        assert_eq!(order(&pool), ["c", "a"], "nothing goes to what is not there");
        assert_eq!(pool.nodes()[2].reason_kind, "removed");
        assert_eq!(pool.let_go(|_| true), [], "somebody is there");
        assert_eq!(pool.wish(b, Wish::InUse, false), Err(crate::upstream::WishRefused::Removed));
        drop(seat);
        assert_eq!(pool.let_go(|_| false), [], "or was");
        assert_eq!(pool.let_go(|_| true), [(b, "b".to_owned())]);
        assert_eq!((names(&pool), pool.node_name(b)), (vec!["c".to_owned(), "a".to_owned()], "b".to_owned()));
        take_in(&pool, &settings(&["a=ws://a:1", "b=ws://b:1"]));
        assert!(pool.by_name("b").unwrap() > b, "another one");
    }

    #[tokio::test]
    async fn a_node_that_comes_back_before_it_was_left_is_the_same() {
        let pool = pool(&settings(&["a=ws://a:1", "b=ws://b:1"]));
        let b = pool.by_name("b").unwrap();
        take_in(&pool, &settings(&["a=ws://a:1"]));
        let changes = take_in(&pool, &settings(&["a=ws://a:1", "b=ws://b:1"]));
        assert_eq!((changes.returned, changes.added), (vec!["b".to_owned()], vec![]));
        assert_eq!((pool.by_name("b"), order(&pool)), (Some(b), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(take_in(&pool, &settings(&["a=ws://a:1", "b=ws://b:1"])), NodeChanges::default());
    }

    #[tokio::test]
    async fn another_url_is_another_node_of_the_same_name() {
        let pool = pool(&settings(&["a=ws://a:1", "b=ws://b:1"]));
        let b = pool.by_name("b").unwrap();
        let _seat = pool.node(b).unwrap().seat();
        let changes = take_in(&pool, &settings(&["a=ws://a:1", "b=ws://elsewhere:1"]));
        assert_eq!((changes.added, changes.removed), (vec!["b".to_owned()], vec![b]));
        let (new, left) = (pool.by_name("b").unwrap(), format!("b~{}", b.0));
        assert_eq!(names(&pool), ["a", "b", &left], "no two go by one name");
        // And back: it is the first one again.
        let changes = take_in(&pool, &settings(&["a=ws://a:1", "b=ws://b:1"]));
        assert_eq!((changes.returned, changes.removed), (vec!["b".to_owned()], vec![new]));
        assert_eq!(pool.by_name("b"), Some(b));
    }

    #[tokio::test]
    async fn what_is_said_of_a_node_changes_and_what_is_known_of_it_stays() {
        let mut first = settings(&[]);
        first.upstream.node = vec![crate::config::NodeSettings::of(&"a=ws://a:1".parse().unwrap())];
        let pool = pool(&first);
        let a = pool.node(pool.by_name("a").unwrap()).unwrap();
        let _seat = a.seat();
        a.tell(Input::Unreachable("refused"), pool.now());
        let mut second = first;
        second.upstream.node[0].weight = 7;
        second.upstream.restore_rate = 3;
        second.upstream.health = Some(crate::config::Checks(vec![crate::config::CheckSettings::of(
            crate::config::CheckKind::Tcp,
        )]));
        let changes = take_in(&pool, &second);
        assert_eq!((changes.changed, changes.added), (vec!["a".to_owned()], vec![]));
        let shown = pool.nodes().swap_remove(0);
        assert_eq!((shown.weight, &*shown.state, shown.sessions), (7, "down", 1));
        assert!(a.checking.is_cancelled(), "its old checks are over");
        assert!(!pool.node(a.id).unwrap().checking.is_cancelled());
        // Whoever kept the old value tells the same node.
        a.tell(Input::Answered, pool.now());
        assert_eq!(pool.nodes()[0].state, "up");
    }

    #[tokio::test]
    async fn nodes_that_nobody_can_leave_are_bounded() {
        let pool = pool(&settings(&["a=ws://a:1"]));
        let mut seats = Vec::new();
        let tls = Arc::new(
            ClientConfig::builder()
                .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
                .with_no_client_auth(),
        );
        let mut refused = None;
        for n in 0..=LEFT_MAX {
            let to = settings(&["a=ws://a:1", &format!("b=ws://b{n}:1")]);
            let planned = Planned::new(&to, (&tls, &pool.files), None).unwrap();
            if let Err(error) = pool.check_room(&planned) {
                refused = Some((n, error));
                break;
            }
            pool.take_in(planned);
            seats.push(pool.node(pool.by_name("b").unwrap()).unwrap().seat());
        }
        assert!(refused.is_none(), "{refused:?}");
        let planned = Planned::new(&settings(&["a=ws://a:1"]), (&tls, &pool.files), None).unwrap();
        assert!(matches!(pool.check_room(&planned), Err(PoolError::TooManyLeft(_))));
        seats.clear();
        pool.let_go(|_| true);
        assert!(pool.check_room(&planned).is_ok());
    }
}
