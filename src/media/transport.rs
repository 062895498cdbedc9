//! One ICE and DTLS transport: a `str0m` instance, what it is bound to, and how it sends.

mod receive;
mod roaming;
mod sources;
mod spec;
mod stun;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError,
    bwe::Bitrate,
    media::{KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive, Transmit},
    rtp::{RawPacket, Ssrc, StreamRx, rtcp::Rtcp},
};

use super::{
    bucket::Bucket,
    certificate::Identity,
    demux::{Datagram, classify},
    resend::{Packet, Resender},
    routes::Origin,
    sdp::{Credentials, MediaType, Sources, UFRAG_BYTES_MAX},
    verify,
};
use receive::Strangers;
use roaming::Roaming;
use sources::{NEW_SOURCES_BURST, NEW_SOURCES_PER_SECOND, Source};
use spec::{add_codec, dialed_candidate, extension_map, local_candidates, udp_candidate};

pub(crate) use receive::Received;
pub(crate) use spec::{Dialed, MediaSpec, PeerLimits, TransportSpec};

/// The longest payload that is passed on. `str0m` writes packets into a buffer of 2,000 bytes, with
/// header, extensions and the number of a retransmission.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_700;

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
    /// Our end in UDP, the preferred family first. None: only TCP so far.
    local: Vec<SocketAddr>,
    dialed: Vec<Dialed>,
    sections: Vec<Section>,
    sources: Vec<Source>,
    new_sources: Bucket,
    /// Client legs: the addresses of the client.
    roaming: Option<Roaming>,
    /// Upstream legs: where the peer listens, and whence it may check besides.
    strangers: Strangers,
    /// Our name as `str0m` has it.
    name: String,
    remote_name: String,
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
        if !spec.ice_lite && spec.remote_credentials.ufrag.len() > UFRAG_BYTES_MAX {
            return Err("the ICE name of the peer is too long".to_owned());
        }
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
        let limits = spec.limits;
        let known: Vec<Origin> = spec.remote_candidates.iter().map(Origin::of).collect();
        let strangers = Strangers {
            known_max: known.len() + limits.addresses_max,
            known,
            checks: Bucket::new(limits.checks_per_second, now),
        };
        let roaming =
            spec.ice_lite.then(|| Roaming::new(limits.addresses_max, limits.checks_per_second, now));
        let mut transport = Self {
            rtc,
            local: spec.local.clone(),
            dialed: spec.dialed.clone(),
            sections: Vec::new(),
            sources: Vec::new(),
            new_sources: Bucket::with_burst(NEW_SOURCES_PER_SECOND, NEW_SOURCES_BURST, now),
            roaming,
            strangers,
            name: spec.local_credentials.ufrag.clone(),
            remote_name: spec.remote_credentials.ufrag.clone(),
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
            self.expect(section, main, false);
            if let Some(repair) = repair {
                self.expect(section, repair, true);
            }
        }
    }

    /// The index in the description of a section by its mid.
    pub(crate) fn index_of(&self, mid: Mid) -> Option<usize> {
        self.sections.iter().find(|s| s.mid == mid).map(|s| s.index)
    }

    /// Our preferred end, as far as there is one.
    fn nominal(&self) -> SocketAddr {
        self.local.first().copied().unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 9).into())
    }

    /// Our end of the way a datagram came.
    fn local_of(&self, from: Origin) -> SocketAddr {
        let dialed = self.dialed.iter().find(|dialed| from.tcp && dialed.remote == from.address);
        let same_family = || self.local.iter().find(|l| l.is_ipv4() == from.address.is_ipv4());
        let local = dialed.map(|dialed| dialed.local).or_else(|| same_family().copied());
        local.unwrap_or_else(|| self.nominal())
    }

    /// Further ways to the peer became known: where it listens, our end in UDP, connections to it.
    pub(crate) fn add_ways(
        &mut self,
        remote: Vec<Candidate>,
        local: &[SocketAddr],
        dialed: &[Dialed],
    ) -> Result<(), String> {
        for local in local {
            if self.local.iter().any(|known| known.is_ipv4() == local.is_ipv4()) {
                continue;
            }
            self.rtc.add_local_candidate(udp_candidate(*local)?);
            self.local.push(*local);
        }
        for dialed in dialed {
            self.rtc.add_local_candidate(dialed_candidate(dialed)?);
            self.dialed.push(*dialed);
        }
        for candidate in remote {
            self.strangers.expects(Origin::of(&candidate));
            self.rtc.add_remote_candidate(candidate);
        }
        self.dirty = true;
        Ok(())
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
                Ok(Output::Transmit(transmit)) => self.send(transmit, send),
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
        let nobody = self.local_of(Origin::udp((Ipv4Addr::LOCALHOST, 9).into()));
        match Receive::new(Protocol::Udp, nobody, nobody, &NUDGE) {
            Ok(receive) => self.rtc.handle_input(Input::Receive(now, receive)),
            Err(_) => Ok(()),
        }
    }

    fn fail(&mut self, error: &RtcError) -> String {
        self.failed = true;
        self.connected = false;
        error.to_string()
    }

    /// Sends what `str0m` wants sent; to a client, where that is.
    fn send(&self, mut transmit: Transmit, send: &mut dyn FnMut(&Transmit, Option<IpAddr>)) {
        let Some(roaming) = &self.roaming else { return send(&transmit, None) };
        // Checks were answered when they came in.
        let is_answer = matches!(classify(&transmit.contents), Datagram::StunOther);
        let Some((to, local)) = roaming.destination().filter(|_| !is_answer) else { return };
        transmit.proto = to.protocol();
        transmit.destination = to.address;
        send(&transmit, local);
    }

    /// The client gets new credentials, because it is silent: its next choice of address counts.
    pub(crate) fn let_go(&mut self) {
        if let Some(roaming) = &mut self.roaming {
            roaming.let_go();
        }
    }

    /// Addresses of the peer that are routed here.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Origin> + '_ {
        self.roaming.iter().flat_map(Roaming::origins)
    }

    /// Sends a packet on a section. Drive the transport afterwards.
    pub(crate) fn write(&mut self, index: usize, packet: Packet) -> bool {
        if packet.payload.len() > PAYLOAD_BYTES_MAX {
            return false;
        }
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

#[cfg(test)]
mod tests;
