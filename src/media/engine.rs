//! What a transport needs of ICE, DTLS and SRTP, and nothing of how that is done.
//!
//! The product has [`rtc`] under every transport. Neither `str0m` nor OpenSSL takes a seed, so the
//! simulation has packets that are authentic by its own word there: all that lies above (addresses,
//! sources, streams, numbers) is the same in both.

pub(crate) mod rtc;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate,
    bwe::Bitrate,
    media::Mid,
    net::{Protocol, Transmit},
    rtp::ExtensionValues,
};

use super::{
    clock::Report,
    resend::Packet,
    sdp::Credentials,
    transport::{TransportError, TransportSpec},
};

/// Makes what lies under a transport.
pub(crate) trait Engines {
    /// Builds and starts one.
    ///
    /// # Errors
    ///
    /// Says what in the spec is no good.
    fn make(
        &mut self,
        spec: &TransportSpec<'_>,
        now: Instant,
    ) -> Result<Box<dyn Engine + Send>, TransportError>;
}

/// A datagram as it is handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) source: SocketAddr,
    /// Our end of its way.
    pub(crate) local: SocketAddr,
    pub(crate) bytes: &'a [u8],
}

/// What an engine has to say when it is polled.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box per packet would cost more than the copy")]
pub(crate) enum Step {
    /// Send this.
    Transmit(Transmit),
    Event(EngineEvent),
    /// Nothing more until then.
    Timeout(Instant),
}

/// Something that happened in an engine.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box per packet would cost more than the copy")]
pub(crate) enum EngineEvent {
    /// DTLS stands.
    Connected,
    /// The peer closed its side.
    Closed,
    /// No pair of candidates works any more.
    Disconnected,
    /// Media that is authentic.
    Media(Media),
    /// The peer asks for a key frame.
    KeyFrameWanted(Mid),
    /// The peer says how much it can take.
    CanTake { section: Mid, bitrate: Bitrate },
    /// The peer asks for packets of ours again, by their numbers, where RTX does not bring them.
    Again { ssrc: u32, lost: Vec<u16> },
    /// How packets to the peer fare.
    Egress(Fares),
    /// How packets from the peer fare.
    Ingress(Fares),
}

/// Loss and round trip, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fares {
    /// 0 to 1.
    pub(crate) loss: Option<f32>,
    pub(crate) round_trip: Option<Duration>,
}

/// A packet of media that came in.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// Extended: it never wraps.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) extensions: ExtensionValues,
    /// Never copied on its way through.
    pub(crate) payload: Arc<[u8]>,
    /// What the sender last reported of its clock.
    pub(crate) report: Option<Report>,
}

/// ICE, DTLS and SRTP of one transport. Poll it after each call until it says [`Step::Timeout`].
pub(crate) trait Engine {
    /// Takes a datagram. True: it was SRTP or SRTCP, and authentic.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    fn receive(&mut self, datagram: Incoming<'_>, now: Instant) -> Result<bool, TransportError>;

    /// Is this a check that is signed with our credentials, or an answer to one of ours?
    fn accepts(&mut self, datagram: Incoming<'_>, now: Instant) -> bool;

    /// Does what is due.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    fn timeout(&mut self, now: Instant) -> Result<(), TransportError>;

    /// What it has to say next.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    fn poll(&mut self, now: Instant) -> Result<Step, TransportError>;

    /// Our credentials from now on.
    fn set_credentials(&mut self, ours: &Credentials);

    fn add_local(&mut self, candidate: Candidate);

    fn add_remote(&mut self, candidate: Candidate);

    /// Listens to a source of the peer, and to that of its retransmissions.
    fn expect(&mut self, ssrc: u32, repair: Option<u32>, section: Mid, nack: bool);

    /// The source of the retransmissions of a source.
    fn repair_of(&mut self, ssrc: u32) -> Option<u32>;

    /// Listens to a source no more.
    fn forget(&mut self, ssrc: u32);

    /// Sends a packet. False: we do not send on this source.
    fn write(&mut self, ssrc: u32, packet: Packet) -> bool;

    /// Asks a source of the peer for a key frame. False: it is not known.
    fn request_key_frame(&mut self, ssrc: u32) -> bool;

    /// Tells a source of the peer how much can be taken. False: it is not known.
    fn request_bitrate(&mut self, ssrc: u32, bitrate: Bitrate) -> bool;

    /// Says goodbye.
    fn close(&mut self);
}
