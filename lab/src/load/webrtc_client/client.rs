//! One synthetic client: its m-lines, what it sends, what it makes of events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use str0m::bwe::BweKind;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{MediaKind, Mid};
use str0m::net::TcpType;
use str0m::rtp::ExtensionValues;
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Rtc};

use super::offer::Sources;
use super::stats::ClientStats;
use super::synthetic::{Stamp, audio_packet, now_us, video_frame};
use super::{ClientError, ClientOptions};
use crate::simulator::media::engine::{Engine, TransportId};
use crate::simulator::media::retransmit::MediaPacket;
use crate::simulator::media::sdp::MediaSection;
use crate::simulator::media::transport::{BindingLine, LateBinding};

/// One m-line that is in use.
pub(super) struct Track {
    pub(super) transport: TransportId,
    pub(super) mid: Mid,
    pub(super) audio: bool,
    pub(super) payloads: Vec<PayloadParams>,
    pub(super) ssrc: Option<u32>,
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) frame: u64,
    pub(super) since_key: u64,
    pub(super) key_wanted: bool,
    pub(super) sending: bool,
    /// What is sent: an index into `payloads`. Browsers send the first codec of the answer.
    pub(super) current: usize,
    pub(super) repair: bool,
}

pub(super) struct Client {
    pub(super) options: ClientOptions,
    pub(super) stats: Arc<Mutex<ClientStats>>,
    pub(super) credentials: IceCreds,
    pub(super) sources: Sources,
    pub(super) transports: Vec<TransportId>,
    pub(super) connected: usize,
    pub(super) tracks: Vec<Track>,
    /// Whether its send timers are in the heap.
    pub(super) scheduled: bool,
}

impl Client {
    /// Handles one event; true when all transports just became connected.
    pub(super) fn event(&mut self, transport: TransportId, event: Event) -> bool {
        match event {
            Event::Connected => {
                self.connected += 1;
                let all = self.connected >= self.transports.len();
                self.stats.lock().connected = all;
                return all;
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.stats.lock().failed = true;
            }
            Event::IceConnectionStateChange(_) => self.stats.lock().failed = false,
            Event::KeyframeRequest(request) => {
                self.stats.lock().key_frame_requests += 1;
                let answers = self.options.answers_key_frame_requests;
                for track in self.tracks.iter_mut().filter(|track| track.mid == request.mid) {
                    track.key_wanted |= answers;
                }
            }
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                self.stats.lock().estimate_bps = Some(estimate.as_u64());
            }
            Event::RtpPacket(packet) => {
                let payload_type = packet.header.payload_type;
                let found = self.tracks.iter_mut().filter(|t| t.transport == transport).find_map(|track| {
                    let params = track.payloads.iter().find(|p| p.pt() == payload_type)?;
                    let codec = params.spec().codec;
                    Some((track, codec))
                });
                if let Some((track, codec)) = found {
                    track.ssrc = Some(*packet.header.ssrc);
                    self.stats.lock().received(track.audio, codec, &packet);
                }
            }
            _ => {}
        }
        false
    }
}

impl Track {
    pub(super) fn set_codec(&mut self, codec: Codec) {
        if let Some(index) = self.payloads.iter().position(|params| params.spec().codec == codec) {
            self.current = index;
            self.key_wanted = true;
        }
    }

    pub(super) fn send(
        &mut self,
        engine: &mut Engine,
        options: &ClientOptions,
        stats: &mut ClientStats,
        now: Instant,
    ) {
        let Some(params) = self.payloads.get(self.current).copied() else { return };
        let Some(ssrc) = self.ssrc else { return };
        let stamp = Stamp { number: self.frame, sent_us: now_us(now) };
        let codec = params.spec().codec;
        let key = self.key_wanted || self.since_key >= options.key_frame_interval;
        let payloads = if self.audio {
            vec![audio_packet(stamp)]
        } else {
            let bytes = options.bitrate_bps / 8 / options.frames_per_second.max(1);
            let bytes = if key { bytes.saturating_mul(3) } else { bytes };
            video_frame(codec, stamp, key, bytes as usize)
        };
        let counts = stats.track(self.audio);
        counts.ssrc = Some(ssrc);
        counts.payload_type = Some(*params.pt());
        counts.codec = Some(codec.to_string());
        counts.frame = Some(self.frame);
        counts.key_frames += u64::from(key && !self.audio);
        let last = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            counts.packets_sent += 1;
            counts.bytes_sent += payload.len() as u64;
            let packet = MediaPacket {
                payload_type: params.pt(),
                sequence: self.sequence,
                timestamp: self.timestamp,
                captured_at: now,
                marker: !self.audio && index + 1 == last,
                extensions: ExtensionValues::default(),
                payload: payload.into(),
                vp8_patch: None,
                repairable: self.repair && params.resend().is_some(),
            };
            self.sequence += 1;
            engine.write(self.transport, ssrc, packet);
        }
        self.frame += 1;
        self.since_key = if key { 0 } else { self.since_key + 1 };
        self.key_wanted = false;
    }
}

pub(super) fn declare(
    rtc: &mut Rtc,
    binding: &mut LateBinding,
    client: &Client,
    index: usize,
    section: &MediaSection,
) -> Track {
    let audio = section.kind == "audio";
    // Answers without mids keep the order of the offer, where mids are the indices.
    let mid = Mid::from(section.mid.clone().unwrap_or_else(|| index.to_string()).as_str());
    let payloads: Vec<PayloadParams> = section.payload_params(true);
    rtc.direct_api().declare_media(mid, if audio { MediaKind::Audio } else { MediaKind::Video });
    let repair = !audio && payloads.iter().any(|params| params.resend().is_some());
    let mut ssrc = None;
    if client.options.publish {
        let main = if audio { client.sources.audio } else { client.sources.video };
        let second = repair.then_some(client.sources.video_repair.into());
        rtc.direct_api().declare_stream_tx(main.into(), second, mid, None);
        ssrc = Some(main);
    } else {
        for (main, second) in section.sources() {
            rtc.direct_api().expect_stream_rx(main.into(), second.map(Into::into), mid, None);
            binding.known.push(main);
            binding.known.extend(second);
            ssrc = ssrc.or(Some(main));
        }
        binding.lines.push(BindingLine {
            mid,
            main_types: payloads.iter().map(|params| *params.pt()).collect(),
            repair_types: payloads.iter().filter_map(|p| p.resend()).map(|pt| *pt).collect(),
            main_ssrc: ssrc,
        });
    }
    Track {
        transport: 0,
        mid,
        audio,
        payloads,
        ssrc,
        sequence: 0,
        timestamp: 0,
        frame: 0,
        since_key: 0,
        key_wanted: true,
        sending: audio || client.options.video_from_start,
        current: 0,
        repair,
    }
}

pub(super) fn remote_credentials(section: &MediaSection) -> Result<IceCreds, ClientError> {
    match (&section.ice_ufrag, &section.ice_pwd) {
        (Some(ufrag), Some(pass)) => Ok(IceCreds { ufrag: ufrag.clone(), pass: pass.clone() }),
        _ => Err(ClientError::Answer("no ICE credentials".to_owned())),
    }
}

/// Candidates of component 1; RTCP is multiplexed.
pub(super) fn remote_candidates(section: &MediaSection) -> Vec<Candidate> {
    section
        .candidates
        .iter()
        .filter(|text| text.split_whitespace().nth(1) == Some("1"))
        .filter_map(|text| Candidate::from_sdp_string(text).ok())
        .collect()
}

pub(super) fn local_candidate(address: SocketAddr, tcp: bool) -> Result<Candidate, ClientError> {
    let candidate = if tcp {
        Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build()
    } else {
        Candidate::host(address, "udp")
    };
    candidate.map_err(|error| ClientError::Socket(error.to_string()))
}
