//! Feeds MSE players: H.264 frames as the records that the SDK's demuxer reads (protocol S2.9).
//!
//! A record is one byte type (9 = video), four bytes timestamp in ms, four bytes payload length,
//! then the body of an FLV video tag: frame type and codec (0x17 key, 0x27 other), packet type
//! (0 configuration, 1 frame), three bytes composition time. The demuxer cuts its fragments at
//! configuration records, so one precedes every key frame. There is no audio: browsers publish
//! opus and the player wants AAC.
//!
//! Key frames are asked for from time to time: where two frames are further apart than twice the
//! usual distance, as on a busy machine, the browser drops what the player appends up to the next
//! random access point (Media Source Extensions, coded frame processing), however long that is.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use str0m::format::Codec;
use str0m::rtp::RtpPacket;
use tokio::sync::mpsc;

use super::h264::{Assembler, Frame, Piece};

const RECORD_VIDEO: u8 = 9;
const KEY_FRAME_AVC: u8 = 0x17;
const OTHER_FRAME_AVC: u8 = 0x27;
const PACKET_CONFIGURATION: u8 = 0;
const PACKET_FRAME: u8 = 1;
/// RTP ticks per millisecond of video.
const TICKS_PER_MS: u32 = 90;

struct Player {
    id: String,
    records: mpsc::Sender<Bytes>,
    /// Skips frames up to the next key frame.
    waits: bool,
}

/// What one packet led to.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) records: u64,
    pub(crate) dropped: u64,
}

/// The MSE players of one stream name.
#[derive(Default)]
pub(crate) struct MseFeed {
    players: Vec<Player>,
    assembler: Assembler,
    ssrc: Option<u32>,
    clock: Clock,
    /// When the last key frame was sent.
    key_frame_at: Option<Instant>,
}

impl MseFeed {
    pub(crate) fn attach(&mut self, id: String, records: mpsc::Sender<Bytes>) {
        self.players.push(Player { id, records, waits: true });
    }

    pub(crate) fn detach(&mut self, id: &str) {
        self.players.retain(|player| player.id != id);
    }

    /// The publisher is gone; a later one begins anew.
    pub(crate) fn source_lost(&mut self) {
        self.assembler = Assembler::default();
        self.ssrc = None;
        for player in &mut self.players {
            player.waits = true;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.players.is_empty()
    }

    /// Whether somebody waits for a key frame.
    pub(crate) fn waits(&self) -> bool {
        !self.players.is_empty()
            && (self.assembler.needs_key_frame() || self.players.iter().any(|player| player.waits))
    }

    /// Whether the last key frame is longer ago than `every`; zero: never.
    pub(crate) fn wants_another(&self, every: Duration) -> bool {
        !self.players.is_empty()
            && !every.is_zero()
            && self.key_frame_at.is_some_and(|at| at.elapsed() >= every)
    }

    /// Takes one video packet of the publisher.
    pub(crate) fn packet(&mut self, codec: Codec, packet: &RtpPacket) -> Sent {
        let mut sent = Sent::default();
        self.players.retain(|player| !player.records.is_closed());
        if codec != Codec::H264 || self.players.is_empty() {
            self.ssrc = None;
            return sent;
        }
        if self.ssrc != Some(*packet.header.ssrc) {
            self.source_lost();
            self.ssrc = Some(*packet.header.ssrc);
        }
        let mut frames = Vec::new();
        let piece = Piece {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload.clone(),
        };
        self.assembler.push(piece, &mut frames);
        for frame in frames {
            self.send(&frame, &mut sent);
        }
        sent
    }

    fn send(&mut self, frame: &Frame, sent: &mut Sent) {
        let Some((sps, pps)) = self.assembler.parameter_sets() else {
            return;
        };
        let timestamp_ms = self.clock.milliseconds(frame.timestamp);
        let message = message(frame, timestamp_ms, sps, pps);
        let records = if frame.key { 2 } else { 1 };
        if frame.key {
            self.key_frame_at = Some(Instant::now());
        }
        for player in &mut self.players {
            if player.waits && !frame.key {
                continue;
            }
            match player.records.try_send(message.clone()) {
                Ok(()) => {
                    player.waits = false;
                    sent.records += records;
                }
                // Closed receivers are removed with the next packet.
                Err(_) => {
                    player.waits = true;
                    sent.dropped += records;
                }
            }
        }
    }
}

/// Milliseconds since the first frame, from wrapping 90 kHz timestamps.
#[derive(Default)]
struct Clock {
    last: Option<u32>,
    ticks: u64,
}

impl Clock {
    fn milliseconds(&mut self, timestamp: u32) -> u32 {
        if let Some(last) = self.last {
            let step = timestamp.wrapping_sub(last);
            // A step backwards or a jump of hours comes from another source: carry on from here.
            if step < u32::MAX / 2 {
                self.ticks += u64::from(step);
            }
        }
        self.last = Some(timestamp);
        // The field has 32 bits and wraps after 49 days.
        (self.ticks / u64::from(TICKS_PER_MS)) as u32
    }
}

fn message(frame: &Frame, timestamp_ms: u32, sps: &[u8], pps: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    if frame.key {
        let configuration = decoder_configuration(sps, pps);
        record(&mut out, timestamp_ms, KEY_FRAME_AVC, PACKET_CONFIGURATION, &configuration);
    }
    let mut body = BytesMut::new();
    for unit in &frame.units {
        body.put_u32(u32::try_from(unit.len()).unwrap_or(0));
        body.put_slice(unit);
    }
    let frame_type = if frame.key { KEY_FRAME_AVC } else { OTHER_FRAME_AVC };
    record(&mut out, timestamp_ms, frame_type, PACKET_FRAME, &body);
    out.freeze()
}

fn record(out: &mut BytesMut, timestamp_ms: u32, frame_type: u8, packet_type: u8, body: &[u8]) {
    // Composition time 0: browsers publish without B frames.
    let head = [frame_type, packet_type, 0, 0, 0];
    out.put_u8(RECORD_VIDEO);
    out.put_u32(timestamp_ms);
    out.put_u32(u32::try_from(head.len() + body.len()).unwrap_or(0));
    out.put_slice(&head);
    out.put_slice(body);
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15) with four-byte lengths and one set of each.
fn decoder_configuration(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    // Profile, compatibility and level stand behind the NAL header of the SPS.
    out.extend(sps.iter().skip(1).take(3));
    out.extend([0xff, 0xe1]);
    out.extend(u16::try_from(sps.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(sps);
    out.push(1);
    out.extend(u16::try_from(pps.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(pps);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_message_is_configuration_then_frame() {
        let frame = Frame { timestamp: 0, key: true, units: vec![vec![0x65, 7]] };
        let message = message(&frame, 40, &[0x67, 0x42, 0x00, 0x1f], &[0x68, 1]);
        let configuration = [
            9, 0, 0, 0, 40, 0, 0, 0, 22, 0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0,
            0x1f, 1, 0, 2, 0x68, 1,
        ];
        let frame = [9, 0, 0, 0, 40, 0, 0, 0, 11, 0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 7];
        assert_eq!(message[..configuration.len()], configuration);
        assert_eq!(message[configuration.len()..], frame);
    }

    #[test]
    fn the_clock_survives_wrapping_and_jumps() {
        let mut clock = Clock::default();
        assert_eq!(clock.milliseconds(u32::MAX - 89), 0);
        assert_eq!(clock.milliseconds(u32::MAX.wrapping_add(1)), 1);
        assert_eq!(clock.milliseconds(9_000), 101);
        assert_eq!(clock.milliseconds(3), 101, "a step backwards does not move it");
        assert_eq!(clock.milliseconds(93), 102);
    }

    #[test]
    fn a_slow_player_loses_frames_up_to_a_key_frame() {
        let mut feed = MseFeed::default();
        let (sender, mut receiver) = mpsc::channel(1);
        feed.attach("p".to_owned(), sender);
        let mut frames = Vec::new();
        let sets = [0x78, 0, 4, 0x67, 0x42, 0, 0x1f, 0, 2, 0x68, 1];
        let payload = sets.as_slice().into();
        feed.assembler.push(Piece { sequence: 0, timestamp: 0, marker: false, payload }, &mut frames);
        let frame = |key| Frame { timestamp: 0, key, units: vec![vec![0x41]] };
        let mut sent = Sent::default();
        feed.send(&frame(false), &mut sent);
        assert_eq!((sent.records, sent.dropped), (0, 0), "nothing before the first key frame");
        feed.send(&frame(true), &mut sent);
        feed.send(&frame(false), &mut sent);
        assert_eq!((sent.records, sent.dropped), (2, 1));
        assert!(feed.waits());
        assert!(receiver.try_recv().is_ok());
        feed.send(&frame(false), &mut sent);
        assert_eq!(sent.records, 2, "still waiting");
        feed.send(&frame(true), &mut sent);
        assert_eq!(sent.records, 4);
        assert!(feed.wants_another(Duration::from_nanos(1)));
        assert!(!feed.wants_another(Duration::from_secs(60)) && !feed.wants_another(Duration::ZERO));
        feed.detach("p");
        assert!(!feed.wants_another(Duration::from_nanos(1)), "nobody watches");
    }
}
