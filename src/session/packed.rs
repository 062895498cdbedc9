//! A message kept for a replay, deflated when that pays.
//!
//! A `publishStream` of 6 KB, most of it SDP, shrinks about five-fold; thousands of idle sessions
//! are mostly such messages.

use std::{cell::RefCell, io::Read};

use flate2::{Compress, Compression, FlushCompress, Status, read::DeflateDecoder};

/// Messages shorter than this stay as they are, in bytes.
const PLAIN_BYTES_MAX: usize = 200;

/// A message at rest.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    /// Length of the message, in bytes; equal to `bytes.len()` and plain if not deflated.
    plain_len: u32,
    deflated: bool,
}

impl Packed {
    pub(super) fn new(message: &[u8]) -> Self {
        if message.len() > PLAIN_BYTES_MAX
            && let Some(deflated) = deflate(message)
            && deflated.len() < message.len()
        {
            let plain_len = u32::try_from(message.len()).unwrap_or(u32::MAX);
            return Self { bytes: deflated.into_boxed_slice(), plain_len, deflated: true };
        }
        Self::plain(message)
    }

    /// A message that is likely to be dropped soon: deflating it would not pay.
    pub(super) fn plain(message: &[u8]) -> Self {
        let plain_len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        Self { bytes: message.into(), plain_len, deflated: false }
    }

    /// Deflates what was kept plain.
    pub(super) fn pack(self) -> Self {
        if self.deflated { self } else { Self::new(&self.bytes) }
    }

    /// The message as it was.
    pub(super) fn unpack(&self) -> Vec<u8> {
        if !self.deflated {
            return self.bytes.to_vec();
        }
        let mut message = Vec::with_capacity(self.plain_len as usize);
        // The bytes are our own deflater's output: reading them back from memory cannot fail.
        let _ = DeflateDecoder::new(&*self.bytes).read_to_end(&mut message);
        message
    }

    /// Bytes it takes at rest.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
}

thread_local! {
    /// Its state is hundreds of kilobytes: one per thread, not one per message.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), false));
}

/// Deflates into no more room than the message itself takes; `None` if that is not enough.
fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    let mut deflated = Vec::with_capacity(message.len());
    let status = DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        deflater.compress_vec(message, &mut deflated, FlushCompress::Finish)
    });
    matches!(status, Ok(Status::StreamEnd)).then_some(deflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_comes_back() {
        assert_eq!(Packed::new(b"{}").unpack(), b"{}");
    }

    #[test]
    fn a_long_message_comes_back_and_takes_less_room() {
        let message = b"a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\n".repeat(100);
        let packed = Packed::new(&message);
        assert!(packed.len_bytes() < message.len() / 4);
        assert_eq!(packed.unpack(), message);
    }

    #[test]
    fn noise_is_kept_as_it_is() {
        let mut random = super::super::random::Random::new(9);
        let noise: Vec<u8> = (0..4096).map(|_| random.up_to(255) as u8).collect();
        assert_eq!(Packed::new(&noise).unpack(), noise);
    }
}
