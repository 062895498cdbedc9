//! Short ways for the world to note what happened.

use super::counters::{JournalEntry, Violation, ViolationKind, unix_ms};
use super::world::{ConnectionId, Role, SessionNumber, World};

impl World {
    /// Records that a client broke the protocol.
    pub(super) fn violation(&mut self, connection: ConnectionId, kind: ViolationKind, detail: String) {
        let session = match self.connections.get(&connection).map(|connection| connection.role) {
            Some(Role::Session(session) | Role::Media(session)) => Some(session),
            _ => None,
        };
        let violation = Violation { at_ms: unix_ms(), epoch: self.epoch, kind, connection, session, detail };
        self.violations.add(violation, self.settings.limits.violations_max);
    }

    /// Adds an event to the journal.
    pub(super) fn note(
        &mut self,
        session: Option<SessionNumber>,
        what: &'static str,
        name: &str,
        id: &str,
        detail: &str,
    ) {
        tracing::debug!(?session, what, name, id, detail, "simulated server");
        let entry = JournalEntry {
            at_ms: unix_ms(),
            epoch: self.epoch,
            session,
            what,
            name: name.to_owned(),
            id: id.to_owned(),
            detail: detail.to_owned(),
        };
        self.journal.add(entry, self.settings.limits.journal_max);
    }
}
