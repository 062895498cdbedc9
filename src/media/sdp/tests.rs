#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::{select::Refusal, *};

mod answers;
mod bounds;
mod shapes;
use crate::media::Kind;

/// As a browser offers, shortened.
const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
a=extmap-allow-mixed\r\na=msid-semantic: WMS s\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0 110\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\n\
a=fingerprint:sha-256 \
E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55\r\na=setup:actpass\r\na=mid:0\r\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:9 urn:unknown\r\n\
a=sendonly\r\na=msid:s a\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
a=rtpmap:110 telephone-event/48000\r\na=ssrc:1 cname:x\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 116 117 118\r\nc=IN IP4 0.0.0.0\r\n\
a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 \
E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55\r\na=setup:actpass\r\n\
a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\n\
a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
a=rtpmap:103 H264/90000\r\na=fmtp:103 profile-level-id=42e01f;packetization-mode=1\r\na=rtpmap:104 rtx/90000\r\n\
a=fmtp:104 apt=103\r\na=rtpmap:116 red/90000\r\na=rtpmap:117 rtx/90000\r\na=fmtp:117 apt=116\r\n\
a=rtpmap:118 ulpfec/90000\r\na=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n";

fn offer() -> Description {
    parse(OFFER).unwrap()
}

/// A text, what of it is anchored, and the description that is left.
fn planned(text: &str, kind: Kind) -> (Result<Plan, Refusal>, Description) {
    let mut offer = parse(text).unwrap();
    (plan(&mut offer, kind), offer)
}

fn live(text: &str) -> Vec<usize> {
    planned(text, Kind::Publish).0.unwrap().live
}

#[test]
fn a_browsers_offer_is_read() {
    let (plan, offer) = planned(OFFER, Kind::Publish);
    let expected = Plan { live: vec![0, 1], tagged: Some(0), bundle: true, mids: true, left_out: Vec::new() };
    assert_eq!(plan, Ok(expected));
    assert_eq!(planned(OFFER, Kind::Play).0, Err(Refusal::NoMedia));
    let [audio, video] = &offer.media[..] else { panic!("two sections") };
    let names =
        |m: &Media| m.codecs.iter().map(|c| (c.payload_type, c.name.clone(), c.repair)).collect::<Vec<_>>();
    let expected = [(111, "opus", None), (0, "PCMU", None), (110, "telephone-event", None)];
    assert_eq!(names(audio), expected.map(|(pt, name, rtx)| (pt, name.to_owned(), rtx)), "red is stripped");
    let expected = [(96, "VP8", Some(97)), (103, "H264", Some(104))];
    assert_eq!(
        names(video),
        expected.map(|(pt, name, rtx)| (pt, name.to_owned(), rtx)),
        "protection and its rtx are stripped"
    );
    assert_eq!(video.sources, Some(Sources { main: 7, repair: Some(8) }));
    assert_eq!(audio.sources, Some(Sources { main: 1, repair: None }));
    assert_eq!(audio.extensions.len(), 2, "those that we speak");
    assert_eq!(audio.direction, Direction::SendOnly);
}

#[test]
fn session_level_values_hold_where_a_section_has_none() {
    let text = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:active\r\nc=IN IP4 192.0.2.1\r\n\
                a=ice-lite\r\nm=audio 4000 RTP/SAVPF 0\r\na=ice-ufrag:own\r\nm=video 4002 RTP/SAVPF 96\r\na=recvonly\r\n";
    let answer = parse(text).unwrap();
    assert!(answer.ice_lite);
    assert_eq!(answer.media[0].credentials, None, "half a pair is none");
    let credentials = answer.media[1].credentials.as_ref().unwrap();
    assert_eq!((credentials.ufrag.as_str(), credentials.password.as_str()), ("u", "p"));
    assert_eq!(answer.media[1].setup, Some(Setup::Active));
    assert_eq!(answer.media[1].connection, Some("192.0.2.1".parse().unwrap()));
    assert!(!answer_bundled(&answer, &[0, 1]));
}

#[test]
fn the_upstreams_choice_comes_first_and_fallbacks_stay() {
    let offer = offer();
    let video = &offer.media[1];
    let answer = "v=0\r\nm=audio 0 RTP/SAVPF 0\r\nm=video 5 RTP/SAVPF 103\r\na=rtpmap:103 H264/90000\r\n\
                  a=fmtp:103 profile-level-id=42e00d;packetization-mode=1\r\n";
    let answer = parse(answer).unwrap();
    let taken = answered_codecs(&offered_codecs(video, false, &[]), &answer.media[1]);
    assert_eq!(
        taken.iter().map(|t| (t.codec.payload_type, t.codec.repair)).collect::<Vec<_>>(),
        [(103, None)],
        "it took no rtx"
    );
    let types = |codecs: &[Codec]| codecs.iter().map(|c| c.payload_type).collect::<Vec<_>>();
    let client = client_codecs(Kind::Publish, video, &taken, false);
    assert_eq!(types(&client), [103, 96]);
    assert_eq!(client[0].parameters.as_deref(), Some("profile-level-id=42e00d;packetization-mode=1"));
    assert_eq!(client[0].repair, Some(104), "towards the client retransmission is ours");

    let vp8 = offered_codecs(video, true, &[]);
    assert_eq!(types(&vp8), [96]);
    let vp8 = answered_codecs(&vp8, video);
    assert_eq!(types(&client_codecs(Kind::Publish, video, &vp8, true)), [96]);
    assert_eq!(
        types(&client_codecs(Kind::Play, video, &vp8, false)),
        [96, 103],
        "a player can never renegotiate"
    );
    assert_eq!(types(&offered_codecs(video, false, &[103])), [103]);
    assert_eq!(
        types(&offered_codecs(video, false, &[77])),
        [96, 103],
        "nothing known is sent: the wide list"
    );
}

fn credentials() -> Credentials {
    Credentials { ufrag: "ours".to_owned(), password: "secretsecretsecretsecret".to_owned() }
}

fn write_offer(client: &Description, plan: &Plan) -> String {
    let credentials = credentials();
    let sources = Some(Sources { main: 21, repair: Some(22) });
    let codecs: Vec<Vec<Codec>> = client.media.iter().map(|m| offered_codecs(m, false, &[])).collect();
    let media = client.media.iter().zip(&codecs).enumerate().map(|(index, (media, codecs))| {
        let direction = Direction::SendOnly;
        plan.live.contains(&index).then_some(OfferMedia {
            direction,
            credentials: &credentials,
            codecs,
            extensions: &media.extensions,
            sources,
        })
    });
    let media = media.collect();
    UpstreamOffer { client, session_id: 1, fingerprint: "sha-256 DD", cname: "c", bundle: plan.bundle, media }
        .write()
}

/// The answer to an offer of which everything that can be is anchored.
fn write_answer(client: &Description, plan: &Plan) -> String {
    let credentials = credentials();
    let codecs: Vec<Vec<Codec>> = client.media.iter().map(|m| offered_codecs(m, false, &[])).collect();
    let media = client.media.iter().zip(&codecs).enumerate().map(|(index, (media, codecs))| {
        let is_live = plan.live.contains(&index);
        (is_live || plan.tagged == Some(index)).then_some(AnswerMedia {
            direction: if is_live { Direction::RecvOnly } else { Direction::Inactive },
            credentials: &credentials,
            codecs,
            extensions: &media.extensions,
            sources: None,
            bandwidth: &[],
        })
    });
    ClientAnswer {
        client,
        session_id: 1,
        version: 1,
        fingerprint: "sha-256 DD",
        cname: "c",
        candidates: &["192.0.2.1:4000".parse().unwrap()],
        tcp: false,
        bundle: plan.bundle,
        as_offer: false,
        media: media.collect(),
    }
    .write()
}

#[test]
fn what_is_written_reads_back() {
    let (plan, client) = planned(OFFER, Kind::Publish);
    let written = parse(&write_offer(&client, &plan.unwrap())).unwrap();
    assert_eq!(written.bundles, client.bundles);
    for (ours, theirs) in written.media.iter().zip(&client.media) {
        assert_eq!(ours.codecs, theirs.codecs);
        assert_eq!((&ours.mid, ours.direction, &ours.msid), (&theirs.mid, theirs.direction, &theirs.msid));
        assert_eq!(ours.credentials, Some(credentials()));
        assert_eq!(ours.sources, Some(Sources { main: 21, repair: Some(22) }));
        assert_eq!(ours.extensions, theirs.extensions);
        assert!(ours.rtcp_mux && ours.candidates.is_empty());
    }
}

#[test]
fn credentials_do_not_show_in_debug_output() {
    assert!(!format!("{:?}", offer()).contains("0123456789012345678901"));
}

/// Lines of offers and answers, whole and broken.
fn line() -> impl Strategy<Value = String> {
    let known: Vec<String> = OFFER.lines().map(str::to_owned).collect();
    let pieces = prop::sample::select(known);
    prop_oneof![
        4 => pieces.clone(),
        1 => (pieces, any::<prop::sample::Index>()).prop_map(|(line, at)| {
            let mut end = at.index(line.len() + 1);
            while !line.is_char_boundary(end) { end -= 1; }
            line[..end].to_owned()
        }),
        1 => "[ -~]{0,40}",
        1 => "a=(rtpmap|fmtp|rtcp-fb|extmap|ssrc|ssrc-group|candidate|mid):[0-9a-zA-Z /=;]{0,24}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_harmless(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse(&format!("v=0\r\n{text}"));
    }

    #[test]
    fn any_lines_are_harmless_and_what_is_accepted_can_be_offered(lines in prop::collection::vec(line(), 0..80)) {
        let text = format!("v=0\r\n{}", lines.join("\r\n"));
        let Ok(mut offer) = parse(&text) else { return Ok(()) };
        prop_assert!(offer.media.len() <= MEDIA_SECTIONS_MAX);
        let Ok(plan) = plan(&mut offer, Kind::Publish) else { return Ok(()) };
        for (text, tagged) in [(write_offer(&offer, &plan), None), (write_answer(&offer, &plan), plan.tagged)] {
            let again = parse(&text).unwrap();
            prop_assert_eq!(again.media.len(), offer.media.len());
            for (index, (ours, theirs)) in again.media.iter().zip(&offer.media).enumerate() {
                let types = |m: &Media| m.codecs.iter().map(|c| c.payload_type).collect::<Vec<_>>();
                let is_live = plan.live.contains(&index) || tagged == Some(index);
                prop_assert_eq!(ours.port != 0, is_live);
                if is_live {
                    prop_assert_eq!(types(ours), types(theirs));
                } else {
                    let grouped = again.bundles.iter().flatten().any(|mid| Some(mid) == ours.mid.as_ref());
                    prop_assert!(!grouped, "a rejected section is in no group");
                }
            }
        }
    }
}
