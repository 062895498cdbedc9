//! What a transport is built from, and how `str0m` is told.

use std::{net::SocketAddr, time::Duration};

use str0m::{
    Candidate, RtcConfig,
    format::{Codec as RtcCodec, FormatParams},
    media::{Frequency, Mid, Pt},
    net::{Protocol, TcpType},
    rtp::{Extension as RtcExtension, ExtensionMap},
};

use super::TransportError;
use crate::media::sdp::{Codec, Credentials, Extension, Fingerprint, MediaType, Sources};

/// Everything a transport is built from.
#[derive(Debug)]
pub(crate) struct TransportSpec<'a> {
    /// We answer checks and send none (client legs).
    pub(crate) ice_lite: bool,
    /// Our side of the candidate pairs, at most one per address family; nominal if the socket is
    /// bound to a wildcard.
    pub(crate) local: Vec<SocketAddr>,
    /// The same in TCP, if the peer may connect to it.
    pub(crate) local_tcp: Option<SocketAddr>,
    /// Our connections to TCP candidates of the peer.
    pub(crate) dialed: Vec<Dialed>,
    pub(crate) local_credentials: &'a Credentials,
    pub(crate) remote_credentials: &'a Credentials,
    /// The certificate of the peer has to have one of these.
    pub(crate) remote_fingerprints: &'a [Fingerprint],
    pub(crate) dtls_active: bool,
    /// Where the peer listens; empty if it comes to us.
    pub(crate) remote_candidates: Vec<Candidate>,
    pub(crate) media: Vec<MediaSpec<'a>>,
    /// Packets kept for retransmission per sending video section.
    pub(crate) rtx_packets: usize,
    pub(crate) stats_interval: Option<Duration>,
    pub(crate) limits: PeerLimits,
}

/// What a peer may take per transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerLimits {
    /// Most addresses that are remembered.
    pub(crate) addresses_max: usize,
    /// Most connectivity checks that are looked at, per known address and of all others together.
    pub(crate) checks_per_second: u32,
}

/// The ends of a connection that we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialed {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Ways that a transport is to be told of: candidates that lead somewhere, our end of the way to
/// those in UDP (one per address family), and the ends of the connections to those in TCP.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) dialed: Vec<Dialed>,
}

/// A section of a transport.
#[derive(Debug)]
pub(crate) struct MediaSpec<'a> {
    /// Index in the description.
    pub(crate) index: usize,
    /// The name of the section inside `str0m`, and its mid where packets carry that.
    pub(crate) mid: Mid,
    pub(crate) kind: MediaType,
    pub(crate) codecs: &'a [Codec],
    pub(crate) extensions: &'a [Extension],
    /// What we send, if we do.
    pub(crate) send: Option<Sources>,
    /// What the peer announced to send.
    pub(crate) receive: Option<Sources>,
}

impl MediaSpec<'_> {
    /// The peer may ask for packets again, and knows no RTX to get them by.
    pub(crate) fn resends_plainly(&self) -> bool {
        let asks = |c: &Codec| c.feedback.iter().any(|f| f == "nack");
        self.send.is_some() && self.codecs.iter().all(|c| c.repair.is_none()) && self.codecs.iter().any(asks)
    }
}

pub(crate) fn local_candidates(spec: &TransportSpec<'_>) -> Result<Vec<Candidate>, TransportError> {
    let mut candidates = Vec::new();
    for address in &spec.local {
        candidates.push(udp_candidate(*address)?);
    }
    if let Some(address) = spec.local_tcp {
        candidates.push(tcp_candidate(address, TcpType::Passive)?);
    }
    for dialed in &spec.dialed {
        candidates.push(dialed_candidate(dialed)?);
    }
    Ok(candidates)
}

pub(super) fn udp_candidate(address: SocketAddr) -> Result<Candidate, TransportError> {
    Candidate::host(address, Protocol::Udp).map_err(|error| TransportError::Address { address, error })
}

pub(super) fn dialed_candidate(dialed: &Dialed) -> Result<Candidate, TransportError> {
    tcp_candidate(dialed.local, TcpType::Active)
}

fn tcp_candidate(address: SocketAddr, kind: TcpType) -> Result<Candidate, TransportError> {
    let candidate = Candidate::builder().tcp().host(address).tcptype(kind).build();
    candidate.map_err(|error| TransportError::Address { address, error })
}

pub(crate) fn extension_map(spec: &TransportSpec<'_>) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    // A packet that is sent again plainly must be the same to the byte.
    let changing =
        [RtcExtension::AbsoluteSendTime, RtcExtension::TransportSequenceNumber, RtcExtension::RtpMid];
    let same = spec.media.iter().any(MediaSpec::resends_plainly);
    let all = || spec.media.iter().flat_map(|media| media.extensions);
    for extension in all() {
        if let Some(known) = rtc_extension(&extension.uri).filter(|e| !(same && changing.contains(e))) {
            map.set(extension.id, known);
        }
    }
    map
}

fn rtc_extension(uri: &str) -> Option<RtcExtension> {
    use RtcExtension::{
        AbsoluteCaptureTime, AbsoluteSendTime, AudioLevel, PlayoutDelay, RtpMid, TransmissionTimeOffset,
        TransportSequenceNumber, VideoContentType, VideoOrientation, VideoTiming,
    };
    let known = [
        AbsoluteCaptureTime,
        AbsoluteSendTime,
        AudioLevel,
        PlayoutDelay,
        RtpMid,
        TransmissionTimeOffset,
        TransportSequenceNumber,
        VideoContentType,
        VideoOrientation,
        VideoTiming,
    ];
    known.into_iter().find(|extension| extension.as_uri() == uri)
}

pub(crate) fn add_codec(config: &mut RtcConfig, codec: &Codec) -> Result<(), TransportError> {
    let clock_rate = Frequency::new(codec.clock_rate).ok_or(TransportError::NoClockRate)?;
    let kind = RtcCodec::from(codec.name.as_str());
    let pt = Pt::from(codec.payload_type);
    config.codec_config().add_config(
        pt,
        codec.repair.map(Pt::from),
        kind,
        clock_rate,
        codec.channels,
        FormatParams::default(),
    );
    Ok(())
}
