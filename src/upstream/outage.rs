//! Who waits for a node to come back.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::pool::NodeIndex;
use crate::{
    net::live::{Mailbox, Note},
    session::SessionId,
};

/// Sessions between two dials, and handshakes that are held (rule R13).
#[derive(Debug, Default)]
pub(super) struct Outage {
    state: Mutex<State>,
    up: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Told as soon as a node answers.
    sessions: HashMap<SessionId, Arc<Mailbox>>,
    /// Sessions whose connection did not last. A node that answers and then closes at once is left to
    /// their backoff; they are told when theirs was unreachable in between: then it has restarted.
    flapped: HashMap<SessionId, Arc<Mailbox>>,
    handshakes: usize,
    probes: usize,
}

impl State {
    fn anybody_waits(&self) -> bool {
        self.handshakes > 0 || !self.sessions.is_empty() || !self.flapped.is_empty()
    }
}

impl Outage {
    /// A session waits for its next dial. True if probes must be started for it.
    pub(super) fn enter(&self, session: SessionId, mailbox: Arc<Mailbox>) -> bool {
        let mut state = self.state.lock();
        state.flapped.remove(&session);
        state.sessions.insert(session, mailbox);
        state.probes == 0
    }

    /// A session waits out its backoff after a connection that did not last. True if probes must be
    /// started for it.
    pub(super) fn enter_flapped(&self, session: SessionId, mailbox: Arc<Mailbox>) -> bool {
        let mut state = self.state.lock();
        state.flapped.insert(session, mailbox);
        state.probes == 0
    }

    /// A node cannot be reached: for those whose connection it was, its answer will be news.
    pub(super) fn fell(&self, node: NodeIndex) {
        let mut state = self.state.lock();
        if state.flapped.is_empty() {
            return;
        }
        let flapped = std::mem::take(&mut state.flapped);
        let (fallen, others): (HashMap<_, _>, _) =
            flapped.into_iter().partition(|(_, mailbox)| mailbox.node() == node);
        state.flapped = others;
        state.sessions.extend(fallen);
    }

    /// A session no longer waits: it is connected or has ended.
    pub(super) fn leave(&self, session: SessionId) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for map in [&mut state.sessions, &mut state.flapped] {
            if map.remove(&session).is_some() && map.is_empty() {
                *map = HashMap::new();
            }
        }
    }

    /// A handshake is held. True if probes must be started for it.
    pub(super) fn enter_handshake(&self) -> bool {
        let mut state = self.state.lock();
        state.handshakes = state.handshakes.saturating_add(1);
        state.probes == 0
    }

    /// A handshake is no longer held.
    pub(super) fn leave_handshake(&self) {
        let mut state = self.state.lock();
        state.handshakes = state.handshakes.saturating_sub(1);
    }

    /// Completes with the next [`Outage::announce`] after this call.
    pub(super) fn announced(&self) -> Notified<'_> {
        self.up.notified()
    }

    /// A node answers: everybody's wait is over.
    pub(super) fn announce(&self) {
        let waiting = {
            let mut state = self.state.lock();
            if !state.anybody_waits() {
                return;
            }
            std::mem::take(&mut state.sessions)
        };
        for mailbox in waiting.into_values() {
            mailbox.post(Note::NodeUp);
        }
        self.up.notify_waiters();
    }

    /// Counts a probe task in, unless they run already.
    pub(super) fn start_probes(&self, nodes: usize) -> bool {
        let mut state = self.state.lock();
        let start = state.probes == 0 && state.anybody_waits();
        if start {
            state.probes = nodes;
        }
        start
    }

    /// Whether a probe task goes on; if not, it is counted out.
    pub(super) fn probe_again(&self) -> bool {
        let mut state = self.state.lock();
        let again = state.anybody_waits();
        if !again {
            state.probes = state.probes.saturating_sub(1);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(node: NodeIndex) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.set_node(node);
        mailbox
    }

    fn is_told(mailbox: &Mailbox) -> bool {
        let notes = mailbox.take(std::task::Waker::noop());
        notes.iter().any(|note| matches!(note, Note::NodeUp))
    }

    #[test]
    fn a_node_that_only_closes_is_left_to_the_backoff() {
        let outage = Outage::default();
        let (failed, flapped) = (waiting(0), waiting(0));
        assert!(outage.enter(SessionId(1), Arc::clone(&failed)));
        assert!(outage.enter_flapped(SessionId(2), Arc::clone(&flapped)));
        outage.announce();
        assert!(is_told(&failed) && !is_told(&flapped));
        assert!(outage.start_probes(1) && outage.probe_again(), "it may still fall");
        outage.leave(SessionId(2));
        assert!(!outage.probe_again());
    }

    #[test]
    fn a_node_that_was_away_ends_the_wait_of_its_own() {
        let outage = Outage::default();
        let (own, other) = (waiting(0), waiting(1));
        outage.enter_flapped(SessionId(1), Arc::clone(&own));
        outage.enter_flapped(SessionId(2), Arc::clone(&other));
        outage.fell(0);
        outage.announce();
        assert!(is_told(&own) && !is_told(&other));
    }
}
