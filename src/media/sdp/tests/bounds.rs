//! Every list and every text of a description has its bound.

use super::*;

fn section(lines: &str) -> Media {
    parse(&format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n{lines}"))
        .unwrap()
        .media
        .remove(0)
}

fn many(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn lists_are_bounded() {
    let fingerprint = Fingerprint::of(Hash::Sha1, b"x").unwrap();
    let media = section(&format!(
        "{}{}{}{}{}{}",
        many(200, |n| format!("a=candidate:{n} 1 udp 1 127.0.0.1 9 typ host\r\n")),
        many(100, |n| format!("a=extmap:{} urn:{n}\r\n", n % 255 + 1)),
        many(100, |n| format!("a=rtcp-fb:96 nack {n}\r\na=rtcp-fb:* ccm {n}\r\n")),
        many(20, |n| format!("b=AS:{n}\r\n")),
        many(20, |_| format!("a=fingerprint:{fingerprint}\r\n")),
        many(1000, |n| format!("a=ssrc-group:FID {n} {}\r\n", n + 1)),
    ));
    assert_eq!(media.candidates.len(), CANDIDATES_MAX);
    assert_eq!(media.extensions.len(), EXTENSIONS_MAX);
    assert_eq!(media.codecs[0].feedback.len(), FEEDBACK_MAX);
    assert_eq!(media.bandwidth.len(), BANDWIDTH_LINES_MAX);
    assert_eq!(media.fingerprints.len(), FINGERPRINTS_MAX);
    let groups = parse(&format!("{}m=video 9 X 96\r\n", "a=group:BUNDLE 0\r\n".repeat(50))).unwrap().bundles;
    assert_eq!(groups.len(), BUNDLE_GROUPS_MAX);
    let wide = parse(&format!("a=group:BUNDLE{}\r\nm=video 9 X{}\r\n", " 0".repeat(500), " 300".repeat(500)))
        .unwrap();
    assert_eq!(wide.bundles[0].len(), MEDIA_SECTIONS_MAX);
    assert_eq!(wide.media[0].formats.split(' ').count(), FORMATS_MAX);
    let sections = |count| parse(&"m=video 9 X 96\r\n".repeat(count)).map(|d| d.media.len());
    assert_eq!(sections(MEDIA_SECTIONS_MAX), Ok(MEDIA_SECTIONS_MAX));
    assert_eq!(sections(MEDIA_SECTIONS_MAX + 1), Err(Unreadable::TooManySections));
}

#[test]
fn texts_are_bounded() {
    let long = |bytes| "x".repeat(bytes);
    let ice = |ufrag, password| {
        let lines = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", long(ufrag), long(password));
        section(&lines).credentials.is_some()
    };
    assert!(ice(UFRAG_BYTES_MAX, PASSWORD_BYTES_MAX));
    assert!(!ice(UFRAG_BYTES_MAX + 1, 30) && !ice(8, PASSWORD_BYTES_MAX + 1) && !ice(0, 30));
    let msid = |bytes| section(&format!("a=msid:{}\r\n", long(bytes))).msid.is_some();
    assert!(msid(NAME_BYTES_MAX) && !msid(NAME_BYTES_MAX + 1));
    let extension = |bytes| section(&format!("a=extmap:1 {}\r\n", long(bytes))).extensions.len();
    assert_eq!((extension(NAME_BYTES_MAX), extension(NAME_BYTES_MAX + 1)), (1, 0));
    let feedback = |bytes| section(&format!("a=rtcp-fb:96 {}\r\n", long(bytes))).codecs[0].feedback.len();
    assert_eq!((feedback(FEEDBACK_BYTES_MAX), feedback(FEEDBACK_BYTES_MAX + 1)), (1, 0));
    let parameters =
        |bytes| section(&format!("a=fmtp:96 {}\r\n", long(bytes))).codecs[0].parameters.is_some();
    assert!(parameters(LINE_BYTES_MAX - "fmtp:96 ".len()) && !parameters(LINE_BYTES_MAX));
    let rate = |rate: u64| {
        let text = format!("v=0\r\nm=video 9 X 97\r\na=rtpmap:97 VP8/{rate}\r\n");
        parse(&text).unwrap().media[0].codecs.len()
    };
    let most = u64::from(CLOCK_RATE_HZ_MAX);
    assert_eq!([0, 1, most, most + 1, 1 << 40].map(rate), [0, 1, 1, 0, 0]);
    let kind = |bytes| parse(&format!("m={} 9 X 96\r\n", long(bytes))).is_ok();
    assert!(kind(WORD_BYTES_MAX) && !kind(WORD_BYTES_MAX + 1));
    let whole = |bytes: usize| parse(&format!("{}\r\nm=video 9 X 96\r\n", long(bytes - 18))).is_ok();
    assert!(whole(SDP_BYTES_MAX) && !whole(SDP_BYTES_MAX + 1));
}
