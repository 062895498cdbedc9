//! One WebSocket connection: its socket, the bytes of an unfinished frame, and what waits to be
//! written. Both buffers hold no memory while there is nothing in them.
//!
//! Knows frames, but nothing of sessions; it never decides to close.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    config::LimitSettings,
    session::{Close, Timestamp},
};

use super::{
    buffer::Buffer,
    socket::Socket,
    websocket::{
        Decoder, HEADER_BYTES_MAX, MaskKey, Opcode, ProtocolError, Role, Step, encode_close, encode_frame,
    },
};

/// Most bytes that are read of a large frame at once, before others are asked whether there is
/// memory for more.
const READ_BYTES_MAX: usize = 64 * 1024;

/// More than this is a large message, for whose sake somebody may have to wait or to go.
pub(crate) const LARGE_BYTES_MIN: usize = 64 * 1024;

/// Where the bytes are that were just read.
#[derive(Debug)]
pub(crate) enum Filled {
    /// At the start of the scratch buffer, this many.
    Scratch(usize),
    /// In a buffer of their own.
    Own(Buffer),
    /// Kept: they do not complete the large frame they belong to.
    Partly,
    /// The peer ended its half of the connection.
    End,
}

/// How a peer that lags behind gets on.
#[derive(Debug)]
struct Blocked {
    /// Since when its bytes are counted.
    since: Timestamp,
    /// Bytes that waited then.
    queued_bytes: usize,
    /// Bytes it took since, and when the last of them.
    taken_bytes: usize,
    taken_at: Timestamp,
    /// Payload of its newest ping. Those before it stay without an answer (RFC 6455, 5.5.3).
    pong: Option<Box<[u8]>>,
    /// Bytes of pings that came meanwhile.
    ping_bytes: usize,
}

impl Blocked {
    fn new(now: Timestamp, queued_bytes: usize) -> Box<Self> {
        Box::new(Self { since: now, queued_bytes, taken_bytes: 0, taken_at: now, pong: None, ping_bytes: 0 })
    }
}

/// What a peer has to take, or it is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// At least this much, or all that waited if that was less,
    pub(crate) bytes_min: usize,
    /// in this time. Zero: whenever it likes.
    pub(crate) time: Duration,
}

impl Pace {
    /// As the settings have it.
    pub(crate) const fn new(limits: &LimitSettings) -> Self {
        Self { bytes_min: limits.stall_bytes_min, time: limits.stall_timeout }
    }
}

/// A WebSocket connection to one peer.
#[derive(Debug)]
pub(crate) struct Side {
    socket: Socket,
    decoder: Decoder,
    unfinished: Buffer,
    needed: usize,
    out: Buffer,
    out_start: usize,
    /// While the socket takes no more.
    blocked: Option<Box<Blocked>>,
    /// Bytes were left over from the handshake and are to be looked at before reading.
    unparsed: bool,
    flush_due: bool,
    write_failed: bool,
    close_sent: bool,
}

impl Side {
    /// As [`Socket::local_ip`].
    pub(crate) fn local_ip(&self) -> Option<std::net::IpAddr> {
        self.socket.local_ip()
    }

    /// A connection whose peer has this role; `leftover` was read after its handshake.
    pub(crate) fn new(socket: Socket, peer: Role, leftover: &[u8]) -> Self {
        Self {
            socket,
            decoder: Decoder::new(peer),
            unfinished: leftover.into(),
            needed: 0,
            out: Buffer::new(),
            out_start: 0,
            blocked: None,
            unparsed: !leftover.is_empty(),
            flush_due: false,
            write_failed: false,
            close_sent: false,
        }
    }

    /// Reads what is there.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<Filled>> {
        if self.unparsed {
            self.unparsed = false;
            return Poll::Ready(Ok(Filled::Own(std::mem::take(&mut self.unfinished))));
        }
        if self.needed > scratch.len() {
            return self.poll_fill_own(cx);
        }
        let kept = self.unfinished.len();
        let Some((head, tail)) = scratch.split_at_mut_checked(kept) else {
            return self.poll_fill_own(cx);
        };
        let mut tail = ReadBuf::new(tail);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut tail))?;
        let read = tail.filled().len();
        if read == 0 {
            return Poll::Ready(Ok(Filled::End));
        }
        if kept > 0 {
            head.copy_from_slice(&self.unfinished);
            self.unfinished = Buffer::new();
            self.needed = 0;
        }
        Poll::Ready(Ok(Filled::Scratch(kept.saturating_add(read))))
    }

    /// Reads more of a large frame, and nothing beyond it.
    fn poll_fill_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        let missing = self.needed.saturating_sub(self.unfinished.len());
        self.unfinished.announce(self.needed);
        let socket = &mut self.socket;
        let mut is_pending = false;
        let read = self.unfinished.fill(missing.min(READ_BYTES_MAX), |room| {
            let mut room = ReadBuf::new(room);
            match Pin::new(socket).poll_read(cx, &mut room) {
                Poll::Ready(result) => result.map(|()| room.filled().len()),
                Poll::Pending => {
                    is_pending = true;
                    Ok(0)
                }
            }
        })?;
        if is_pending {
            return Poll::Pending;
        }
        Poll::Ready(Ok(if read == 0 {
            Filled::End
        } else if self.unfinished.len() < self.needed {
            Filled::Partly
        } else {
            self.needed = 0;
            Filled::Own(std::mem::take(&mut self.unfinished))
        }))
    }

    /// What stands at the start of `bytes`.
    pub(crate) fn decode(&mut self, bytes: &mut [u8], bytes_max: usize) -> Result<Step, ProtocolError> {
        self.decoder.decode(bytes, bytes_max)
    }

    /// Keeps the start of a frame that needs `needed` bytes.
    pub(crate) fn keep(&mut self, rest: &[u8], needed: usize) {
        let mut unfinished = Buffer::new();
        unfinished.announce(needed);
        unfinished.extend_from_slice(rest);
        self.unfinished = unfinished;
        self.needed = needed;
    }

    /// Forgets what there is of an unfinished frame or message; how many bytes are to come of that
    /// frame. The start of a header is kept.
    pub(crate) fn drop_unfinished(&mut self) -> u64 {
        self.decoder.forget();
        // All of a frame is known to be needed only when its header is there.
        if self.unparsed || self.needed <= HEADER_BYTES_MAX {
            return 0;
        }
        let missing = self.needed.saturating_sub(self.unfinished.len());
        self.unfinished = Buffer::new();
        self.needed = 0;
        missing as u64
    }

    /// Gives back bytes that were read but belong to whoever reads next.
    pub(crate) fn unread(&mut self, rest: &[u8]) {
        self.unfinished = rest.into();
        self.needed = 0;
        self.unparsed = !rest.is_empty();
    }

    /// Who is on the other end.
    pub(crate) const fn peer(&self) -> Role {
        self.decoder.writer()
    }

    /// A whole frame, or several, to be written with the next [`Side::send`].
    pub(crate) fn queue(&mut self, frames: &[u8]) {
        if !self.is_closing() {
            self.out.extend_from_slice(frames);
        }
    }

    /// A message to be written with the next [`Side::send`].
    pub(crate) fn queue_message(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.new_mask();
        if !self.is_closing() {
            encode_frame(&mut self.out, opcode, payload, mask);
        }
    }

    /// The answer to a ping, to be written with the next [`Side::send`]; a peer that does not take
    /// what it gets has only its newest ping answered.
    pub(crate) fn queue_pong(&mut self, payload: &[u8]) {
        match &mut self.blocked {
            Some(blocked) => {
                blocked.pong = Some(payload.into());
                blocked.ping_bytes = blocked.ping_bytes.saturating_add(payload.len() + 2);
            }
            None => self.queue_message(Opcode::Pong, payload),
        }
    }

    /// A close frame, the last that is written.
    pub(crate) fn queue_close(&mut self, close: Close) {
        self.queue_close_with(close, "");
    }

    /// A close frame with a reason for people, the last that is written.
    pub(crate) fn queue_close_with(&mut self, close: Close, reason: &str) {
        let code = match close {
            Close::Code(code) => Some(code),
            Close::NoCode | Close::Abort => None,
        };
        let mask = self.new_mask();
        if !self.is_closing() {
            encode_close(&mut self.out, code, reason, mask);
            self.close_sent = true;
        }
    }

    /// Writes what is queued and then `frames`; what the socket does not take is queued.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, frames: &[u8], now: Timestamp) {
        if self.write_failed || (frames.is_empty() && !self.wants_write()) {
            return;
        }
        if self.out.is_empty() && !self.is_closing() {
            self.send_directly(cx, frames, now);
        } else {
            self.queue(frames);
        }
        self.drain(cx, now);
    }

    fn send_directly(&mut self, cx: &mut Context<'_>, mut frames: &[u8], now: Timestamp) {
        while !frames.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, frames) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.flush_due = self.socket.needs_flush();
                    frames = frames.get(written..).unwrap_or_default();
                }
                Poll::Ready(_) => return self.fail(),
                Poll::Pending => {
                    self.out = frames.into();
                    self.blocked = Some(Blocked::new(now, frames.len()));
                    return;
                }
            }
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        while self.write_queue(cx, now) {
            // The peer has caught up; its newest ping is answered now.
            let Some(pong) = self.blocked.take().and_then(|blocked| blocked.pong) else { return };
            self.queue_message(Opcode::Pong, &pong);
        }
    }

    /// False: the socket takes no more, or failed.
    fn write_queue(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        while let Some(waiting) = self.out.get(self.out_start..)
            && !waiting.is_empty()
        {
            match Pin::new(&mut self.socket).poll_write(cx, waiting) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.flush_due = self.socket.needs_flush();
                    self.out_start = self.out_start.saturating_add(written);
                    if let Some(blocked) = &mut self.blocked {
                        blocked.taken_bytes = blocked.taken_bytes.saturating_add(written);
                        blocked.taken_at = now;
                    }
                }
                Poll::Ready(_) => {
                    self.fail();
                    return false;
                }
                Poll::Pending => {
                    self.is_blocked(now);
                    self.forget_written();
                    return false;
                }
            }
        }
        if !self.out.is_empty() {
            self.out = Buffer::new();
            self.out_start = 0;
        }
        if self.flush_due {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(_)) => {
                    self.fail();
                    return false;
                }
                Poll::Pending => {
                    self.is_blocked(now);
                    return false;
                }
            }
        }
        true
    }

    fn is_blocked(&mut self, now: Timestamp) {
        if self.blocked.is_none() {
            self.blocked = Some(Blocked::new(now, self.queued_bytes()));
        }
    }

    /// Moves the queue to its start once most of it is written, so that it does not grow for as
    /// long as the peer lags behind.
    fn forget_written(&mut self) {
        if self.out_start > self.out.len() / 2 {
            self.out.forget_start(self.out_start);
            self.out_start = 0;
        }
    }

    fn fail(&mut self) {
        self.write_failed = true;
        self.flush_due = false;
        self.blocked = None;
        self.out = Buffer::new();
        self.out_start = 0;
    }

    /// Ends our half of the connection.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Whether much of an unfinished message has come.
    pub(crate) fn is_gathering(&self) -> bool {
        self.unfinished.len().saturating_add(self.decoder.kept_bytes()) > LARGE_BYTES_MIN
    }

    /// Bytes that are kept for either direction.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.unfinished.len().saturating_add(self.out.len()).saturating_add(self.decoder.kept_bytes())
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.out.len().saturating_sub(self.out_start)
    }

    /// Whether more waits for the peer than it may make wait: it is not read from then.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        let ping_bytes = self.blocked.as_ref().map_or(0, |blocked| blocked.ping_bytes);
        self.queued_bytes().saturating_add(ping_bytes) > bytes_max
    }

    /// Whether something waits to be written.
    pub(crate) fn wants_write(&self) -> bool {
        !self.out.is_empty() || self.flush_due
    }

    /// When to ask [`Side::is_too_slow`], if bytes wait.
    pub(crate) fn pace_due(&self, pace: Pace) -> Option<Timestamp> {
        let blocked = self.blocked.as_ref().filter(|_| !pace.time.is_zero())?;
        Some(blocked.since + pace.time)
    }

    /// Whether the peer lags behind and takes less than its pace, which it is watched for anew
    /// otherwise. A byte now and then is no progress.
    pub(crate) fn is_too_slow(&mut self, pace: Pace, now: Timestamp) -> bool {
        if self.pace_due(pace).is_none_or(|due| due > now) {
            return false;
        }
        let waiting_bytes = self.queued_bytes();
        let Some(blocked) = &mut self.blocked else { return false };
        // What only waits to be flushed has no bytes that can be counted.
        if blocked.taken_bytes < blocked.queued_bytes.min(pace.bytes_min).max(1) {
            return true;
        }
        blocked.since = blocked.taken_at;
        blocked.taken_bytes = 0;
        blocked.queued_bytes = waiting_bytes;
        self.is_too_slow(pace, now)
    }

    /// Whether writing failed: the peer reset the connection, which reading will tell, too.
    pub(crate) const fn write_failed(&self) -> bool {
        self.write_failed
    }

    const fn is_closing(&self) -> bool {
        self.close_sent || self.write_failed
    }

    fn new_mask(&self) -> Option<MaskKey> {
        // Only a client masks: we are one towards a server.
        match self.decoder.writer() {
            Role::Server => Some(rand::random()),
            Role::Client => None,
        }
    }
}
