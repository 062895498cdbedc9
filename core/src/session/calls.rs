//! SIP calls (protocol S2.5, S2.6). They cannot be restored (rule R14): all we keep is which calls
//! are not over, to end them when their upstream dies.

use crate::signaling::{Peek, synthetic};

use super::{Event, Output, core::Session, held_back::Subject, kept::texts, requests::Pending};

/// Statuses after which the SDK forgets a call (protocol S3.5).
const OVER: &[&str] = &["FINISH", "FAILED", "BUSY"];

/// Which calls of a session are not over, by their ids.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Box<str>>);

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|call| **call == *id)
    }

    fn add(&mut self, id: &str) {
        self.0.push(id.into());
    }

    /// The call is over; false if it was.
    fn end(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|call| **call != *id);
        self.0.len() < before
    }

    /// All of them are over.
    fn end_all(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.0)
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        texts(&self.0)
    }
}

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
        if self.held_back.forget(&Subject::Call(id.as_ref().into())) {
            // Its end is held back: no answer would come any more.
            self.ledger.calls.end(&id);
            self.say_to_client(synthetic::call_finished(&id, "FINISH"));
        } else if self.is_up() {
            // From now on the end of the call answers the client's own word. A call that is over
            // already, its end crossing the hangup, gets no other.
            if self.ledger.calls.end(&id) {
                self.note_pending(pending);
            }
            self.outputs.push(Output::ForwardToUpstream);
        } else {
            self.answer_lost(pending);
        }
    }

    fn note_call(&mut self, id: &str) {
        if self.ledger.calls.knows(id) {
            return;
        }
        if self.ledger.calls.len() >= self.settings.bounds.calls_max {
            self.event(Event::LimitReached { limit: "session.calls_max" });
        } else if self.keep_if(self.may_keep_id(id), id.len()) {
            self.ledger.calls.add(id);
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
            let _ = self.ledger.requests.settle(&Pending::Hangup(id.as_ref().into()));
        }
        match id.filter(|id| over && self.ledger.calls.knows(id)) {
            Some(id) if self.hold_as_burst(Subject::Call(id.as_ref().into()), peek.text()) => {}
            Some(id) => {
                self.ledger.calls.end(&id);
                self.outputs.push(Output::ForwardToClient);
            }
            None => self.outputs.push(Output::ForwardToClient),
        }
    }

    /// The end of a call that was held back and whose epoch lives.
    pub(super) fn release_call_end(&mut self, id: &str, message: Vec<u8>) {
        self.ledger.calls.end(id);
        self.say_to_client(message);
    }

    pub(super) fn finish_calls(&mut self) {
        for id in self.ledger.calls.end_all() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_over_once() {
        let mut calls = Calls::default();
        calls.add("a");
        calls.add("b");
        assert!(calls.knows("a") && calls.bytes() > 0);
        assert!(calls.end("a") && !calls.end("a"));
        assert_eq!((calls.end_all(), calls.len()), (vec!["b".into()], 0));
    }
}
