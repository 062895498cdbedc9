//! One ICE and DTLS transport: a `str0m` instance, what it is bound to, and how it sends.

mod spec;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use str0m::{
    Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError,
    bwe::Bitrate,
    media::{KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive, Transmit},
    rtp::{RawPacket, Ssrc, StreamRx, rtcp::Rtcp},
};

use super::{
    certificate::Identity,
    demux::{Datagram, classify},
    resend::{Packet, Resender},
    routes::Origin,
    sdp::{Credentials, MediaType, Sources},
    verify,
};
use spec::{add_codec, extension_map, local_candidates};

pub(crate) use spec::{Dialed, MediaSpec, TransportSpec};

/// Most SSRCs of a peer that are listened to per transport. Past it the oldest that never
/// brought an authentic packet gives way.
const SOURCES_MAX: usize = 16;

/// Most addresses of a peer that are remembered per transport.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// How often a transport may ask to be called again at once before it has to wait.
const IMMEDIATE_CALLS_MAX: usize = 8;

/// How often a running handshake is given the chance to send its last flight again. The OpenSSL
/// backend keeps the retransmission timer (1 s, then doubled) but looks at it only when a
/// datagram comes in, so we hand it one that says nothing.
const HANDSHAKE_NUDGE: Duration = Duration::from_millis(200);

/// A DTLS record too short to be one: it is read and forgotten.
const NUDGE: [u8; 1] = [22];

/// Age at which a sent packet is no longer worth resending.
const RTX_AGE_MAX: Duration = Duration::from_secs(1);

/// A source of the peer.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Index of the section.
    media: usize,
    /// Carries retransmissions.
    repair: bool,
    authentic: bool,
}

/// What is known of a section after the transport is built.
#[derive(Debug)]
struct Section {
    index: usize,
    mid: Mid,
    main: Vec<u8>,
    repair: Vec<u8>,
    nack: bool,
    /// Where we receive main packets from now.
    source: Option<u32>,
    sends: Option<Ssrc>,
    /// What is sent again without RTX.
    resender: Option<Resender>,
}

/// What a transport reports while it is driven.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box per packet would cost more than the copy")]
pub(crate) enum TransportEvent {
    Rtc(Event),
    /// It is of no use any more.
    Failed(String),
}

/// A transport.
pub(crate) struct Transport {
    rtc: Rtc,
    local: SocketAddr,
    dialed: Vec<Dialed>,
    sections: Vec<Section>,
    sources: Vec<Source>,
    /// Addresses the peer was heard from with valid credentials, newest last, and the local
    /// address that was hit.
    addresses: Vec<(Origin, Option<IpAddr>)>,
    pub(crate) deadline: Instant,
    /// Something was written to it since it was last driven.
    pub(crate) dirty: bool,
    pub(crate) connected: bool,
    /// When the handshake is nudged next; None: ICE does not stand yet, or DTLS does.
    nudge_at: Option<Instant>,
    /// When anything last came from the peer.
    pub(crate) heard: Option<Instant>,
    failed: bool,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("local", &self.local)
            .field("connected", &self.connected)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Builds a transport and starts it.
    ///
    /// # Errors
    ///
    /// Says what in the spec is no good.
    pub(crate) fn new(spec: &TransportSpec<'_>, identity: &Identity, now: Instant) -> Result<Self, String> {
        let creds = |c: &Credentials| IceCreds { ufrag: c.ufrag.clone(), pass: c.password.clone() };
        let mut config = RtcConfig::new()
            .clear_codecs()
            .set_extension_map(extension_map(spec))
            .set_rtp_mode(true)
            .set_ice_lite(spec.ice_lite)
            .set_dtls_cert(identity.certificate.clone())
            .set_local_ice_credentials(creds(spec.local_credentials))
            .set_stats_interval(spec.stats_interval)
            // The one way to hear of NACKs; it costs copies, so only where it is needed.
            .enable_raw_packets(spec.media.iter().any(MediaSpec::resends_plainly));
        for media in &spec.media {
            for codec in media.codecs {
                add_codec(&mut config, codec)?;
            }
        }
        let mut rtc = verify::build(config, &identity.provider, spec.remote_fingerprints, now)?;
        for candidate in local_candidates(spec)? {
            rtc.add_local_candidate(candidate);
        }
        let mut api = rtc.direct_api();
        api.set_remote_ice_credentials(creds(spec.remote_credentials));
        api.set_ice_controlling(!spec.ice_lite);
        api.start_dtls(spec.dtls_active).map_err(|e| e.to_string())?;
        api.enable_twcc_feedback();
        for candidate in &spec.remote_candidates {
            rtc.add_remote_candidate(candidate.clone());
        }
        let mut transport = Self {
            rtc,
            local: spec.local,
            dialed: spec.dialed.clone(),
            sections: Vec::new(),
            sources: Vec::new(),
            addresses: Vec::new(),
            deadline: now,
            dirty: true,
            connected: false,
            nudge_at: None,
            heard: None,
            failed: false,
        };
        for media in &spec.media {
            transport.add_section(media, spec.rtx_packets);
        }
        Ok(transport)
    }

    fn add_section(&mut self, media: &MediaSpec<'_>, rtx_packets: usize) {
        let mid = media.mid;
        let kind = match media.kind {
            MediaType::Audio => MediaKind::Audio,
            MediaType::Video => MediaKind::Video,
        };
        let mut api = self.rtc.direct_api();
        api.declare_media(mid, kind);
        let repairs: Vec<u8> = media.codecs.iter().filter_map(|c| c.repair).collect();
        let sends = media.send.map(|Sources { main, repair }| {
            let repair = repair.filter(|_| !repairs.is_empty()).map(Ssrc::from);
            let stream = api.declare_stream_tx(main.into(), repair, mid, None);
            stream.set_rtx_cache(if repair.is_some() { rtx_packets } else { 0 }, RTX_AGE_MAX, Some(0.3));
            Ssrc::from(main)
        });
        let nack = media.codecs.iter().any(|c| c.feedback.iter().any(|f| f == "nack"));
        self.sections.push(Section {
            index: media.index,
            mid,
            main: media.codecs.iter().map(|c| c.payload_type).collect(),
            repair: repairs,
            nack,
            source: None,
            sends,
            resender: media.resends_plainly().then(|| Resender::new(rtx_packets)),
        });
        if let (Some(Sources { main, repair }), Some(section)) =
            (media.receive, self.sections.len().checked_sub(1))
        {
            self.bind(section, main, false);
            if let Some(repair) = repair {
                self.bind(section, repair, true);
            }
        }
    }

    /// Listens to a source. `str0m` drops what is neither announced nor carries a mid, so an
    /// unknown source is bound by its payload type.
    fn bind(&mut self, section: usize, ssrc: u32, repair: bool) {
        let Some(found) = self.sections.get_mut(section) else { return };
        let (main, rtx) = if repair {
            let Some(main) = found.source else { return };
            (main, Some(Ssrc::from(ssrc)))
        } else {
            found.source = Some(ssrc);
            (ssrc, None)
        };
        self.rtc.direct_api().expect_stream_rx(main.into(), rtx, found.mid, None).suppress_nack(!found.nack);
        let source = Source { ssrc, media: found.index, repair, authentic: false };
        if self.sources.len() == SOURCES_MAX {
            let victim = self.sources.iter().position(|s| !s.authentic).unwrap_or(0);
            let gone = self.sources.remove(victim);
            if !gone.repair {
                self.rtc.direct_api().remove_stream_rx(gone.ssrc.into());
            }
        }
        self.sources.push(source);
    }

    fn bind_unknown(&mut self, ssrc: u32, payload_type: u8) {
        if self.sources.iter().any(|s| s.ssrc == ssrc) {
            return;
        }
        let main = self.sections.iter().position(|s| s.main.contains(&payload_type));
        let repair = self.sections.iter().position(|s| s.repair.contains(&payload_type));
        match (main, repair) {
            (Some(section), _) => self.bind(section, ssrc, false),
            (None, Some(section)) => self.bind(section, ssrc, true),
            (None, None) => {}
        }
    }

    /// The section of an authentic packet from this source.
    pub(crate) fn section_of(&mut self, ssrc: u32) -> Option<usize> {
        let source = self.sources.iter_mut().find(|s| s.ssrc == ssrc)?;
        source.authentic = true;
        Some(source.media)
    }

    /// The index in the description of a section by its mid.
    pub(crate) fn index_of(&self, mid: Mid) -> Option<usize> {
        self.sections.iter().find(|s| s.mid == mid).map(|s| s.index)
    }

    /// Our end of the way a datagram came.
    fn local_of(&self, from: Origin) -> SocketAddr {
        let dialed = self.dialed.iter().find(|dialed| from.tcp && dialed.remote == from.address);
        dialed.map_or(self.local, |dialed| dialed.local)
    }

    /// Is this STUN request signed with our credentials?
    pub(crate) fn accepts(&self, from: Origin, bytes: &[u8], now: Instant) -> bool {
        Receive::new(from.protocol(), from.address, self.local, bytes)
            .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    /// Takes a datagram from the peer. Drive the transport afterwards.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    pub(crate) fn receive(&mut self, from: Origin, bytes: &[u8], now: Instant) -> Result<(), String> {
        if self.failed {
            return Ok(());
        }
        if let Datagram::Rtp { ssrc, payload_type } = classify(bytes) {
            self.bind_unknown(ssrc, payload_type);
        }
        // What cannot be parsed was sent by somebody else, or damaged: not our peer's end.
        let Ok(receive) = Receive::new(from.protocol(), from.address, self.local_of(from), bytes) else {
            return Ok(());
        };
        self.heard = Some(now);
        self.rtc.handle_input(Input::Receive(now, receive)).map_err(|e| self.fail(&e))
    }

    /// Lets it do what is due and hands out all it has to send and to say.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(&Transmit, Option<IpAddr>),
        events: &mut Vec<(usize, TransportEvent)>,
        number: usize,
    ) {
        if self.failed {
            return;
        }
        if self.dirty || self.deadline <= now {
            self.dirty = false;
            if let Err(error) = self.nudge(now).and_then(|()| self.rtc.handle_input(Input::Timeout(now))) {
                events.push((number, TransportEvent::Failed(self.fail(&error))));
                return;
            }
        }
        let mut immediate = 0;
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    let tcp = transmit.proto == Protocol::Tcp;
                    let destination = Origin { address: transmit.destination, tcp };
                    let hit = self.addresses.iter().find(|(origin, _)| *origin == destination);
                    send(&transmit, hit.and_then(|(_, local)| *local));
                }
                Ok(Output::Event(Event::RawPacket(raw))) => self.send_again(&raw, now),
                Ok(Output::Event(event)) => {
                    match event {
                        Event::Connected => {
                            self.connected = true;
                            self.nudge_at = None;
                        }
                        Event::Closed => self.connected = false,
                        Event::IceConnectionStateChange(state) if state.is_connected() && !self.connected => {
                            self.nudge_at = Some(now + HANDSHAKE_NUDGE);
                        }
                        _ => {}
                    }
                    events.push((number, TransportEvent::Rtc(event)));
                }
                Ok(Output::Timeout(at)) if at <= now && immediate < IMMEDIATE_CALLS_MAX => {
                    immediate += 1;
                    if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                        events.push((number, TransportEvent::Failed(self.fail(&error))));
                        return;
                    }
                }
                Ok(Output::Timeout(at)) => {
                    let at = self.nudge_at.map_or(at, |nudge| nudge.min(at));
                    self.deadline = at.max(now + Duration::from_millis(1));
                    return;
                }
                Err(error) => {
                    events.push((number, TransportEvent::Failed(self.fail(&error))));
                    return;
                }
            }
        }
    }

    /// Sends again what the peer asks for, where RTX does not.
    fn send_again(&mut self, raw: &RawPacket, now: Instant) {
        let RawPacket::RtcpRx(Rtcp::Nack(nack)) = raw else { return };
        let section = self.sections.iter_mut().find(|s| s.sends == Some(nack.ssrc));
        let Some(resender) = section.and_then(|s| s.resender.as_mut()) else { return };
        let again = resender.asked_for(nack, now);
        if let Some(stream) = self.rtc.direct_api().stream_tx(&nack.ssrc) {
            self.dirty |= !again.is_empty();
            again.into_iter().for_each(|packet| stream.write_rtp(packet.into_write()));
        }
    }

    fn nudge(&mut self, now: Instant) -> Result<(), RtcError> {
        if self.nudge_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.nudge_at = Some(now + HANDSHAKE_NUDGE);
        match Receive::new(Protocol::Udp, self.local, self.local, &NUDGE) {
            Ok(receive) => self.rtc.handle_input(Input::Receive(now, receive)),
            Err(_) => Ok(()),
        }
    }

    fn fail(&mut self, error: &RtcError) -> String {
        self.failed = true;
        self.connected = false;
        error.to_string()
    }

    /// Remembers an address that passed a connectivity check, and where it reached us. Returns
    /// the address that gives way, and whether this one is new.
    pub(crate) fn remember(&mut self, source: Origin, local: Option<IpAddr>) -> (bool, Option<Origin>) {
        if let Some(known) = self.addresses.iter_mut().find(|(address, _)| *address == source) {
            known.1 = local;
            return (false, None);
        }
        let gone = (self.addresses.len() == ADDRESSES_MAX).then(|| self.addresses.remove(0).0);
        self.addresses.push((source, local));
        (true, gone)
    }

    /// Addresses of the peer that are routed here.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Origin> + '_ {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// From now on checks are answered under these credentials; DTLS and SRTP stay.
    pub(crate) fn set_credentials(&mut self, credentials: &Credentials) {
        let creds = IceCreds { ufrag: credentials.ufrag.clone(), pass: credentials.password.clone() };
        self.rtc.direct_api().set_local_ice_credentials(creds);
    }

    /// Sends a packet on a section. Drive the transport afterwards.
    pub(crate) fn write(&mut self, index: usize, packet: Packet) -> bool {
        let Some(section) = self.sections.iter_mut().find(|s| s.index == index) else { return false };
        let Some(ssrc) = section.sends else { return false };
        self.dirty = true;
        match self.rtc.direct_api().stream_tx(&ssrc) {
            Some(stream) => {
                if let Some(resender) = &mut section.resender {
                    resender.keep(packet.clone());
                }
                stream.write_rtp(packet.into_write());
                true
            }
            None => false,
        }
    }

    /// Asks the peer for a key frame. False: its source is not known yet.
    pub(crate) fn request_key_frame(&mut self, index: usize) -> bool {
        self.with_receiver(index, |stream| stream.request_keyframe(KeyframeRequestKind::Pli))
    }

    /// Tells the peer how much the other side can take.
    pub(crate) fn request_bitrate(&mut self, index: usize, bitrate: Bitrate) -> bool {
        self.with_receiver(index, |stream| stream.request_remb(bitrate))
    }

    fn with_receiver(&mut self, index: usize, act: impl FnOnce(&mut StreamRx)) -> bool {
        let Some(ssrc) = self.sections.iter().find(|s| s.index == index).and_then(|s| s.source) else {
            return false;
        };
        self.dirty = true;
        match self.rtc.direct_api().stream_rx(&ssrc.into()) {
            Some(stream) => {
                act(stream);
                true
            }
            None => false,
        }
    }

    /// Says goodbye to the peer (RTCP BYE, DTLS close_notify). Drive it once afterwards.
    pub(crate) fn close(&mut self) {
        if !self.failed {
            let _ = self.rtc.close();
            self.dirty = true;
        }
    }
}
