//! What the client sends.

use std::{
    ops::Range,
    task::{Context, Poll},
};

use crate::{
    net::{admission, media_socket},
    session::{Close, Input, Output, Timestamp},
    signaling,
    wire::{
        frames::{Received, Run},
        side::{Filled, Side},
        websocket::{ProtocolError, Step},
    },
};

use super::{Driver, events::EndCause};

/// How often `idle_before_first_message` may begin anew because of signs of life: whoever sends nothing but
/// these is no client.
const PATIENCES_BEFORE_FIRST_MESSAGE_MAX: u32 = 10;

impl Driver {
    /// Whether one side lags behind with what it is sent: neither is read from then, since what either
    /// says may be answered to it or passed on to the other.
    pub(super) fn is_paused(&self) -> bool {
        self.upstream_is_full() || self.client_is_full()
    }

    /// Whether a large message is not read on because memory is full.
    pub(super) fn waits_for_memory(&self, side: Option<&Side>) -> bool {
        side.is_some_and(Side::is_gathering) && self.shared.memory.is_full()
    }

    /// Whether the client lags behind with what it is sent.
    pub(super) fn client_is_full(&self) -> bool {
        let mark = self.shared.settings.limits.client_buffer_bytes_max;
        self.client.as_ref().is_some_and(|client| client.is_full(mark))
    }

    /// True if something was read.
    pub(super) fn read_client(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Timestamp) -> bool {
        if self.is_paused() || self.waits_for_memory(self.client.as_ref()) {
            return false;
        }
        let Some(client) = &mut self.client else { return false };
        let filled = client.poll_fill(cx, scratch);
        if filled.is_ready() {
            self.passed_something(now);
        }
        match filled {
            Poll::Pending => return false,
            Poll::Ready(Ok(Filled::Scratch(length))) => {
                let buffer = scratch.get_mut(..length).unwrap_or_default();
                self.client_bytes(cx, buffer, now);
            }
            Poll::Ready(Ok(Filled::Own(mut buffer))) => self.client_bytes(cx, &mut buffer, now),
            Poll::Ready(Ok(Filled::Partly)) => self.client_activity(now),
            Poll::Ready(Ok(Filled::End) | Err(_)) => self.client_gone(None, now),
        }
        true
    }

    fn client_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], now: Timestamp) {
        let bytes_max = self.shared.settings.limits.message_bytes_max;
        let mut run = Run::default();
        let mut at = 0;
        let mut messages = false;
        while let Some(client) = &mut self.client
            && at < buffer.len()
        {
            let Some(rest) = buffer.get_mut(at..) else { break };
            match client.decode(rest, bytes_max) {
                Ok(Step::Incomplete { needed }) => {
                    client.keep(rest, needed);
                    break;
                }
                Ok(step) => {
                    messages |= matches!(step, Step::Message { .. } | Step::Assembled { .. });
                    at = self.client_step(cx, buffer, at, step, &mut run, now);
                }
                Err(error) => {
                    self.client_broke_protocol(error, now);
                    break;
                }
            }
        }
        if let Some(upstream) = &mut self.upstream {
            upstream.send(cx, run.take(buffer), now);
        }
        if !messages {
            self.client_activity(now);
        }
    }

    /// Deals with one frame that begins at `at`; where the next one begins.
    fn client_step(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        at: usize,
        step: Step,
        run: &mut Run,
        now: Timestamp,
    ) -> usize {
        let shift = |range: Range<usize>| at.saturating_add(range.start)..at.saturating_add(range.end);
        match step {
            Step::Message { end, binary, payload, mask } => {
                let received = Received::Whole { frame: shift(0..end), payload: shift(payload), mask };
                let next = at.saturating_add(end);
                self.client_message(buffer, next, &received, binary, run, now);
                next
            }
            Step::Assembled { end, binary, message } => {
                let next = at.saturating_add(end);
                self.client_message(buffer, next, &Received::Assembled(message), binary, run, now);
                next
            }
            Step::Ping { end, payload } => {
                if let (Some(client), Some(payload)) = (&mut self.client, buffer.get(shift(payload))) {
                    client.queue_pong(payload);
                }
                at.saturating_add(end)
            }
            Step::Pong { end } | Step::Fragment { end } => at.saturating_add(end),
            Step::Close { code, reason } => {
                // What came before the close frame goes out before the upstream is closed.
                if let Some(upstream) = &mut self.upstream {
                    upstream.send(cx, run.take(buffer), now);
                }
                self.end_cause = EndCause::Client(code);
                self.close_client(code.map_or(Close::NoCode, Close::Code));
                self.hear_reason(code, buffer.get(shift(reason)));
                self.tell_client_closed(code, now);
                self.parting = None;
                buffer.len()
            }
            Step::Incomplete { .. } => buffer.len(),
        }
    }

    fn client_message(
        &mut self,
        buffer: &mut [u8],
        next: usize,
        received: &Received,
        binary: bool,
        run: &mut Run,
        now: Timestamp,
    ) {
        if !self.first_message_seen && self.is_first_message(buffer, next, received, binary, now) {
            return;
        }
        if self.passthrough {
            if let Some(upstream) = &mut self.upstream {
                run.add(buffer, received, binary, upstream);
            }
            return;
        }
        let message = received.payload(buffer);
        let input = if binary { Input::ClientBinary(message) } else { Input::ClientText(message) };
        self.core.handle(input, now);
        for order in self.core.take_outputs() {
            match (order, &mut self.upstream) {
                (Output::ForwardToUpstream, Some(upstream)) => run.add(buffer, received, binary, upstream),
                (Output::ForwardToUpstream, None) => {}
                (order, upstream) => {
                    if let Some(upstream) = upstream {
                        run.queue(buffer, upstream);
                    }
                    self.carry_out(order);
                }
            }
        }
    }

    /// Looks at what may be the first message; true if the socket is a session no more.
    fn is_first_message(
        &mut self,
        buffer: &[u8],
        next: usize,
        received: &Received,
        binary: bool,
        now: Timestamp,
    ) -> bool {
        let message = received.payload(buffer);
        let peek = (!binary).then(|| signaling::peek(message).ok()).flatten();
        match peek.as_ref().map(|peek| &*peek.name) {
            // Signs of life say nothing of who it is: the first message is still to come.
            Some("ping" | "pong") => {
                let patience = self.shared.settings.listen.idle_before_first_message;
                let latest = self.began + patience * PATIENCES_BEFORE_FIRST_MESSAGE_MAX;
                self.heard_by = self.heard_by.map(|_| (now + patience).min(latest));
                false
            }
            name => {
                self.first_message_seen = true;
                self.heard_by = None;
                let newcomer = self.newcomer.as_ref();
                if newcomer.is_some_and(|newcomer| !admission::allows_first_message(&self.shared, newcomer)) {
                    self.reject_client(1013, now);
                    return true;
                }
                let rest = buffer.get(next..).unwrap_or_default();
                name == Some(media_socket::CONNECT) && self.becomes_media_socket(message, rest)
            }
        }
    }

    /// `rest` is what was read behind the message.
    fn becomes_media_socket(&mut self, message: &[u8], rest: &[u8]) -> bool {
        let (Some(mut client), Some(place)) = (self.client.take(), self.place.take()) else { return false };
        client.unread(rest);
        self.end_cause = EndCause::MediaSocket;
        let start = media_socket::Start {
            client,
            upstream: self.upstream.take(),
            node: self.registered.mailbox.node(),
            request: std::sync::Arc::clone(&self.request),
            id: self.id(),
            place,
            newcomer: self.newcomer.take(),
        };
        media_socket::spawn(&self.shared, start, message);
        true
    }

    pub(super) fn client_activity(&mut self, now: Timestamp) {
        if !self.passthrough && self.client.is_some() {
            self.tell(Input::ClientActivity, now);
        }
    }

    fn client_broke_protocol(&mut self, error: ProtocolError, now: Timestamp) {
        tracing::warn!(session = %self.id(), %error, "the client broke the WebSocket protocol");
        self.reject_client(error.close_code(), now);
    }

    /// Keeps the reason of a close frame while what it leads to is carried out.
    pub(super) fn hear_reason(&mut self, code: Option<u16>, reason: Option<&[u8]>) {
        // The decoder has checked that it is text.
        let reason = reason.and_then(|reason| std::str::from_utf8(reason).ok()).unwrap_or_default();
        self.parting = code.filter(|_| !reason.is_empty()).map(|code| Box::new((code, reason.into())));
    }

    /// The client's socket ended without a close frame, or is to be dropped.
    pub(super) fn client_gone(&mut self, code: Option<u16>, now: Timestamp) {
        if self.client.take().is_some() {
            self.end_cause = EndCause::ClientLost;
            self.tell_client_closed(code, now);
        }
    }

    /// The client's socket has ended; the upstream is closed at once.
    pub(super) fn tell_client_closed(&mut self, code: Option<u16>, now: Timestamp) {
        let passthrough = self.passthrough;
        self.tell(Input::ClientClosed(code), now);
        if passthrough && let Some(upstream) = self.upstream.take() {
            self.part(upstream, code.map_or(Close::NoCode, Close::Code), ());
        }
    }
}
