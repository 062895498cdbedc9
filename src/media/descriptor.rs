//! What is read from the first bytes of a video payload: does a key frame start here, and which
//! numbers does a VP8 descriptor carry. Any bytes may come in.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use super::sdp::CodecKind;

/// The numbers of a VP8 payload descriptor that must be continuous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Numbers {
    pub(crate) picture_id: Option<u16>,
    /// The PictureID has 15 bits, else 7.
    pub(crate) picture_id_is_long: bool,
    pub(crate) tl0: Option<u8>,
}

impl Vp8Numbers {
    /// The largest PictureID that fits.
    pub(crate) const fn picture_id_max(self) -> u16 {
        if self.picture_id_is_long { 0x7fff } else { 0x7f }
    }
}

/// A VP8 descriptor and the numbers in it; None if there is nothing to rewrite.
pub(crate) fn vp8_numbers(payload: &[u8]) -> Option<(Vp8Descriptor, Vp8Numbers)> {
    let descriptor = Vp8Descriptor::parse(payload).ok()?;
    let numbers = Vp8Numbers {
        picture_id: descriptor.picture_id(),
        // The M bit of the byte after the two that say it is there (RFC 7741 4.2).
        picture_id_is_long: payload.get(2).is_some_and(|byte| byte & 0x80 != 0),
        tl0: descriptor.tl0_pic_idx(),
    };
    (numbers.picture_id.is_some() || numbers.tl0.is_some()).then_some((descriptor, numbers))
}

/// The change of bytes that writes `numbers` into a descriptor.
pub(crate) fn vp8_patch(descriptor: &Vp8Descriptor, numbers: Vp8Numbers) -> Option<Vp8Patch> {
    let mut patch = descriptor.patch();
    if let Some(id) = numbers.picture_id {
        patch = patch.picture_id(id);
    }
    if let Some(tl0) = numbers.tl0 {
        patch = patch.tl0_pic_idx(tl0);
    }
    patch.build().ok()
}

/// Does a key frame start in this payload? For codecs whose payload we cannot read every packet
/// counts as one: there is nothing to wait for.
pub(crate) fn starts_key_frame(kind: CodecKind, payload: &[u8]) -> bool {
    match kind {
        CodecKind::Vp8 => Vp8Descriptor::parse(payload).is_ok_and(|d| d.starts_keyframe(payload)),
        CodecKind::Vp9 => vp9(payload),
        CodecKind::H264 => h264(payload),
        CodecKind::H265 => h265(payload),
        CodecKind::Av1 => av1(payload),
        CodecKind::Other => !payload.is_empty(),
    }
}

/// RFC 9628: not predicted from other pictures, first packet of the frame, lowest spatial layer.
fn vp9(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else { return false };
    let (has_id, predicted, layers, begins) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x08 != 0);
    if predicted || !begins {
        return false;
    }
    if !layers {
        return true;
    }
    let id_length = match (has_id, payload.get(1)) {
        (false, _) => 0,
        (true, Some(id)) => 1 + usize::from(id & 0x80 != 0),
        (true, None) => return false,
    };
    // Spatial layer and "depends on the layer below": key pictures may have several layers.
    payload.get(1 + id_length).is_some_and(|layer| (layer >> 1) & 0x07 == 0)
}

const H264_IDR: u8 = 5;
const H264_SPS: u8 = 7;
const H264_STAP_A: u8 = 24;
const H264_FU_A: u8 = 28;

/// RFC 6184: an IDR slice, or the parameter sets that come before it.
fn h264(payload: &[u8]) -> bool {
    let is_key = |nal: u8| matches!(nal & 0x1f, H264_IDR | H264_SPS);
    let Some(first) = payload.first() else { return false };
    match first & 0x1f {
        H264_STAP_A => {
            let mut rest = payload.get(1..).unwrap_or_default();
            while let Some((size, after)) = rest.split_first_chunk::<2>() {
                if after.first().is_some_and(|nal| is_key(*nal)) {
                    return true;
                }
                match after.get(usize::from(u16::from_be_bytes(*size))..) {
                    Some(next) => rest = next,
                    None => return false,
                }
            }
            false
        }
        H264_FU_A => payload.get(1).is_some_and(|header| header & 0x80 != 0 && header & 0x1f == H264_IDR),
        _ => is_key(*first),
    }
}

/// RFC 7798: an IRAP slice (16 to 21) or the parameter sets before it (32 to 34).
fn h265(payload: &[u8]) -> bool {
    let is_key = |kind: u8| matches!(kind, 16..=21 | 32..=34);
    let kind = |byte: u8| (byte >> 1) & 0x3f;
    let Some(first) = payload.first() else { return false };
    match kind(*first) {
        48 => {
            let mut rest = payload.get(2..).unwrap_or_default();
            while let Some((size, after)) = rest.split_first_chunk::<2>() {
                if after.first().is_some_and(|nal| is_key(kind(*nal))) {
                    return true;
                }
                match after.get(usize::from(u16::from_be_bytes(*size))..) {
                    Some(next) => rest = next,
                    None => return false,
                }
            }
            false
        }
        49 => payload.get(2).is_some_and(|header| header & 0x80 != 0 && is_key(header & 0x3f)),
        other => is_key(other),
    }
}

/// The aggregation header's N bit: first packet of a coded video sequence.
fn av1(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x08 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [CodecKind; 6] =
        [CodecKind::Vp8, CodecKind::Vp9, CodecKind::H264, CodecKind::H265, CodecKind::Av1, CodecKind::Other];

    #[test]
    fn vp8_key_frames_are_seen() {
        // X, S, PID 0; extension with PictureID and TL0PICIDX and TID.
        assert!(starts_key_frame(CodecKind::Vp8, &[0x90, 0xe0, 0x80, 0x01, 0x05, 0x00, 0x10]));
        assert!(!starts_key_frame(CodecKind::Vp8, &[0x90, 0xe0, 0x80, 0x01, 0x05, 0x00, 0x11]));
        assert!(
            !starts_key_frame(CodecKind::Vp8, &[0x80, 0xe0, 0x80, 0x01, 0x05, 0x00, 0x10]),
            "not the first packet"
        );
    }

    #[test]
    fn h264_key_frames_are_seen() {
        assert!(starts_key_frame(CodecKind::H264, &[0x67, 1, 2]), "sequence parameters");
        assert!(starts_key_frame(CodecKind::H264, &[0x65, 1, 2]), "IDR slice");
        assert!(starts_key_frame(CodecKind::H264, &[24, 0, 2, 0x09, 0, 0, 2, 0x67, 0]), "aggregated");
        assert!(starts_key_frame(CodecKind::H264, &[28, 0x85, 0]), "first fragment");
        assert!(!starts_key_frame(CodecKind::H264, &[28, 0x05, 0]), "later fragment");
        assert!(!starts_key_frame(CodecKind::H264, &[0x41, 1, 2]));
    }

    #[test]
    fn vp9_key_frames_are_seen() {
        assert!(starts_key_frame(CodecKind::Vp9, &[0x88, 0x81, 0x00, 1]));
        assert!(!starts_key_frame(CodecKind::Vp9, &[0xc8, 0x81, 0x00, 1]), "predicted");
        assert!(starts_key_frame(CodecKind::Vp9, &[0xa8, 0x01, 0x00, 0x00]));
        assert!(!starts_key_frame(CodecKind::Vp9, &[0xa8, 0x01, 0x02, 0x00]), "an upper layer");
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            for kind in KINDS {
                let _ = starts_key_frame(kind, &payload);
            }
            if let Some((descriptor, numbers)) = vp8_numbers(&payload) {
                prop_assert!(numbers.picture_id.is_none_or(|id| id <= numbers.picture_id_max()));
                prop_assert!(vp8_patch(&descriptor, numbers).is_some(), "what was read can be written back");
            }
        }
    }
}
