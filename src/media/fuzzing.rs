//! The bodies of the media fuzz targets: what must hold for any bytes from outside.
//!
//! Called by the fuzzing package and by `tests/fuzz_corpus.rs`. They panic when something does
//! not hold; no other code may call them.

use std::time::Instant;

use super::{
    Kind,
    continuity::Continuity,
    demux::{Datagram, classify},
    descriptor::{starts_key_frame, vp8_numbers, vp8_patch},
    framing::{Cutter, FRAME_BYTES_MAX},
    sdp::{self, Codec, CodecKind, Description, MEDIA_SECTIONS_MAX},
};

/// A description: what is accepted as an offer stays within bounds, as does what is taken of it
/// as an answer to another offer.
pub fn media_sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(description) = sdp::parse(text) else { return };
    assert!(!description.media.is_empty() && description.media.len() <= MEDIA_SECTIONS_MAX);
    for kind in [Kind::Publish, Kind::Play] {
        let mut offer = description.clone();
        if let Ok(plan) = sdp::plan(&mut offer, kind) {
            assert!(!plan.live.is_empty() && plan.live.len() <= 2, "one of each kind");
            assert_eq!(offer.media.len(), description.media.len(), "each section is answered");
            offer_holds(&offer, kind);
        }
    }
}

fn offer_holds(description: &Description, kind: Kind) {
    for media in &description.media {
        let offered = sdp::offered_codecs(media, false, &[]);
        let taken = sdp::answered_codecs(&offered, media);
        let answered = sdp::client_codecs(kind, media, &taken, false);
        let known = |codec: &Codec| media.codecs.iter().any(|c| c.payload_type == codec.payload_type);
        assert!(
            taken.iter().all(|t| known(&t.codec)) && answered.iter().all(known),
            "only what was offered is answered"
        );
        for codec in &answered {
            let same = answered.iter().filter(|c| c.payload_type == codec.payload_type).count();
            assert_eq!(same, 1, "a payload type is answered once");
        }
    }
}

/// A datagram on a port of ours: what is told of it lies inside it.
pub fn datagram(data: &[u8]) {
    match classify(data) {
        Datagram::StunRequest { ufrag } => {
            let inside = ufrag.is_empty() || data.windows(ufrag.len()).any(|w| w == ufrag.as_bytes());
            assert!(inside && data.len() >= 20);
        }
        Datagram::Rtp { payload_type, .. } => assert!(data.len() >= 12 && payload_type < 128),
        Datagram::StunOther => assert!(data.len() >= 20),
        Datagram::Dtls | Datagram::Rtcp => assert!(!data.is_empty()),
        Datagram::Unknown => {}
    }
}

/// A TCP stream of frames: the same frames come out however the network cuts it, and nothing
/// more is kept than the beginning of one. The first byte says where it is cut.
pub fn framing(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    for frame_bytes_max in [usize::from(u16::MAX), FRAME_BYTES_MAX, 64] {
        let (mut at_once, mut in_pieces) = (Vec::new(), Vec::new());
        let mut whole = Cutter::new(frame_bytes_max);
        whole.take(stream, &mut at_once);
        let mut pieces = Cutter::new(frame_bytes_max);
        for piece in stream.chunks(usize::from(*cut).max(1)) {
            pieces.take(piece, &mut in_pieces);
        }
        assert_eq!(at_once, in_pieces, "frames do not depend on how they are cut");
        assert_eq!(whole.kept(), pieces.kept(), "nor does what is left");
        assert!(whole.kept().len() < 2 + frame_bytes_max, "no more is kept than the beginning of one");
        let framed: usize = at_once.iter().map(|frame| 2 + frame.len()).sum();
        let accounted = framed + whole.kept().len();
        assert!(accounted <= stream.len(), "nothing is made up");
        assert!(accounted == stream.len() || frame_bytes_max < usize::from(u16::MAX), "nothing is lost");
        for frame in &at_once {
            datagram(frame);
        }
    }
}

/// A video payload: whatever can be read of it can be written, and is continuous.
pub fn payload(data: &[u8]) {
    let kinds =
        [CodecKind::Vp8, CodecKind::Vp9, CodecKind::H264, CodecKind::H265, CodecKind::Av1, CodecKind::Other];
    for kind in kinds {
        let key = starts_key_frame(kind, data);
        assert!(!(key && data.is_empty()), "nothing is no key frame");
    }
    let Some((descriptor, numbers)) = vp8_numbers(data) else { return };
    let mut continuity = Continuity::new(0);
    let now = Instant::now();
    for sequence in 0..2 {
        continuity.rebase();
        let passed = continuity.map(sequence, 0, 90_000, now);
        assert!(passed.is_some_and(|n| n.sequence == sequence), "sources follow each other directly");
        let mapped = continuity.map_vp8(numbers);
        assert_eq!(mapped.picture_id.is_some(), numbers.picture_id.is_some());
        assert!(vp8_patch(&descriptor, mapped).is_some(), "the numbers fit where they came from");
    }
}
