//! What of an offer can be anchored, and how its sections go together.

use std::collections::HashSet;

use crate::media::Kind;

use super::{Description, Extension, MID_BYTES_ON_WIRE_MAX, Media, MediaType};

/// Why a section, or a whole offer, cannot be anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("neither audio nor video")]
    UnknownMedia,
    #[error("a second section of {0}")]
    Several(&'static str),
    #[error("no section that goes the right way")]
    NoMedia,
    #[error("a transport protocol other than RTP")]
    Protocol,
    #[error("no ICE credentials that can be used")]
    NoIce,
    #[error("no fingerprint of a hash that we know (sha-1 to sha-512)")]
    NoFingerprint,
    #[error("no rtcp-mux")]
    NoRtcpMux,
    #[error("no codec that we can relay")]
    NoCodec,
    #[error("the client is ICE-lite, as we are: nobody would check the way")]
    IceLite,
    #[error("bundle-only, and its BUNDLE cannot be kept")]
    BundleOnly,
}

/// What of an offer is anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Indices of the sections that carry media: at most one of audio and one of video. The others
    /// are answered as rejected.
    pub(crate) live: Vec<usize>,
    /// These share one transport.
    pub(crate) bundle: bool,
    /// The section that speaks for the BUNDLE: its credentials, fingerprints and role are those of
    /// the one transport. Browsers that have one transport only (bundlePolicy
    /// `max-bundle`) give up on all of it if this section is rejected: where it carries nothing it
    /// is answered as inactive.
    pub(crate) tagged: Option<usize>,
    /// Packets carry their mid.
    pub(crate) mids: bool,
    /// Sections that were offered, go the right way, and are left out all the same.
    pub(crate) left_out: Vec<(usize, Refusal)>,
}

/// Decides what of an offer is anchored, and drops from it what is not: what dead sections say of
/// their media, extensions that we do not speak.
///
/// # Errors
///
/// Says why if nothing can be, or if the upstream could carry by itself what we cannot.
pub(crate) fn plan(offer: &mut Description, kind: Kind) -> Result<Plan, Refusal> {
    if offer.ice_lite {
        return Err(Refusal::IceLite);
    }
    let mut live: Vec<usize> = Vec::new();
    let mut left_out: Vec<(usize, Refusal)> = Vec::new();
    for (index, media) in offer.media.iter().enumerate() {
        if !is_offered(offer, index) || !goes_right(media, kind) {
            continue;
        }
        let same_kind = |i: &usize| offer.media.get(*i).is_some_and(|m| m.kind == media.kind);
        match check(media) {
            // The upstream may well take RTCP on a port of its own, which is more than we can.
            Err(Refusal::NoRtcpMux) if !live.iter().any(same_kind) => return Err(Refusal::NoRtcpMux),
            Err(refusal) => left_out.push((index, refusal)),
            Ok(media) if live.iter().any(same_kind) => {
                left_out.push((index, Refusal::Several(media.as_str())));
            }
            Ok(_) => live.push(index),
        }
    }
    let bundle = bundles(offer, &live);
    if !bundle {
        let (kept, lost) = live.into_iter().partition(|i| offer.media.get(*i).is_some_and(|m| m.port != 0));
        live = kept;
        left_out.extend(Vec::into_iter(lost).map(|index| (index, Refusal::BundleOnly)));
    }
    if live.is_empty() {
        return Err(left_out.first().map_or(Refusal::NoMedia, |(_, refusal)| *refusal));
    }
    let tagged = tagged(offer, &live).filter(|_| bundle);
    let plan = Plan { mids: mids_fit(offer, &live), tagged, bundle, live, left_out };
    plan.prune(offer);
    Ok(plan)
}

/// Port 0 rejects, unless the section waits for its BUNDLE (RFC 9143 6).
fn is_offered(offer: &Description, index: usize) -> bool {
    let Some(media) = offer.media.get(index) else { return false };
    media.port != 0 || (media.bundle_only && offer.share_bundle(&[index]))
}

fn goes_right(media: &Media, kind: Kind) -> bool {
    match kind {
        Kind::Publish => media.direction.sends(),
        Kind::Play => media.direction.receives(),
    }
}

fn check(media: &Media) -> Result<MediaType, Refusal> {
    let kind = media.kind.ok_or(Refusal::UnknownMedia)?;
    // RFC 8829 5.1.2: any profile of RTP means the same where there is a fingerprint.
    let protocol = media.protocol.to_ascii_uppercase();
    if !["RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP"].iter().any(|p| protocol.ends_with(p)) {
        return Err(Refusal::Protocol);
    }
    if media.credentials.is_none() {
        return Err(Refusal::NoIce);
    }
    if media.fingerprints.is_empty() {
        return Err(Refusal::NoFingerprint);
    }
    if media.codecs.is_empty() {
        return Err(Refusal::NoCodec);
    }
    if !media.rtcp_mux {
        return Err(Refusal::NoRtcpMux);
    }
    Ok(kind)
}

/// The first section of the group that holds all these, of those that can carry media.
fn tagged(offer: &Description, live: &[usize]) -> Option<usize> {
    let group = offer.group_of(live)?;
    let place = |mid: &String| offer.media.iter().position(|m| m.mid.as_ref() == Some(mid));
    let can_carry =
        |i: &usize| is_offered(offer, *i) && offer.media.get(*i).is_some_and(|m| check(m).is_ok());
    group.iter().filter_map(place).find(can_carry)
}

/// Can these sections be answered on one transport? They share a group, no two sections have the
/// same mid, and no payload type means two things.
fn bundles(offer: &Description, live: &[usize]) -> bool {
    let mut mids = HashSet::new();
    let different = offer.media.iter().filter_map(|m| m.mid.as_ref()).all(|mid| mids.insert(mid));
    let mut types = HashSet::new();
    let sections = live.iter().filter_map(|i| offer.media.get(*i));
    let mut numbers = sections.flat_map(|m| &m.codecs).flat_map(|c| [Some(c.payload_type), c.repair]);
    different && offer.share_bundle(live) && numbers.all(|pt| pt.is_none_or(|pt| types.insert(pt)))
}

/// Can packets carry the mids of these sections? What is longer than the extension, or holds more
/// than letters, digits and underscores, would arrive as something else.
fn mids_fit(offer: &Description, live: &[usize]) -> bool {
    let mut seen = HashSet::new();
    live.iter().all(|index| {
        let mid = offer.media.get(*index).and_then(|m| m.mid.as_deref());
        mid.is_some_and(|mid| {
            let plain = mid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            plain && mid.len() <= MID_BYTES_ON_WIRE_MAX && seen.insert(mid)
        })
    })
}

impl Plan {
    /// Keeps of an offer what is needed of it from now on.
    fn prune(&self, offer: &mut Description) {
        let mut extensions: Vec<Extension> = Vec::new();
        for (index, media) in offer.media.iter_mut().enumerate() {
            if !self.live.contains(&index) && self.tagged != Some(index) {
                *media = Media {
                    kind: media.kind,
                    kind_text: std::mem::take(&mut media.kind_text),
                    protocol: std::mem::take(&mut media.protocol),
                    formats: std::mem::take(&mut media.formats),
                    mid: media.mid.take(),
                    ..Media::default()
                };
                continue;
            }
            media.candidates.clear();
            // On one transport an id means one thing, whichever section says it.
            let clashes =
                |e: &Extension| self.bundle && extensions.iter().any(|o| (o.id == e.id) != (o.uri == e.uri));
            media.extensions.retain(|e| known_extension(e) && (self.mids || e.uri != MID) && !clashes(e));
            extensions.extend(media.extensions.iter().cloned());
        }
        // A client that waits for the handshake says so once for its transport.
        let setup = self.tagged.and_then(|i| offer.media.get(i)).and_then(|m| m.setup);
        for media in offer.media.iter_mut().filter(|_| self.bundle) {
            media.setup = setup;
        }
    }

    /// The sections that were left out, for the log.
    pub(crate) fn complaints(&self, offer: &Description) -> Vec<String> {
        let kind = |index: usize| match offer.media.get(index).and_then(|m| m.kind) {
            Some(kind) => kind.as_str(),
            None => "other",
        };
        let tell = |(index, refusal): &(usize, Refusal)| format!("{index} ({}): {refusal}", kind(*index));
        self.left_out.iter().map(tell).collect()
    }
}

/// Do the sections of an answer share the transport of the first, as they were asked to?
pub(crate) fn answer_bundled(answer: &Description, live: &[usize]) -> bool {
    let without_mid = |i: &usize| answer.media.get(*i).is_some_and(|m| m.mid.is_none());
    if live.len() < 2 || live.iter().all(without_mid) {
        // A group without mids can only mean the sections in their order.
        return answer.bundles.iter().any(|group| group.len() >= live.len());
    }
    answer.share_bundle(live)
}

/// For each section of the offer the section of the answer that belongs to it: the one at its
/// place, or, where a server leaves out what it rejects or has an order of its own, the one with
/// its mid, or the next of its kind.
pub(crate) fn pair_up(offer: &Description, answer: &Description) -> Vec<Option<usize>> {
    let same_kind = |ours: &Media, theirs: &Media| {
        ours.kind == theirs.kind && (ours.kind.is_some() || ours.kind_text == theirs.kind_text)
    };
    let in_place = offer.media.len() == answer.media.len()
        && offer.media.iter().zip(&answer.media).all(|(ours, theirs)| same_kind(ours, theirs));
    if in_place {
        return (0..offer.media.len()).map(Some).collect();
    }
    let mut used: HashSet<usize> = HashSet::new();
    let is_ours = |mid: &str| offer.media.iter().any(|m| m.mid.as_deref() == Some(mid));
    let mut find = |ours: &Media| {
        let free = || {
            let all = answer.media.iter().enumerate();
            all.filter(|(i, theirs)| !used.contains(i) && same_kind(ours, theirs))
        };
        let by_mid = free().find(|(_, theirs)| theirs.mid.is_some() && theirs.mid == ours.mid);
        let by_kind = || free().find(|(_, theirs)| !theirs.mid.as_deref().is_some_and(is_ours));
        let (found, _) = by_mid.or_else(by_kind)?;
        used.insert(found);
        Some(found)
    };
    offer.media.iter().map(&mut find).collect()
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
fn known_extension(extension: &Extension) -> bool {
    extension.id <= 14 && EXTENSIONS.contains(&extension.uri.as_str())
}
