//! The one read loop: what a connection brings becomes messages, in order, and at last an [`End`]. Every
//! socket is read like this, whoever is behind it.
//!
//! Answers pings; what else a message or an end leads to is for whoever owns the connection.

use std::task::{Context, Poll, ready};

use crate::session::{Close, LossCause, Timestamp};

use super::{
    buffer::Buffer,
    frames::{Received, Run},
    side::{Filled, Side},
    websocket::{ProtocolError, Step},
};

/// How a connection ended, as its reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame with this code, if it had one, and this reason.
    Closed(Option<u16>, Box<str>),
    /// End of file without a close frame.
    Dropped,
    /// A reset, or another error of the socket.
    Reset,
    /// The peer broke the WebSocket protocol.
    Broke(ProtocolError),
}

impl End {
    /// What the core calls the end of an upstream connection.
    pub(crate) fn loss(&self) -> LossCause {
        match self {
            Self::Closed(code, _) => LossCause::closed(*code),
            Self::Dropped => LossCause::EndOfFile,
            Self::Reset => LossCause::Reset,
            Self::Broke(_) => LossCause::Protocol,
        }
    }

    /// How our half of the same connection ends: a close frame is answered with its own code, a peer hears
    /// what it did wrong, and to one that is gone nothing is said.
    pub(crate) fn answer(&self) -> Close {
        match self {
            Self::Closed(code, _) => Close::frame(*code),
            Self::Broke(error) => Close::Code(error.close_code()),
            Self::Dropped | Self::Reset => Close::Abort,
        }
    }
}

/// What one read brought.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    /// Bytes, in which there may be messages.
    Bytes(Batch<'a>),
    /// More of a large frame, which is not complete yet.
    Part,
    /// The connection is over without a close frame.
    Ended(End),
}

/// Reads what is there, once. `scratch` holds it until the next read.
pub(crate) fn read<'a>(side: &mut Side, cx: &mut Context<'_>, scratch: &'a mut [u8]) -> Poll<Came<'a>> {
    Poll::Ready(match ready!(side.poll_fill(cx, scratch)) {
        Ok(Filled::Scratch(length)) => {
            Came::Bytes(Batch::new(Bytes::Scratch(scratch.get_mut(..length).unwrap_or_default())))
        }
        Ok(Filled::Own(buffer)) => Came::Bytes(Batch::new(Bytes::Own(buffer))),
        Ok(Filled::Partly) => Came::Part,
        Ok(Filled::End) => Came::Ended(End::Dropped),
        Err(_) => Came::Ended(End::Reset),
    })
}

#[derive(Debug)]
enum Bytes<'a> {
    Scratch(&'a mut [u8]),
    Own(Buffer),
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::Scratch(bytes) => bytes,
            Self::Own(buffer) => buffer,
        }
    }

    fn get_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Scratch(bytes) => bytes,
            Self::Own(buffer) => buffer,
        }
    }
}

/// A message in a [`Batch`].
#[derive(Debug)]
pub(crate) struct Message {
    body: Received,
    /// Whether it is binary; else it is text, checked to be UTF-8.
    pub(crate) is_binary: bool,
}

/// What comes next in a [`Batch`].
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole message.
    Message(Message),
    /// The end of the connection; nothing comes behind it.
    Ended(End),
}

/// Bytes that were read, and the stretch of them that goes on to the other side as it is.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    bytes: Bytes<'a>,
    /// Where the next frame begins.
    at: usize,
    had_message: bool,
    run: Run,
}

impl<'a> Batch<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes, at: 0, had_message: false, run: Run::default() }
    }

    /// The next message, or the end. `None`: there is nothing more; the start of a frame is kept by `from`,
    /// which the bytes were read of. Messages of more than `bytes_max` break the protocol.
    pub(crate) fn next(&mut self, from: &mut Side, bytes_max: usize) -> Option<Next> {
        loop {
            let at = self.at;
            let rest = self.bytes.get_mut().get_mut(at..).filter(|rest| !rest.is_empty())?;
            let (end, message) = match from.decode(rest, bytes_max) {
                Ok(Step::Incomplete { needed }) => {
                    from.keep(rest, needed);
                    return self.nothing_more(None);
                }
                Ok(Step::Message { end, binary, payload, mask }) => {
                    let payload = at.saturating_add(payload.start)..at.saturating_add(payload.end);
                    let body = Received::Whole { frame: at..at.saturating_add(end), payload, mask };
                    (end, Some(Message { body, is_binary: binary }))
                }
                Ok(Step::Assembled { end, binary, message }) => {
                    (end, Some(Message { body: Received::Assembled(message), is_binary: binary }))
                }
                Ok(Step::Ping { end, payload }) => {
                    from.queue_pong(rest.get(payload).unwrap_or_default());
                    (end, None)
                }
                Ok(Step::Pong { end } | Step::Fragment { end }) => (end, None),
                Ok(Step::Close { code, reason }) => {
                    // The decoder has checked that it is text.
                    let reason = rest.get(reason).and_then(|reason| std::str::from_utf8(reason).ok());
                    let end = End::Closed(code, reason.unwrap_or_default().into());
                    return self.nothing_more(Some(Next::Ended(end)));
                }
                Err(error) => return self.nothing_more(Some(Next::Ended(End::Broke(error)))),
            };
            self.at = at.saturating_add(end);
            if let Some(message) = message {
                self.had_message = true;
                return Some(Next::Message(message));
            }
        }
    }

    fn nothing_more(&mut self, last: Option<Next>) -> Option<Next> {
        self.at = self.bytes.get().len();
        last
    }

    /// Whether there was a message so far.
    pub(crate) const fn had_message(&self) -> bool {
        self.had_message
    }

    /// All that was read, frames and all.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut()
    }

    /// What was read behind the last message.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get().get(self.at..).unwrap_or_default()
    }

    /// The payload of a message of this batch.
    pub(crate) fn payload<'m>(&'m self, message: &'m Message) -> &'m [u8] {
        message.body.payload(self.bytes.get())
    }

    /// The payload of a message of this batch, to be changed in place.
    pub(crate) fn payload_mut<'m>(&'m mut self, message: &'m mut Message) -> &'m mut [u8] {
        message.body.payload_mut(self.bytes.get_mut())
    }

    /// Lets a message go on, behind those that went on before. It is written with [`Batch::send`].
    pub(crate) fn pass_on(&mut self, message: &Message, to: &mut Side) {
        self.run.add(self.bytes.get_mut(), &message.body, message.is_binary, to);
    }

    /// Queues what went on so far, so that something else can follow it.
    pub(crate) fn queue(&mut self, to: &mut Side) {
        self.run.queue(self.bytes.get(), to);
    }

    /// Writes what went on so far.
    pub(crate) fn send(&mut self, to: &mut Side, cx: &mut Context<'_>, now: Timestamp) {
        to.send(cx, self.run.take(self.bytes.get()), now);
    }
}
