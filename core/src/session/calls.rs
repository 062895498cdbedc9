//! SIP calls (protocol S2.5, S2.6). They cannot be restored (rule R14): all we keep is which calls
//! are not over, to end them when their upstream dies.

use crate::signaling::{Peek, synthetic};

use super::{Event, Output, core::Session, ledger::Pending, state::Subject};

/// Statuses after which the SDK forgets a call (protocol S3.5).
const OVER: &[&str] = &["FINISH", "FAILED", "BUSY"];

impl Session {
    pub(super) fn call(&mut self, peek: &Peek<'_>) {
        let Some(id) = self.client_id(peek, "callId") else { return self.forward_or_drop() };
        if self.is_up() {
            self.note_call(&id);
            self.outputs.push(Output::ForwardToUpstream);
        } else {
            self.say_to_client(synthetic::call_finished(&id, "FAILED"));
        }
    }

    /// A verb on a call whose upstream may be gone: then the call is, too.
    pub(super) fn call_verb(&mut self, peek: &Peek<'_>) {
        if self.is_up() {
            self.outputs.push(Output::ForwardToUpstream);
        } else if let Some(id) = self.client_id(peek, "callId") {
            self.say_to_client(synthetic::call_finished(&id, "FAILED"));
        }
    }

    pub(super) fn hangup(&mut self, peek: &Peek<'_>) {
        let Some(id) = self.client_id(peek, "callId") else { return self.forward_or_drop() };
        let pending = Pending::Hangup(id.as_ref().into());
        if self.drop_burst(&Subject::Call(id.as_ref().into())) {
            // Its end is held back: no answer would come any more.
            self.ledger.calls.retain(|call| **call != *id);
            self.say_to_client(synthetic::call_finished(&id, "FINISH"));
        } else if self.is_up() {
            // From now on the end of the call answers the client's own word. A call that is over
            // already, its end crossing the hangup, gets no other.
            let before = self.ledger.calls.len();
            self.ledger.calls.retain(|call| **call != *id);
            if self.ledger.calls.len() < before {
                self.note_pending(pending);
            }
            self.outputs.push(Output::ForwardToUpstream);
        } else {
            self.answer_lost(pending);
        }
    }

    fn note_call(&mut self, id: &str) {
        if self.ledger.calls.iter().any(|call| &**call == id) {
            return;
        }
        if self.ledger.calls.len() >= self.settings.bounds.calls_max {
            self.event(Event::LimitReached { limit: "session.calls_max" });
        } else if self.keep_if(self.may_keep_id(id), id.len()) {
            self.ledger.calls.push(id.into());
        }
    }

    pub(super) fn incoming_call(&mut self, peek: &Peek<'_>) {
        if let Some(id) = peek.id("callId") {
            self.note_call(&id);
        }
        self.outputs.push(Output::ForwardToClient);
    }

    /// The status, not the name of the message, drives the SDK's state of a call.
    pub(super) fn call_status(&mut self, peek: &Peek<'_>) {
        let over = peek.string("status").is_some_and(|status| OVER.contains(&&*status));
        let id = peek.id("callId");
        if let (true, Some(id)) = (over, &id) {
            let _ = self.ledger.settle(&Pending::Hangup(id.as_ref().into()));
        }
        let known = id.as_deref().and_then(|id| self.ledger.calls.iter().position(|call| &**call == id));
        let (Some(id), Some(index), true) = (id, known, over) else {
            self.outputs.push(Output::ForwardToClient);
            return;
        };
        if !self.hold_as_burst(Subject::Call(id.as_ref().into()), peek.text()) {
            self.ledger.calls.swap_remove(index);
            self.outputs.push(Output::ForwardToClient);
        }
    }

    /// The end of a call that was held back and whose epoch lives.
    pub(super) fn release_call_end(&mut self, id: &str, message: Vec<u8>) {
        self.ledger.calls.retain(|call| &**call != id);
        self.say_to_client(message);
    }

    pub(super) fn finish_calls(&mut self) {
        for id in std::mem::take(&mut self.ledger.calls) {
            self.say_to_client(synthetic::call_finished(&id, "FAILED"));
            self.leave_call_behind(id);
        }
    }

    /// A session that is resumed by token may still have this call (rule R8).
    pub(super) fn leave_call_behind(&mut self, id: Box<str>) {
        let fits = self.may_keep_id(&id).is_ok();
        let calls = &mut self.ledger.left_behind.calls;
        if fits && self.client.keep_alive && calls.len() < self.settings.bounds.calls_max {
            calls.push(id);
        }
    }
}
