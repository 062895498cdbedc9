//! Carries one publisher's RTP into a player's stream: SSRC, sequence numbers, timestamps, payload
//! type. Knows nothing of sockets.

use std::time::Instant;

use rand::RngExt;
use rand::rngs::SmallRng;
use str0m::format::{Codec, PayloadParams};
use str0m::rtp::{ExtensionValues, RtpPacket, Vp8Descriptor, Vp8Patch};

use super::engine::TransportId;
use super::retransmit::MediaPacket;

/// Longer payloads cannot have come from a WebRTC sender and would not fit a datagram again.
const PAYLOAD_BYTES_MAX: usize = 1500;

/// One m-line that we send on.
pub(crate) struct Outgoing {
    pub(crate) transport: TransportId,
    pub(crate) ssrc: u32,
    pub(crate) repair: Option<u32>,
    pub(crate) payloads: Vec<PayloadParams>,
    /// Video waits for a key frame; set when one went out.
    pub(crate) started: bool,
    numbers: Numbers,
}

/// Why a packet was not forwarded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The player's answer has no payload type for this codec.
    NoPayloadType,
    /// Waiting for a key frame, or older than the first packet forwarded.
    NotYet,
}

impl Outgoing {
    pub(crate) fn new(
        transport: TransportId,
        (ssrc, repair): (u32, Option<u32>),
        payloads: Vec<PayloadParams>,
        randomise: Option<&mut SmallRng>,
    ) -> Self {
        let numbers = Numbers::new(randomise);
        Self { transport, ssrc, repair, payloads, started: false, numbers }
    }

    /// Forget the publisher: video waits for the next key frame.
    pub(crate) fn detach(&mut self) {
        self.started = false;
    }

    /// Translates one packet.
    pub(crate) fn translate(
        &mut self,
        packet: &RtpPacket,
        params: &PayloadParams,
        key_frame: bool,
    ) -> Result<MediaPacket, Unsent> {
        let target = self.payload_type_for(params).ok_or(Unsent::NoPayloadType)?;
        let codec = params.spec().codec;
        if packet.payload.len() > PAYLOAD_BYTES_MAX || (codec.is_video() && !self.started && !key_frame) {
            return Err(Unsent::NotYet);
        }
        let clock_rate_hz = params.spec().clock_rate.get();
        let (sequence, timestamp) = self
            .numbers
            .map(
                *packet.header.ssrc,
                *packet.seq_no,
                packet.header.timestamp,
                clock_rate_hz,
                packet.timestamp,
            )
            .ok_or(Unsent::NotYet)?;
        self.started = true;
        // str0m may resend only when the answer names a retransmission stream.
        let repairable = self.repair.is_some() && target.resend().is_some();
        let vp8_patch = if codec == Codec::Vp8 { self.numbers.vp8_patch(&packet.payload) } else { None };
        Ok(MediaPacket {
            payload_type: target.pt(),
            sequence,
            timestamp,
            captured_at: packet.timestamp,
            marker: packet.header.marker,
            extensions: forwarded_extensions(&packet.header.ext_vals),
            payload: packet.payload.clone(),
            vp8_patch,
            repairable,
        })
    }

    fn payload_type_for(&self, params: &PayloadParams) -> Option<PayloadParams> {
        let spec = params.spec();
        let same_codec = || self.payloads.iter().filter(|p| p.spec().codec == spec.codec);
        same_codec()
            .find(|p| p.spec() == spec)
            .or_else(|| {
                same_codec().find(|p| p.spec().format.packetization_mode == spec.format.packetization_mode)
            })
            .or_else(|| same_codec().next())
            .copied()
    }
}

/// These belong to the publisher's own transport; str0m writes ours.
fn forwarded_extensions(values: &ExtensionValues) -> ExtensionValues {
    let mut values = values.clone();
    values.mid = None;
    values.rid = None;
    values.rid_repair = None;
    values.transport_cc = None;
    values.abs_send_time = None;
    values
}

/// Sequence numbers and timestamps of one outgoing stream across changes of its source.
struct Numbers {
    random: Option<RandomStart>,
    source: Option<Source>,
    highest: Option<Highest>,
}

#[derive(Clone, Copy)]
struct RandomStart {
    sequence: u16,
    timestamp: u32,
    picture_id: u16,
    tl0_picture: u8,
}

struct Source {
    ssrc: u32,
    first_in: u64,
    first_out: u64,
    timestamp_offset: u32,
}

struct Highest {
    sequence: u64,
    timestamp: u32,
    at: Instant,
}

impl Numbers {
    fn new(randomise: Option<&mut SmallRng>) -> Self {
        let random = randomise.map(|random| RandomStart {
            sequence: random.random(),
            timestamp: random.random(),
            picture_id: random.random(),
            tl0_picture: random.random(),
        });
        Self { random, source: None, highest: None }
    }

    fn map(
        &mut self,
        ssrc: u32,
        sequence: u64,
        timestamp: u32,
        clock_rate_hz: u32,
        now: Instant,
    ) -> Option<(u64, u32)> {
        if self.source.as_ref().is_none_or(|source| source.ssrc != ssrc) {
            self.source = Some(self.rebase(ssrc, sequence, timestamp, clock_rate_hz, now));
        }
        let source = self.source.as_ref()?;
        let sequence = source.first_out + sequence.checked_sub(source.first_in)?;
        let timestamp = timestamp.wrapping_add(source.timestamp_offset);
        if self.highest.as_ref().is_none_or(|highest| sequence > highest.sequence) {
            self.highest = Some(Highest { sequence, timestamp, at: now });
        }
        Some((sequence, timestamp))
    }

    fn rebase(&self, ssrc: u32, first_in: u64, timestamp: u32, clock_rate_hz: u32, now: Instant) -> Source {
        let (first_out, wanted) = match (&self.highest, self.random) {
            (Some(highest), _) => {
                let elapsed_ms = now.saturating_duration_since(highest.at).as_millis();
                let ticks = elapsed_ms.saturating_mul(u128::from(clock_rate_hz)) / 1000;
                // A timeline of 32 bits wraps by nature.
                let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(u32::MAX).max(1);
                (highest.sequence + 1, highest.timestamp.wrapping_add(ticks))
            }
            (None, Some(random)) => (u64::from(random.sequence), random.timestamp),
            // A new SRTP stream must start in the first roll-over period.
            (None, None) => (first_in & 0xffff, timestamp),
        };
        Source { ssrc, first_in, first_out, timestamp_offset: wanted.wrapping_sub(timestamp) }
    }

    fn vp8_patch(&self, payload: &[u8]) -> Option<Vp8Patch> {
        let random = self.random?;
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let mut patch = descriptor.patch();
        let id = descriptor.picture_id()?;
        // Only the long form of the picture id leaves room for an offset.
        if payload.get(2)? & 0x80 == 0 {
            return None;
        }
        patch = patch.picture_id(id.wrapping_add(random.picture_id) & 0x7fff);
        if let Some(index) = descriptor.tl0_pic_idx() {
            patch = patch.tl0_pic_idx(index.wrapping_add(random.tl0_picture));
        }
        patch.build().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn gaps_survive_and_old_packets_are_dropped() {
        let mut numbers = Numbers::new(None);
        let now = Instant::now();
        let mut map = |sequence| numbers.map(1, sequence, 0, 90_000, now).map(|(out, _)| out);
        assert_eq!(map(70_000), Some(70_000 - 65_536), "starts below 65536");
        assert_eq!(map(70_003), Some(70_003 - 65_536));
        assert_eq!(map(69_999), None);
    }

    #[test]
    fn a_new_source_continues_the_line() {
        let mut numbers = Numbers::new(None);
        let now = Instant::now();
        assert_eq!(numbers.map(1, 10, 5_000, 90_000, now), Some((10, 5_000)));
        let later = now + Duration::from_secs(1);
        assert_eq!(numbers.map(2, 999, 77, 90_000, later), Some((11, 95_000)));
        assert_eq!(numbers.map(2, 1_000, 77 + 3_000, 90_000, later), Some((12, 98_000)));
    }

    #[test]
    fn random_starts_differ_and_repeat_with_the_seed() {
        let first = |seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            Numbers::new(Some(&mut random)).map(1, 5, 5, 90_000, Instant::now()).unwrap()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert!(first(3).0 < 65_536);
    }
}
