//! Who waits for a node to come back, and for what in particular.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use crate::{ids::NodeId, session::SessionId};

/// A session, as far as it is known to those it waits for.
pub(crate) trait Waits: fmt::Debug + Send + Sync {
    /// The node it was connected to last.
    fn node(&self) -> NodeId;

    /// A node answers that could not be reached.
    fn node_up(&self);

    /// The path on which it was refused is open again.
    fn path_up(&self);
}

/// Sessions between two dials, and handshakes that are held (rule R13).
#[derive(Debug, Default)]
pub(super) struct Outage {
    state: Mutex<State>,
    /// A node answers.
    up: Notify,
    /// A path is open again.
    opened: Notify,
    /// Somebody begins to wait, or a node is found down.
    changed: Notify,
}

/// What a session waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// No node could be reached: told as soon as one answers.
    Node,
    /// The connection did not last. A node that answers and then closes at once is left to the
    /// session's backoff; it is told when its node was unreachable in between: then that has restarted.
    Return,
    /// It was refused on this path.
    Path(Arc<str>),
}

#[derive(Debug)]
struct Waiter {
    session: Arc<dyn Waits>,
    awaits: Awaits,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Waiter>,
    handshakes: usize,
    /// Nodes that have a task which probes them.
    probed: Vec<NodeId>,
    /// Nodes that closed a connection which had not lasted, and that no probe has looked at since.
    lost: Vec<NodeId>,
}

impl State {
    fn anybody_waits(&self) -> bool {
        self.handshakes > 0 || !self.sessions.is_empty()
    }

    /// Takes out the sessions that get a note; their room goes when nobody is left.
    fn take(&mut self, mut is_meant: impl FnMut(&Waiter) -> bool) -> Vec<Arc<dyn Waits>> {
        let meant: Vec<SessionId> =
            self.sessions.iter().filter(|(_, waiter)| is_meant(waiter)).map(|(id, _)| *id).collect();
        let taken = meant.iter().filter_map(|id| self.sessions.remove(id)).map(|waiter| waiter.session);
        let taken = taken.collect();
        if self.sessions.is_empty() {
            self.sessions = HashMap::new();
        }
        taken
    }
}

impl Outage {
    /// A session waits for its next dial.
    pub(super) fn enter(&self, id: SessionId, session: Arc<dyn Waits>, awaits: Awaits) {
        let mut state = self.state.lock();
        let node = session.node();
        if awaits == Awaits::Return && !state.lost.contains(&node) {
            state.lost.push(node);
        }
        state.sessions.insert(id, Waiter { session, awaits });
        drop(state);
        self.changed.notify_waiters();
    }

    /// A node cannot be reached: for those whose connection it was, its answer will be news.
    pub(super) fn fell(&self, node: NodeId) {
        let mut state = self.state.lock();
        for waiter in state.sessions.values_mut() {
            if waiter.awaits == Awaits::Return && waiter.session.node() == node {
                waiter.awaits = Awaits::Node;
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// A session no longer waits: it is connected or has ended.
    pub(super) fn leave(&self, session: SessionId) {
        let mut state = self.state.lock();
        if state.sessions.remove(&session).is_some() && state.sessions.is_empty() {
            state.sessions = HashMap::new();
        }
    }

    /// A handshake is held.
    pub(super) fn enter_handshake(&self) {
        let mut state = self.state.lock();
        state.handshakes = state.handshakes.saturating_add(1);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A handshake is no longer held.
    pub(super) fn leave_handshake(&self) {
        let mut state = self.state.lock();
        state.handshakes = state.handshakes.saturating_sub(1);
    }

    /// Whether a session has come to await the return of this node since this was asked last: only a
    /// look at once tells a node that restarts quickly from one that closes.
    pub(super) fn take_lost(&self, node: NodeId) -> bool {
        let mut state = self.state.lock();
        let before = state.lost.len();
        state.lost.retain(|lost| *lost != node);
        state.lost.len() < before
    }

    /// The node is no more: nobody looks at it.
    pub(super) fn forget(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.probed.retain(|probed| *probed != node);
        state.lost.retain(|lost| *lost != node);
    }

    /// Completes with the next [`Outage::announce`] after this call.
    pub(super) fn announced(&self) -> Notified<'_> {
        self.up.notified()
    }

    /// Completes with the next [`Outage::open`] after this call.
    pub(super) fn opened(&self) -> Notified<'_> {
        self.opened.notified()
    }

    /// Completes when somebody begins to wait, or a node is found down, after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// A node answers: whoever could not reach one waits no longer, if it may use it as it could the node where it was.
    pub(super) fn announce(&self, is_meant: impl Fn(NodeId) -> bool) {
        let waiting = {
            let mut state = self.state.lock();
            if !state.anybody_waits() {
                return;
            }
            state.take(|waiter| waiter.awaits == Awaits::Node && is_meant(waiter.session.node()))
        };
        for session in waiting {
            session.node_up();
        }
        self.up.notify_waiters();
    }

    /// A path is open again that was refused.
    pub(super) fn open(&self, path: &str) {
        let waiting = {
            let mut state = self.state.lock();
            state.take(|waiter| matches!(&waiter.awaits, Awaits::Path(refused) if **refused == *path))
        };
        for session in waiting {
            session.path_up();
        }
        self.opened.notify_waiters();
    }

    /// Whether anybody waits at all.
    pub(super) fn anybody_waits(&self) -> bool {
        self.state.lock().anybody_waits()
    }

    /// The paths that sessions wait for; a handshake that is held may wait for any.
    pub(super) fn wanted_paths(&self) -> impl Fn(&str) -> bool + use<> {
        let state = self.state.lock();
        let any = state.handshakes > 0;
        let mut paths: Vec<Arc<str>> = Vec::new();
        for waiter in state.sessions.values() {
            if let Awaits::Path(path) = &waiter.awaits
                && !paths.iter().any(|known| known == path)
                && paths.len() < PATHS_LOOKED_AT_MAX
            {
                paths.push(Arc::clone(path));
            }
        }
        move |path| any || paths.iter().any(|known| **known == *path)
    }

    /// True if the caller is to start a task that probes this node: none does.
    pub(super) fn start_probe(&self, node: NodeId) -> bool {
        let mut state = self.state.lock();
        let start = !state.probed.contains(&node);
        if start {
            state.probed.push(node);
        }
        start
    }

    /// Whether the task that probes this node goes on; if not, it is counted out.
    pub(super) fn probe_again(&self, node: NodeId, is_down: bool) -> bool {
        let mut state = self.state.lock();
        let again = is_down || state.anybody_waits();
        if !again {
            state.probed.retain(|probed| *probed != node);
        }
        again
    }
}

/// More different paths than this are not looked for among the sessions that wait.
const PATHS_LOOKED_AT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Waiting {
        node: NodeId,
        is_told: AtomicBool,
    }

    impl Waits for Waiting {
        fn node(&self) -> NodeId {
            self.node
        }

        fn node_up(&self) {
            self.is_told.store(true, Ordering::Relaxed);
        }

        fn path_up(&self) {
            self.is_told.store(true, Ordering::Relaxed);
        }
    }

    fn waiting(node: NodeId) -> Arc<Waiting> {
        Arc::new(Waiting { node, is_told: AtomicBool::new(false) })
    }

    fn is_told(session: &Waiting) -> bool {
        session.is_told.load(Ordering::Relaxed)
    }

    #[test]
    fn a_node_that_only_closes_is_left_to_the_backoff() {
        let outage = Outage::default();
        let (failed, flapped) = (waiting(NodeId(0)), waiting(NodeId(0)));
        outage.enter(SessionId(1), failed.clone(), Awaits::Node);
        outage.enter(SessionId(2), flapped.clone(), Awaits::Return);
        outage.announce(|_| true);
        assert!(is_told(&failed) && !is_told(&flapped));
        assert!(outage.probe_again(NodeId(0), false), "it may still fall");
        outage.leave(SessionId(2));
        assert!(!outage.probe_again(NodeId(0), false));
    }

    #[test]
    fn a_node_that_was_away_ends_the_wait_of_its_own() {
        let outage = Outage::default();
        let (own, other) = (waiting(NodeId(0)), waiting(NodeId(1)));
        outage.enter(SessionId(1), own.clone(), Awaits::Return);
        outage.enter(SessionId(2), other.clone(), Awaits::Return);
        outage.fell(NodeId(0));
        outage.announce(|_| true);
        assert!(is_told(&own) && !is_told(&other));
    }

    #[test]
    fn a_path_is_told_to_those_who_were_refused_on_it() {
        let outage = Outage::default();
        let (here, there, node) = (waiting(NodeId(0)), waiting(NodeId(0)), waiting(NodeId(0)));
        outage.enter(SessionId(1), here.clone(), Awaits::Path("/wss".into()));
        outage.enter(SessionId(2), there.clone(), Awaits::Path("/other".into()));
        outage.enter(SessionId(3), node.clone(), Awaits::Node);
        outage.announce(|_| true);
        assert!(is_told(&node) && !is_told(&here));
        outage.open("/wss");
        assert!(is_told(&here) && !is_told(&there));
        assert!(outage.wanted_paths()("/other") && !outage.wanted_paths()("/wss"));
    }

    #[test]
    fn each_node_has_one_task_whatever_the_others_do() {
        let outage = Outage::default();
        assert!(
            outage.start_probe(NodeId(0)) && outage.start_probe(NodeId(1)) && !outage.start_probe(NodeId(1))
        );
        // One finds that nobody waits while the other hangs; then somebody waits again.
        assert!(!outage.probe_again(NodeId(0), false));
        outage.enter(SessionId(1), waiting(NodeId(0)), Awaits::Node);
        assert!(outage.start_probe(NodeId(0)) && !outage.start_probe(NodeId(1)));
        outage.leave(SessionId(1));
        assert!(outage.probe_again(NodeId(1), true), "a node that is down is looked after");
    }
}
