//! Moving whole messages between a player and the upstream of the moment.

use std::task::{Context, Poll};

use crate::{
    net::memory::{Account, Demand},
    session::{LossCause, Timestamp},
    signaling,
    wire::{
        frames::{Received, Run},
        side::{Filled, Side},
        websocket::{Opcode, ProtocolError, Step},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The client closed, with this code, or vanished.
    Client(ClientEnd),
    /// The upstream connection ended.
    Upstream(LossCause),
    /// The upstream broke the protocol.
    UpstreamBroke(ProtocolError),
    /// The first binary message of this upstream went to the client.
    Flows,
    /// Memory is full, and this one has most in its buffers.
    Memory,
}

/// How the client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    /// A close frame.
    Closed(Option<u16>),
    /// No close frame.
    Lost,
    /// It broke the protocol.
    Broke(ProtocolError),
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
            return Some(Stopped::Client(ClientEnd::Lost));
        }
        let upstream = self.upstream.as_mut()?;
        upstream.send(cx, &[], now);
        upstream.write_failed().then_some(Stopped::Upstream(LossCause::Reset))
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
        let mut own;
        let buffer = match std::task::ready!(upstream.poll_fill(cx, scratch)) {
            Ok(Filled::Scratch(length)) => scratch.get_mut(..length).unwrap_or_default(),
            Ok(Filled::Own(bytes)) => {
                own = bytes;
                &mut own[..]
            }
            Ok(Filled::Partly) => return Poll::Ready(None),
            Ok(Filled::End) => return Poll::Ready(Some(Stopped::Upstream(LossCause::EndOfFile))),
            Err(_) => return Poll::Ready(Some(Stopped::Upstream(LossCause::Reset))),
        };
        let mut run = Run::default();
        let (stopped, binary) = pass_on(
            upstream,
            Some(&mut self.client),
            buffer,
            &mut run,
            self.bounds.message_bytes_max,
            |message, binary| {
                if binary {
                    self.timeline.rewrite(message);
                } else if is_named(message, "ping") {
                    self.pings_due = self.pings_due.saturating_add(1);
                }
                true
            },
        );
        self.client.send(cx, run.take(buffer), now);
        let stopped = match stopped {
            Some(End::Closed(code, reason)) => {
                self.parting = reason;
                Some(Stopped::Upstream(LossCause::Closed(code.unwrap_or(1005))))
            }
            Some(End::Broke(error)) => Some(Stopped::UpstreamBroke(error)),
            None if binary && !self.flows => {
                self.flows = true;
                Some(Stopped::Flows)
            }
            None => None,
        };
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
        let mut own;
        let buffer = match std::task::ready!(self.client.poll_fill(cx, scratch)) {
            Ok(Filled::Scratch(length)) => scratch.get_mut(..length).unwrap_or_default(),
            Ok(Filled::Own(bytes)) => {
                own = bytes;
                &mut own[..]
            }
            Ok(Filled::Partly) => return Poll::Ready(None),
            Ok(Filled::End) | Err(_) => return Poll::Ready(Some(Stopped::Client(ClientEnd::Lost))),
        };
        let mut run = Run::default();
        let to = self.upstream.as_mut();
        let pings_due = &mut self.pings_due;
        let (stopped, _) = pass_on(
            &mut self.client,
            to,
            buffer,
            &mut run,
            self.bounds.message_bytes_max,
            |message, binary| {
                if binary || !is_named(message, "pong") {
                    return true;
                }
                // The answer to a ping of an upstream that is gone is nothing to the present one.
                let due = *pings_due > 0;
                *pings_due = pings_due.saturating_sub(1);
                due
            },
        );
        if let Some(upstream) = &mut self.upstream {
            upstream.send(cx, run.take(buffer), now);
        }
        Poll::Ready(stopped.map(|end| match end {
            End::Closed(code, reason) => {
                self.parting = reason;
                Stopped::Client(ClientEnd::Closed(code))
            }
            End::Broke(error) => Stopped::Client(ClientEnd::Broke(error)),
        }))
    }
}

enum End {
    Closed(Option<u16>, Box<str>),
    Broke(ProtocolError),
}

/// Passes on the messages in `buffer`; whether one of them was binary. Without a receiver they
/// are dropped, and a player's ping is answered here. `look` sees each message and whether it is
/// binary, may change it in place if it is, and says whether it goes on.
fn pass_on(
    from: &mut Side,
    mut to: Option<&mut Side>,
    buffer: &mut [u8],
    run: &mut Run,
    bytes_max: usize,
    mut look: impl FnMut(&mut [u8], bool) -> bool,
) -> (Option<End>, bool) {
    let mut at: usize = 0;
    let mut any_binary = false;
    while at < buffer.len() {
        let Some(rest) = buffer.get_mut(at..) else { break };
        let step = match from.decode(rest, bytes_max) {
            Ok(step) => step,
            Err(error) => return (Some(End::Broke(error)), any_binary),
        };
        let (end, received, is_binary) = match step {
            Step::Incomplete { needed } => {
                from.keep(rest, needed);
                break;
            }
            Step::Message { end, binary, payload, mask } => {
                let payload = at.saturating_add(payload.start)..at.saturating_add(payload.end);
                (end, Some(Received::Whole { frame: at..at.saturating_add(end), payload, mask }), binary)
            }
            Step::Assembled { end, binary, message } => (end, Some(Received::Assembled(message)), binary),
            Step::Fragment { end } | Step::Pong { end } => (end, None, false),
            Step::Ping { end, payload } => {
                from.queue_pong(rest.get(payload).unwrap_or_default());
                (end, None, false)
            }
            Step::Close { code, reason } => {
                let reason = rest.get(reason).and_then(|reason| std::str::from_utf8(reason).ok());
                return (Some(End::Closed(code, reason.unwrap_or_default().into())), any_binary);
            }
        };
        any_binary |= is_binary;
        let received = received.and_then(|mut received| {
            let goes_on = look(received.payload_mut(buffer), is_binary);
            (goes_on || to.is_none()).then_some(received)
        });
        match (received, &mut to) {
            (Some(received), Some(to)) => run.add(buffer, &received, is_binary, to),
            (Some(received), None) if !is_binary => answer_ping(from, received.payload(buffer)),
            _ => {}
        }
        at = at.saturating_add(end);
    }
    (None, any_binary)
}

/// The answer has no `data`, as a server's has none (protocol S2.9).
fn answer_ping(from: &mut Side, message: &[u8]) {
    if is_named(message, "ping") {
        from.queue_message(Opcode::Text, br#"{"message":"pong"}"#);
    }
}

fn is_named(message: &[u8], name: &str) -> bool {
    signaling::peek(message).is_ok_and(|peek| peek.name == name)
}
