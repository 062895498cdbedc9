//! Retransmission without RTX (RFC 4588 is not negotiated, NACK is): what a peer asks for again is
//! sent again as it was, on the same SSRC and under the same number.
//!
//! `str0m` retransmits by RTX alone, so the packets are kept here. The second copy has to be the
//! same to the byte: under one number an SRTP key may protect one packet only (RFC 7714 8.1), so
//! the transport sends no header extension that tells when a packet leaves.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    media::Pt,
    rtp::{ExtensionValues, RtpWrite, Vp8Patch},
};

/// A packet is sent again no more often than this: peers ask until it arrives.
const PAUSE: Duration = Duration::from_millis(20);

/// Share of the packets that may be sent again, in tenths, as `str0m` limits RTX.
const SHARE_TENTHS: usize = 3;

/// Packets that may be sent again before the share counts.
const BURST: usize = 64;

/// A packet to send.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) payload_type: Pt,
    /// Extended sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// When it was captured.
    pub(crate) wallclock: Instant,
    pub(crate) marker: bool,
    pub(crate) extensions: ExtensionValues,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) vp8_patch: Option<Vp8Patch>,
    /// RTX may bring it again.
    pub(crate) repairable: bool,
}

impl Packet {
    /// As `str0m` takes it.
    pub(crate) fn into_write(self) -> RtpWrite {
        let Self { payload_type, timestamp, wallclock, payload, .. } = self;
        let write = RtpWrite::new(payload_type, self.sequence.into(), timestamp, wallclock, payload)
            .marker(self.marker)
            .ext_vals(self.extensions)
            .nackable(self.repairable);
        match self.vp8_patch {
            Some(patch) => write.vp8_patch(patch),
            None => write,
        }
    }
}

/// What was sent from one SSRC of late.
#[derive(Debug)]
pub(crate) struct Resender {
    packets: VecDeque<(Packet, Option<Instant>)>,
    packets_max: usize,
    /// Packets that may be sent again now, in tenths.
    allowance_tenths: usize,
}

impl Resender {
    /// Keeps at most this many packets, the newest.
    pub(crate) const fn new(packets_max: usize) -> Self {
        Self { packets: VecDeque::new(), packets_max, allowance_tenths: BURST * 10 }
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// A packet is sent for the first time.
    pub(crate) fn keep(&mut self, packet: Packet) {
        if self.packets.len() >= self.packets_max {
            self.packets.pop_front();
        }
        self.packets.push_back((packet, None));
        self.allowance_tenths = (self.allowance_tenths + SHARE_TENTHS).min(BURST * 10);
    }

    /// The packets with these numbers, as far as they are kept and may be sent again.
    pub(crate) fn asked_for(&mut self, lost: &[u16], now: Instant) -> Vec<Packet> {
        lost.iter().filter_map(|sequence| self.again(*sequence, now)).collect()
    }

    /// The packet with this number, if it is kept and may be sent again.
    fn again(&mut self, sequence: u16, now: Instant) -> Option<Packet> {
        let (packet, sent_again) =
            self.packets.iter_mut().rev().find(|(p, _)| p.sequence as u16 == sequence)?;
        if sent_again.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            return None;
        }
        self.allowance_tenths = self.allowance_tenths.checked_sub(10)?;
        *sent_again = Some(now);
        Some(packet.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn packet(sequence: u64) -> Packet {
        Packet {
            payload_type: 96.into(),
            sequence,
            timestamp: 7,
            wallclock: Instant::now(),
            marker: true,
            extensions: ExtensionValues::default(),
            payload: Arc::from([1, 2, 3].as_slice()),
            vp8_patch: None,
            repairable: false,
        }
    }

    #[test]
    fn what_is_kept_comes_again_and_not_too_often() {
        let mut resender = Resender::new(10);
        (65_530..65_545).for_each(|sequence| resender.keep(packet(sequence)));
        assert_eq!(resender.packets.len(), 10);
        let now = Instant::now();
        assert!(resender.again(65_534, now).is_none(), "it gave way to newer ones");
        assert_eq!(resender.again(65_535, now).unwrap().sequence, 65_535);
        assert_eq!(resender.again(1, now).unwrap().sequence, 65_537, "numbers wrap");
        assert!(resender.again(1, now + PAUSE / 2).is_none());
        assert!(resender.again(1, now + PAUSE).is_some());
        assert!(resender.again(900, now).is_none());
    }

    #[test]
    fn a_peer_that_asks_for_everything_does_not_get_it() {
        let mut resender = Resender::new(1000);
        let mut now = Instant::now();
        let mut again = 0;
        for sequence in 0..1000_u64 {
            resender.keep(packet(sequence));
            now += PAUSE;
            again += (0..=sequence).filter(|s| resender.again(*s as u16, now).is_some()).count();
        }
        assert!(again >= BURST, "{again}");
        assert!(again <= BURST + 1000 * SHARE_TENTHS / 10, "{again}");
    }
}
