//! Media that looks right to every relay and plays nowhere: valid payload descriptors, invented
//! pictures. Each frame carries its number and the moment it was sent, so that a receiver in the
//! same process can tell losses and delays.

use std::sync::OnceLock;
use std::time::Instant;

use str0m::format::Codec;

/// Marks payloads of this module.
const MAGIC: [u8; 4] = *b"HFst";
/// Bytes of the stamp: magic, frame number, microseconds.
const STAMP_BYTES: usize = 20;
/// Payload bytes per packet, as browsers choose them.
const PAYLOAD_BYTES_MAX: usize = 1100;
/// Parameter sets of a 640x480 baseline stream.
const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// What a frame was stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) number: u64,
    pub(super) sent_us: u64,
}

/// Microseconds on a clock shared by all clients of this process.
pub(super) fn now_us(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
}

impl Stamp {
    fn bytes(self) -> [u8; STAMP_BYTES] {
        let mut out = [0; STAMP_BYTES];
        let parts = MAGIC.into_iter().chain(self.number.to_be_bytes()).chain(self.sent_us.to_be_bytes());
        for (slot, byte) in out.iter_mut().zip(parts) {
            *slot = byte;
        }
        out
    }

    /// Finds the stamp near the start of a payload; only first packets of frames carry one.
    pub(super) fn find(payload: &[u8]) -> Option<Self> {
        let head = payload.get(..payload.len().min(64))?;
        let at = head.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let (number, rest) = payload.get(at + MAGIC.len()..)?.split_first_chunk::<8>()?;
        let sent = rest.first_chunk::<8>()?;
        Some(Self { number: u64::from_be_bytes(*number), sent_us: u64::from_be_bytes(*sent) })
    }
}

/// The payloads of one video frame of about `bytes` bytes.
pub(super) fn video_frame(codec: Codec, stamp: Stamp, key: bool, bytes: usize) -> Vec<Vec<u8>> {
    let body = frame_body(stamp, bytes);
    match codec {
        Codec::H264 => h264(&body, key),
        _ => vp8(&body, stamp.number, key),
    }
}

/// One opus packet.
pub(super) fn audio_packet(stamp: Stamp) -> Vec<u8> {
    // TOC byte of a 20 ms stereo CELT packet.
    let mut out = vec![0xfc];
    out.extend(stamp.bytes());
    out.resize(80, 0x55);
    out
}

fn frame_body(stamp: Stamp, bytes: usize) -> Vec<u8> {
    let mut body = stamp.bytes().to_vec();
    body.resize(bytes.max(STAMP_BYTES), 0x55);
    body
}

fn vp8(body: &[u8], number: u64, key: bool) -> Vec<Vec<u8>> {
    // Extended descriptor with 15-bit picture id, TL0PICIDX and TID (RFC 7741), as libvpx sends.
    let picture = (number % 0x8000) as u16 | 0x8000;
    let [high, low] = picture.to_be_bytes();
    let tl0 = (number % 256) as u8;
    // Frame tag: P bit 0 for key frames, then start code and 640x480.
    let tag: &[u8] =
        if key { &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01] } else { &[0x11, 0, 0] };
    let frame = [tag, body].concat();
    frame
        .chunks(PAYLOAD_BYTES_MAX)
        .enumerate()
        .map(|(index, chunk)| {
            let first = if index == 0 { 0x90 } else { 0x80 };
            [&[first, 0xe0, high, low, tl0, 0x20], chunk].concat()
        })
        .collect()
}

fn h264(body: &[u8], key: bool) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let header = if key { 0x65 } else { 0x41 };
    if key {
        let mut sets = vec![0x78];
        for set in [SPS, PPS] {
            sets.extend((set.len() as u16).to_be_bytes());
            sets.extend_from_slice(set);
        }
        out.push(sets);
    }
    if body.len() <= PAYLOAD_BYTES_MAX {
        out.push([&[header], body].concat());
        return out;
    }
    let count = body.len().div_ceil(PAYLOAD_BYTES_MAX);
    for (index, chunk) in body.chunks(PAYLOAD_BYTES_MAX).enumerate() {
        let start = if index == 0 { 0x80 } else { 0 };
        let end = if index + 1 == count { 0x40 } else { 0 };
        out.push([&[(header & 0xe0) | 28, start | end | (header & 0x1f)], chunk].concat());
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::simulator::media::starts_key_frame;

    #[test]
    fn key_frames_are_recognised_and_stamps_found() {
        let stamp = Stamp { number: 40_000, sent_us: 77 };
        for codec in [Codec::Vp8, Codec::H264] {
            for key in [true, false] {
                let packets = video_frame(codec, stamp, key, 5_000);
                assert_eq!(starts_key_frame(codec, &packets[0]), key, "{codec} {key}");
                assert!(packets.iter().all(|packet| packet.len() < 1200));
                let found: Vec<Stamp> = packets.iter().filter_map(|p| Stamp::find(p)).collect();
                assert_eq!(found, [stamp], "{codec} {key}");
            }
        }
        assert_eq!(Stamp::find(&audio_packet(stamp)), Some(stamp));
        assert_eq!(Stamp::find(b"HFst"), None);
    }
}
