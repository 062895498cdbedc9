//! What the media server has seen, for tests and the control port. Counting only.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

/// A snapshot of the media server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MediaCounters {
    /// Sums since the start, closed streams included.
    pub totals: Totals,
    /// Open streams by `mediaSessionId`.
    pub streams: BTreeMap<String, StreamCounters>,
}

/// Sums over all streams since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Publishes answered.
    pub publishes: u64,
    /// Plays answered (WebRTC).
    pub plays: u64,
    /// MSE players attached.
    pub mse_plays: u64,
    /// Offers refused.
    pub refused: u64,
    /// RTP packets received from publishers.
    pub packets_received: u64,
    /// RTP payload bytes received from publishers.
    pub bytes_received: u64,
    /// RTP packets forwarded to players.
    pub packets_sent: u64,
    /// RTP payload bytes forwarded to players.
    pub bytes_sent: u64,
    /// Key frames received.
    pub key_frames: u64,
    /// Key-frame requests (PLI or FIR) received from players.
    pub key_frame_requests_received: u64,
    /// Key-frame requests sent to publishers.
    pub key_frame_requests_sent: u64,
    /// MSE records handed to players.
    pub mse_records: u64,
    /// MSE records dropped because a player did not keep up.
    pub mse_records_dropped: u64,
}

/// One publish or play.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamCounters {
    /// The stream's name.
    pub name: String,
    /// True for a publish, false for a play.
    pub published: bool,
    /// `new`, `checking`, `connected`, `completed` or `disconnected`; of the worst transport.
    pub ice: &'static str,
    /// `new`, `connected` (all transports) or `failed`.
    pub dtls: &'static str,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP payload bytes received.
    pub bytes_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// Key frames received or sent.
    pub key_frames: u64,
    /// Milliseconds since the last media packet in either direction; none before the first.
    pub last_packet_age_ms: Option<u64>,
    /// Audio only.
    pub audio: TrackCounters,
    /// Video only.
    pub video: TrackCounters,
    #[serde(skip)]
    pub(crate) last_packet: Option<Instant>,
}

/// One m-line of a stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TrackCounters {
    /// RTP packets received (publish) or sent (play).
    pub packets: u64,
    /// RTP payload bytes.
    pub bytes: u64,
    /// The codec of the last packet, for example `VP8`.
    pub codec: Option<String>,
    /// The payload type of the last packet.
    pub payload_type: Option<u8>,
    /// The SSRC of the last packet.
    pub ssrc: Option<u32>,
    /// NACKs sent (publish) or received (play), as of the last second.
    pub nacks: u64,
    /// Key-frame requests sent (publish) or received (play).
    pub key_frame_requests: u64,
    /// What a player last said it can take (REMB), bits per second.
    pub estimate_bps: Option<u64>,
    /// Packets without a payload type in this player's answer, not forwarded.
    pub unsendable: u64,
}

impl MediaCounters {
    /// Fills the ages that depend on the moment of reading.
    pub(crate) fn at(mut self, now: Instant) -> Self {
        for stream in self.streams.values_mut() {
            stream.last_packet_age_ms = stream
                .last_packet
                .map(|at| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX));
        }
        self
    }
}

impl StreamCounters {
    pub(crate) fn new(name: &str, published: bool) -> Self {
        Self { name: name.to_owned(), published, ice: "new", dtls: "new", ..Self::default() }
    }

    pub(crate) fn track(&mut self, audio: bool) -> &mut TrackCounters {
        if audio { &mut self.audio } else { &mut self.video }
    }
}
