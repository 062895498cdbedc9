//! SIP calls (protocol S2.5, S2.6). They cannot be restored (rule R14): all we keep is which calls
//! are not over, to end them when their upstream dies.

use crate::signaling::{
    synthetic,
    view::{CallMessage, Field},
};

use super::{Event, context::Context, held_back::Subject, kept::texts, requests::Pending};

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

impl Calls {
    pub(super) fn call(&mut self, ctx: &mut Context<'_>, call: CallMessage<'_>) {
        let Some(id) = ctx.client_id(call.call_id()) else { return ctx.forward_or_drop() };
        if ctx.is_up() {
            self.note_call(ctx, &id);
            ctx.out.forward_upstream();
        } else {
            ctx.say_to_client(synthetic::call_finished(&id, "FAILED"));
        }
    }

    /// A verb on a call whose upstream may be gone: then the call is, too.
    pub(super) fn call_verb(&self, ctx: &mut Context<'_>, call: CallMessage<'_>) {
        if ctx.is_up() {
            ctx.out.forward_upstream();
        } else if let Some(id) = ctx.client_id(call.call_id()) {
            ctx.say_to_client(synthetic::call_finished(&id, "FAILED"));
        }
    }

    pub(super) fn hangup(&mut self, ctx: &mut Context<'_>, call: CallMessage<'_>) {
        let Some(id) = ctx.client_id(call.call_id()) else { return ctx.forward_or_drop() };
        let pending = Pending::Hangup(id.as_ref().into());
        if ctx.held_back.forget(&Subject::Call(id.as_ref().into())) {
            // Its end is held back: no answer would come any more.
            self.end(&id);
            ctx.say_to_client(synthetic::call_finished(&id, "FINISH"));
        } else if ctx.is_up() {
            // From now on the end of the call answers the client's own word. A call that is over
            // already, its end crossing the hangup, gets no other.
            if self.end(&id) {
                ctx.note_pending(pending);
            }
            ctx.out.forward_upstream();
        } else {
            ctx.answer_lost(pending);
        }
    }

    fn note_call(&mut self, ctx: &mut Context<'_>, id: &str) {
        if self.knows(id) {
            return;
        }
        if self.len() >= ctx.settings.bounds.calls_max {
            ctx.event(Event::LimitReached { limit: "session.calls_max" });
        } else if ctx.keep_if(ctx.may_keep_id(id), id.len()) {
            self.add(id);
        }
    }

    pub(super) fn incoming_call(&mut self, ctx: &mut Context<'_>, call: CallMessage<'_>) {
        if let Some(id) = call.call_id().and_then(Field::id) {
            self.note_call(ctx, &id);
        }
        ctx.out.forward_to_client();
    }

    /// The status, not the name of the message, drives the SDK's state of a call.
    pub(super) fn call_status(&mut self, ctx: &mut Context<'_>, call: CallMessage<'_>) {
        let over = call.is_over();
        let id = call.call_id().and_then(Field::id);
        if let (true, Some(id)) = (over, &id) {
            let _ = ctx.requests.settle(&Pending::Hangup(id.as_ref().into()));
        }
        match id.filter(|id| over && self.knows(id)) {
            Some(id) if ctx.hold_back(Subject::Call(id.as_ref().into()), call.text()) => {}
            Some(id) => {
                self.end(&id);
                ctx.out.forward_to_client();
            }
            None => ctx.out.forward_to_client(),
        }
    }

    /// The end of a call that was held back and whose epoch lives.
    pub(super) fn release(&mut self, ctx: &mut Context<'_>, id: &str, message: Vec<u8>) {
        self.end(id);
        ctx.say_to_client(message);
    }

    pub(super) fn finish(&mut self, ctx: &mut Context<'_>) {
        for id in self.end_all() {
            ctx.say_to_client(synthetic::call_finished(&id, "FAILED"));
            ctx.leave_call_behind(id);
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
