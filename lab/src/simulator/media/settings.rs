//! What the simulated media server is told: at its start, and per answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use str0m::format::Codec;

use super::network::NetworkConditions;

/// Which side starts the DTLS handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsRole {
    /// As the answer's shape says; without `a=setup` the server is the client of the handshake.
    #[default]
    ByShape,
    /// The server starts the handshake. Written into the answer where the shape has `a=setup`.
    Active,
    /// The server waits for the handshake. Written into the answer where the shape has `a=setup`;
    /// in the shapes without it browsers wait too, and no media will ever flow.
    Passive,
}

/// How the media server behaves, for the life of the process.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// Address the sockets are bound to. Default: 127.0.0.1.
    pub bind_ip: IpAddr,
    /// Address in the candidates. Default: `bind_ip`, or 127.0.0.1 when that is a wildcard.
    pub advertise_ip: Option<IpAddr>,
    /// Seed of everything random that is not a secret (loss, jitter, randomised numbers).
    pub seed: u64,
    /// Start sequence numbers, timestamps, SSRCs and VP8 picture ids towards each player at random
    /// instead of carrying on the publisher's.
    pub randomise: bool,
    /// Present an RSA-2048 certificate, as a Java server may, instead of an ECDSA one.
    pub rsa_certificate: bool,
    /// Ask publishers for key frames when a player wants one; otherwise they come when a publisher sends them.
    pub asks_key_frames: bool,
    /// Loss and jitter of the simulated network, both ways.
    pub network: NetworkConditions,
    /// DTLS role.
    pub dtls_role: DtlsRole,
    /// The most publishes and plays at once; further ones are refused. Default: 4096.
    pub streams_max: usize,
    /// Packets kept per sent video stream for retransmission. Default: 256.
    pub resend_packets: usize,
    /// Records waiting for one MSE player; when full, records are dropped up to the next key
    /// frame. Default: 256.
    pub mse_records_max: usize,
    /// A key frame is asked for when an MSE player has had none for this long; zero: only when one
    /// is needed. Default: 2 s.
    pub mse_key_frame: Duration,
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self {
            bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise_ip: None,
            seed: 0,
            randomise: false,
            rsa_certificate: false,
            asks_key_frames: true,
            network: NetworkConditions::default(),
            dtls_role: DtlsRole::ByShape,
            streams_max: 4096,
            resend_packets: 256,
            mse_records_max: 256,
            mse_key_frame: Duration::from_secs(2),
        }
    }
}

impl MediaSettings {
    /// The address that goes into candidates.
    pub(crate) fn candidate_ip(&self) -> IpAddr {
        self.advertise_ip.unwrap_or(if self.bind_ip.is_unspecified() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            self.bind_ip
        })
    }
}

/// The shapes of protocol S8.3 that browsers accept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerShape {
    /// Modern: BUNDLE, one port, mids, `setup:passive`, UDP candidates for components 1 and 2.
    #[default]
    A,
    /// Legacy: no BUNDLE, mid or setup; own port and credentials per m-line; RTP/SAVPF.
    B,
    /// Legacy over TCP: as B with mids, `setup:passive` and passive TCP candidates.
    C,
    /// BUNDLE and mids without setup.
    D,
    /// As A with ice-lite and `setup:active`.
    E,
    /// As B with `setup:passive`.
    G,
}

impl AnswerShape {
    /// Every shape.
    pub const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::G];

    pub(crate) fn bundled(self) -> bool {
        matches!(self, Self::A | Self::D | Self::E)
    }

    pub(crate) fn with_mids(self) -> bool {
        !matches!(self, Self::B | Self::G)
    }

    pub(crate) fn legacy_profile(self) -> bool {
        matches!(self, Self::B | Self::C | Self::G)
    }

    pub(crate) fn ice_lite(self) -> bool {
        self == Self::E
    }

    /// The `a=setup` value; `None` leaves the line out.
    pub(crate) fn setup(self) -> Option<&'static str> {
        match self {
            Self::A | Self::C | Self::G => Some("passive"),
            Self::E => Some("active"),
            Self::B | Self::D => None,
        }
    }
}

/// A video codec that the simulator carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VideoCodec {
    /// VP8.
    Vp8,
    /// H.264.
    H264,
}

impl VideoCodec {
    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::H264 => Codec::H264,
        }
    }
}

/// What the server does with the codecs of an offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecRules {
    /// Codecs that come first in the answer, in this order; the others follow in the offer's order.
    pub prefer: Vec<VideoCodec>,
    /// Codecs left out of the answer. If no video codec is left the offer is refused.
    pub exclude: Vec<VideoCodec>,
    /// Refuse any offer that contains one of these, whatever else it offers.
    pub refuse: Vec<VideoCodec>,
    /// Answer only the first payload type (with its retransmission).
    pub single: bool,
}

/// How one offer is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerOptions {
    /// Form of the answer.
    pub shape: AnswerShape,
    /// Codec order and refusals.
    pub codecs: CodecRules,
    /// Offer passive TCP candidates instead of UDP ones, in any shape (the client's `transport`
    /// field was TCP). Shape C always does.
    pub transport_tcp: bool,
    /// Leave retransmission (RTX) out of the answer.
    pub without_repair: bool,
    /// The hashes of the fingerprints in the answer, as `sha-512`. Empty: SHA-256 alone.
    pub fingerprints: Vec<String>,
    /// Give the codecs payload types of the server's own instead of those of the offer, receive
    /// under them (RFC 3264 6.1), and send under them as well.
    pub own_payload_types: bool,
    /// Reject sections of these kinds: `audio`, `video`.
    pub reject: Vec<String>,
}

impl AnswerOptions {
    /// An answer of this shape with the server's usual codecs.
    pub fn shape(shape: AnswerShape) -> Self {
        Self { shape, ..Self::default() }
    }

    pub(crate) fn over_tcp(&self) -> bool {
        self.transport_tcp || self.shape == AnswerShape::C
    }
}
