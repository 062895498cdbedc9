//! `str0m` under a transport, with OpenSSL for DTLS.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig,
    bwe::{Bitrate, BweKind},
    media::{KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive},
    rtp::{RawPacket, RtpPacket, Ssrc, StreamRx, rtcp::Rtcp},
};

use super::{Engine, EngineEvent, Engines, Fares, Incoming, Media, Step};
use crate::media::{
    authentic,
    certificate::Identity,
    clock::Report,
    resend::Packet,
    sdp::{Credentials, MediaType, Sources},
    transport::{MediaSpec, TransportError, TransportSpec, add_codec, extension_map, local_candidates},
    verify,
};

/// How often a running handshake is given the chance to send its last flight again. The OpenSSL
/// backend keeps the retransmission timer (1 s, then doubled) but looks at it only when a
/// datagram comes in, so we hand it one that says nothing.
const HANDSHAKE_NUDGE: Duration = Duration::from_millis(200);

/// A DTLS record too short to be one: it is read and forgotten.
const NUDGE: [u8; 1] = [22];

/// Age at which a sent packet is no longer worth resending.
const RTX_AGE_MAX: Duration = Duration::from_secs(1);

/// A `str0m` instance.
struct RtcEngine {
    rtc: Rtc,
    connected: bool,
    /// When the handshake is nudged next; None: ICE does not stand yet, or DTLS does.
    nudge_at: Option<Instant>,
    /// Both ends of a nudge.
    nobody: SocketAddr,
}

impl Engines for Identity {
    fn make(
        &mut self,
        spec: &TransportSpec<'_>,
        now: Instant,
    ) -> Result<Box<dyn Engine + Send>, TransportError> {
        let mut config = RtcConfig::new()
            .clear_codecs()
            .set_extension_map(extension_map(spec))
            .set_rtp_mode(true)
            .set_ice_lite(spec.ice_lite)
            .set_dtls_cert(self.certificate.clone())
            .set_local_ice_credentials(creds(spec.local_credentials))
            .set_stats_interval(spec.stats_interval)
            // The one way to hear of NACKs; it costs copies, so only where it is needed.
            .enable_raw_packets(spec.media.iter().any(MediaSpec::resends_plainly));
        for media in &spec.media {
            for codec in media.codecs {
                add_codec(&mut config, codec)?;
            }
        }
        let mut rtc = verify::build(config, &self.provider, spec.remote_fingerprints, now)?;
        for candidate in local_candidates(spec)? {
            rtc.add_local_candidate(candidate);
        }
        let mut api = rtc.direct_api();
        api.set_remote_ice_credentials(creds(spec.remote_credentials));
        api.set_ice_controlling(!spec.ice_lite);
        api.start_dtls(spec.dtls_active)?;
        api.enable_twcc_feedback();
        for candidate in &spec.remote_candidates {
            rtc.add_remote_candidate(candidate.clone());
        }
        let v4 = spec.local.iter().find(|local| local.is_ipv4());
        let nobody = v4.or(spec.local.first()).copied().unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 9).into());
        let mut engine = RtcEngine { rtc, connected: false, nudge_at: None, nobody };
        for media in &spec.media {
            engine.declare(media, spec.rtx_packets);
        }
        Ok(Box::new(engine))
    }
}

fn creds(credentials: &Credentials) -> IceCreds {
    IceCreds { ufrag: credentials.ufrag.clone(), pass: credentials.password.clone() }
}

impl RtcEngine {
    fn declare(&mut self, media: &MediaSpec<'_>, rtx_packets: usize) {
        let kind = match media.kind {
            MediaType::Audio => MediaKind::Audio,
            MediaType::Video => MediaKind::Video,
        };
        let mut api = self.rtc.direct_api();
        api.declare_media(media.mid, kind);
        if let Some(Sources { main, repair }) = media.send {
            let repairs = media.codecs.iter().any(|c| c.repair.is_some());
            let repair = repair.filter(|_| repairs).map(Ssrc::from);
            let stream = api.declare_stream_tx(main.into(), repair, media.mid, None);
            stream.set_rtx_cache(if repair.is_some() { rtx_packets } else { 0 }, RTX_AGE_MAX, Some(0.3));
        }
    }

    fn nudge(&mut self, now: Instant) -> Result<(), TransportError> {
        if self.nudge_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.nudge_at = Some(now + HANDSHAKE_NUDGE);
        match Receive::new(Protocol::Udp, self.nobody, self.nobody, &NUDGE) {
            Ok(receive) => Ok(self.rtc.handle_input(Input::Receive(now, receive))?),
            Err(_) => Ok(()),
        }
    }

    /// What an event means to a transport; None: nothing.
    fn translate(&mut self, event: Event, now: Instant) -> Option<EngineEvent> {
        Some(match event {
            Event::RtpPacket(packet) => EngineEvent::Media(media(packet)),
            Event::RawPacket(raw) => {
                let RawPacket::RtcpRx(Rtcp::Nack(nack)) = *raw else { return None };
                // The last sequence number is of no interest: 16 bits are enough to find a packet.
                let lost = nack.reports.iter().flat_map(|e| e.into_iter(u64::from(e.pid).into()));
                EngineEvent::Again { ssrc: *nack.ssrc, lost: lost.map(|sequence| *sequence as u16).collect() }
            }
            Event::KeyframeRequest(request) => EngineEvent::KeyFrameWanted(request.mid),
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, mid }) => {
                EngineEvent::CanTake { section: mid, bitrate: estimate }
            }
            Event::Connected => {
                self.connected = true;
                self.nudge_at = None;
                EngineEvent::Connected
            }
            Event::Closed => {
                self.connected = false;
                EngineEvent::Closed
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => EngineEvent::Disconnected,
            Event::IceConnectionStateChange(state) if state.is_connected() && !self.connected => {
                self.nudge_at = Some(now + HANDSHAKE_NUDGE);
                return None;
            }
            Event::MediaEgressStats(s) => EngineEvent::Egress(Fares { loss: s.loss, round_trip: s.rtt }),
            Event::MediaIngressStats(s) => EngineEvent::Ingress(Fares { loss: s.loss, round_trip: s.rtt }),
            _ => return None,
        })
    }

    fn with_receiver(&mut self, ssrc: u32, act: impl FnOnce(&mut StreamRx)) -> bool {
        match self.rtc.direct_api().stream_rx(&ssrc.into()) {
            Some(stream) => {
                act(stream);
                true
            }
            None => false,
        }
    }
}

fn media(packet: RtpPacket) -> Media {
    let report = |info: str0m::rtp::rtcp::SenderInfo| Report {
        wall: info.ntp_time,
        timestamp: info.rtp_time.numer() as u32,
    };
    Media {
        ssrc: *packet.header.ssrc,
        payload_type: *packet.header.payload_type,
        sequence: *packet.seq_no,
        timestamp: packet.header.timestamp,
        marker: packet.header.marker,
        report: packet.last_sender_info.map(report),
        extensions: packet.header.ext_vals,
        payload: packet.payload,
    }
}

impl Engine for RtcEngine {
    fn receive(&mut self, datagram: Incoming<'_>, now: Instant) -> Result<bool, TransportError> {
        let Incoming { protocol, source, local, bytes } = datagram;
        // What cannot be parsed was sent by somebody else, or damaged: not our peer's end.
        let Ok(receive) = Receive::new(protocol, source, local, bytes) else { return Ok(false) };
        let before = authentic::decrypted();
        self.rtc.handle_input(Input::Receive(now, receive))?;
        Ok(authentic::decrypted() != before)
    }

    fn accepts(&mut self, datagram: Incoming<'_>, now: Instant) -> bool {
        let Incoming { protocol, source, local, bytes } = datagram;
        Receive::new(protocol, source, local, bytes)
            .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    fn timeout(&mut self, now: Instant) -> Result<(), TransportError> {
        self.nudge(now)?;
        Ok(self.rtc.handle_input(Input::Timeout(now))?)
    }

    fn poll(&mut self, now: Instant) -> Result<Step, TransportError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => return Ok(Step::Transmit(transmit)),
                Output::Timeout(at) => {
                    return Ok(Step::Timeout(self.nudge_at.map_or(at, |nudge| nudge.min(at))));
                }
                Output::Event(event) => {
                    if let Some(event) = self.translate(event, now) {
                        return Ok(Step::Event(event));
                    }
                }
            }
        }
    }

    fn set_credentials(&mut self, ours: &Credentials) {
        self.rtc.direct_api().set_local_ice_credentials(creds(ours));
    }

    fn add_local(&mut self, candidate: Candidate) {
        self.rtc.add_local_candidate(candidate);
    }

    fn add_remote(&mut self, candidate: Candidate) {
        self.rtc.add_remote_candidate(candidate);
    }

    fn expect(&mut self, ssrc: u32, repair: Option<u32>, section: Mid, nack: bool) {
        let mut api = self.rtc.direct_api();
        api.expect_stream_rx(ssrc.into(), repair.map(Ssrc::from), section, None).suppress_nack(!nack);
    }

    fn repair_of(&mut self, ssrc: u32) -> Option<u32> {
        self.rtc.direct_api().stream_rx(&ssrc.into()).and_then(|stream| stream.rtx()).map(|ssrc| *ssrc)
    }

    fn forget(&mut self, ssrc: u32) {
        self.rtc.direct_api().remove_stream_rx(ssrc.into());
    }

    fn write(&mut self, ssrc: u32, packet: Packet) -> bool {
        match self.rtc.direct_api().stream_tx(&ssrc.into()) {
            Some(stream) => {
                stream.write_rtp(packet.into_write());
                true
            }
            None => false,
        }
    }

    fn request_key_frame(&mut self, ssrc: u32) -> bool {
        self.with_receiver(ssrc, |stream| stream.request_keyframe(KeyframeRequestKind::Pli))
    }

    fn request_bitrate(&mut self, ssrc: u32, bitrate: Bitrate) -> bool {
        self.with_receiver(ssrc, |stream| stream.request_remb(bitrate))
    }

    fn close(&mut self) {
        let _ = self.rtc.close();
    }
}
