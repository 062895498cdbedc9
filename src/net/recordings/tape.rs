//! Where the lines of one session go.

use std::sync::Arc;

use crate::{recording::Tape, session::SessionId};

use super::Recording;

/// The part that one session has in a recording.
pub(super) struct SessionTape {
    recording: Arc<Recording>,
    session: SessionId,
    held_bytes: usize,
    /// It is counted among the sessions of the recording.
    has_written: bool,
}

impl SessionTape {
    /// None: it has one already, as a session that begins while the others are told.
    pub(super) fn of(recording: &Arc<Recording>, session: SessionId) -> Option<Box<Self>> {
        let is_new = recording.state.lock().attached.insert(session);
        is_new.then(|| {
            Box::new(Self { recording: Arc::clone(recording), session, held_bytes: 0, has_written: false })
        })
    }
}

impl Tape for SessionTape {
    fn write(&mut self, lines: Vec<String>) -> bool {
        let is_taken = self.recording.write(lines);
        if is_taken && !std::mem::replace(&mut self.has_written, true) {
            self.recording.state.lock().sessions += 1;
        }
        is_taken
    }

    fn is_over(&self) -> bool {
        self.recording.is_over()
    }

    fn hold(&mut self, bytes: usize) -> bool {
        let mut state = self.recording.state.lock();
        let held = state.held_bytes.saturating_add(bytes);
        if held > self.recording.held_bytes_max() {
            return false;
        }
        state.held_bytes = held;
        self.held_bytes += bytes;
        true
    }

    fn release(&mut self) {
        self.recording.state.lock().held_bytes -= std::mem::take(&mut self.held_bytes);
    }
}

impl Drop for SessionTape {
    fn drop(&mut self) {
        self.release();
        self.recording.state.lock().attached.remove(&self.session);
    }
}
