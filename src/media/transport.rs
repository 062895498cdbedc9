//! One ICE and DTLS transport: a `str0m` instance, what it is bound to, and how it sends.

mod error;
mod receive;
mod roaming;
#[cfg(test)]
mod sizes;
mod sources;
mod spec;
mod stun;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use str0m::{bwe::Bitrate, media::Mid, net::Transmit};

use super::{
    bucket::Bucket,
    demux::{Datagram, classify},
    engine::{Engine, EngineEvent, Engines, Step},
    resend::{Packet, Resender},
    routes::Origin,
    sdp::{Sources, UFRAG_BYTES_MAX},
};
use receive::Strangers;
use roaming::Roaming;
use sources::{NEW_SOURCES_BURST, NEW_SOURCES_PER_SECOND, Source};
use spec::{dialed_candidate, udp_candidate};

pub(crate) use error::TransportError;
pub(crate) use receive::Received;
pub(crate) use spec::{Dialed, MediaSpec, PeerLimits, TransportSpec, Ways};
pub(crate) use spec::{add_codec, extension_map, local_candidates};

/// The longest payload that is passed on. `str0m` writes packets into a buffer of 2,000 bytes, with
/// header, extensions and the number of a retransmission.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_700;

/// How often a transport may ask to be called again at once before it has to wait.
const IMMEDIATE_CALLS_MAX: usize = 8;

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
    sends: Option<u32>,
    /// What is sent again without RTX.
    resender: Option<Resender>,
}

/// What a transport reports while it is driven.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box per packet would cost more than the copy")]
pub(crate) enum TransportEvent {
    Engine(EngineEvent),
    /// It is of no use any more.
    Failed(TransportError),
}

/// A transport.
pub(crate) struct Transport {
    engine: Box<dyn Engine + Send>,
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
    pub(crate) fn new(
        spec: &TransportSpec<'_>,
        engines: &mut dyn Engines,
        now: Instant,
    ) -> Result<Self, TransportError> {
        if !spec.ice_lite && spec.remote_credentials.ufrag.len() > UFRAG_BYTES_MAX {
            return Err(TransportError::NameTooLong);
        }
        let engine = engines.make(spec, now)?;
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
            engine,
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
            heard: None,
            failed: false,
        };
        for media in &spec.media {
            transport.add_section(media, spec.rtx_packets);
        }
        Ok(transport)
    }

    fn add_section(&mut self, media: &MediaSpec<'_>, rtx_packets: usize) {
        let repairs: Vec<u8> = media.codecs.iter().filter_map(|c| c.repair).collect();
        let nack = media.codecs.iter().any(|c| c.feedback.iter().any(|f| f == "nack"));
        self.sections.push(Section {
            index: media.index,
            mid: media.mid,
            main: media.codecs.iter().map(|c| c.payload_type).collect(),
            repair: repairs,
            nack,
            source: None,
            sends: media.send.map(|sources| sources.main),
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
    pub(crate) fn add_ways(&mut self, ways: Ways) -> Result<(), TransportError> {
        let Ways { candidates, local, dialed } = ways;
        for local in &local {
            if self.local.iter().any(|known| known.is_ipv4() == local.is_ipv4()) {
                continue;
            }
            self.engine.add_local(udp_candidate(*local)?);
            self.local.push(*local);
        }
        for dialed in &dialed {
            self.engine.add_local(dialed_candidate(dialed)?);
            self.dialed.push(*dialed);
        }
        for candidate in candidates {
            self.strangers.expects(Origin::of(&candidate));
            self.engine.add_remote(candidate);
        }
        self.dirty = true;
        Ok(())
    }

    /// Lets it do what is due and hands out all it has to send and to say.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(Transmit, Option<IpAddr>),
        events: &mut Vec<(usize, TransportEvent)>,
        number: usize,
    ) {
        if self.failed {
            return;
        }
        if let Err(error) = self.speak(now, send, events, number) {
            events.push((number, TransportEvent::Failed(self.fail(error))));
        }
    }

    fn speak(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(Transmit, Option<IpAddr>),
        events: &mut Vec<(usize, TransportEvent)>,
        number: usize,
    ) -> Result<(), TransportError> {
        if self.dirty || self.deadline <= now {
            self.dirty = false;
            self.engine.timeout(now)?;
        }
        let mut immediate = 0;
        loop {
            match self.engine.poll(now)? {
                Step::Transmit(transmit) => self.send(transmit, send),
                Step::Event(EngineEvent::Again { ssrc, lost }) => self.send_again(ssrc, &lost, now),
                Step::Event(event) => {
                    match event {
                        EngineEvent::Connected => self.connected = true,
                        EngineEvent::Closed => self.connected = false,
                        _ => {}
                    }
                    events.push((number, TransportEvent::Engine(event)));
                }
                Step::Timeout(at) if at <= now && immediate < IMMEDIATE_CALLS_MAX => {
                    immediate += 1;
                    self.engine.timeout(now)?;
                }
                Step::Timeout(at) => {
                    self.deadline = at.max(now + Duration::from_millis(1));
                    return Ok(());
                }
            }
        }
    }

    /// Sends again what the peer asks for, where RTX does not.
    fn send_again(&mut self, ssrc: u32, lost: &[u16], now: Instant) {
        let section = self.sections.iter_mut().find(|s| s.sends == Some(ssrc));
        let Some(resender) = section.and_then(|s| s.resender.as_mut()) else { return };
        for packet in resender.asked_for(lost, now) {
            self.dirty |= self.engine.write(ssrc, packet);
        }
    }

    fn fail(&mut self, error: TransportError) -> TransportError {
        self.failed = true;
        self.connected = false;
        error
    }

    /// Sends what `str0m` wants sent; to a client, where that is.
    fn send(&self, mut transmit: Transmit, send: &mut dyn FnMut(Transmit, Option<IpAddr>)) {
        let Some(roaming) = &self.roaming else { return send(transmit, None) };
        // Checks were answered when they came in.
        let is_answer = matches!(classify(&transmit.contents), Datagram::StunOther);
        let Some((to, local)) = roaming.destination().filter(|_| !is_answer) else { return };
        transmit.proto = to.protocol();
        transmit.destination = to.address;
        send(transmit, local);
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
        if let Some(resender) = &mut section.resender {
            resender.keep(packet.clone());
        }
        self.engine.write(ssrc, packet)
    }

    /// Asks the peer for a key frame. False: its source is not known yet.
    pub(crate) fn request_key_frame(&mut self, index: usize) -> bool {
        let Some(ssrc) = self.source_of(index) else { return false };
        self.dirty = true;
        self.engine.request_key_frame(ssrc)
    }

    /// Tells the peer how much the other side can take.
    pub(crate) fn request_bitrate(&mut self, index: usize, bitrate: Bitrate) -> bool {
        let Some(ssrc) = self.source_of(index) else { return false };
        self.dirty = true;
        self.engine.request_bitrate(ssrc, bitrate)
    }

    fn source_of(&self, index: usize) -> Option<u32> {
        self.sections.iter().find(|s| s.index == index)?.source
    }

    /// Says goodbye to the peer (RTCP BYE, DTLS close_notify). Drive it once afterwards.
    pub(crate) fn close(&mut self) {
        if !self.failed {
            self.engine.close();
            self.dirty = true;
        }
    }
}

#[cfg(test)]
mod tests;
