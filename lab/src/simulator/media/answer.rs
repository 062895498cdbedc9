//! Writes the answers of a WCS in the shapes of protocol S8.3. Text only; opens nothing.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use str0m::format::Codec;

use super::sdp::{CodecLine, Description, MediaSection, extension};
use super::settings::{AnswerOptions, AnswerShape, CodecRules, DtlsRole};

const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Where the server's own payload types begin; browsers offer no such numbers.
const OWN_AUDIO_TYPE: u8 = 35;
const OWN_VIDEO_TYPE: u8 = 40;
/// The only candidate priority seen in a WCS answer.
const CANDIDATE_PRIORITY: u32 = 2_130_706_431;

/// Why an offer gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaRefusal {
    /// The offer has no audio or video section with ICE and DTLS parameters.
    #[error("the offer describes no WebRTC media")]
    NoMedia,
    /// No codec of the offer is acceptable for this kind of media.
    #[error("no acceptable {0} codec in the offer")]
    NoCommonCodec(&'static str),
    /// The offer contains a codec that the rules refuse outright.
    #[error("the codec {0} is refused")]
    CodecRefused(&'static str),
    /// The id is in use.
    #[error("the mediaSessionId is in use")]
    IdInUse,
    /// The name is being published.
    #[error("the stream name is in use")]
    NameInUse,
    /// The configured maximum of streams is reached.
    #[error("too many streams")]
    TooManyStreams,
    /// Sockets could not be opened or the media thread is gone.
    #[error("the media server failed: {0}")]
    Failed(String),
}

/// What was agreed for one m-line of the offer.
#[derive(Debug, Clone)]
pub(crate) struct AgreedMedia {
    /// The offer's section, reduced to the payload types and extensions that the answer keeps.
    /// `None` when the m-line is rejected.
    pub(crate) section: Option<MediaSection>,
}

/// The part of an answer that depends on the transport of an m-line.
pub(crate) struct TransportText {
    pub(crate) address: SocketAddr,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprints: Vec<String>,
}

/// The part of an answer that depends on what is sent on an m-line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentSource {
    pub(crate) ssrc: u32,
    pub(crate) repair: Option<u32>,
}

/// Decides on every m-line of an offer.
pub(crate) fn agree(offer: &Description, options: &AnswerOptions) -> Result<Vec<AgreedMedia>, MediaRefusal> {
    let mut out = Vec::with_capacity(offer.media.len());
    for section in &offer.media {
        let usable = section.media_kind().is_some()
            && section.ice_ufrag.is_some()
            && section.ice_pwd.is_some()
            && section.fingerprint.is_some()
            && section.port != 0
            && !options.reject.contains(&section.kind);
        let section = if usable { Some(reduce(section, options)?) } else { None };
        out.push(AgreedMedia { section });
    }
    if out.iter().all(|media| media.section.is_none()) {
        return Err(MediaRefusal::NoMedia);
    }
    Ok(out)
}

fn reduce(section: &MediaSection, options: &AnswerOptions) -> Result<MediaSection, MediaRefusal> {
    let rules = &options.codecs;
    for refused in &rules.refuse {
        if section.codecs.iter().any(|line| line.codec() == Some(refused.codec())) {
            let name = if refused.codec() == Codec::H264 { "H264" } else { "VP8" };
            return Err(MediaRefusal::CodecRefused(name));
        }
    }
    let codecs = ordered_codecs(section, rules);
    if codecs.is_empty() {
        let kind = if section.kind == "audio" { "audio" } else { "video" };
        return Err(MediaRefusal::NoCommonCodec(kind));
    }
    let mut kept: Vec<CodecLine> = Vec::new();
    for line in &codecs {
        kept.push((*line).clone());
    }
    if !options.without_repair {
        let repairs = codecs.iter().filter_map(|line| section.repair_of(line.payload_type));
        kept.extend(repairs.filter_map(|payload_type| {
            section.codecs.iter().find(|line| line.payload_type == payload_type).cloned()
        }));
    }
    let mut reduced = section.clone();
    if options.own_payload_types {
        renumber(&mut kept, if section.kind == "audio" { OWN_AUDIO_TYPE } else { OWN_VIDEO_TYPE });
    }
    reduced.codecs = kept;
    reduced.extmaps.retain(|(id, uri)| {
        (1..=14).contains(id) && extension(uri).is_some() && (options.shape.with_mids() || uri != MID_URI)
    });
    Ok(reduced)
}

/// Numbers the codecs anew, counted up, and has the repairs follow.
fn renumber(codecs: &mut [CodecLine], first: u8) {
    let numbers: Vec<(u8, u8)> = codecs.iter().map(|line| line.payload_type).zip(first..).collect();
    let new = |old: u8| numbers.iter().find(|(from, _)| *from == old).map_or(old, |(_, to)| *to);
    for line in codecs {
        line.payload_type = new(line.payload_type);
        let repaired = line.fmtp.as_deref().and_then(|fmtp| fmtp.strip_prefix("apt=")?.parse().ok());
        if let Some(old) = repaired {
            line.fmtp = Some(format!("apt={}", new(old)));
        }
    }
}

fn ordered_codecs<'a>(section: &'a MediaSection, rules: &CodecRules) -> Vec<&'a CodecLine> {
    let excluded = |codec| rules.exclude.iter().any(|excluded| excluded.codec() == codec);
    let rank = |codec| {
        let position = rules.prefer.iter().position(|preferred| preferred.codec() == codec);
        position.unwrap_or(usize::MAX)
    };
    let mut lines: Vec<(usize, &CodecLine)> = section
        .codecs
        .iter()
        .filter_map(|line| line.codec().filter(|codec| !excluded(*codec)).map(|c| (rank(c), line)))
        .collect();
    lines.sort_by_key(|(rank, _)| *rank);
    let mut lines: Vec<&CodecLine> = lines.into_iter().map(|(_, line)| line).collect();
    if rules.single {
        lines.truncate(1);
    }
    lines
}

/// Whether the server starts the DTLS handshake.
pub(crate) fn dtls_active(shape: AnswerShape, role: DtlsRole) -> bool {
    match role {
        DtlsRole::Active => true,
        DtlsRole::Passive => false,
        // An answer without a=setup leaves the server in the active role (RFC 4145: the default
        // of an answer), and browsers read it so.
        DtlsRole::ByShape => shape.setup() != Some("passive"),
    }
}

/// Everything needed to write one answer.
pub(crate) struct AnswerText<'a> {
    pub(crate) media_session_id: &'a str,
    pub(crate) offer: &'a Description,
    pub(crate) agreed: &'a [AgreedMedia],
    pub(crate) options: &'a AnswerOptions,
    pub(crate) role: DtlsRole,
    pub(crate) bundled: bool,
    /// By m-line; `None` for rejected ones.
    pub(crate) transports: &'a [Option<TransportText>],
    /// By m-line; present where the server sends.
    pub(crate) sources: &'a [Option<SentSource>],
    pub(crate) publish: bool,
}

impl AnswerText<'_> {
    pub(crate) fn write(&self) -> String {
        let address = self.transports.iter().flatten().next().map(|transport| transport.address.ip());
        let family = if address.is_some_and(|ip| ip.is_ipv6()) { "IP6" } else { "IP4" };
        let address = address.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        let version = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
        let mut out = format!(
            "v=0\r\no=Flashphoner 0 {version} IN {family} {address}\r\ns=Flashphoner/1.0\r\n\
             c=IN {family} {address}\r\nt=0 0\r\n"
        );
        if self.options.shape.ice_lite() {
            out.push_str("a=ice-lite\r\n");
        }
        if self.bundled {
            out.push_str("a=group:BUNDLE");
            for (section, agreed) in self.offer.media.iter().zip(self.agreed) {
                if let (Some(mid), Some(_)) = (&section.mid, &agreed.section) {
                    let _ = write!(out, " {mid}");
                }
            }
            out.push_str("\r\n");
        }
        let rows = self.offer.media.iter().zip(self.agreed).zip(self.transports).zip(self.sources);
        for (((offered, agreed), transport), source) in rows {
            match (&agreed.section, transport) {
                (Some(section), Some(transport)) => {
                    self.media(&mut out, section, transport, *source, family);
                }
                _ => rejected(&mut out, offered),
            }
        }
        out
    }

    fn media(
        &self,
        out: &mut String,
        section: &MediaSection,
        transport: &TransportText,
        source: Option<SentSource>,
        family: &str,
    ) {
        let shape = self.options.shape;
        let port = transport.address.port();
        let ip = transport.address.ip();
        let profile = if shape.legacy_profile() { "RTP/SAVPF" } else { &section.profile };
        let _ = write!(out, "m={} {port} {profile}", section.kind);
        for codec in &section.codecs {
            let _ = write!(out, " {}", codec.payload_type);
        }
        let _ = write!(out, "\r\nc=IN {family} {ip}\r\n");
        for codec in &section.codecs {
            codec_lines(out, codec);
        }
        for component in 1..=2 {
            let (protocol, suffix) =
                if self.options.over_tcp() { ("tcp", " tcptype passive") } else { ("udp", "") };
            let _ = write!(
                out,
                "a=candidate:1 {component} {protocol} {CANDIDATE_PRIORITY} {ip} {port} typ host{suffix}\r\n"
            );
        }
        let _ = write!(
            out,
            "a=end-of-candidates\r\na=rtcp-mux\r\na=rtcp:{port} IN {family} {ip}\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            transport.ufrag, transport.pwd
        );
        for fingerprint in &transport.fingerprints {
            let _ = write!(out, "a=fingerprint:{fingerprint}\r\n");
        }
        if shape.setup().is_some() {
            let setup = if dtls_active(shape, self.role) { "active" } else { "passive" };
            let _ = write!(out, "a=setup:{setup}\r\n");
        }
        if let Some(mid) = section.mid.as_ref().filter(|_| shape.with_mids()) {
            let _ = write!(out, "a=mid:{mid}\r\n");
        }
        for (id, uri) in &section.extmaps {
            let _ = write!(out, "a=extmap:{id} {uri}\r\n");
        }
        let direction = if self.publish { "recvonly" } else { "sendonly" };
        let _ = write!(out, "a={direction}\r\n");
        if let Some(source) = source {
            self.source_lines(out, &section.kind, source);
        }
    }

    fn source_lines(&self, out: &mut String, kind: &str, source: SentSource) {
        let cname = format!("rtp/{kind}/{}", self.media_session_id);
        if let Some(repair) = source.repair {
            let _ = write!(out, "a=ssrc-group:FID {} {repair}\r\n", source.ssrc);
        }
        let _ = write!(out, "a=ssrc:{} cname:{cname}\r\n", source.ssrc);
        if let Some(repair) = source.repair {
            let _ = write!(out, "a=ssrc:{repair} cname:{cname}\r\n");
        }
    }
}

fn codec_lines(out: &mut String, codec: &CodecLine) {
    let payload_type = codec.payload_type;
    let _ = write!(out, "a=rtpmap:{payload_type} {}/{}", codec.name, codec.clock_rate_hz);
    if let Some(channels) = codec.channels {
        let _ = write!(out, "/{channels}");
    }
    out.push_str("\r\n");
    if let Some(fmtp) = &codec.fmtp {
        let _ = write!(out, "a=fmtp:{payload_type} {fmtp}\r\n");
    }
    for feedback in &codec.feedback {
        if matches!(feedback.as_str(), "nack" | "nack pli" | "ccm fir" | "goog-remb" | "transport-cc") {
            let _ = write!(out, "a=rtcp-fb:{payload_type} {feedback}\r\n");
        }
    }
}

fn rejected(out: &mut String, offered: &MediaSection) {
    let _ = write!(out, "m={} 0 {} {}\r\n", offered.kind, offered.profile, offered.formats.join(" "));
    out.push_str("c=IN IP4 0.0.0.0\r\n");
    if let Some(mid) = &offered.mid {
        let _ = write!(out, "a=mid:{mid}\r\n");
    }
    out.push_str("a=inactive\r\n");
}

/// The answer to the fixed offer of the MSE player (protocol S2.9): H264 is accepted, audio is
/// marked as rejected because the simulator sends no AAC, so the player goes video only.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`] when the offer has no H264 section.
pub fn mse_answer(offer: &str) -> Result<String, MediaRefusal> {
    let offer = Description::parse(offer);
    let mut out = String::from(
        "v=0\r\no=Flashphoner 0 0 IN IP4 0.0.0.0\r\ns=Flashphoner/1.0\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n",
    );
    let mut accepted = false;
    for section in &offer.media {
        let h264 = section.codecs.iter().find(|line| line.codec() == Some(Codec::H264));
        match h264 {
            Some(codec) if section.kind == "video" && !accepted => {
                accepted = true;
                // Port 0 would mark the section as rejected; the port itself is never used.
                let _ = write!(out, "m=video 1 {} {}\r\n", section.profile, codec.payload_type);
                codec_lines(&mut out, codec);
                out.push_str("a=sendonly\r\n");
            }
            _ => rejected(&mut out, section),
        }
    }
    if accepted { Ok(out) } else { Err(MediaRefusal::NoCommonCodec("video")) }
}
