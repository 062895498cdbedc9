//! What a synthetic client has sent and received.

use std::time::{Duration, Instant};

use serde::Serialize;
use str0m::format::Codec;
use str0m::rtp::RtpPacket;

use super::synthetic::{Stamp, now_us};
use crate::simulator::media::{PeerFacts, starts_key_frame};

/// Buckets of [`Delays`]: bucket n counts delays below 2^n microseconds.
const DELAY_BUCKETS: usize = 32;

/// A picture without a packet for this long stands still.
pub const PICTURE_STILL: Duration = Duration::from_millis(500);

/// When a picture moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct PictureMoments {
    /// The first packet of all, or the first one after [`PICTURE_STILL`] without any.
    pub resumed: Option<Instant>,
    /// The last packet.
    pub last: Option<Instant>,
}

/// Numbers of one client.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClientStats {
    /// Whether ICE and DTLS of all transports are up.
    pub connected: bool,
    /// Whether a transport failed or ICE gave up.
    pub failed: bool,
    /// Audio received or sent.
    pub audio: TrackStats,
    /// Video received or sent.
    pub video: TrackStats,
    /// Key-frame requests received (publisher).
    pub key_frame_requests: u64,
    /// What the receiver last said it can take (REMB; publisher), bits per second.
    pub estimate_bps: Option<u64>,
    /// What was seen of the server on the last transport that told anything, where
    /// [`ClientOptions::watches_peer`](super::ClientOptions::watches_peer).
    #[serde(skip)]
    pub peer: PeerFacts,
    /// From sending a frame's first packet to receiving it, when both ends are in this process.
    pub delays: Delays,
}

/// Numbers of one m-line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TrackStats {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP payload bytes received.
    pub bytes_received: u64,
    /// Key frames sent or received.
    pub key_frames: u64,
    /// Sequence numbers never seen so far.
    pub missing: u64,
    /// Packets that came after one with a higher sequence number (reordered or retransmitted).
    pub late: u64,
    /// A new highest sequence number with a timestamp older than the one before.
    pub timestamp_steps_back: u64,
    /// How often the SSRC changed.
    pub ssrc_changes: u64,
    /// The SSRC of the last packet.
    pub ssrc: Option<u32>,
    /// The payload type of the last packet.
    pub payload_type: Option<u8>,
    /// Codec of the last packet.
    pub codec: Option<String>,
    /// Number of the last synthetic frame received.
    pub frame: Option<u64>,
    /// Synthetic frames whose first packet came.
    pub frames_received: u64,
    /// Synthetic frames whose first packet is missing.
    pub frames_missing: u64,
    /// The longest time between two received packets, milliseconds.
    pub longest_silence_ms: u64,
    /// When the last packet came.
    #[serde(skip)]
    pub last_packet: Option<Instant>,
    /// When the first packet came, or the first one after [`PICTURE_STILL`] without any.
    #[serde(skip)]
    pub resumed: Option<Instant>,
    #[serde(skip)]
    last_stamp: Option<u64>,
    #[serde(skip)]
    highest: Option<(u64, u32)>,
    #[serde(skip)]
    last_key_timestamp: Option<u32>,
}

/// A coarse histogram of delays; a bucket is a factor of two wide.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Delays {
    /// Count per bucket; bucket n holds delays below 2^n microseconds.
    pub buckets: [u64; DELAY_BUCKETS],
    /// The largest, microseconds.
    pub largest_us: u64,
}

impl Delays {
    fn add(&mut self, delay_us: u64) {
        let bucket = (u64::BITS - delay_us.leading_zeros()) as usize;
        if let Some(slot) = self.buckets.get_mut(bucket.min(DELAY_BUCKETS - 1)) {
            *slot += 1;
        }
        self.largest_us = self.largest_us.max(delay_us);
    }

    /// Adds those of another client.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (slot, count) in self.buckets.iter_mut().zip(other.buckets) {
            *slot += count;
        }
        self.largest_us = self.largest_us.max(other.largest_us);
    }

    /// An upper bound of the delay that a share (0 to 1) of all packets stays below, microseconds.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut sum = 0;
        self.buckets.iter().enumerate().find_map(|(bucket, count)| {
            sum += count;
            (total > 0 && sum >= wanted).then(|| (1_u64 << bucket).min(self.largest_us))
        })
    }
}

impl ClientStats {
    /// The numbers of audio or video.
    pub(super) fn track(&mut self, audio: bool) -> &mut TrackStats {
        if audio { &mut self.audio } else { &mut self.video }
    }

    pub(super) fn received(&mut self, audio: bool, codec: Codec, packet: &RtpPacket) {
        if let Some(delay_us) = self.track(audio).received(audio, codec, packet) {
            self.delays.add(delay_us);
        }
    }
}

impl TrackStats {
    /// Counts one packet; returns the delay if the packet tells it.
    fn received(&mut self, audio: bool, codec: Codec, packet: &RtpPacket) -> Option<u64> {
        self.packets_received += 1;
        self.bytes_received += packet.payload.len() as u64;
        let now = packet.timestamp;
        let silence = self.last_packet.replace(now).map(|last| now.saturating_duration_since(last));
        if silence.is_none_or(|silence| silence >= PICTURE_STILL) {
            self.resumed = Some(now);
        }
        let silence_ms = u64::try_from(silence.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        self.longest_silence_ms = self.longest_silence_ms.max(silence_ms);
        let (ssrc, timestamp) = (*packet.header.ssrc, packet.header.timestamp);
        let changed = self.ssrc.replace(ssrc).is_some_and(|previous| previous != ssrc);
        if changed {
            self.ssrc_changes += 1;
            self.highest = None;
        }
        self.sequence(*packet.seq_no, timestamp);
        self.payload_type = Some(*packet.header.payload_type);
        if self.codec.as_deref() != Some(codec.to_string().as_str()) {
            self.codec = Some(codec.to_string());
        }
        if !audio
            && starts_key_frame(codec, &packet.payload)
            && self.last_key_timestamp.replace(timestamp) != Some(timestamp)
        {
            self.key_frames += 1;
        }
        let stamp = Stamp::find(&packet.payload)?;
        self.frames_received += u64::from(self.last_stamp.replace(stamp.number) != Some(stamp.number));
        if let Some(last) = self.frame
            && stamp.number > last
        {
            self.frames_missing += stamp.number - last - 1;
        }
        self.frame = self.frame.max(Some(stamp.number));
        Some(now_us(now).saturating_sub(stamp.sent_us))
    }

    fn sequence(&mut self, sequence: u64, timestamp: u32) {
        let Some((highest, previous)) = self.highest else {
            self.highest = Some((sequence, timestamp));
            return;
        };
        if sequence > highest {
            self.missing += sequence - highest - 1;
            if timestamp.wrapping_sub(previous) > u32::MAX / 2 {
                self.timestamp_steps_back += 1;
            }
            self.highest = Some((sequence, timestamp));
        } else {
            self.late += 1;
            self.missing = self.missing.saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_steps_back_are_told_apart() {
        let mut track = TrackStats::default();
        for (sequence, timestamp) in [(1, u32::MAX), (2, 5), (5, 6), (4, 6), (6, 1)] {
            track.sequence(sequence, timestamp);
        }
        assert_eq!((track.missing, track.late, track.timestamp_steps_back), (1, 1, 1));
    }

    #[test]
    fn quantiles_come_from_the_buckets() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantile_us(0.5), None);
        for _ in 0..99 {
            delays.add(100);
        }
        delays.add(5_000);
        assert_eq!(delays.quantile_us(0.5), Some(128));
        assert_eq!(delays.quantile_us(1.0), Some(5_000));
    }
}
