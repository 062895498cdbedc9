//! A media section while it is read: its formats and what is said of each, its sources, its mid.

use std::collections::HashMap;

use super::{
    BANDWIDTH_LINES_MAX, CANDIDATES_MAX, CLOCK_RATE_HZ_MAX, Codec, FEEDBACK_BYTES_MAX, FEEDBACK_MAX,
    FORMATS_MAX, Media, MediaType, NAME_BYTES_MAX, Sources, WORD_BYTES_MAX, parse::Level,
};

/// Formats that protect others; they are stripped, and so is what repairs them.
const PROTECTION: [&str; 4] = ["red", "ulpfec", "flexfec-03", "flexfec"];

/// Payload types that cannot be told from RTCP on the same port (RFC 5761 4).
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 64..=95;

/// A name, its clock rate and its channels, as in `a=rtpmap`.
type Map = (String, u32, Option<u8>);

/// A media section while it is read.
pub(super) struct Section {
    media: Media,
    payload_types: Vec<u8>,
    maps: HashMap<u8, Map>,
    parameters: HashMap<u8, String>,
    feedback: HashMap<u8, Vec<String>>,
    feedback_for_all: Vec<String>,
    source: Option<u32>,
    /// The first source of an `a=ssrc-group:SIM`, and the repairs of `a=ssrc-group:FID`.
    simulcast: Option<u32>,
    repairs: Vec<(u32, u32)>,
}

impl Section {
    /// Begins a section with the value of its `m=` line.
    pub(super) fn new(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let mut word = || words.next().filter(|w| w.len() <= WORD_BYTES_MAX);
        let (kind_text, port, protocol) = (word()?.to_owned(), word()?, word()?.to_owned());
        // A port may be followed by how many there are: "9/2". One that is no number is no port.
        let port = port.split('/').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let formats: Vec<&str> = words.filter(|w| w.len() <= WORD_BYTES_MAX).take(FORMATS_MAX).collect();
        let mut payload_types: Vec<u8> = Vec::new();
        for number in formats.iter().filter_map(|w| w.parse().ok()).filter(|pt| *pt < 128) {
            if !RTCP_TYPES.contains(&number) && !payload_types.contains(&number) {
                payload_types.push(number);
            }
        }
        let kinds = [MediaType::Audio, MediaType::Video];
        let kind = kinds.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(&kind_text));
        let formats = formats.join(" ");
        Some(Self {
            media: Media { kind, kind_text, port, protocol, formats, ..Media::default() },
            payload_types,
            maps: HashMap::new(),
            parameters: HashMap::new(),
            feedback: HashMap::new(),
            feedback_for_all: Vec::new(),
            source: None,
            simulcast: None,
            repairs: Vec::new(),
        })
    }

    /// Takes a line of the section.
    pub(super) fn take(&mut self, letter: &str, name: &str, rest: &str) {
        let media = &mut self.media;
        match (letter, name) {
            ("b", _) if media.bandwidth.len() < BANDWIDTH_LINES_MAX && rest.len() <= NAME_BYTES_MAX => {
                media.bandwidth.push(rest.to_owned());
            }
            (_, "mid") => media.mid = token(rest),
            (_, "bundle-only") => media.bundle_only = true,
            (_, "msid") if media.msid.is_none() && !rest.is_empty() && rest.len() <= NAME_BYTES_MAX => {
                media.msid = Some(rest.to_owned());
            }
            (_, "candidate") if media.candidates.len() < CANDIDATES_MAX => {
                media.candidates.push(format!("candidate:{rest}"));
            }
            (_, "rtpmap") => self.take_map(rest),
            (_, "fmtp") => {
                if let Some((pt, parameters)) = payload_type(rest) {
                    self.parameters.insert(pt, parameters.to_owned());
                }
            }
            (_, "rtcp-fb") => self.take_feedback(rest),
            (_, "ssrc") if self.source.is_none() => self.source = number(rest.split_whitespace().next()),
            (_, "ssrc-group") => self.take_group(rest),
            _ => {}
        }
    }

    fn take_map(&mut self, rest: &str) {
        let Some((pt, map)) = payload_type(rest) else { return };
        let mut parts = map.split('/').map(str::trim);
        let (Some(name), Some(Ok(clock_rate))) = (parts.next(), parts.next().map(str::parse::<u32>)) else {
            return;
        };
        if !(1..=CLOCK_RATE_HZ_MAX).contains(&clock_rate) || name.is_empty() || name.len() > WORD_BYTES_MAX {
            return;
        }
        let channels = parts.next().and_then(|c| c.parse().ok());
        // The first word counts: a second one for the same number is a mistake of somebody.
        self.maps.entry(pt).or_insert_with(|| (name.to_owned(), clock_rate, channels));
    }

    fn take_feedback(&mut self, rest: &str) {
        let Some((pt, value)) = rest.split_once(char::is_whitespace) else { return };
        if value.len() > FEEDBACK_BYTES_MAX {
            return;
        }
        let list = match pt {
            "*" => &mut self.feedback_for_all,
            pt => match pt.parse::<u8>() {
                Ok(pt) if pt < 128 => self.feedback.entry(pt).or_default(),
                _ => return,
            },
        };
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if list.len() < FEEDBACK_MAX && !list.contains(&value) {
            list.push(value);
        }
    }

    fn take_group(&mut self, rest: &str) {
        let mut words = rest.split_whitespace();
        match (words.next(), number(words.next()), number(words.next())) {
            (Some("FID"), Some(main), Some(repair)) if self.repairs.len() < FORMATS_MAX => {
                self.repairs.push((main, repair));
            }
            (Some("SIM"), Some(first), _) if self.simulcast.is_none() => self.simulcast = Some(first),
            _ => {}
        }
    }

    /// The section is over; `level` holds what may stand at either level.
    pub(super) fn finish(mut self, mut level: Level) -> Media {
        let repairs = self.repair_formats();
        let mut codecs: Vec<Codec> = Vec::new();
        let mut unmapped: Vec<u8> = Vec::new();
        for pt in std::mem::take(&mut self.payload_types) {
            let Some((name, clock_rate, channels)) = self.maps.remove(&pt).or_else(|| static_format(pt))
            else {
                unmapped.push(pt);
                continue;
            };
            let stripped =
                name.eq_ignore_ascii_case("rtx") || PROTECTION.iter().any(|p| name.eq_ignore_ascii_case(p));
            if stripped {
                continue;
            }
            let mut feedback = self.feedback.remove(&pt).unwrap_or_default();
            let more = self.feedback_for_all.iter().filter(|f| !feedback.contains(f)).cloned();
            feedback.extend(more.collect::<Vec<_>>());
            feedback.truncate(FEEDBACK_MAX);
            codecs.push(Codec {
                payload_type: pt,
                name,
                clock_rate,
                channels,
                parameters: self.parameters.remove(&pt),
                feedback,
                repair: repairs.get(&pt).copied(),
            });
        }
        Media {
            codecs,
            unmapped,
            sources: self.sources(),
            credentials: level.credentials(),
            fingerprints: level.fingerprints,
            setup: level.setup,
            connection: level.connection,
            direction: level.direction.unwrap_or_default(),
            extensions: level.extensions,
            rtcp_mux: level.rtcp_mux,
            ..self.media
        }
    }

    /// The payload type of the retransmissions of each.
    fn repair_formats(&self) -> HashMap<u8, u8> {
        let mut repairs: HashMap<u8, u8> = HashMap::new();
        for pt in &self.payload_types {
            let is_repair = self.maps.get(pt).is_some_and(|(name, ..)| name.eq_ignore_ascii_case("rtx"));
            if let (true, Some(apt)) = (is_repair, self.parameters.get(pt).and_then(|p| associated(p))) {
                repairs.entry(apt).or_insert(*pt);
            }
        }
        repairs
    }

    /// What is sent: of several layers or streams the first.
    fn sources(&self) -> Option<Sources> {
        let main = self.simulcast.or_else(|| self.repairs.first().map(|(main, _)| *main)).or(self.source)?;
        let repair = self.repairs.iter().find(|(of, _)| *of == main).map(|(_, repair)| *repair);
        Some(Sources { main, repair: repair.filter(|repair| *repair != main) })
    }
}

/// An SSRC. Zero is nobody's: `str0m` keeps it for probes.
fn number(word: Option<&str>) -> Option<u32> {
    word?.parse().ok().filter(|number| *number != 0)
}

/// A mid: a word without blanks.
fn token(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

fn payload_type(text: &str) -> Option<(u8, &str)> {
    let (pt, rest) = text.split_once(char::is_whitespace)?;
    let pt = pt.parse::<u8>().ok().filter(|pt| *pt < 128)?;
    Some((pt, rest.trim()))
}

/// The payload type that an rtx format repairs.
fn associated(parameters: &str) -> Option<u8> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("apt").then(|| value.trim().parse().ok())?
    })
}

/// Formats that need no `a=rtpmap` (RFC 3551).
fn static_format(pt: u8) -> Option<Map> {
    const FORMATS: [(u8, &str, u32, Option<u8>); 16] = [
        (0, "PCMU", 8000, None),
        (3, "GSM", 8000, None),
        (4, "G723", 8000, None),
        (5, "DVI4", 8000, None),
        (6, "DVI4", 16_000, None),
        (7, "LPC", 8000, None),
        (8, "PCMA", 8000, None),
        (9, "G722", 8000, None),
        (10, "L16", 44_100, Some(2)),
        (11, "L16", 44_100, None),
        (13, "CN", 8000, None),
        (15, "G728", 8000, None),
        (18, "G729", 8000, None),
        (31, "H261", 90_000, None),
        (32, "MPV", 90_000, None),
        (34, "H263", 90_000, None),
    ];
    let (_, name, clock_rate, channels) = FORMATS.iter().find(|(number, ..)| *number == pt)?;
    Some(((*name).to_owned(), *clock_rate, *channels))
}
