//! Answers that are well formed but lead nowhere: invented fingerprints, credentials and ports.
//! Cheap enough for thousands of sessions. Real answers come from the media server.

use std::fmt::Write as _;

use rand::RngExt as _;

use super::media::AnswerShape;
use super::refusal::Refusal;

/// What the fixed WSPlayer is answered: its own description with an address.
pub(super) fn fixed_player_answer(offer: &str) -> String {
    let mut answer = header();
    answer.push_str("c=IN IP4 127.0.0.1\r\nt=0 0\r\n");
    for section in sections(offer) {
        let payloads = section.payloads.join(" ");
        let _ = write!(answer, "m={} 31002 {} {payloads}\r\n", section.kind, section.profile);
        for line in section.lines.iter().filter(|line| line.starts_with("a=rtpmap:")) {
            let _ = write!(answer, "{line}\r\n");
        }
        answer.push_str("a=sendonly\r\n");
    }
    answer
}

/// An offer as the server makes it for an incoming call.
pub(super) fn call_offer() -> String {
    let mut offer = header();
    offer.push_str("t=0 0\r\na=group:BUNDLE 0 1\r\n");
    let secrets = Secrets::new();
    for (mid, kind, codec) in [("0", "audio", "111 opus/48000/2"), ("1", "video", "96 VP8/90000")] {
        let payload = codec.split(' ').next().unwrap_or_default();
        let _ = write!(
            offer,
            "m={kind} 31002 UDP/TLS/RTP/SAVPF {payload}\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:{codec}\r\n\
             a=mid:{mid}\r\na=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\n"
        );
        secrets.write(&mut offer);
        candidates(&mut offer, 31_002, false);
    }
    offer
}

/// An answer to a browser's offer.
///
/// # Errors
/// There is nothing in it to answer, or no codec for it.
pub(super) fn answer(
    offer: &str,
    shape: AnswerShape,
    direction: Direction,
    excluded: &[&str],
) -> Result<String, Refusal> {
    let offered = sections(offer);
    if offered.is_empty() {
        return Err(Refusal::NoMedia);
    }
    let mut answer = header();
    answer.push_str("c=IN IP4 127.0.0.1\r\nt=0 0\r\n");
    if shape == AnswerShape::E {
        answer.push_str("a=ice-lite\r\n");
    }
    let bundled = matches!(shape, AnswerShape::A | AnswerShape::D | AnswerShape::E);
    if bundled {
        let mids: Vec<&str> = offered.iter().filter_map(Section::mid).collect();
        let _ = write!(answer, "a=group:BUNDLE {}\r\n", mids.join(" "));
    }
    let mut port: u16 = 31_002 + rand::rng().random_range(0..490_u16) * 2;
    let mut secrets = Secrets::new();
    for section in &offered {
        let kept = section.kept_payloads(excluded);
        if kept.is_empty() {
            return Err(Refusal::NoCommonCodecs);
        }
        if !bundled {
            port += 2;
            secrets = Secrets::new();
        }
        write_section(&mut answer, section, &kept, shape, port, direction);
        secrets.write(&mut answer);
    }
    Ok(answer)
}

/// Which way media would flow, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// It receives a publish.
    Receive,
    /// It sends a play.
    Send,
    /// Both, for calls.
    Both,
}

fn write_section(
    answer: &mut String,
    section: &Section<'_>,
    kept: &[&str],
    shape: AnswerShape,
    port: u16,
    direction: Direction,
) {
    let legacy = matches!(shape, AnswerShape::B | AnswerShape::C | AnswerShape::G);
    let profile = if legacy { "RTP/SAVPF" } else { section.profile };
    let _ =
        write!(answer, "m={} {port} {profile} {}\r\nc=IN IP4 127.0.0.1\r\n", section.kind, kept.join(" "));
    for line in &section.lines {
        let of_kept = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().any(|prefix| {
            line.strip_prefix(prefix)
                .and_then(|rest| rest.split(' ').next())
                .is_some_and(|id| kept.contains(&id))
        });
        if of_kept {
            let _ = write!(answer, "{line}\r\n");
        }
    }
    if !matches!(shape, AnswerShape::B | AnswerShape::G)
        && let Some(mid) = section.mid()
    {
        let _ = write!(answer, "a=mid:{mid}\r\n");
    }
    match shape {
        AnswerShape::A | AnswerShape::C | AnswerShape::G => answer.push_str("a=setup:passive\r\n"),
        AnswerShape::E => answer.push_str("a=setup:active\r\n"),
        AnswerShape::B | AnswerShape::D => {}
    }
    answer.push_str(match direction {
        Direction::Receive => "a=recvonly\r\n",
        Direction::Send => "a=sendonly\r\n",
        Direction::Both => "a=sendrecv\r\n",
    });
    let _ = write!(answer, "a=rtcp-mux\r\na=rtcp:{port} IN IP4 127.0.0.1\r\n");
    if direction != Direction::Receive {
        let ssrc: u32 = rand::rng().random();
        let _ = write!(answer, "a=ssrc:{ssrc} cname:rtp/{}/simulator\r\n", section.kind);
    }
    candidates(answer, port, shape == AnswerShape::C);
}

fn header() -> String {
    let version = super::counters::unix_ms();
    format!("v=0\r\no=Flashphoner 0 {version} IN IP4 127.0.0.1\r\ns=Flashphoner/1.0\r\n")
}

fn candidates(answer: &mut String, port: u16, tcp: bool) {
    let (transport, suffix) = if tcp { ("tcp", " tcptype passive") } else { ("udp", "") };
    for component in 1..=2 {
        let _ = write!(
            answer,
            "a=candidate:1 {component} {transport} 2130706431 127.0.0.1 {port} typ host{suffix}\r\n"
        );
    }
    answer.push_str("a=end-of-candidates\r\n");
}

/// ICE credentials and a fingerprint that belong to nobody.
struct Secrets {
    ufrag: String,
    pwd: String,
    fingerprint: String,
}

impl Secrets {
    fn new() -> Self {
        let random = rand::rng().random::<[u8; 32]>();
        let hex = |bytes: &[u8], between: &str| {
            bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(between)
        };
        Self {
            ufrag: hex(random.get(..4).unwrap_or_default(), ""),
            pwd: hex(random.get(4..16).unwrap_or_default(), ""),
            fingerprint: hex(&random, ":"),
        }
    }

    fn write(&self, to: &mut String) {
        let _ = write!(
            to,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\n",
            self.ufrag, self.pwd, self.fingerprint
        );
    }
}

/// One m-line of an offer with what stands under it.
struct Section<'a> {
    kind: &'a str,
    profile: &'a str,
    payloads: Vec<&'a str>,
    lines: Vec<&'a str>,
}

impl Section<'_> {
    fn mid(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix("a=mid:"))
    }

    /// Payload types whose codec is known here, with the retransmission of kept ones.
    fn kept_payloads(&self, excluded: &[&str]) -> Vec<&str> {
        const KNOWN: [&str; 6] = ["opus", "PCMU", "PCMA", "VP8", "H264", "telephone-event"];
        let wanted = |payload: &str| {
            self.codec(payload).is_some_and(|codec| {
                KNOWN.iter().any(|known| known.eq_ignore_ascii_case(codec))
                    && !excluded.iter().any(|name| name.eq_ignore_ascii_case(codec))
            })
        };
        let repairs_wanted = |payload: &str| {
            self.codec(payload) == Some("rtx")
                && self.lines.iter().any(|line| {
                    line.strip_prefix("a=fmtp:")
                        .and_then(|rest| rest.strip_prefix(payload))
                        .and_then(|rest| rest.trim_start().strip_prefix("apt="))
                        .is_some_and(|apt| wanted(apt.trim()))
                })
        };
        let payloads = self.payloads.iter().copied();
        payloads.filter(|payload| wanted(payload) || repairs_wanted(payload)).collect()
    }

    fn codec(&self, payload: &str) -> Option<&str> {
        let rest = self
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("a=rtpmap:"))
            .find_map(|rest| rest.strip_prefix(payload).and_then(|rest| rest.strip_prefix(' ')))?;
        rest.split('/').next()
    }
}

fn sections(description: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in description.lines().map(str::trim_end) {
        if let Some(rest) = line.strip_prefix("m=") {
            let mut words = rest.split(' ');
            let kind = words.next().unwrap_or_default();
            words.next();
            let profile = words.next().unwrap_or("UDP/TLS/RTP/SAVPF");
            sections.push(Section { kind, profile, payloads: words.collect(), lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    sections
}

/// The codecs that an offer names, each once, in its order.
pub(super) fn offered_codecs(offer: &str) -> Vec<String> {
    let mut codecs: Vec<String> = Vec::new();
    for line in offer.lines() {
        let codec = line
            .strip_prefix("a=rtpmap:")
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(_, rest)| rest.split('/').next());
        if let Some(codec) = codec
            && !codecs.iter().any(|known| known == codec)
        {
            codecs.push(codec.to_owned());
        }
    }
    codecs
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 9\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtcp-fb:111 transport-cc\r\na=rtpmap:9 G722/8000\r\na=sendonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 35\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:35 VP9/90000\r\na=sendonly\r\n";

    #[test]
    fn the_modern_answer_bundles_and_keeps_known_codecs() {
        let answer = answer(OFFER, AnswerShape::A, Direction::Receive, &[]).unwrap();
        assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
        assert!(answer.contains("UDP/TLS/RTP/SAVPF 111\r\n"));
        assert!(answer.contains("UDP/TLS/RTP/SAVPF 96 97 102 103\r\n"), "{answer}");
        assert!(!answer.contains("VP9") && !answer.contains("G722"));
        assert_eq!(answer.matches("a=setup:passive").count(), 2);
        assert_eq!(answer.matches("a=recvonly").count(), 2);
    }

    #[test]
    fn legacy_answers_have_no_bundle_and_ports_of_their_own() {
        let answer = answer(OFFER, AnswerShape::B, Direction::Send, &[]).unwrap();
        assert!(!answer.contains("BUNDLE") && !answer.contains("a=mid") && !answer.contains("a=setup"));
        let ports: Vec<&str> = answer
            .lines()
            .filter(|line| line.starts_with("m="))
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        assert_ne!(ports[0], ports[1]);
        assert!(answer.contains("a=ssrc:"));
    }

    #[test]
    fn an_excluded_codec_takes_its_repair_with_it() {
        let kept = answer(OFFER, AnswerShape::A, Direction::Receive, &["H264"]).unwrap();
        assert!(kept.contains("SAVPF 96 97\r\n"), "{kept}");
        let none = answer(OFFER, AnswerShape::A, Direction::Receive, &["H264", "VP8"]);
        assert_eq!(none.unwrap_err(), Refusal::NoCommonCodecs);
    }

    #[test]
    fn an_offer_without_media_is_refused() {
        assert!(answer("v=0\r\n", AnswerShape::A, Direction::Receive, &[]).is_err());
    }

    #[test]
    fn the_fixed_player_gets_ports_for_both_media() {
        let offer = "v=0\r\nm=video 0 RTP/AVP 32\r\na=rtpmap:32 MPV/90000\r\nm=audio 0 RTP/AVP 0\r\n";
        let answer = fixed_player_answer(offer);
        assert!(answer.contains("m=video 31002 RTP/AVP 32\r\na=rtpmap:32 MPV/90000\r\n"), "{answer}");
        assert!(answer.contains("m=audio 31002 RTP/AVP 0\r\n"));
    }

    #[test]
    fn codecs_are_listed_once() {
        assert_eq!(offered_codecs(OFFER), ["opus", "G722", "VP8", "rtx", "H264", "VP9"]);
    }
}
