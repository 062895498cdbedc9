//! Offers of unusual shape: what can be anchored is, and the rest is rejected alone.

use super::*;

fn replaced(from: &str, to: &str) -> String {
    let text = OFFER.replace(from, to);
    assert_ne!(text, OFFER, "{from} stands in the offer");
    text
}

/// The offer with another section before, between or after those it has.
fn with_section(place: usize, section: &str) -> String {
    let mut parts: Vec<String> = OFFER.split("m=").map(str::to_owned).collect();
    parts.insert(place + 1, section.to_owned());
    parts.join("m=")
}

const DATA: &str = "application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
a=ice-pwd:0123456789012345678901\r\na=mid:2\r\na=sctp-port:5000\r\n";

fn written(text: &str) -> (Description, Description) {
    let (plan, offer) = planned(text, Kind::Publish);
    let plan = plan.unwrap();
    (parse(&write_offer(&offer, &plan)).unwrap(), parse(&write_answer(&offer, &plan)).unwrap())
}

#[test]
fn a_section_that_waits_for_its_bundle_is_offered() {
    // As bundlePolicy max-bundle has it: the transport is described once (RFC 9143 6).
    let second = OFFER.rfind("m=video").unwrap();
    let (first, video) = OFFER.split_at(second);
    let video: String = video
        .replace("m=video 9", "m=video 0")
        .split_inclusive("\r\n")
        .filter(|l| !l.starts_with("a=ice-") && !l.starts_with("a=fingerprint") && !l.starts_with("a=setup"))
        .filter(|l| !l.starts_with("a=rtcp-mux"))
        .collect();
    let text = format!("{first}{video}a=bundle-only\r\n");
    let (plan, offer) = planned(&text, Kind::Publish);
    let plan = plan.unwrap();
    assert_eq!((plan.live.as_slice(), plan.bundle), ([0, 1].as_slice(), true));
    assert_eq!(offer.media[1].credentials, offer.media[0].credentials);
    assert_eq!(offer.media[1].fingerprints, offer.media[0].fingerprints);
    for description in <[Description; 2]>::from(written(&text)) {
        assert!(description.media.iter().all(|m| m.port != 0 && !m.bundle_only));
        assert_eq!(description.bundles, [["0", "1"]]);
    }

    let alone = text.replace("BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(live(&alone), [0], "without a BUNDLE to be in it is rejected");
    assert_eq!(live(&text.replace("a=bundle-only\r\n", "")), [0], "so is port 0 alone");
}

#[test]
fn a_rejected_section_is_in_no_group() {
    for text in [with_section(2, DATA), with_section(0, DATA), replaced("m=audio 9", "m=audio 0")] {
        let text = text.replace("BUNDLE 0 1", "BUNDLE 0 1 2");
        for description in <[Description; 2]>::from(written(&text)) {
            let group = description.bundles.first().unwrap();
            for media in &description.media {
                let grouped = group.contains(media.mid.as_ref().unwrap());
                assert_eq!(grouped, media.port != 0, "{group:?} {:?}", media.mid);
            }
        }
    }
}

#[test]
fn the_section_that_speaks_for_the_bundle_stays_when_it_is_idle() {
    let video = OFFER[OFFER.rfind("m=video").unwrap() + 2..].replace("a=mid:1", "a=mid:2");
    for (line, group, tagged) in [
        ("a=inactive", "2 0 1", true),
        ("a=recvonly", "2 0 1", true),
        ("a=recvonly", "7 2 0 1", true),
        ("a=inactive", "0 1 2", false),
        ("a=inactive", "0 1", false),
    ] {
        let section = video.replace("a=sendonly", line);
        let text = with_section(0, &section).replace("BUNDLE 0 1", &format!("BUNDLE {group}"));
        let (plan, offer) = planned(&text, Kind::Publish);
        let plan = plan.unwrap();
        assert_eq!(
            (plan.live.as_slice(), plan.tagged == Some(0)),
            ([1, 2].as_slice(), tagged),
            "{line} {group}"
        );
        let (up, down) = written(&text);
        assert_eq!(
            (up.media[0].port, up.bundles[0].join(" ").as_str()),
            (0, "0 1"),
            "the upstream needs it not"
        );
        let idle = (down.media[0].port != 0, down.media[0].direction, down.bundles[0].join(" "));
        let grouped = if tagged { "2 0 1" } else { "0 1" };
        assert_eq!(idle, (tagged, Direction::Inactive, grouped.to_owned()), "{line} {group}");
        assert_eq!(offer.media[0].codecs.is_empty(), !tagged, "nothing is kept in vain");
    }
    let (offer, answer) = written(&OFFER.replace("BUNDLE 0 1", "BUNDLE 1 0"));
    assert_eq!(answer.bundles, [["1", "0"]], "in the order of the client's offer");
    assert_eq!(offer.bundles, [["0", "1"]], "the first of ours speaks for all");
    // A data channel cannot be idle: it is rejected wherever it stands.
    let data = with_section(0, DATA).replace("BUNDLE 0 1", "BUNDLE 2 0 1");
    assert_eq!(written(&data).1.bundles, [["0", "1"]]);
}

#[test]
fn what_cannot_be_carried_is_rejected_alone() {
    let second_video = OFFER[OFFER.rfind("m=video").unwrap() + 2..].replace("a=mid:1", "a=mid:5");
    let second_audio = "audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:6\r\na=ice-ufrag:abcd\r\n\
                        a=ice-pwd:0123456789012345678901\r\na=sendonly\r\na=rtcp-mux\r\n";
    let text = "text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:7\r\na=rtpmap:98 t140/1000\r\n";
    for (place, section) in [
        (0, DATA),
        (1, DATA),
        (2, DATA),
        (2, second_video.as_str()),
        (1, second_audio),
        (0, text),
        (1, "image 70000 udptl t38\r\n"),
        (2, "video 9 TCP/MSRP 96\r\na=rtpmap:96 VP8/90000\r\n"),
        (0, "audio 0 RTP/SAVPF 0\r\n"),
        (0, "video 9 UDP/TLS/RTP/SAVPF 96\r\na=inactive\r\n"),
        (1, "audio x RTP/AVP\r\n"),
    ] {
        let offer = with_section(place, section);
        let (plan, description) = planned(&offer, Kind::Publish);
        let live = plan.unwrap_or_else(|e| panic!("{e} for {section}")).live;
        let kinds: Vec<_> = live.iter().map(|i| description.media[*i].kind).collect();
        assert_eq!(kinds, [Some(MediaType::Audio), Some(MediaType::Video)], "{section}");
        for again in <[Description; 2]>::from(written(&offer)) {
            assert_eq!(again.media.iter().filter(|m| m.port == 0).count(), 1, "{section}");
            assert_eq!(again.media.len(), 3);
        }
    }
    let (plan, offer) = planned(&with_section(0, DATA), Kind::Publish);
    assert_eq!(plan.unwrap().complaints(&offer), ["0 (other): neither audio nor video"]);
    assert_eq!(planned(&format!("v=0\r\nm={DATA}"), Kind::Publish).0, Err(Refusal::UnknownMedia));
}

#[test]
fn a_section_that_lacks_something_is_told() {
    let video = OFFER.rfind("m=video").unwrap();
    let without = |what: &str| {
        let lines = OFFER[video..].split_inclusive("\r\n").filter(|line| !line.starts_with(what));
        let group = OFFER[..video].replace("a=group:BUNDLE 0 1\r\n", "");
        format!("{group}{}", lines.collect::<String>())
    };
    for (what, refusal) in [
        ("a=ice-ufrag", Refusal::NoIce),
        ("a=ice-pwd", Refusal::NoIce),
        ("a=fingerprint", Refusal::NoFingerprint),
        ("a=rtpmap", Refusal::NoCodec),
    ] {
        let plan = planned(&without(what), Kind::Publish).0.unwrap();
        assert_eq!((plan.live, plan.left_out), (vec![0], vec![(1, refusal)]), "{what}");
    }
    // The server may take RTCP on a port of its own.
    assert_eq!(planned(&without("a=rtcp-mux"), Kind::Publish).0, Err(Refusal::NoRtcpMux));
    let only = OFFER.replace("a=group:BUNDLE 0 1\r\n", "").replace("a=rtcp-mux", "a=rtcp-mux-only");
    assert_eq!(live(&only), [0, 1]);
    // Two that wait for the other's checks never meet.
    assert_eq!(
        planned(&replaced("a=extmap-allow-mixed", "a=ice-lite"), Kind::Publish).0,
        Err(Refusal::IceLite)
    );
    // In a BUNDLE it is always multiplexed.
    assert_eq!(live(&replaced("a=rtcp-mux\r\n", "")), [0, 1]);
}

#[test]
fn every_profile_of_rtp_is_taken_and_mirrored() {
    for profile in ["RTP/AVPF", "RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "rtp/savpf"]
    {
        let text = replaced("UDP/TLS/RTP/SAVPF", profile);
        assert_eq!(live(&text), [0, 1], "{profile}");
        let (offer, answer) = written(&text);
        assert!(offer.media.iter().chain(&answer.media).all(|m| m.protocol == profile));
    }
}

#[test]
fn a_client_that_waits_for_the_handshake_is_answered_as_the_one_who_begins() {
    let (plan, offer) = planned(&replaced("a=setup:actpass", "a=setup:passive"), Kind::Publish);
    let answer = write_answer(&offer, &plan.unwrap());
    assert_eq!(answer.matches("a=setup:active\r\n").count(), 2, "{answer}");
    let (plan, offer) = planned(&replaced("a=setup:actpass", "a=setup:ACTIVE"), Kind::Publish);
    assert!(write_answer(&offer, &plan.unwrap()).contains("a=setup:passive"));
}

#[test]
fn what_stands_around_the_lines_does_not_matter() {
    let expected = parse(OFFER).unwrap();
    let spaced = OFFER
        .replace("\r\n", "  \r\n\r\n ")
        .replace("a=mid:", "a=mid: ")
        .replace("a=rtpmap:96 ", "a=rtpmap:96\t ");
    for text in [
        OFFER.replace("\r\n", "\n"),
        OFFER.replace("\r\n", "\r"),
        format!("\u{feff}{OFFER}"),
        format!("\r\n\n \t{OFFER}"),
        format!("\n\u{feff}{OFFER}"),
        spaced,
        OFFER.trim_end().to_owned(),
        OFFER.replace("a=fmtp:97 apt=96", "a=fmtp:97  APT = 96 "),
        OFFER.replace("m=video 9 ", "m=VIDEO  9/2   ").replace("kind_text", ""),
    ] {
        let mut read = parse(&text).unwrap();
        read.media[1].kind_text = "video".to_owned();
        assert_eq!(read, expected, "{text:?}");
    }
    let vp8 = parse(&replaced("VP8/90000", "vp8/90000")).unwrap();
    assert_eq!(vp8.media[1].codecs[0].kind(), CodecKind::Vp8);
}

#[test]
fn a_mid_that_packets_cannot_carry_only_loses_its_extension() {
    for mid in ["0123456789abcdefg", "a-b", "7b3c2f6e-0f0e-4a55-9d2c-b54f1a3c9b11", "ü"] {
        let text =
            replaced("a=mid:1", &format!("a=mid:{mid}")).replace("BUNDLE 0 1", &format!("BUNDLE 0 {mid}"));
        let (plan, offer) = planned(&text, Kind::Publish);
        let plan = plan.unwrap();
        assert_eq!((plan.live.as_slice(), plan.mids), ([0, 1].as_slice(), false), "{mid}");
        assert!(offer.media.iter().flat_map(|m| &m.extensions).all(|e| e.uri != MID));
        assert!(!offer.media[0].extensions.is_empty(), "the others stay");
        if mid.is_ascii() {
            assert!(plan.bundle && write_answer(&offer, &plan).contains(&format!("a=mid:{mid}\r\n")));
        }
    }
    assert!(planned(OFFER, Kind::Publish).0.unwrap().mids);
    let (plan, _) = planned(&OFFER.replace("a=mid:0\r\n", "").replace("a=mid:1\r\n", ""), Kind::Publish);
    let plan = plan.unwrap();
    assert_eq!((plan.live.as_slice(), plan.bundle, plan.mids), ([0, 1].as_slice(), false, false));
}

#[test]
fn groups_are_kept_as_far_as_they_hold() {
    let group = |lines: &str| planned(&replaced("a=group:BUNDLE 0 1\r\n", lines), Kind::Publish).0.unwrap();
    for (lines, bundle) in [
        ("a=group:BUNDLE 0 1 2\r\n", true),
        ("a=group:BUNDLE 1 0\r\n", true),
        ("a=group:LS 0 1\r\na=group:BUNDLE 0 1\r\n", true),
        ("a=group:BUNDLE 2\r\na=group:BUNDLE 0 1\r\n", true),
        ("a=group:BUNDLE 0\r\na=group:BUNDLE 1\r\n", false),
        ("a=group:BUNDLE 0\r\n", false),
        ("a=group:BUNDLE\r\n", false),
        ("a=group:LS 0 1\r\n", false),
        ("", false),
    ] {
        let plan = group(lines);
        assert_eq!((plan.live.as_slice(), plan.bundle), ([0, 1].as_slice(), bundle), "{lines}");
    }
    // One number for two things, one name for two sections: each needs a transport of its own.
    assert!(!planned(&replaced("a=mid:1", "a=mid:0"), Kind::Publish).0.unwrap().bundle);
    let clash = replaced("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 96")
        .replace("a=rtpmap:111 opus", "a=rtpmap:96 opus");
    assert!(!planned(&clash, Kind::Publish).0.unwrap().bundle);
}

#[test]
fn an_extension_id_means_one_thing_on_a_transport() {
    let toffset = "urn:ietf:params:rtp-hdrext:toffset";
    let text =
        replaced("a=mid:1\r\n", &format!("a=mid:1\r\na=extmap:1 {toffset}\r\na=extmap:5/sendonly {MID}\r\n"));
    let ids = |m: &Media| m.extensions.iter().map(|e| e.id).collect::<Vec<_>>();
    let (_, offer) = planned(&text, Kind::Publish);
    assert_eq!((ids(&offer.media[0]), ids(&offer.media[1])), (vec![1, 4], vec![]), "the first word counts");
    let (_, offer) = planned(&text.replace("a=group:BUNDLE 0 1\r\n", ""), Kind::Publish);
    assert_eq!(ids(&offer.media[1]), [1, 5], "on transports of their own both mean what they say");
    let session = replaced("a=msid-semantic: WMS s\r\n", &format!("a=extmap:3 {toffset}\r\n"));
    assert_eq!(ids(&parse(&session).unwrap().media[1]), [3], "said once for all sections");
}

#[test]
fn of_layers_and_groups_the_first_source_counts() {
    let sources = |lines: &str| {
        let text = format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n{lines}");
        parse(&text).unwrap().media[0].sources
    };
    let found = |main, repair| Some(Sources { main, repair });
    let lines =
        "a=ssrc:11 cname:x\r\na=ssrc-group:FID 2 12\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:SIM 1 2 3\r\n";
    assert_eq!(sources(lines), found(1, Some(11)));
    assert_eq!(sources("a=ssrc-group:FEC-FR 5 6\r\na=ssrc:5 cname:x\r\n"), found(5, None));
    assert_eq!(sources("a=ssrc-group:FID 5\r\na=ssrc:x\r\na=ssrc:0 cname:x\r\n"), None);
    let (_, offer) = planned(
        &replaced(
            "a=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize",
            "a=sendonly\r\na=rtcp-mux\r\na=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\na=msid:s v\r\na=msid:t w",
        ),
        Kind::Publish,
    );
    assert_eq!(offer.media[1].msid.as_deref(), Some("s v"));
    let plan = planned(OFFER, Kind::Publish).0.unwrap();
    let text = write_offer(&offer, &plan);
    assert!(!text.contains("simulcast") && !text.contains("a=rid"), "one layer is carried");
}

#[test]
fn odd_payload_types_are_read() {
    let types = |line: &str| {
        let text = format!("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF {line}");
        parse(&text).unwrap().media[0]
            .codecs
            .iter()
            .map(|c| (c.payload_type, c.name.clone()))
            .collect::<Vec<_>>()
    };
    let named = |all: &[(u8, &str)]| all.iter().map(|(pt, n)| (*pt, (*n).to_owned())).collect::<Vec<_>>();
    assert_eq!(types("8 0 8 0 18 9\r\n"), named(&[(8, "PCMA"), (0, "PCMU"), (18, "G729"), (9, "G722")]));
    assert_eq!(
        types("96 96\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:96 iLBC/8000\r\n"),
        named(&[(96, "opus")])
    );
    // 72 with its marker bit would look like a sender report.
    assert_eq!(
        types("72 200 x 127\r\na=rtpmap:72 opus/48000/2\r\na=rtpmap:127 opus/48000/2\r\n"),
        named(&[(127, "opus")])
    );
}
