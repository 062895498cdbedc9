//! Reading and editing SDP text as far as signaling needs it: which media and codecs an offer
//! has, stripping codecs as the SDK does, and hiding what is secret.
//!
//! Text from outside is taken as it is; lines that make no sense are skipped. No SDP is built
//! here, and nothing is negotiated.

mod media;
mod secret;
mod strip;

/// How long an SDP may be to be edited, in bytes. Browsers' offers have 5 to 20 KB.
pub const SDP_BYTES_MAX: usize = 256 * 1024;

pub use media::{
    Codec, MediaSection, has_audio, has_video, is_of_firefox, lines, media_sections, offers_codec,
};
pub use secret::{is_secret_line, redact, summary};
pub use strip::strip_codecs;
