//! What may be shown of an SDP.

use super::media::{lines, media_sections};

/// Attributes that let someone else take part in the media session, or tell where the client is.
const SECRET_ATTRIBUTES: [&str; 6] =
    ["ice-ufrag", "ice-pwd", "fingerprint", "candidate", "remote-candidates", "crypto"];

/// How many media sections, and codecs in each, a summary names.
const SUMMARY_ITEMS_MAX: usize = 16;

/// True for lines with ICE or key material: credentials, fingerprints, candidates.
#[must_use]
pub fn is_secret_line(line: &str) -> bool {
    secret_attribute(line).is_some() || letter(line).is_some_and(|(letter, _)| letter == "k")
}

/// The letter of a line and its value, whatever blanks are around them: who reads leniently must
/// hide leniently.
fn letter(line: &str) -> Option<(&str, &str)> {
    let (letter, value) = line.split_once('=')?;
    Some((letter.trim(), value.trim_start()))
}

fn secret_attribute(line: &str) -> Option<&'static str> {
    let (_, attribute) = letter(line).filter(|(letter, _)| *letter == "a")?;
    let name = attribute.split(|c: char| c == ':' || c.is_whitespace()).next()?;
    SECRET_ATTRIBUTES.into_iter().find(|secret| name.eq_ignore_ascii_case(secret))
}

/// The SDP with the values of its secret lines left out. For a person who debugs, not for logs:
/// other lines are shown as they are. Logs use [`summary`].
#[must_use]
pub fn redact(sdp: &str) -> String {
    let mut shown = String::with_capacity(sdp.len());
    for line in lines(sdp) {
        match secret_attribute(line) {
            Some(name) => {
                shown.push_str("a=");
                shown.push_str(name);
                shown.push_str(":…");
            }
            None if is_secret_line(line) => shown.push_str("k=…"),
            None => shown.push_str(line),
        }
        shown.push('\n');
    }
    shown
}

/// The kinds of media and their codecs, as `audio(opus,PCMU) video(VP8)`. Only known kinds and
/// names that look like codecs are shown, so that nothing else gets into a log.
#[must_use]
pub fn summary(sdp: &str) -> String {
    let mut shown: Vec<String> = Vec::new();
    for section in media_sections(sdp).iter().take(SUMMARY_ITEMS_MAX) {
        let kind = match section.kind {
            kind @ ("audio" | "video" | "application") => kind,
            _ => "other",
        };
        let mut names: Vec<&str> = Vec::new();
        for codec in section.codecs() {
            let name = codec_name(codec.name);
            if !names.contains(&name) && names.len() < SUMMARY_ITEMS_MAX {
                names.push(name);
            }
        }
        shown.push(format!("{kind}({})", names.join(",")));
    }
    shown.join(" ")
}

/// Encoding names known to come from browsers, WCS and the SDK's own offers.
const CODEC_NAMES: [&str; 22] = [
    "opus",
    "PCMU",
    "PCMA",
    "G722",
    "G729",
    "SILK",
    "speex",
    "ISAC",
    "ILBC",
    "CN",
    "telephone-event",
    "mpeg4-generic",
    "MP4A-LATM",
    "VP8",
    "VP9",
    "H264",
    "H265",
    "AV1",
    "MPV",
    "rtx",
    "red",
    "ulpfec",
];

fn codec_name(name: &str) -> &'static str {
    let known = CODEC_NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    known.unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=audio 9 X 111 0 5\r\na=ice-ufrag:SECRET\r\na=ice-pwd:SECRET\r\na=Fingerprint:sha-256 SECRET\r\na=candidate:1 1 udp 1 SECRET 9 typ host\r\na=crypto:1 SECRET\r\nk=clear:SECRET\r\n a=ice-pwd:SECRET\r\na=rtpmap:111 OPUS/48000/2\r\na=rtpmap:5 SECRET/1\r\nm=SECRET 9 X 1\r\n";

    #[test]
    fn redacted_sdp_keeps_its_other_lines() {
        let shown = redact(&SDP.replace("a=rtpmap:5 SECRET/1\r\nm=SECRET 9 X 1\r\n", ""));
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(shown.contains("a=ice-pwd:…\n") && shown.contains("a=rtpmap:111 OPUS/48000/2\n"));
        assert!(is_secret_line("a=remote-candidates:1 x 9"));
        assert!(!is_secret_line("a=ice-options:trickle") && !is_secret_line("a=end-of-candidates"));
    }

    #[test]
    fn blanks_and_bare_carriage_returns_hide_nothing() {
        for sdp in [
            "v=0\ra=ice-pwd:SECRET\ra=mid:0",
            "a = ice-pwd:SECRET",
            "a= ice-pwd :SECRET",
            "\ta=\tice-ufrag\t:SECRET",
            "k =clear:SECRET",
        ] {
            assert!(!redact(sdp).contains("SECRET"), "{sdp:?}");
        }
        assert!(redact("v=0\ra=ice-pwd:SECRET\ra=mid:0").contains("a=mid:0"));
    }

    #[test]
    fn a_summary_shows_known_words_only() {
        assert_eq!(summary(SDP), "audio(opus,PCMU,other) other()");
        assert_eq!(summary("no sdp"), "");
        let many = format!("m=video 9 X {}\n", "0 8 ".repeat(500)).repeat(500);
        assert!(summary(&many).len() < 400);
    }
}
