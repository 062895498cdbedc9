//! What can be anchored, and which codecs and extensions are offered and answered.

use crate::media::Kind;

use super::{Codec, CodecKind, Description, Extension, Media, MediaType};

/// Why a client's offer cannot be anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a media section that is neither audio nor video")]
    UnknownMedia,
    #[error("more than one section of {0}")]
    Several(&'static str),
    #[error("no section that goes the right way")]
    NoMedia,
    #[error("a transport protocol other than (UDP/TLS/)RTP/SAVPF")]
    Protocol,
    #[error("no ICE credentials")]
    NoIce,
    #[error("no SHA-256 fingerprint")]
    NoFingerprint,
    #[error("no rtcp-mux")]
    NoRtcpMux,
    #[error("a mid that is too long")]
    Mid,
    #[error("no codec that we can relay")]
    NoCodec,
    #[error("the client wants to be the passive side")]
    Passive,
}

/// Does this section carry media of the stream? The others are answered as rejected.
pub(crate) fn is_live(media: &Media, kind: Kind) -> bool {
    media.port != 0
        && match kind {
            Kind::Publish => media.direction.sends(),
            Kind::Play => media.direction.receives(),
        }
}

/// Can this offer be anchored?
///
/// # Errors
///
/// The first thing that stands against it.
pub(crate) fn check_client_offer(offer: &Description, kind: Kind) -> Result<(), Refusal> {
    for wanted in [MediaType::Audio, MediaType::Video] {
        if offer.media.iter().filter(|m| m.kind == Some(wanted)).count() > 1 {
            return Err(Refusal::Several(wanted.as_str()));
        }
    }
    let mut live = 0;
    for media in &offer.media {
        if media.kind.is_none() {
            return Err(Refusal::UnknownMedia);
        }
        if media.mid.as_ref().is_some_and(|mid| mid.len() > 16) {
            return Err(Refusal::Mid);
        }
        if !is_live(media, kind) {
            continue;
        }
        live += 1;
        check_live(media)?;
    }
    if live == 0 { Err(Refusal::NoMedia) } else { Ok(()) }
}

fn check_live(media: &Media) -> Result<(), Refusal> {
    if !media.protocol.ends_with("RTP/SAVPF") {
        return Err(Refusal::Protocol);
    }
    if media.credentials.is_none() {
        return Err(Refusal::NoIce);
    }
    if !media.fingerprint.as_ref().is_some_and(|f| f.to_ascii_lowercase().starts_with("sha-256 ")) {
        return Err(Refusal::NoFingerprint);
    }
    if !media.rtcp_mux {
        return Err(Refusal::NoRtcpMux);
    }
    if media.setup == Some(super::Setup::Passive) {
        return Err(Refusal::Passive);
    }
    if media.codecs.is_empty() {
        return Err(Refusal::NoCodec);
    }
    Ok(())
}

/// Do all sections share the transport of the first? Sections that are not live are ignored.
pub(crate) fn bundled(description: &Description, live: &[usize]) -> bool {
    let Some(group) = &description.bundle else { return false };
    live.len() < 2
        || live.iter().all(|index| {
            let mid = description.media.get(*index).and_then(|m| m.mid.as_ref());
            // A group without mids can only mean the sections in their order.
            mid.map_or_else(|| group.len() >= live.len(), |mid| group.contains(mid))
        })
}

/// The codecs of a section to offer upstream: the client's, without H264 where it is refused,
/// and only those in `narrow` if given and not empty.
pub(crate) fn offered_codecs(client: &Media, refuse_h264: bool, narrow: &[u8]) -> Vec<Codec> {
    let wide = || client.codecs.iter().filter(|c| !(refuse_h264 && c.kind() == CodecKind::H264));
    let only: Vec<Codec> = wide().filter(|c| narrow.contains(&c.payload_type)).cloned().collect();
    if only.is_empty() { wide().cloned().collect() } else { only }
}

/// The offered codecs that the upstream took, in its order of preference, under the payload
/// types of the offer, with the upstream's format parameters.
pub(crate) fn answered_codecs(offered: &[Codec], answer: &Media) -> Vec<Codec> {
    let mut taken: Vec<Codec> = Vec::new();
    for theirs in &answer.codecs {
        let ours = offered
            .iter()
            .find(|c| c.payload_type == theirs.payload_type && c.same_format(theirs))
            .or_else(|| {
                offered.iter().find(|c| {
                    c.same_format(theirs) && !taken.iter().any(|t| t.payload_type == c.payload_type)
                })
            });
        let Some(ours) = ours else { continue };
        if taken.iter().any(|t| t.payload_type == ours.payload_type) {
            continue;
        }
        taken.push(Codec {
            parameters: theirs.parameters.clone().or_else(|| ours.parameters.clone()),
            feedback: ours.feedback.iter().filter(|f| theirs.feedback.contains(f)).cloned().collect(),
            repair: ours.repair.filter(|_| theirs.repair.is_some()),
            ..ours.clone()
        });
    }
    taken
}

/// The codecs to answer to the client, the upstream's choice first.
///
/// A publisher also gets VP8, to which browsers fall back on their own. A player gets every
/// codec to which its publisher may change, because it can never renegotiate.
pub(crate) fn client_codecs(kind: Kind, client: &Media, taken: &[Codec], refuse_h264: bool) -> Vec<Codec> {
    let mut answer: Vec<Codec> = Vec::new();
    let mut add = |codec: &Codec, parameters: Option<&String>| {
        if !answer.iter().any(|c: &Codec| c.payload_type == codec.payload_type) {
            answer.push(Codec {
                parameters: parameters.or(codec.parameters.as_ref()).cloned(),
                ..codec.clone()
            });
        }
    };
    let original = |pt: u8| client.codecs.iter().find(|c| c.payload_type == pt);
    if client.kind == Some(MediaType::Audio) {
        for codec in taken {
            if let Some(ours) = original(codec.payload_type) {
                add(ours, codec.parameters.as_ref());
            }
        }
        return answer;
    }
    if let Some((first, ours)) = taken.first().and_then(|first| Some((first, original(first.payload_type)?)))
    {
        add(ours, first.parameters.as_ref());
    }
    for codec in &client.codecs {
        let wanted = match codec.kind() {
            CodecKind::Vp8 => true,
            CodecKind::H264 => kind == Kind::Play && !refuse_h264,
            _ => false,
        };
        if wanted {
            add(codec, None);
        }
    }
    answer
}

/// Extensions that are understood and passed on, or written anew, per leg.
const EXTENSIONS: [&str; 10] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "urn:ietf:params:rtp-hdrext:toffset",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "urn:3gpp:video-orientation",
    TRANSPORT_CC,
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
    MID,
];

/// Transport-wide sequence numbers.
pub(crate) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The mid of the packet's section.
pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Is this an extension that may stand in an offer or answer of ours? Ids past 14 need the
/// two-byte form, which not every server reads.
pub(crate) fn known_extension(extension: &Extension) -> bool {
    extension.id <= 14 && EXTENSIONS.contains(&extension.uri.as_str())
}
