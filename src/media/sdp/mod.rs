//! The textual SDP layer of the anchor: reads a client's offer and an upstream's answer into one
//! model, and writes the offer and the answer that stand in for them.
//!
//! Payload types, format parameters and extension ids are mirrored, so that packets pass without
//! being renumbered by type. It knows nothing of sockets or of the state of a stream.
//!
//! What is read is bounded here, by number and by length, because it is kept as long as its stream
//! lives and handed to libraries that have limits of their own.

mod codecs;
mod fingerprint;
mod model;
mod parse;
mod section;
mod select;
mod write;

pub(crate) use codecs::{Taken, answered_codecs, client_codecs, offered_codecs};
pub(crate) use fingerprint::{Fingerprint, Hash};
pub(crate) use model::{
    Codec, CodecKind, Credentials, Description, Direction, Extension, Media, MediaType, Setup, Sources,
};
pub(crate) use parse::{Unreadable, parse};
pub(crate) use select::{MID, Plan, Refusal, TRANSPORT_CC, answer_bundled, pair_up, plan};
pub(crate) use write::{AnswerMedia, ClientAnswer, OfferMedia, UpstreamOffer};

/// Most bytes of a description that are read; real ones stay below 16 KiB.
pub(crate) const SDP_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a line; longer ones are passed over. Real ones stay below 1 KiB.
pub(crate) const LINE_BYTES_MAX: usize = 4096;

/// Most media sections of a description.
pub(crate) const MEDIA_SECTIONS_MAX: usize = 32;

/// Most BUNDLE groups of a description.
pub(crate) const BUNDLE_GROUPS_MAX: usize = 8;

/// Most formats of an `m=` line: RTP has no more payload types.
pub(crate) const FORMATS_MAX: usize = 128;

/// Most bytes of the kind, the protocol or a format in an `m=` line.
pub(crate) const WORD_BYTES_MAX: usize = 64;

/// Highest clock rate of a codec, in Hz; audio has at most 192,000, video 90,000.
pub(crate) const CLOCK_RATE_HZ_MAX: u32 = 1_000_000;

/// Most candidates of a section.
pub(crate) const CANDIDATES_MAX: usize = 64;

/// Most header extensions of a section.
pub(crate) const EXTENSIONS_MAX: usize = 32;

/// Most bytes of the name of a header extension, and of `a=msid`.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Most `a=rtcp-fb` values of a codec, and most bytes of each.
pub(crate) const FEEDBACK_MAX: usize = 16;
pub(crate) const FEEDBACK_BYTES_MAX: usize = 64;

/// Most `b=` lines of a section.
pub(crate) const BANDWIDTH_LINES_MAX: usize = 4;

/// Most fingerprints of a section.
pub(crate) const FINGERPRINTS_MAX: usize = 8;

/// Most bytes of a user name fragment: with ours and a colon it has to fit into the 128 bytes
/// that `str0m` writes as the USERNAME of a check. RFC 8839 allows 256, browsers send 4 to 8.
pub(crate) const UFRAG_BYTES_MAX: usize = 112;

/// Most bytes of an ICE password (RFC 8839).
pub(crate) const PASSWORD_BYTES_MAX: usize = 256;

/// Most bytes of a mid that its header extension can carry (one-byte form, RFC 8285).
pub(crate) const MID_BYTES_ON_WIRE_MAX: usize = 16;

#[cfg(test)]
mod tests;
