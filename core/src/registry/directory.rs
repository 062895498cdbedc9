//! The registry as a session sees it.

use crate::session::{Directory, EndOfName, Holder, Identity, NameSnapshot, SessionId, Timestamp};

use super::Registry;

impl Directory for &Registry {
    fn name(&self, name: &str) -> NameSnapshot {
        self.names.get(name)
    }

    fn hold_name(&mut self, name: &str, holder: Holder, now: Timestamp) {
        self.names.hold(name, holder, now);
    }

    fn release_name(&mut self, name: &str, session: SessionId, end: EndOfName, now: Timestamp) {
        self.names.release(name, session, end, now);
    }

    fn await_name(&mut self, name: &str, session: SessionId) -> bool {
        self.names.wait(name, session)
    }

    fn stop_awaiting_name(&mut self, name: &str, session: SessionId) {
        self.names.stop_waiting(name, session);
    }

    fn take_waiters(&mut self, name: &str) -> Vec<SessionId> {
        self.names.take_waiters(name)
    }

    fn kept_bytes_left(&self) -> usize {
        self.kept.left()
    }

    fn kept_bytes_changed(&mut self, before: usize, now: usize) {
        self.kept.change(before, now);
    }

    fn note_h264_in_vain(&mut self, publisher: Identity, until: Timestamp, now: Timestamp) {
        self.in_vain.note(publisher, until, now);
    }

    fn had_h264_in_vain(&self, publisher: Identity, now: Timestamp) -> bool {
        self.in_vain.knows(publisher, now)
    }
}
