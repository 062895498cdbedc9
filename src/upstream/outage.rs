//! Who waits for a node to come back.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

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
    sessions: HashMap<SessionId, Arc<Mailbox>>,
    handshakes: usize,
    probes: usize,
}

impl State {
    fn anybody_waits(&self) -> bool {
        self.handshakes > 0 || !self.sessions.is_empty()
    }
}

impl Outage {
    /// A session waits for its next dial. True if probes must be started for it.
    pub(super) fn enter(&self, session: SessionId, mailbox: Arc<Mailbox>) -> bool {
        let mut state = self.state.lock();
        state.sessions.insert(session, mailbox);
        state.probes == 0
    }

    /// A session no longer waits: it is connected or has ended.
    pub(super) fn leave(&self, session: SessionId) {
        let mut state = self.state.lock();
        state.sessions.remove(&session);
        if state.sessions.is_empty() {
            state.sessions = HashMap::new();
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
