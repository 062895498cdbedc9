//! WebSocket framing (RFC 6455) without IO and without buffers of its own.
//!
//! Libraries keep a read buffer and a message buffer per connection and copy every payload
//! between them; with tens of thousands of mostly idle sessions that is most of the memory. Here
//! the caller owns the bytes: [`Decoder`] looks at a buffer that holds whatever has been read,
//! finds one frame at a time in it and unmasks it in place, so that a frame which is only passed
//! on is never copied. No extension is spoken: a frame that needs one is an error. The keys of the opening
//! handshake are tungstenite's.

mod close;
mod decoder;
mod encoder;
mod header;
mod mask;
#[cfg(test)]
mod tests;

pub use super::buffer::Buffer;
pub use close::{is_valid_close_code, sendable_close_code};
pub use decoder::{Decoder, Step};
pub use encoder::{CLOSE_REASON_BYTES_MAX, FrameSink, encode_close, encode_frame, write_header};
pub use header::{HEADER_BYTES_MAX, Header, MaskKey, Opcode, ProtocolError, Role, parse_header};
pub use mask::apply_mask;
