//! Finding frames and messages in what has been read.

use std::ops::Range;

use crate::wire::buffer::Buffer;

use super::{
    close::is_valid_close_code,
    header::{Header, MaskKey, Opcode, ProtocolError, Role, parse_header},
    mask::apply_mask,
};

/// What stands at the start of the buffer. Ranges are positions in the buffer that was given to
/// [`Decoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The frame is not complete. Once `needed` bytes are there, it is worth another try.
    Incomplete {
        /// Length of the whole frame, or of its header while that is not complete.
        needed: usize,
    },
    /// A message in a single frame, unmasked in place. To send the frame on as it came, mask
    /// `payload` again with `mask`.
    Message {
        /// The frame ends here.
        end: usize,
        /// Binary instead of text.
        binary: bool,
        /// Where its payload lies.
        payload: Range<usize>,
        /// The key it was masked with.
        mask: Option<MaskKey>,
    },
    /// The last fragment of a message that came in several frames.
    Assembled {
        /// The frame ends here.
        end: usize,
        /// Binary instead of text.
        binary: bool,
        /// The whole message.
        message: Buffer,
    },
    /// A fragment that does not complete its message. The decoder keeps it.
    Fragment {
        /// The frame ends here.
        end: usize,
    },
    /// A ping, unmasked in place; wants a pong with the same payload.
    Ping {
        /// The frame ends here.
        end: usize,
        /// Where its payload lies.
        payload: Range<usize>,
    },
    /// A pong.
    Pong {
        /// The frame ends here.
        end: usize,
    },
    /// A close frame: nothing after it counts.
    Close {
        /// Its code, if it has one.
        code: Option<u16>,
        /// Where the text behind the code lies; empty if there is none.
        reason: Range<usize>,
    },
}

/// Fragments of more than this are expected to become as many as they may.
const FEW_BYTES: usize = 64 * 1024;

#[derive(Debug)]
struct Fragments {
    binary: bool,
    bytes: Buffer,
}

/// Finds the frames that one peer wrote. Holds nothing but the fragments of an unfinished message.
#[derive(Debug)]
pub struct Decoder {
    writer: Role,
    fragments: Option<Box<Fragments>>,
}

impl Decoder {
    /// A decoder for frames written by `writer`.
    #[must_use]
    pub const fn new(writer: Role) -> Self {
        Self { writer, fragments: None }
    }

    /// Who writes the frames.
    #[must_use]
    pub const fn writer(&self) -> Role {
        self.writer
    }

    /// Bytes kept for an unfinished message.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len())
    }

    /// Forgets the fragments of an unfinished message: nothing more is decoded.
    pub(crate) fn forget(&mut self) {
        self.fragments = None;
    }

    /// Looks at the frame at the start of `buffer`. Messages and fragments together may have
    /// `message_bytes_max` bytes.
    ///
    /// # Errors
    /// The peer broke the protocol or exceeded the limit; the connection must end.
    pub fn decode(&mut self, buffer: &mut [u8], message_bytes_max: usize) -> Result<Step, ProtocolError> {
        let Some(header) = parse_header(buffer, self.writer)? else {
            return Ok(Step::Incomplete { needed: buffer.len().saturating_add(1) });
        };
        self.check_order(&header)?;
        let kept = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len());
        let length = usize::try_from(header.payload_bytes).map_err(|_| ProtocolError::TooLarge)?;
        let is_data = matches!(header.opcode, Opcode::Text | Opcode::Binary | Opcode::Continuation);
        if is_data && kept.saturating_add(length) > message_bytes_max {
            return Err(ProtocolError::TooLarge);
        }
        let end = header.header_bytes.saturating_add(length);
        let range = header.header_bytes..end;
        let Some(payload) = buffer.get_mut(range.clone()) else {
            return Ok(Step::Incomplete { needed: end });
        };
        if let Some(key) = header.mask {
            apply_mask(payload, key);
        }
        match header.opcode {
            Opcode::Ping => Ok(Step::Ping { end, payload: range }),
            Opcode::Pong => Ok(Step::Pong { end }),
            Opcode::Close => {
                let code = close_code(payload)?;
                // The reason stands behind the two bytes of the code.
                let reason = range.start.saturating_add(2).min(range.end)..range.end;
                Ok(Step::Close { code, reason })
            }
            Opcode::Text | Opcode::Binary if header.fin => {
                let binary = header.opcode == Opcode::Binary;
                check_text(binary, payload)?;
                Ok(Step::Message { end, binary, payload: range, mask: header.mask })
            }
            opcode => {
                let binary = opcode == Opcode::Binary;
                self.gather(binary, header.fin, payload, end, message_bytes_max)
            }
        }
    }

    fn check_order(&self, header: &Header) -> Result<(), ProtocolError> {
        let misplaced = match header.opcode {
            Opcode::Continuation => self.fragments.is_none(),
            Opcode::Text | Opcode::Binary => self.fragments.is_some(),
            Opcode::Close | Opcode::Ping | Opcode::Pong => false,
        };
        if misplaced { Err(ProtocolError::Fragmentation) } else { Ok(()) }
    }

    fn gather(
        &mut self,
        binary: bool,
        fin: bool,
        payload: &[u8],
        end: usize,
        bytes_max: usize,
    ) -> Result<Step, ProtocolError> {
        let mut fragments =
            self.fragments.take().unwrap_or_else(|| Box::new(Fragments { binary, bytes: Buffer::new() }));
        if fragments.bytes.len() > FEW_BYTES {
            fragments.bytes.announce(bytes_max);
        }
        fragments.bytes.extend_from_slice(payload);
        if !fin {
            self.fragments = Some(fragments);
            return Ok(Step::Fragment { end });
        }
        check_text(fragments.binary, &fragments.bytes)?;
        Ok(Step::Assembled { end, binary: fragments.binary, message: fragments.bytes })
    }
}

fn check_text(binary: bool, payload: &[u8]) -> Result<(), ProtocolError> {
    if binary || simdutf8::basic::from_utf8(payload).is_ok() { Ok(()) } else { Err(ProtocolError::Utf8) }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, ProtocolError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(ProtocolError::CloseFrame)?;
    let code = u16::from_be_bytes(*code);
    if !is_valid_close_code(code) {
        return Err(ProtocolError::CloseFrame);
    }
    std::str::from_utf8(reason).map_err(|_| ProtocolError::Utf8)?;
    Ok(Some(code))
}
