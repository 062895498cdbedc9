//! Passing frames on without copying them.

use std::ops::Range;

use super::{
    buffer::Buffer,
    side::Side,
    websocket::{MaskKey, Opcode, apply_mask},
};

/// A message as it was found in the buffer it was read into.
#[derive(Debug)]
pub(crate) enum Received {
    /// A single frame at `frame`, its payload unmasked.
    Whole {
        /// Header and payload.
        frame: Range<usize>,
        /// The payload alone.
        payload: Range<usize>,
        /// The key the payload was masked with.
        mask: Option<MaskKey>,
    },
    /// Put together from fragments.
    Assembled(Buffer),
}

impl Received {
    /// The message.
    pub(crate) fn payload<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Whole { payload, .. } => buffer.get(payload.clone()).unwrap_or_default(),
            Self::Assembled(message) => message,
        }
    }

    /// The message, to be changed in place.
    pub(crate) fn payload_mut<'a>(&'a mut self, buffer: &'a mut [u8]) -> &'a mut [u8] {
        match self {
            Self::Whole { payload, .. } => buffer.get_mut(payload.clone()).unwrap_or_default(),
            Self::Assembled(message) => message,
        }
    }
}

/// Masks a payload that lies there unmasked, behind its header, with a key of our own: whoever chose the
/// sender's could otherwise choose what goes over the wire to the upstream (RFC 6455 section 10.3).
fn mask_anew(buffer: &mut [u8], payload: Range<usize>) {
    let key: MaskKey = rand::random();
    let Some((head, rest)) = buffer.split_at_mut_checked(payload.start) else { return };
    if let (Some(place), Some(payload)) = (head.last_chunk_mut(), rest.get_mut(..payload.len())) {
        *place = key;
        apply_mask(payload, key);
    }
}

/// A stretch of the read buffer that is to be written to the other side as it is.
#[derive(Debug, Default)]
pub(crate) struct Run(Range<usize>);

impl Run {
    /// Adds a message. What cannot be written from the buffer in one go is queued.
    pub(crate) fn add(&mut self, buffer: &mut [u8], received: &Received, binary: bool, to: &mut Side) {
        match received {
            Received::Whole { frame, payload, mask } => {
                if mask.is_some() {
                    mask_anew(buffer, payload.clone());
                }
                if self.0.end != frame.start {
                    self.queue(buffer, to);
                    self.0.start = frame.start;
                }
                self.0.end = frame.end;
            }
            Received::Assembled(message) => {
                self.queue(buffer, to);
                let opcode = if binary { Opcode::Binary } else { Opcode::Text };
                to.queue_message(opcode, message);
            }
        }
    }

    /// Queues the stretch, so that something else can follow it.
    pub(crate) fn queue(&mut self, buffer: &[u8], to: &mut Side) {
        to.queue(self.take(buffer));
    }

    /// The bytes of the stretch, which begins anew.
    pub(crate) fn take<'a>(&mut self, buffer: &'a [u8]) -> &'a [u8] {
        let bytes = buffer.get(self.0.clone()).unwrap_or_default();
        self.0 = self.0.end..self.0.end;
        bytes
    }
}
