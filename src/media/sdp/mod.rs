//! The textual SDP layer of the anchor: reads a client's offer and an upstream's answer into one
//! model, and writes the offer and the answer that stand in for them.
//!
//! Payload types, format parameters and extension ids are mirrored, so that packets pass without
//! being renumbered by type. It knows nothing of sockets or of the state of a stream.

mod model;
mod parse;
mod select;
mod write;

pub(crate) use model::{
    Codec, CodecKind, Credentials, Description, Direction, Extension, Media, MediaType, Setup, Sources,
};
pub(crate) use parse::parse;
pub(crate) use select::{
    MID, TRANSPORT_CC, answered_codecs, bundled, check_client_offer, client_codecs, is_live, known_extension,
    offered_codecs,
};
pub(crate) use write::{AnswerMedia, ClientAnswer, OfferMedia, UpstreamOffer};

/// Most bytes of a description that are read; real ones stay below 16 KiB.
pub(crate) const SDP_BYTES_MAX: usize = 128 * 1024;

/// Most media sections of a description.
pub(crate) const MEDIA_SECTIONS_MAX: usize = 8;

#[cfg(test)]
mod tests;
