//! Which codecs are offered to the upstream, and which are answered to the client.

use crate::media::Kind;

use super::{Codec, CodecKind, Media, MediaType};

/// An offered codec that the upstream took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Under the payload types of the offer, with the upstream's format parameters.
    pub(crate) codec: Codec,
    /// The payload type that the upstream gave it in its answer, and that of its repair.
    pub(crate) theirs: u8,
    pub(crate) their_repair: Option<u8>,
}

impl Taken {
    /// The codec under the upstream's own payload types.
    pub(crate) fn renumbered(&self) -> Codec {
        Codec { payload_type: self.theirs, repair: self.their_repair, ..self.codec.clone() }
    }

    /// The upstream's payload type and ours, where they differ.
    pub(crate) fn renumbering(&self) -> Option<(u8, u8)> {
        (self.codec.payload_type != self.theirs).then_some((self.theirs, self.codec.payload_type))
    }
}

/// The codecs of a section to offer upstream: the client's, without H264 where it is refused,
/// and only those in `narrow` if given and not empty.
pub(crate) fn offered_codecs(client: &Media, refuse_h264: bool, narrow: &[u8]) -> Vec<Codec> {
    let wide = || client.codecs.iter().filter(|c| !(refuse_h264 && c.kind() == CodecKind::H264));
    let only: Vec<Codec> = wide().filter(|c| narrow.contains(&c.payload_type)).cloned().collect();
    if only.is_empty() { wide().cloned().collect() } else { only }
}

/// The offered codecs that the upstream took, in its order of preference.
pub(crate) fn answered_codecs(offered: &[Codec], answer: &Media) -> Vec<Taken> {
    let mut taken: Vec<Taken> = Vec::new();
    for theirs in &answer.codecs {
        let is_free =
            |ours: &&Codec| !taken.iter().any(|t: &Taken| t.codec.payload_type == ours.payload_type);
        let same = || offered.iter().filter(|ours| ours.same_format(theirs)).filter(is_free);
        let ours = same()
            .find(|ours| ours.payload_type == theirs.payload_type)
            .or_else(|| same().find(|ours| variant(ours) == variant(theirs)))
            .or_else(|| same().next());
        let Some(ours) = ours else { continue };
        taken.push(Taken {
            codec: Codec {
                parameters: theirs.parameters.clone().or_else(|| ours.parameters.clone()),
                feedback: ours.feedback.iter().filter(|f| theirs.feedback.contains(f)).cloned().collect(),
                repair: ours.repair.filter(|_| theirs.repair.is_some()),
                ..ours.clone()
            },
            theirs: theirs.payload_type,
            their_repair: theirs.repair.filter(|_| ours.repair.is_some()),
        });
    }
    // A number of ours without its `a=rtpmap` can only mean what we said it means.
    for ours in offered.iter().filter(|ours| answer.unmapped.contains(&ours.payload_type)) {
        if !taken.iter().any(|t| t.codec.payload_type == ours.payload_type) {
            taken.push(Taken {
                codec: Codec { feedback: Vec::new(), repair: None, ..ours.clone() },
                theirs: ours.payload_type,
                their_repair: None,
            });
        }
    }
    taken
}

/// What tells formats of one name apart: they must be alike on both sides (RFC 6184 8.2.2, RFC
/// 9628 7.2.2).
fn variant(codec: &Codec) -> [Option<String>; 3] {
    let value = |wanted: &str| {
        codec.parameters.as_deref()?.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_ascii_lowercase())
        })
    };
    // Of the profile and level the profile alone: its first four digits.
    let profile = value("profile-level-id").map(|id| id.chars().take(4).collect());
    let mode = value("packetization-mode").filter(|mode| mode != "0");
    [profile, mode, value("profile-id").filter(|id| id != "0")]
}

/// The codecs to answer to the client, the upstream's choice first.
///
/// A publisher also gets VP8, to which browsers fall back on their own. A player gets every
/// codec to which its publisher may change, because it can never renegotiate.
pub(crate) fn client_codecs(kind: Kind, client: &Media, taken: &[Taken], refuse_h264: bool) -> Vec<Codec> {
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
        for Taken { codec, .. } in taken {
            if let Some(ours) = original(codec.payload_type) {
                add(ours, codec.parameters.as_ref());
            }
        }
        return answer;
    }
    let first = taken.first().map(|taken| &taken.codec);
    if let Some((first, ours)) = first.and_then(|first| Some((first, original(first.payload_type)?))) {
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
