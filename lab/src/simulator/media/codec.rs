//! Telling key frames from other frames by the first bytes of RTP payloads.

use str0m::format::Codec;
use str0m::rtp::Vp8Descriptor;

/// H.264 NAL unit types and RTP packet types (RFC 6184).
pub(crate) mod nal {
    pub(crate) const IDR: u8 = 5;
    pub(crate) const SPS: u8 = 7;
    pub(crate) const PPS: u8 = 8;
    pub(crate) const DELIMITER: u8 = 9;
    pub(crate) const STAP_A: u8 = 24;
    pub(crate) const FU_A: u8 = 28;

    pub(crate) fn kind(byte: u8) -> u8 {
        byte & 0x1f
    }
}

/// Whether a receiver can start decoding with this packet.
pub fn starts_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => {
            Vp8Descriptor::parse(payload).is_ok_and(|descriptor| descriptor.starts_keyframe(payload))
        }
        Codec::H264 => h264_starts_key_frame(payload),
        _ => false,
    }
}

fn h264_starts_key_frame(payload: &[u8]) -> bool {
    let is_key = |byte: u8| matches!(nal::kind(byte), nal::IDR | nal::SPS);
    let Some(first) = payload.first() else {
        return false;
    };
    match nal::kind(*first) {
        nal::STAP_A => stap_a_units(payload).any(|unit| unit.first().is_some_and(|byte| is_key(*byte))),
        nal::FU_A => payload.get(1).is_some_and(|header| header & 0x80 != 0 && is_key(*header)),
        _ => is_key(*first),
    }
}

/// The NAL units inside a STAP-A payload; stops at the first malformed length.
pub(crate) fn stap_a_units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, body) = rest.split_first_chunk::<2>()?;
        let (unit, after) = body.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(unit)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn vp8_key_frames_are_told_by_the_frame_tag() {
        // Start of partition, 15-bit picture id; the P bit of the frame tag is the lowest one.
        let key = [0x90, 0x80, 0x80, 0x01, 0x10, 0, 0];
        let delta = [0x90, 0x80, 0x80, 0x02, 0x11, 0, 0];
        let middle = [0x80, 0x80, 0x80, 0x01, 0x10, 0, 0];
        assert!(starts_key_frame(Codec::Vp8, &key));
        assert!(!starts_key_frame(Codec::Vp8, &delta));
        assert!(!starts_key_frame(Codec::Vp8, &middle));
        assert!(!starts_key_frame(Codec::Vp8, &[]));
    }

    #[test]
    fn h264_key_frames_are_found_in_every_packing() {
        assert!(starts_key_frame(Codec::H264, &[0x65, 1]));
        assert!(!starts_key_frame(Codec::H264, &[0x41, 1]));
        assert!(starts_key_frame(Codec::H264, &[0x78, 0, 1, 0x67, 0, 1, 0x68]));
        assert!(!starts_key_frame(Codec::H264, &[0x78, 0, 9, 0x67]), "length past the end");
        assert!(starts_key_frame(Codec::H264, &[0x7c, 0x85, 1]));
        assert!(!starts_key_frame(Codec::H264, &[0x7c, 0x05, 1]), "not the first fragment");
        assert!(!starts_key_frame(Codec::H264, &[0x7c]));
    }
}
