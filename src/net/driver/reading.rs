//! What either side sends: one loop for both. Each message goes to the core, and what the core orders is
//! carried out before the next one is looked at.

use std::task::{Context, Poll};

use crate::{
    session::{Epoch, Input, Output, Timestamp},
    wire::{
        read::{Batch, Came, Message, Next, read},
        side::Side,
    },
};

use super::Driver;

/// Whom something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Client,
    /// The upstream connection of this epoch, whether it leads or is the one that is left.
    Upstream(Epoch),
}

impl Driver {
    /// The connection to it, while there is one.
    fn side(&mut self, of: From) -> Option<&mut Side> {
        match of {
            From::Client => self.client.as_mut(),
            From::Upstream(epoch) if epoch == self.epoch => self.upstream.as_mut(),
            From::Upstream(epoch) => self.beside.as_mut().filter(|b| b.epoch == epoch).map(|b| &mut b.side),
        }
    }

    /// Where goes on what comes from there: to the client, or to the upstream that leads.
    fn other_side(&mut self, from: From) -> Option<&mut Side> {
        match from {
            From::Client => self.upstream.as_mut(),
            From::Upstream(_) => self.client.as_mut(),
        }
    }

    /// Whether one side lags behind with what it is sent: neither is read from then, since what either
    /// says may be answered to it or passed on to the other.
    pub(super) fn is_paused(&self) -> bool {
        self.upstream_is_full() || self.client_is_full()
    }

    /// Whether the client lags behind with what it is sent.
    pub(super) fn client_is_full(&self) -> bool {
        let mark = self.limits.client_buffer_bytes_max;
        self.client.as_ref().is_some_and(|client| client.is_full(mark))
    }

    /// Whether the upstream lags behind with what it is sent.
    pub(super) fn upstream_is_full(&self) -> bool {
        let mark = self.limits.upstream_buffer_bytes_max;
        self.upstream.as_ref().is_some_and(|upstream| upstream.is_full(mark))
    }

    /// Whether the node that is left takes too little of what it is answered: it is not read either then.
    fn is_full(&self, from: From) -> bool {
        let mark = self.limits.upstream_buffer_bytes_max;
        let beside = self.beside.as_ref().filter(|beside| from == From::Upstream(beside.epoch));
        beside.is_some_and(|beside| beside.side.is_full(mark))
    }

    /// Whether a large message of this side is not read on because memory is full.
    fn waits_for_memory(&mut self, from: From) -> bool {
        self.side(from).is_some_and(|side| side.is_gathering()) && self.shared.memory.is_full()
    }

    /// Reads one side, once. True if something came.
    pub(super) fn read(
        &mut self,
        from: From,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Timestamp,
    ) -> bool {
        if self.is_paused() || self.waits_for_memory(from) || self.is_full(from) {
            return false;
        }
        let Some(side) = self.side(from) else { return false };
        let Poll::Ready(came) = read(side, cx, scratch) else { return false };
        self.passed_something(now);
        match came {
            Came::Bytes(batch) => self.deliver(from, cx, batch, now),
            Came::Part => self.heard(from, now),
            Came::Ended(end) => self.ended(from, end, now),
        }
        true
    }

    fn deliver(&mut self, from: From, cx: &mut Context<'_>, mut batch: Batch<'_>, now: Timestamp) {
        let bytes_max = self.limits.message_bytes_max;
        // The core may end the client or this epoch with any message: what follows is not delivered then.
        while self.client.is_some()
            && let Some(side) = self.side(from)
            && let Some(next) = batch.next(side, bytes_max)
        {
            match next {
                Next::Message(message) => self.message(from, &mut batch, &message, now),
                Next::Ended(end) => {
                    // What came before the end goes out before the other side hears of it.
                    self.send(from, cx, &mut batch, now);
                    self.ended(from, end, now);
                }
            }
        }
        self.send(from, cx, &mut batch, now);
        if !batch.had_message() {
            self.heard(from, now);
        }
    }

    /// Writes what goes on to the other side.
    fn send(&mut self, from: From, cx: &mut Context<'_>, batch: &mut Batch<'_>, now: Timestamp) {
        if let Some(to) = self.other_side(from) {
            batch.send(to, cx, now);
        }
    }

    fn message(&mut self, from: From, batch: &mut Batch<'_>, message: &Message, now: Timestamp) {
        if let Some(passage) = &mut self.passage {
            passage.came(from, batch.payload(message).len());
        }
        if self.is_passed_through() {
            if self.core.is_recorded() {
                let payload = batch.payload(message);
                let payload = if message.is_binary { Err(payload.len()) } else { Ok(payload) };
                self.core.passes(from == From::Client, payload, now);
            }
            return self.pass_on(from, batch, message);
        }
        let payload = batch.payload(message);
        let input = match (from, message.is_binary) {
            (From::Client, false) => Input::ClientText(payload),
            (From::Client, true) => Input::ClientBinary(payload),
            (From::Upstream(epoch), false) => Input::UpstreamText(epoch, payload),
            (From::Upstream(epoch), true) => Input::UpstreamBinary(epoch, payload),
        };
        self.core.handle(input, now);
        for order in self.core.take_outputs() {
            match (from, order) {
                (From::Client, Output::ForwardToUpstream) | (From::Upstream(_), Output::ForwardToClient) => {
                    self.pass_on(from, batch, message);
                }
                (_, Output::Mode(mode)) => {
                    if !self.enter(mode, batch, message, now) {
                        return;
                    }
                }
                (_, order) => {
                    // What it orders comes behind what went on before.
                    if let Some(to) = self.other_side(from) {
                        batch.queue(to);
                    }
                    self.carry_out(order);
                }
            }
        }
        if from == From::Client && self.mode.is_none() {
            self.wait_for_first_message(now);
        }
    }

    fn pass_on(&mut self, from: From, batch: &mut Batch<'_>, message: &Message) {
        if let Some(to) = self.other_side(from) {
            batch.pass_on(message, to);
        }
    }

    /// Something came that is no message: a sign of life.
    pub(super) fn heard(&mut self, from: From, now: Timestamp) {
        if self.is_passed_through() || self.side(from).is_none() {
            return;
        }
        let input = match from {
            From::Client => Input::ClientActivity,
            From::Upstream(epoch) => Input::UpstreamActivity(epoch),
        };
        self.tell(input, now);
    }
}
