//! Moving whole messages between a player and the upstream of the moment.

use std::task::{Context, Poll, ready};

use crate::{
    net::memory::{Account, Demand},
    session::Timestamp,
    signaling::{ClientMessage, ServerMessage, peek},
    wire::{
        read::{Batch, Came, End, Message, Next, read},
        side::Side,
        websocket::Opcode,
    },
};

use super::timeline::Timeline;

/// Bounds of a pump, from the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) message_bytes_max: usize,
    pub(super) client_buffer_bytes_max: usize,
    pub(super) upstream_buffer_bytes_max: usize,
}

/// Why the pump stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The client ended its socket.
    Client(End),
    /// The upstream connection ended.
    Upstream(End),
    /// The first binary message of this upstream went to the client.
    Flows,
    /// Memory is full, and this one has most in its buffers.
    Memory,
}

/// The two ends of a media socket.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) client: Side,
    /// `None` in an outage.
    pub(super) upstream: Option<Side>,
    /// A binary message came over the present upstream.
    pub(super) flows: bool,
    /// What the player sees of time, across upstreams.
    pub(super) timeline: Timeline,
    /// When something last came from either side.
    pub(super) heard_at: Timestamp,
    /// The reason in the close frame that one side sent, for the other.
    pub(super) parting: Box<str>,
    /// Pings of the present upstream that the client has not answered yet.
    pings_due: u32,
    bounds: Bounds,
    /// What both sides have in buffers.
    buffers: Account,
}

impl Pump {
    pub(super) fn new(client: Side, bounds: Bounds, buffers: Account, now: Timestamp) -> Self {
        Self {
            client,
            upstream: None,
            flows: false,
            timeline: Timeline::default(),
            heard_at: now,
            parting: Box::default(),
            pings_due: 0,
            bounds,
            buffers,
        }
    }

    /// Goes on with another upstream; returns the one before.
    pub(super) fn change_upstream(&mut self, upstream: Side) -> Option<Side> {
        self.flows = false;
        self.pings_due = 0;
        self.timeline.begin_anew();
        self.upstream.replace(upstream)
    }

    /// Moves what can be moved; ready when the pump stopped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Timestamp) -> Poll<Stopped> {
        loop {
            if let Some(stopped) = self.write(cx, now) {
                return Poll::Ready(stopped);
            }
            let upstream = self.read_upstream(cx, scratch, now);
            if let Poll::Ready(Some(stopped)) = upstream {
                return Poll::Ready(stopped);
            }
            let client = self.read_client(cx, scratch, now);
            if let Poll::Ready(Some(stopped)) = client {
                return Poll::Ready(stopped);
            }
            let buffered = self.upstream.as_ref().map_or(0, Side::buffered_bytes);
            match self.buffers.state(self.client.buffered_bytes().saturating_add(buffered), cx.waker()) {
                Demand::Nothing => {}
                Demand::Close => return Poll::Ready(Stopped::Memory),
            }
            if upstream.is_ready() || client.is_ready() {
                self.heard_at = now;
            } else {
                let paused = self.is_paused();
                if let Some(stopped) = self.write(cx, now) {
                    return Poll::Ready(stopped);
                }
                // Whoever was not read from because the other side lagged is looked at again.
                if !paused || self.is_paused() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether one side lags behind with what it is sent: neither is read from then, since what
    /// either says may be answered to it or passed on to the other.
    fn is_paused(&self) -> bool {
        let mark = self.bounds.upstream_buffer_bytes_max;
        self.client.is_full(self.bounds.client_buffer_bytes_max)
            || self.upstream.as_ref().is_some_and(|upstream| upstream.is_full(mark))
    }

    fn waits_for_memory(&self, side: &Side) -> bool {
        side.is_gathering() && self.buffers.memory().is_full()
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Option<Stopped> {
        self.client.send(cx, &[], now);
        if self.client.write_failed() {
            return Some(Stopped::Client(End::Reset));
        }
        let upstream = self.upstream.as_mut()?;
        upstream.send(cx, &[], now);
        upstream.write_failed().then_some(Stopped::Upstream(End::Reset))
    }

    fn read_upstream(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Timestamp,
    ) -> Poll<Option<Stopped>> {
        if self.is_paused() || self.upstream.as_ref().is_some_and(|upstream| self.waits_for_memory(upstream))
        {
            return Poll::Pending;
        }
        let Some(upstream) = &mut self.upstream else { return Poll::Pending };
        let mut batch = match ready!(read(upstream, cx, scratch)) {
            Came::Bytes(batch) => batch,
            Came::Part => return Poll::Ready(None),
            Came::Ended(end) => return Poll::Ready(Some(Stopped::Upstream(end))),
        };
        let mut stopped = None;
        while let Some(next) = batch.next(upstream, self.bounds.message_bytes_max) {
            let mut message = match next {
                Next::Message(message) => message,
                Next::Ended(end) => {
                    stopped = Some(Stopped::Upstream(end));
                    break;
                }
            };
            if message.is_binary {
                self.timeline.rewrite(batch.payload_mut(&mut message));
                if !std::mem::replace(&mut self.flows, true) {
                    stopped = Some(Stopped::Flows);
                }
            } else if is_ping_of_server(batch.payload(&message)) {
                self.pings_due = self.pings_due.saturating_add(1);
            }
            batch.pass_on(&message, &mut self.client);
        }
        batch.send(&mut self.client, cx, now);
        Poll::Ready(stopped)
    }

    fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Timestamp,
    ) -> Poll<Option<Stopped>> {
        if self.is_paused() || self.waits_for_memory(&self.client) {
            return Poll::Pending;
        }
        let mut batch = match ready!(read(&mut self.client, cx, scratch)) {
            Came::Bytes(batch) => batch,
            Came::Part => return Poll::Ready(None),
            Came::Ended(end) => return Poll::Ready(Some(Stopped::Client(end))),
        };
        let mut stopped = None;
        while let Some(next) = batch.next(&mut self.client, self.bounds.message_bytes_max) {
            match next {
                Next::Message(message) => self.hear_client(&mut batch, &message),
                Next::Ended(end) => stopped = Some(Stopped::Client(end)),
            }
        }
        if let Some(upstream) = &mut self.upstream {
            batch.send(upstream, cx, now);
        }
        Poll::Ready(stopped)
    }

    /// Without an upstream, what a player says is dropped, and its pings are answered here.
    fn hear_client(&mut self, batch: &mut Batch<'_>, message: &Message) {
        let is = |wanted: fn(ClientMessage<'_>) -> bool| {
            let peek = (!message.is_binary).then(|| peek(batch.payload(message)).ok()).flatten();
            peek.is_some_and(|peek| wanted(ClientMessage::of(&peek)))
        };
        let Some(upstream) = &mut self.upstream else {
            if is(|message| matches!(message, ClientMessage::Ping)) {
                // It has no `data`, as a server's answer has none (protocol S2.9).
                self.client.queue_message(Opcode::Text, br#"{"message":"pong"}"#);
            }
            return;
        };
        if is(|message| matches!(message, ClientMessage::Pong)) {
            // The answer to a ping of an upstream that is gone is nothing to the present one.
            let Some(left) = self.pings_due.checked_sub(1) else { return };
            self.pings_due = left;
        }
        batch.pass_on(message, upstream);
    }
}

fn is_ping_of_server(message: &[u8]) -> bool {
    peek(message).is_ok_and(|peek| matches!(ServerMessage::of(&peek), ServerMessage::Ping))
}
