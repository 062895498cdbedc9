//! What the anchor needs to know of an offer or an answer.

use std::net::IpAddr;

use super::Fingerprint;

/// A parsed description: offer or answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// The peer does not check connectivity itself.
    pub(crate) ice_lite: bool,
    /// The mids of each BUNDLE group.
    pub(crate) bundles: Vec<Vec<String>>,
    /// `a=extmap-allow-mixed` stood somewhere.
    pub(crate) extmap_allow_mixed: bool,
    /// In the order of the text.
    pub(crate) media: Vec<Media>,
}

/// Audio or video; other kinds cannot be anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MediaType {
    Audio,
    Video,
}

impl MediaType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// One media section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media {
    /// None: a kind we do not anchor.
    pub(crate) kind: Option<MediaType>,
    /// The first word of the `m=` line.
    pub(crate) kind_text: String,
    /// 0 = rejected or unused, or offered within its BUNDLE alone.
    pub(crate) port: u16,
    /// `a=bundle-only`: offered although the port is 0 (RFC 9143 6).
    pub(crate) bundle_only: bool,
    /// Transport protocol, as in `UDP/TLS/RTP/SAVPF`.
    pub(crate) protocol: String,
    /// All payload types of the `m=` line, also those we strip.
    pub(crate) formats: String,
    /// Payload types that nothing explains.
    pub(crate) unmapped: Vec<u8>,
    pub(crate) mid: Option<String>,
    pub(crate) direction: Direction,
    /// Without repair formats: those hang on the codec they repair, or are stripped.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) credentials: Option<Credentials>,
    /// Of the hashes that we know.
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) setup: Option<Setup>,
    /// The values of `a=candidate` lines, with the prefix `candidate:`.
    pub(crate) candidates: Vec<String>,
    /// From `c=`, if it is an address to send to.
    pub(crate) connection: Option<IpAddr>,
    pub(crate) rtcp_mux: bool,
    /// What is sent, if announced.
    pub(crate) sources: Option<Sources>,
    /// `b=` lines without the prefix.
    pub(crate) bandwidth: Vec<String>,
    /// The value of `a=msid`.
    pub(crate) msid: Option<String>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    SendOnly,
    RecvOnly,
    #[default]
    SendRecv,
    Inactive,
}

impl Direction {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::SendRecv => "sendrecv",
            Self::Inactive => "inactive",
        }
    }

    pub(crate) const fn sends(self) -> bool {
        matches!(self, Self::SendOnly | Self::SendRecv)
    }

    pub(crate) const fn receives(self) -> bool {
        matches!(self, Self::RecvOnly | Self::SendRecv)
    }
}

impl Description {
    /// The BUNDLE group that all these sections are in.
    pub(crate) fn group_of(&self, sections: &[usize]) -> Option<&Vec<String>> {
        let mid = |index: usize| self.media.get(index).and_then(|m| m.mid.as_ref());
        let holds =
            |group: &&Vec<String>| sections.iter().all(|i| mid(*i).is_some_and(|m| group.contains(m)));
        self.bundles.iter().find(holds)
    }

    /// Do these sections share a BUNDLE group?
    pub(crate) fn share_bundle(&self, sections: &[usize]) -> bool {
        self.group_of(sections).is_some()
    }
}

/// The DTLS role a description claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    ActPass,
    Active,
    Passive,
}

/// ICE credentials. Never logged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// The SSRCs of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) main: u32,
    pub(crate) repair: Option<u32>,
}

/// A header extension and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) id: u8,
    pub(crate) uri: String,
}

/// How the packets of a codec show key frames and carry numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CodecKind {
    Vp8,
    Vp9,
    H264,
    H265,
    Av1,
    /// Audio, or video whose key frames we cannot see.
    Other,
}

/// A codec with its repair format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) payload_type: u8,
    pub(crate) name: String,
    pub(crate) clock_rate: u32,
    pub(crate) channels: Option<u8>,
    /// Format parameters, as in the text.
    pub(crate) parameters: Option<String>,
    /// Values of `a=rtcp-fb`, as in `nack pli`.
    pub(crate) feedback: Vec<String>,
    /// The payload type of its retransmissions.
    pub(crate) repair: Option<u8>,
}

impl Codec {
    pub(crate) fn kind(&self) -> CodecKind {
        const KINDS: [(&str, CodecKind); 6] = [
            ("VP8", CodecKind::Vp8),
            ("VP9", CodecKind::Vp9),
            ("H264", CodecKind::H264),
            ("H265", CodecKind::H265),
            ("HEVC", CodecKind::H265),
            ("AV1", CodecKind::Av1),
        ];
        KINDS.iter().find(|(name, _)| self.is(name)).map_or(CodecKind::Other, |(_, kind)| *kind)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The same format in another description.
    pub(crate) fn same_format(&self, other: &Self) -> bool {
        self.is(&other.name) && self.clock_rate == other.clock_rate
    }
}
