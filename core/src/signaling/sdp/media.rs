//! The media sections of an SDP: their codecs, and nothing of their transport.

/// The lines of an SDP without their ends, whether CRLF, LF or CR. Empty lines are left out.
fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split(['\n', '\r']).filter(|line| !line.is_empty())
}

/// Whether Firefox wrote it: its origin line says so, as it has always done.
#[must_use]
pub fn is_of_firefox(sdp: &str) -> bool {
    lines(sdp).find_map(|line| line.strip_prefix("o=")).is_some_and(|origin| origin.starts_with("mozilla"))
}

/// One `m=` line with the attributes that follow it.
#[derive(Debug)]
pub(in crate::signaling) struct MediaSection<'a> {
    /// The payload types in order of preference.
    payload_types: Vec<&'a str>,
    /// The lines after the `m=` line up to the next one.
    lines: Vec<&'a str>,
}

/// Payload types that need no `a=rtpmap` (RFC 3551), as far as WCS clients use them.
const STATIC_CODECS: [(&str, &str); 5] =
    [("0", "PCMU"), ("8", "PCMA"), ("9", "G722"), ("18", "G729"), ("32", "MPV")];

/// How many media sections are read, how many lines in each, and how many payload types (RTP has
/// no more). Browsers stay far below; beyond these limits an SDP is cut short, since every codec
/// is looked up among all lines of its section.
const SECTIONS_MAX: usize = 32;
const SECTION_LINES_MAX: usize = 1024;
const PAYLOAD_TYPES_MAX: usize = 128;

/// The media sections in order.
pub(in crate::signaling) fn media_sections(sdp: &str) -> Vec<MediaSection<'_>> {
    let mut sections: Vec<MediaSection<'_>> = Vec::new();
    for line in lines(sdp).map(str::trim) {
        if let Some(media) = line.strip_prefix("m=") {
            if sections.len() == SECTIONS_MAX {
                break;
            }
            // Before them stand the kind, the port and the transport.
            let payload_types = media.split_ascii_whitespace().skip(3).take(PAYLOAD_TYPES_MAX).collect();
            sections.push(MediaSection { payload_types, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut()
            && section.lines.len() < SECTION_LINES_MAX
        {
            section.lines.push(line);
        }
    }
    sections
}

impl<'a> MediaSection<'a> {
    /// The names of the codecs in order of preference, as `VP8`, in the writer's case; payload types that
    /// nothing explains are left out.
    pub(in crate::signaling) fn codecs(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.payload_types.iter().filter_map(|payload_type| self.codec(payload_type))
    }

    /// True if a codec of this name is listed, whatever its case.
    pub(in crate::signaling) fn has_codec(&self, name: &str) -> bool {
        self.codecs().any(|codec| codec.eq_ignore_ascii_case(name))
    }

    fn codec(&self, payload_type: &str) -> Option<&'a str> {
        if let Some(map) = self.attribute("a=rtpmap:", payload_type) {
            return map.split('/').next();
        }
        let (_, name) = STATIC_CODECS.iter().find(|(number, _)| *number == payload_type)?;
        Some(name)
    }

    /// What follows `prefix`, exactly this payload type, and a blank.
    fn attribute(&self, prefix: &str, payload_type: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| {
            let rest = line.strip_prefix(prefix)?.strip_prefix(payload_type)?;
            rest.starts_with(char::is_whitespace).then(|| rest.trim())
        })
    }
}

/// True if some media section lists a codec of this name, as `H264`, whatever its case.
#[must_use]
pub fn offers_codec(sdp: &str, name: &str) -> bool {
    media_sections(sdp).iter().any(|section| section.has_codec(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::signaling::sdp::strip_codecs;

    #[test]
    fn firefox_is_known_by_its_origin_line() {
        let origin = "o=mozilla...THIS_IS_SDPARTA-99.0 4648975220985233000 0 IN IP4 0.0.0.0";
        assert!(is_of_firefox(&format!("v=0\r\n{origin}\r\ns=-\r\n")));
        assert!(is_of_firefox(&format!("v=0\n{origin}\n")));
        assert!(!is_of_firefox("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=mozilla\r\n"));
        assert!(!is_of_firefox("") && !is_of_firefox("s=o=mozilla"));
    }

    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 77\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\nm=video 9/2 RTP/SAVPF 96 103 10\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:103 h264/90000\r\na=fmtp:103 profile-level-id=42001f\r\na=rtpmap:104 H265/90000\r\n";

    #[test]
    fn sections_and_codecs() {
        let sections = media_sections(OFFER);
        let codecs = sections.iter().map(|section| section.codecs().collect::<Vec<_>>());
        assert_eq!(codecs.collect::<Vec<_>>(), [vec!["opus", "PCMU"], vec!["VP8", "h264"]]);
    }

    #[test]
    fn offered_codecs() {
        assert!(offers_codec(OFFER, "H264") && offers_codec(OFFER, "VP8"));
        // Mapped, but not in the list of the m= line.
        assert!(!offers_codec(OFFER, "H265"));
        let stripped = strip_codecs(OFFER, "H264");
        assert!(!offers_codec(&stripped, "H264") && offers_codec(&stripped, "VP8"));
        assert!(offers_codec("m=video 0 RTP/AVP 32\nm=audio 0 RTP/AVP 0\n", "MPV"));
    }

    #[test]
    fn blanks_and_line_ends_of_any_kind_do_not_matter() {
        let codecs = |sdp: &str| {
            let names = |s: &MediaSection<'_>| s.codecs().map(str::to_owned).collect::<Vec<_>>();
            media_sections(sdp).iter().flat_map(names).collect::<Vec<_>>()
        };
        let expected = codecs(OFFER);
        let tabs = OFFER.replace("a=rtpmap:96 ", "a=rtpmap:96\t ").replace("\r\n", " \r\n  ");
        for sdp in [OFFER.replace("\r\n", "\r"), OFFER.replace("\r\n", "\n"), tabs] {
            assert_eq!(codecs(&sdp), expected, "{sdp:?}");
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let sdp = format!("m=video 9 X{}\n{}", " 1".repeat(500), "a=x\n".repeat(3000)).repeat(50);
        let sections = media_sections(&sdp);
        assert_eq!(sections.len(), SECTIONS_MAX);
        assert_eq!(sections[0].payload_types.len(), PAYLOAD_TYPES_MAX);
        assert_eq!(sections[0].lines.len(), SECTION_LINES_MAX);
    }

    #[test]
    fn nonsense_is_skipped() {
        for sdp in ["", "m=", "m=video", "m=video x y", "a=rtpmap:96", "\r\n\r\nm=audio 99999 X 1\n"] {
            for section in media_sections(sdp) {
                assert_eq!(section.codecs().count(), 0, "{sdp:?}");
            }
        }
    }
}
