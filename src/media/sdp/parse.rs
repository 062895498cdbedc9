//! From text to the model. Never fails on a single odd line: what is not understood is skipped.

use std::{collections::HashMap, net::IpAddr};

use super::{
    Codec, Credentials, Description, Direction, Extension, MEDIA_SECTIONS_MAX, Media, MediaType,
    SDP_BYTES_MAX, Setup, Sources,
};

/// Formats that protect others; they are stripped, and so is what repairs them.
const PROTECTION: [&str; 4] = ["red", "ulpfec", "flexfec-03", "flexfec"];

/// Most candidates, codecs or extensions read per section.
const LINES_MAX: usize = 128;

/// Reads an offer or an answer.
///
/// # Errors
///
/// Says what is wrong if it is no SDP, or past the bounds of the anchor.
pub(crate) fn parse(text: &str) -> Result<Description, &'static str> {
    if text.len() > SDP_BYTES_MAX {
        return Err("the description is too long");
    }
    if !text.starts_with("v=0") {
        return Err("no session description");
    }
    let mut description = Description::default();
    let mut session = Level::default();
    let mut sections: Vec<(Section, Level)> = Vec::new();
    for line in text.lines() {
        let Some((letter, value)) = line.trim_end().split_once('=') else { continue };
        if letter == "m" {
            if sections.len() == MEDIA_SECTIONS_MAX {
                return Err("too many media sections");
            }
            sections.push((Section::new(value).ok_or("a media line that cannot be read")?, Level::default()));
            continue;
        }
        match sections.last_mut() {
            Some((section, level)) => {
                if !level.take(letter, value) {
                    section.take(letter, value);
                }
            }
            None => {
                if !session.take(letter, value) {
                    take_session(&mut description, letter, value);
                }
            }
        }
    }
    if sections.is_empty() {
        return Err("no media section");
    }
    description.media =
        sections.into_iter().map(|(section, level)| section.finish(level.or(&session))).collect();
    Ok(description)
}

fn take_session(description: &mut Description, letter: &str, value: &str) {
    if letter != "a" {
        return;
    }
    if value == "ice-lite" {
        description.ice_lite = true;
    } else if value == "extmap-allow-mixed" {
        description.extmap_allow_mixed = true;
    } else if let Some(mids) = value.strip_prefix("group:BUNDLE") {
        description.bundle = Some(mids.split_whitespace().map(str::to_owned).collect());
    }
}

/// What may stand at session level or in a section.
#[derive(Clone, Default)]
struct Level {
    ufrag: Option<String>,
    password: Option<String>,
    fingerprint: Option<String>,
    setup: Option<Setup>,
    connection: Option<IpAddr>,
    direction: Option<Direction>,
}

impl Level {
    /// False: not one of these lines.
    fn take(&mut self, letter: &str, value: &str) -> bool {
        if letter == "c" {
            let address = value.split_whitespace().nth(2).and_then(|a| a.split('/').next());
            self.connection = address.and_then(|a| a.parse::<IpAddr>().ok()).filter(|a| !a.is_unspecified());
            return true;
        }
        if letter != "a" {
            return false;
        }
        let (name, rest) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "ice-ufrag" => self.ufrag = token(rest),
            "ice-pwd" => self.password = token(rest),
            "fingerprint" => {
                // The strongest is the one to check; browsers send sha-256 alone.
                if self.fingerprint.is_none() || rest.to_ascii_lowercase().starts_with("sha-256 ") {
                    self.fingerprint = Some(rest.trim().to_owned());
                }
            }
            "setup" => {
                self.setup = match rest.trim() {
                    "actpass" => Some(Setup::ActPass),
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    _ => None,
                }
            }
            "sendonly" => self.direction = Some(Direction::SendOnly),
            "recvonly" => self.direction = Some(Direction::RecvOnly),
            "sendrecv" => self.direction = Some(Direction::SendRecv),
            "inactive" => self.direction = Some(Direction::Inactive),
            _ => return false,
        }
        true
    }

    fn or(self, session: &Self) -> Self {
        // Credentials come in pairs: half a pair in a section must not mix with the session's.
        let (ufrag, password) = if self.ufrag.is_some() || self.password.is_some() {
            (self.ufrag, self.password)
        } else {
            (session.ufrag.clone(), session.password.clone())
        };
        Self {
            ufrag,
            password,
            fingerprint: self.fingerprint.or_else(|| session.fingerprint.clone()),
            setup: self.setup.or(session.setup),
            connection: self.connection.or(session.connection),
            direction: self.direction.or(session.direction),
        }
    }
}

/// ICE credentials hold `ice-char` only; anything longer than RFC 8839 allows is refused.
fn token(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// A media section while it is read.
struct Section {
    media: Media,
    payload_types: Vec<u8>,
    maps: HashMap<u8, (String, u32, Option<u8>)>,
    parameters: HashMap<u8, String>,
    feedback: HashMap<u8, Vec<String>>,
    feedback_for_all: Vec<String>,
    source: Option<u32>,
    repair_group: Option<(u32, u32)>,
}

impl Section {
    fn new(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let kind_text = words.next()?.to_owned();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let protocol = words.next()?.to_owned();
        let formats = words.clone().collect::<Vec<_>>().join(" ");
        let payload_types =
            words.filter_map(|w| w.parse().ok()).filter(|pt| *pt < 128).take(LINES_MAX).collect();
        let kind = match kind_text.as_str() {
            "audio" => Some(MediaType::Audio),
            "video" => Some(MediaType::Video),
            _ => None,
        };
        let media = Media {
            kind,
            kind_text,
            port,
            protocol,
            formats,
            mid: None,
            direction: Direction::SendRecv,
            codecs: Vec::new(),
            extensions: Vec::new(),
            credentials: None,
            fingerprint: None,
            setup: None,
            candidates: Vec::new(),
            connection: None,
            rtcp_mux: false,
            sources: None,
            bandwidth: Vec::new(),
            msid: None,
        };
        Some(Self {
            media,
            payload_types,
            maps: HashMap::new(),
            parameters: HashMap::new(),
            feedback: HashMap::new(),
            feedback_for_all: Vec::new(),
            source: None,
            repair_group: None,
        })
    }

    fn take(&mut self, letter: &str, value: &str) {
        match letter {
            "b" if self.media.bandwidth.len() < 4 => self.media.bandwidth.push(value.to_owned()),
            "a" => self.take_attribute(value),
            _ => {}
        }
    }

    fn take_attribute(&mut self, value: &str) {
        let (name, rest) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "mid" => self.media.mid = token(rest),
            "rtcp-mux" => self.media.rtcp_mux = true,
            "msid" => self.media.msid = Some(rest.to_owned()),
            "candidate" if self.media.candidates.len() < LINES_MAX => {
                self.media.candidates.push(value.to_owned())
            }
            "rtpmap" => self.take_map(rest),
            "fmtp" => {
                if let Some((pt, parameters)) = payload_type(rest) {
                    self.parameters.insert(pt, parameters.to_owned());
                }
            }
            "rtcp-fb" => self.take_feedback(rest),
            "extmap" if self.media.extensions.len() < LINES_MAX => self.take_extension(rest),
            "ssrc" if self.source.is_none() => {
                self.source = rest.split_whitespace().next().and_then(|s| s.parse().ok());
            }
            "ssrc-group" => {
                let mut words = rest.split_whitespace();
                if words.next() == Some("FID") && self.repair_group.is_none() {
                    let mut next = || words.next().and_then(|s| s.parse::<u32>().ok());
                    if let (Some(main), Some(repair)) = (next(), next()) {
                        self.repair_group = Some((main, repair));
                    }
                }
            }
            _ => {}
        }
    }

    fn take_map(&mut self, rest: &str) {
        let Some((pt, map)) = payload_type(rest) else { return };
        let mut parts = map.trim().split('/');
        let (Some(name), Some(Ok(clock_rate))) = (parts.next(), parts.next().map(str::parse::<u32>)) else {
            return;
        };
        if clock_rate == 0 || name.is_empty() {
            return;
        }
        let channels = parts.next().and_then(|c| c.parse().ok());
        self.maps.insert(pt, (name.to_owned(), clock_rate, channels));
    }

    fn take_feedback(&mut self, rest: &str) {
        if let Some(all) = rest.strip_prefix("* ") {
            if self.feedback_for_all.len() < LINES_MAX {
                self.feedback_for_all.push(all.trim().to_owned());
            }
        } else if let Some((pt, feedback)) = payload_type(rest) {
            let entry = self.feedback.entry(pt).or_default();
            if entry.len() < LINES_MAX {
                entry.push(feedback.trim().to_owned());
            }
        }
    }

    fn take_extension(&mut self, rest: &str) {
        let mut words = rest.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { return };
        let id = id.split('/').next().and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|id| *id > 0) {
            self.media.extensions.push(Extension { id, uri: uri.to_owned() });
        }
    }

    fn finish(mut self, level: Level) -> Media {
        let mut repairs: HashMap<u8, u8> = HashMap::new();
        for pt in &self.payload_types {
            let is_repair = self.maps.get(pt).is_some_and(|(name, ..)| name.eq_ignore_ascii_case("rtx"));
            if let (true, Some(apt)) = (is_repair, self.parameters.get(pt).and_then(|p| associated(p))) {
                repairs.insert(apt, *pt);
            }
        }
        let mut codecs: Vec<Codec> = Vec::new();
        for pt in self.payload_types.iter().copied() {
            let Some((name, clock_rate, channels)) = self.maps.remove(&pt).or_else(|| static_format(pt))
            else {
                continue;
            };
            let stripped =
                name.eq_ignore_ascii_case("rtx") || PROTECTION.iter().any(|p| name.eq_ignore_ascii_case(p));
            if stripped {
                continue;
            }
            let mut feedback = self.feedback.remove(&pt).unwrap_or_default();
            feedback.extend(self.feedback_for_all.iter().cloned());
            let parameters = self.parameters.remove(&pt);
            codecs.push(Codec {
                payload_type: pt,
                name,
                clock_rate,
                channels,
                parameters,
                feedback,
                repair: repairs.get(&pt).copied(),
            });
        }
        let sources = match (self.repair_group, self.source) {
            (Some((main, repair)), _) => Some(Sources { main, repair: Some(repair) }),
            (None, Some(main)) => Some(Sources { main, repair: None }),
            (None, None) => None,
        };
        let credentials =
            level.ufrag.zip(level.password).map(|(ufrag, password)| Credentials { ufrag, password });
        Media {
            codecs,
            sources,
            credentials,
            fingerprint: level.fingerprint,
            setup: level.setup,
            connection: level.connection,
            direction: level.direction.unwrap_or_default(),
            ..self.media
        }
    }
}

fn payload_type(text: &str) -> Option<(u8, &str)> {
    let (pt, rest) = text.split_once(' ')?;
    let pt = pt.parse::<u8>().ok().filter(|pt| *pt < 128)?;
    Some((pt, rest))
}

/// The payload type that an rtx format repairs.
fn associated(parameters: &str) -> Option<u8> {
    parameters.split(';').find_map(|p| p.trim().strip_prefix("apt="))?.trim().parse().ok()
}

/// Formats that need no `a=rtpmap` (RFC 3551).
fn static_format(pt: u8) -> Option<(String, u32, Option<u8>)> {
    let name = match pt {
        0 => "PCMU",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        _ => return None,
    };
    Some((name.to_owned(), 8000, None))
}
