//! A message kept for a replay, compressed when that pays.
//!
//! A `publishStream` of 6 KB, most of it SDP, shrinks about five-fold; thousands of idle sessions
//! are mostly such messages. LZ4 with a dictionary of what all browsers say gets there at a
//! fraction of what deflate costs, most of which is setting up its tables for each message.

use lz4_flex::block;

/// What the messages of most clients have in common: the fields that the SDK writes and the lines
/// of an offer of Chromium 156, without what differs between clients; other browsers' offers shrink
/// less. Never leaves the process, so that it may change with any version.
const DICTIONARY: &[u8] = include_bytes!("packed/dictionary.txt");

/// Messages shorter than this stay as they are, in bytes.
const PLAIN_BYTES_MAX: usize = 200;

/// A message at rest.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    /// Length of the message, in bytes; equal to `bytes.len()` and plain if not compressed.
    plain_len: u32,
    compressed: bool,
}

impl Packed {
    pub(super) fn new(message: &[u8]) -> Self {
        if message.len() > PLAIN_BYTES_MAX
            && let Ok(plain_len) = u32::try_from(message.len())
        {
            let compressed = block::compress_with_dict(message, DICTIONARY);
            if compressed.len() < message.len() {
                // A copy of the exact size: shrinking in place would leave holes of all sizes.
                return Self { bytes: compressed.as_slice().into(), plain_len, compressed: true };
            }
        }
        Self::plain(message)
    }

    /// A message that is likely to be dropped soon: compressing it would not pay.
    pub(super) fn plain(message: &[u8]) -> Self {
        let plain_len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        Self { bytes: message.into(), plain_len, compressed: false }
    }

    /// Compresses what was kept plain.
    pub(super) fn pack(self) -> Self {
        if self.compressed { self } else { Self::new(&self.bytes) }
    }

    /// The message as it was.
    pub(super) fn unpack(&self) -> Vec<u8> {
        if !self.compressed {
            return self.bytes.to_vec();
        }
        // The bytes are our own compressor's output: reading them back cannot fail.
        block::decompress_with_dict(&self.bytes, self.plain_len as usize, DICTIONARY).unwrap_or_default()
    }

    /// Bytes it takes at rest.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
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
    fn what_the_dictionary_knows_shrinks_five_fold() {
        let offer = include_str!("packed/offer.sdp");
        let message = serde_json::json!({"message": "publishStream", "data": [{"sdp": offer}]}).to_string();
        let packed = Packed::new(message.as_bytes());
        assert!(packed.len_bytes() < message.len() / 5, "{} of {}", packed.len_bytes(), message.len());
        assert_eq!(packed.unpack(), message.as_bytes());
    }

    #[test]
    fn noise_is_kept_as_it_is() {
        let mut random = super::super::random::Random::new(9);
        let noise: Vec<u8> = (0..4096).map(|_| random.up_to(255) as u8).collect();
        assert_eq!(Packed::new(&noise).unpack(), noise);
    }
}
