//! The header of one frame.

/// Four bytes a client chooses anew for each frame.
pub type MaskKey = [u8; 4];

/// Longest header there is: two bytes, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Longest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// Who wrote the frames: what a client sends is masked, what a server sends is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Frames written by a client.
    Client,
    /// Frames written by a server.
    Server,
}

impl Role {
    /// The one that reads them.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that was begun.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The end of the connection.
    Close,
    /// A question for a sign of life.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set although no extension was negotiated.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// The opcode is reserved.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A client's frame is not masked, or a server's is.
    #[error("the frame is masked, or not, against the rule for its sender")]
    Masking,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("a control frame is fragmented or too long")]
    ControlFrame,
    /// The length is not written in the shortest way, or has its highest bit set.
    #[error("the length is not written in the shortest way")]
    LengthEncoding,
    /// A continuation without a beginning, or a new message inside another.
    #[error("a fragment is out of place")]
    Fragmentation,
    /// A close frame of one byte, or a code that must not be sent.
    #[error("the close frame is malformed")]
    CloseFrame,
    /// A text message, or the reason in a close frame, is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// The message exceeds the limit.
    #[error("the message is too large")]
    TooLarge,
}

impl ProtocolError {
    /// The close code that tells the peer.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooLarge => 1009,
            _ => 1002,
        }
    }
}

/// A frame header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key its payload is masked with.
    pub mask: Option<MaskKey>,
    /// Length of the header itself, in bytes.
    pub header_bytes: usize,
    /// Length of the payload, in bytes.
    pub payload_bytes: u64,
}

/// Reads the header at the start of `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// The header breaks the protocol. What can be refused by the first two bytes is.
pub fn parse_header(bytes: &[u8], writer: Role) -> Result<Option<Header>, ProtocolError> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(ProtocolError::ReservedBit);
    }
    let fin = first & 0x80 != 0;
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(ProtocolError::ReservedOpcode)?;
    let masked = second & 0x80 != 0;
    if masked != (writer == Role::Client) {
        return Err(ProtocolError::Masking);
    }
    let short = u64::from(second & 0x7F);
    if opcode.is_control() && (!fin || short > CONTROL_BYTES_MAX) {
        return Err(ProtocolError::ControlFrame);
    }
    let (payload_bytes, rest) = match short {
        126 => {
            let Some((wide, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(*wide));
            if length < 126 {
                return Err(ProtocolError::LengthEncoding);
            }
            (length, rest)
        }
        127 => {
            let Some((wide, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*wide);
            if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                return Err(ProtocolError::LengthEncoding);
            }
            (length, rest)
        }
        short => (short, rest),
    };
    let (mask, rest) = if masked {
        let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        (Some(*key), rest)
    } else {
        (None, rest)
    };
    let header_bytes = bytes.len().saturating_sub(rest.len());
    Ok(Some(Header { fin, opcode, mask, header_bytes, payload_bytes }))
}
