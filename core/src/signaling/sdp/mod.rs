//! Reading and editing SDP text as far as signaling needs it: which media and codecs an offer
//! has, and stripping codecs as the SDK does.
//!
//! Text from outside is taken as it is; lines that make no sense are skipped. No SDP is built
//! here, and nothing is negotiated.

mod media;
mod strip;

/// How long an SDP may be to be edited, in bytes. Browsers' offers have 5 to 20 KB.
const SDP_BYTES_MAX: usize = 256 * 1024;

pub(super) use media::media_sections;
pub use media::{is_of_firefox, offers_codec};
pub use strip::strip_codecs;
