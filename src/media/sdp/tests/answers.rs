//! Answers of unusual shape.

use super::*;

fn answer(sections: &str) -> Description {
    parse(&format!("v=0\r\n{sections}")).unwrap()
}

fn video_of(lines: &str) -> Media {
    answer(&format!("m=video 5 RTP/SAVPF {lines}")).media.remove(0)
}

/// The codecs taken of the offer's video: our number, and the server's.
fn taken(lines: &str) -> Vec<(u8, u8, Option<u8>)> {
    let taken = answered_codecs(&offered_codecs(&offer().media[1], false, &[]), &video_of(lines));
    taken.iter().map(|t| (t.codec.payload_type, t.theirs, t.their_repair)).collect()
}

#[test]
fn numbers_other_than_offered_are_found_by_their_format() {
    assert_eq!(taken("120\r\na=rtpmap:120 VP8/90000\r\n"), [(96, 120, None)]);
    assert_eq!(
        taken(
            "103 101 98\r\na=rtpmap:103 vp8/90000\r\na=rtpmap:98 H264/90000\r\na=rtpmap:101 RTX/90000\r\na=fmtp:101 apt=103\r\n"
        ),
        [(96, 103, Some(101)), (103, 98, None)],
        "also where a number means something else in the offer"
    );
    assert_eq!(taken("96 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n"), [(96, 96, None)]);
    assert_eq!(taken("103 7\r\n"), [(103, 103, None)], "a number of ours without a name is ours");
    assert_eq!(taken("120 96\r\na=rtpmap:120 VP8/90000\r\n"), [(96, 120, None)], "a codec is taken once");
    assert_eq!(taken("100\r\na=rtpmap:100 AV1/90000\r\n"), []);
}

#[test]
fn of_formats_of_one_name_the_one_that_is_alike_is_meant() {
    let offer = "v=0\r\nm=video 9 X 103 105 107\r\na=rtpmap:103 H264/90000\r\na=rtpmap:105 H264/90000\r\na=rtpmap:107 H264/90000\r\n\
                 a=fmtp:103 packetization-mode=1;profile-level-id=42001f\r\na=fmtp:105 packetization-mode=0;profile-level-id=42001f\r\n\
                 a=fmtp:107 packetization-mode=1;profile-level-id=640c1f\r\n";
    let offered = parse(offer).unwrap().media.remove(0).codecs;
    let found = |parameters: &str| {
        let answer = video_of(&format!("120\r\na=rtpmap:120 H264/90000\r\na=fmtp:120 {parameters}\r\n"));
        answered_codecs(&offered, &answer).first().map(|t| t.codec.payload_type)
    };
    assert_eq!(found("profile-level-id=42000D"), Some(105), "without a word the mode is 0");
    assert_eq!(found("Profile-Level-Id=640C28; packetization-mode=1"), Some(107));
    assert_eq!(found("packetization-mode=1;profile-level-id=4d001f"), Some(103), "nothing alike: the first");
}

#[test]
fn sections_find_their_answers() {
    let offer = offer();
    let places = |sections: &str| pair_up(&offer, &answer(sections));
    let (audio, video) = ("m=audio 4 RTP/SAVPF 111\r\n", "m=video 5 RTP/SAVPF 96\r\n");
    assert_eq!(places(&format!("{audio}{video}")), [Some(0), Some(1)]);
    assert_eq!(
        places(&format!("{audio}a=mid:x\r\n{video}a=mid:y\r\n")),
        [Some(0), Some(1)],
        "at their place"
    );
    assert_eq!(places(&format!("{video}{audio}")), [Some(1), Some(0)], "in another order");
    assert_eq!(places(video), [None, Some(0)], "what is rejected left out");
    assert_eq!(places(&format!("m=application 0 X y\r\n{audio}{video}")), [Some(1), Some(2)]);
    assert_eq!(places(&format!("{video}a=mid:0\r\n")), [None, None], "the name of another section");
    assert_eq!(places("m=text 0 X 0\r\n"), [None, None]);
}

#[test]
fn a_bundled_answer_is_recognised() {
    let bundled = |lines: &str| answer_bundled(&answer(lines), &[0, 1]);
    let (audio, video) = ("m=audio 4 RTP/SAVPF 111\r\n", "m=video 5 RTP/SAVPF 96\r\n");
    assert!(bundled(&format!("a=group:BUNDLE 0 1\r\n{audio}a=mid:0\r\n{video}a=mid:1\r\n")));
    assert!(bundled(&format!("a=group:BUNDLE 0 1\r\n{audio}{video}")), "without mids in their order");
    assert!(!bundled(&format!("{audio}a=mid:0\r\n{video}a=mid:1\r\n")));
    assert!(!bundled(&format!("a=group:BUNDLE 0\r\n{audio}a=mid:0\r\n{video}a=mid:1\r\n")));
    let tagged = answer(&format!(
        "a=group:BUNDLE 1 0\r\n{audio}a=mid:0\r\n{video}a=mid:1\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:active\r\n\
         a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n"
    ));
    assert_eq!(tagged.media[0].credentials, tagged.media[1].credentials, "said once for the transport");
    assert_eq!((tagged.media[0].setup, tagged.media[0].candidates.len()), (Some(Setup::Active), 1));
}

#[test]
fn addresses_are_read_in_both_families() {
    let connection =
        |line: &str| video_of(&format!("96\r\nc={line}\r\n")).connection.map(|ip| ip.to_string());
    assert_eq!(connection("IN IP6 2001:db8::1").as_deref(), Some("2001:db8::1"));
    assert_eq!(connection("IN IP4 192.0.2.7/127").as_deref(), Some("192.0.2.7"));
    for unusable in ["IN IP4 0.0.0.0", "IN IP6 ::", "IN IP4 host.example", "IN IP4 224.0.0.1", "IN", ""] {
        assert_eq!(connection(unusable), None, "{unusable}");
    }
}

#[test]
fn broken_answers_are_told_and_do_no_harm() {
    assert_eq!(parse(""), Err(Unreadable::Empty));
    assert_eq!(parse("\r\n \n"), Err(Unreadable::Empty));
    assert_eq!(parse("v=0\r\no=- 1 2 IN IP4 x"), Err(Unreadable::NoSection));
    assert_eq!(parse("v=0\r\nm=video 9"), Err(Unreadable::MediaLine));
    for end in 0..OFFER.len() {
        if let Ok(mut cut) = parse(&OFFER[..end]) {
            let _ = plan(&mut cut, Kind::Publish);
        }
    }
}
