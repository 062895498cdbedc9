//! What an answer's session description says of the server (protocol S8). A reader of its own: the one of the
//! synthetic clients keeps what they need, this one what is asked.

use std::collections::BTreeSet;

/// Lines of a description that are read.
const LINES_MAX: usize = 2_000;

/// One m-line with its attributes; `a=` lines of the session level stand in [`Answer`].
#[derive(Debug, Default)]
struct Section {
    kind: String,
    port: String,
    profile: String,
    formats: Vec<String>,
    attributes: Vec<String>,
}

/// An answer, taken apart.
#[derive(Debug, Default)]
pub(super) struct Answer {
    session: Vec<String>,
    sections: Vec<Section>,
}

impl Answer {
    /// Reads a description; what it does not know it leaves.
    pub(super) fn read(text: &str) -> Self {
        let mut answer = Self::default();
        for line in text.lines().map(str::trim_end).take(LINES_MAX) {
            if let Some(media) = line.strip_prefix("m=") {
                let mut words = media.split_whitespace().map(str::to_owned);
                let mut word = || words.next().unwrap_or_default();
                let (kind, port, profile) = (word(), word(), word());
                let formats = words.collect();
                answer.sections.push(Section { kind, port, profile, formats, attributes: Vec::new() });
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let place =
                    answer.sections.last_mut().map_or(&mut answer.session, |last| &mut last.attributes);
                place.push(attribute.to_owned());
            }
        }
        answer
    }

    /// The sections that are accepted.
    fn accepted(&self) -> impl Iterator<Item = &Section> {
        let bundled = self.bundle();
        self.sections.iter().filter(move |section| {
            let inactive = section.has("inactive");
            // In a bundle, port 0 may stand for "as the first".
            let counts = section.port != "0" || bundled.iter().any(|mid| section.value("mid") == Some(mid));
            counts && !inactive
        })
    }

    fn bundle(&self) -> Vec<String> {
        let line = self.session.iter().find_map(|attribute| attribute.strip_prefix("group:BUNDLE"));
        line.map(|mids| mids.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// An attribute of a section, or that of the session level.
    fn inherited<'a>(&'a self, section: &'a Section, name: &str) -> Option<&'a str> {
        section.value(name).or_else(|| value(&self.session, name))
    }

    /// `bundled` or `separate`.
    pub(super) fn bundle_position(&self) -> &'static str {
        let mids = self.bundle();
        let all = self.accepted().all(|section| mids.iter().any(|mid| section.value("mid") == Some(mid)));
        if !mids.is_empty() && all { "bundled" } else { "separate" }
    }

    /// `present` or `absent`.
    pub(super) fn mids(&self) -> &'static str {
        presence(self.accepted().any(|section| section.value("mid").is_some()))
    }

    /// `active`, `passive`, `actpass`, or `absent`.
    pub(super) fn setup(&self) -> String {
        self.accepted()
            .find_map(|section| self.inherited(section, "setup"))
            .map_or_else(|| "absent".to_owned(), str::to_owned)
    }

    /// `present` or `absent`.
    pub(super) fn ice_lite(&self) -> &'static str {
        let anywhere =
            self.session.iter().chain(self.sections.iter().flat_map(|section| &section.attributes));
        presence(anywhere.into_iter().any(|attribute| attribute == "ice-lite"))
    }

    /// `udp`, `tcp`, both, or `none`.
    pub(super) fn candidates(&self) -> String {
        let all = self.session.iter().chain(self.sections.iter().flat_map(|section| &section.attributes));
        let transports: BTreeSet<String> = all
            .filter_map(|attribute| attribute.strip_prefix("candidate:"))
            .filter_map(|candidate| candidate.split_whitespace().nth(2).map(str::to_ascii_lowercase))
            .collect();
        words(["udp", "tcp"].into_iter().filter(|transport| transports.contains(*transport)))
    }

    /// The profiles of the accepted m-lines.
    pub(super) fn profile(&self) -> String {
        let profiles: BTreeSet<&str> = self.accepted().map(|section| section.profile.as_str()).collect();
        words(profiles.into_iter())
    }

    /// `offered`, or `own` where a payload type has another meaning than in the offer, or none there.
    pub(super) fn payload_types(&self, offer: &Self) -> &'static str {
        let offered: BTreeSet<(String, String)> = offer.sections.iter().flat_map(Section::maps).collect();
        let own = self.accepted().flat_map(Section::maps).any(|(payload_type, codec)| {
            !offered.iter().any(|(number, name)| *number == payload_type && *name == codec)
        });
        if own { "own" } else { "offered" }
    }

    /// `present` or `absent`.
    pub(super) fn rtx(&self) -> &'static str {
        presence(self.accepted().flat_map(Section::maps).any(|(_, codec)| codec.starts_with("rtx/")))
    }

    /// The hashes of the fingerprints, in the order of the answer.
    pub(super) fn fingerprints(&self) -> String {
        let mut hashes: Vec<String> = Vec::new();
        let all = self.session.iter().chain(self.accepted().flat_map(|section| &section.attributes));
        for hash in
            all.filter_map(|attribute| attribute.strip_prefix("fingerprint:")?.split_whitespace().next())
        {
            let hash = hash.to_ascii_lowercase();
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        words(hashes.iter().map(String::as_str))
    }

    /// `all`, or the kinds that are accepted.
    pub(super) fn sections(&self, offer: &Self) -> String {
        let accepted: Vec<&str> = self.accepted().map(|section| section.kind.as_str()).collect();
        if accepted.len() == offer.sections.len() {
            return "all".to_owned();
        }
        words(accepted.into_iter())
    }

    /// Video codecs in the order of the answer, each once.
    pub(super) fn codecs(&self) -> String {
        let mut codecs: Vec<String> = Vec::new();
        for (_, codec) in self.accepted().filter(|section| section.kind == "video").flat_map(Section::maps) {
            let name = codec.split('/').next().unwrap_or_default().to_ascii_uppercase();
            if !["RTX", "RED", "ULPFEC"].contains(&name.as_str()) && !codecs.contains(&name) {
                codecs.push(name);
            }
        }
        words(codecs.iter().map(String::as_str))
    }

    /// `remb`, `transport-cc`, both, or `none`.
    pub(super) fn feedback(&self) -> String {
        let video = self.accepted().filter(|section| section.kind == "video");
        let said: Vec<&str> = video
            .flat_map(|section| &section.attributes)
            .filter_map(|attribute| attribute.strip_prefix("rtcp-fb:")?.split_once(' '))
            .map(|(_, feedback)| feedback.trim())
            .collect();
        let named = [("goog-remb", "remb"), ("transport-cc", "transport-cc")];
        words(named.into_iter().filter(|(feedback, _)| said.contains(feedback)).map(|(_, name)| name))
    }

    /// The letter of protocol S8.3 that fits, or `other`.
    pub(super) fn shape(&self) -> &'static str {
        let bundled = self.bundle_position() == "bundled";
        let (mids, lite) = (self.mids() == "present", self.ice_lite() == "present");
        let setup = self.setup();
        match (bundled, mids, lite, setup.as_str(), &*self.candidates()) {
            (true, true, false, "passive", "udp") => "A",
            (false, false, false, "absent", "udp") => "B",
            (false, true, false, "passive", "tcp") => "C",
            (true, true, false, "absent", "udp") => "D",
            (true, true, true, "active", "udp") => "E",
            (false, false, false, "passive", "udp") => "G",
            _ => "other",
        }
    }
}

impl Section {
    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        value(&self.attributes, name)
    }

    /// Payload types of the m-line with what they stand for.
    fn maps(&self) -> Vec<(String, String)> {
        let maps = self.attributes.iter().filter_map(|attribute| {
            let (payload_type, codec) = attribute.strip_prefix("rtpmap:")?.split_once(' ')?;
            Some((payload_type.to_owned(), codec.trim().to_ascii_lowercase()))
        });
        maps.filter(|(payload_type, _)| self.formats.contains(payload_type)).collect()
    }
}

fn value<'a>(attributes: &'a [String], name: &str) -> Option<&'a str> {
    attributes.iter().find_map(|attribute| Some(attribute.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

const fn presence(present: bool) -> &'static str {
    if present { "present" } else { "absent" }
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let text = words.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97 103\r\na=mid:1\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:103 H264/90000\r\n";

    #[test]
    fn a_modern_answer_is_known_by_its_shape() {
        let text = "v=0\r\na=group:BUNDLE 0 1\r\na=setup:passive\r\na=fingerprint:SHA-256 01:02\r\n\
            m=audio 31000 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
            a=candidate:1 1 UDP 1 192.0.2.1 31000 typ host\r\n\
            m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=rtpmap:96 vp8/90000\r\na=rtpmap:97 rtx/90000\r\n\
            a=rtcp-fb:96 goog-remb\r\n";
        let (answer, offer) = (Answer::read(text), Answer::read(OFFER));
        assert_eq!((answer.shape(), answer.mids(), &*answer.setup()), ("A", "present", "passive"));
        assert_eq!((&*answer.fingerprints(), &*answer.sections(&offer)), ("sha-256", "all"));
        assert_eq!(
            (answer.payload_types(&offer), answer.rtx(), &*answer.codecs()),
            ("offered", "present", "VP8")
        );
        assert_eq!(answer.feedback(), "remb");
    }

    #[test]
    fn an_old_answer_has_no_bundle_and_may_number_for_itself() {
        let text = "v=0\r\nm=audio 31000 RTP/SAVPF 8\r\na=rtpmap:8 PCMA/8000\r\nm=video 31002 RTP/SAVPF 100\r\n\
            a=rtpmap:100 H264/90000\r\na=candidate:1 1 udp 1 192.0.2.1 31002 typ host\r\n\
            a=fingerprint:sha-512 03\r\na=fingerprint:sha-256 04\r\n";
        let (answer, offer) = (Answer::read(text), Answer::read(OFFER));
        assert_eq!((answer.shape(), answer.bundle_position(), answer.mids()), ("B", "separate", "absent"));
        assert_eq!((answer.payload_types(&offer), &*answer.fingerprints()), ("own", "sha-512, sha-256"));
        assert_eq!((&*answer.profile(), answer.rtx(), &*answer.feedback()), ("RTP/SAVPF", "absent", "none"));
    }

    #[test]
    fn nonsense_is_read_and_says_nothing() {
        let (answer, offer) = (Answer::read("m=\r\na=\r\na=rtpmap\r\na=candidate:\r\n"), Answer::read(OFFER));
        assert_eq!((answer.shape(), &*answer.candidates(), &*answer.codecs()), ("other", "none", "none"));
        assert_eq!(Answer::read("").sections(&offer), "none");
    }
}
