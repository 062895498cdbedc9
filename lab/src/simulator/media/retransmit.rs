//! Packets that go out, and which of them a peer can still have again on their own SSRC, where RTX is not
//! negotiated.
//!
//! Written apart from the proxy on purpose, as is all that judges it. The second copy is the same to the
//! byte: under one number an SRTP key may protect one packet only (RFC 7714 8.1), so whoever retransmits
//! like this must not write header extensions that tell when a packet leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::Pt;
use str0m::rtp::rtcp::NackEntry;
use str0m::rtp::{ExtensionValues, RtpWrite, Vp8Patch};

/// Packets kept per SSRC, the newest.
const PACKETS_MAX: usize = 256;
/// The shortest time between two copies of a packet: peers ask until it arrives.
const COPY_GAP: Duration = Duration::from_millis(20);
/// Copies of one packet; who lacks it then never gets it.
const COPIES_MAX: u32 = 10;

/// A packet to send.
#[derive(Clone, Debug)]
pub(crate) struct MediaPacket {
    pub(crate) payload_type: Pt,
    /// Extended sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// When it was captured.
    pub(crate) captured_at: Instant,
    pub(crate) marker: bool,
    pub(crate) extensions: ExtensionValues,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) vp8_patch: Option<Vp8Patch>,
    /// RTX may bring it again.
    pub(crate) repairable: bool,
}

impl MediaPacket {
    /// As str0m takes it.
    pub(super) fn into_write(self) -> RtpWrite {
        let number = self.sequence.into();
        let mut write =
            RtpWrite::new(self.payload_type, number, self.timestamp, self.captured_at, self.payload)
                .marker(self.marker)
                .ext_vals(self.extensions)
                .nackable(self.repairable);
        if let Some(patch) = self.vp8_patch {
            write = write.vp8_patch(patch);
        }
        write
    }
}

struct Sent {
    packet: MediaPacket,
    copies: u32,
    copied_at: Option<Instant>,
}

/// What one SSRC sent of late, by extended sequence number.
#[derive(Default)]
pub(super) struct SentPackets {
    packets: BTreeMap<u64, Sent>,
}

impl SentPackets {
    /// Notes a packet that goes out for the first time.
    pub(super) fn keep(&mut self, packet: MediaPacket) {
        self.packets.insert(packet.sequence, Sent { packet, copies: 0, copied_at: None });
        while self.packets.len() > PACKETS_MAX {
            self.packets.pop_first();
        }
    }

    /// The packets that a peer asks for and can have.
    pub(super) fn copies<'a>(
        &mut self,
        asked: impl Iterator<Item = &'a NackEntry>,
        now: Instant,
    ) -> Vec<MediaPacket> {
        asked.flat_map(numbers).filter_map(|number| self.copy(number, now)).collect()
    }

    fn copy(&mut self, number: u16, now: Instant) -> Option<MediaPacket> {
        let newest = *self.packets.last_key_value()?.0;
        // What was lost is older than the newest by less than half the range of a number.
        let age = (newest as u16).wrapping_sub(number);
        let sent = self.packets.get_mut(&newest.checked_sub(u64::from(age))?)?;
        let too_soon = sent.copied_at.is_some_and(|at| now.saturating_duration_since(at) < COPY_GAP);
        if too_soon || sent.copies >= COPIES_MAX {
            return None;
        }
        sent.copies += 1;
        sent.copied_at = Some(now);
        Some(sent.packet.clone())
    }
}

/// The number that is told, and those after it whose bit is set (RFC 4585 6.2.1).
fn numbers(entry: &NackEntry) -> impl Iterator<Item = u16> + use<> {
    let NackEntry { pid, blp } = *entry;
    let others = (0..16).filter(move |bit| blp & (1 << bit) != 0);
    std::iter::once(pid).chain(others.map(move |bit| pid.wrapping_add(bit + 1)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn sent(numbers: std::ops::Range<u64>) -> SentPackets {
        let mut sent = SentPackets::default();
        for sequence in numbers {
            sent.keep(MediaPacket {
                payload_type: 96.into(),
                sequence,
                timestamp: 7,
                captured_at: Instant::now(),
                marker: true,
                extensions: ExtensionValues::default(),
                payload: Arc::from([1, 2, 3].as_slice()),
                vp8_patch: None,
                repairable: false,
            });
        }
        sent
    }

    fn asked(sent: &mut SentPackets, pid: u16, blp: u16, now: Instant) -> Vec<u64> {
        let copies = sent.copies([NackEntry { pid, blp }].iter(), now);
        copies.into_iter().map(|packet| packet.sequence).collect()
    }

    #[test]
    fn a_peer_gets_what_it_lacks_and_numbers_wrap() {
        let mut sent = sent(65_530..65_545);
        let now = Instant::now();
        assert_eq!(asked(&mut sent, 65_534, 0b1000_0000_0000_0101, now), [65_534, 65_535, 65_537]);
        assert!(asked(&mut sent, 9, 0, now).is_empty(), "it was not sent yet");
        assert!(asked(&mut sent, 65_529, 0, now).is_empty(), "it was never sent");
        assert!(asked(&mut SentPackets::default(), 0, 0xffff, now).is_empty());
    }

    #[test]
    fn what_is_kept_and_copied_is_bounded() {
        let packets = PACKETS_MAX as u64;
        let mut sent = sent(0..packets + 10);
        assert_eq!(sent.packets.len(), PACKETS_MAX);
        let mut now = Instant::now();
        assert!(asked(&mut sent, 9, 0, now).is_empty(), "it gave way to newer ones");
        assert_eq!(asked(&mut sent, 10, 0, now), [10]);
        assert!(asked(&mut sent, 10, 0, now + COPY_GAP / 2).is_empty(), "too soon");
        let mut copies = 1;
        for _ in 0..COPIES_MAX * 2 {
            now += COPY_GAP;
            copies += asked(&mut sent, 10, 0, now).len();
        }
        assert_eq!(copies, COPIES_MAX as usize);
    }
}
