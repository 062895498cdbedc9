//! From text to the model. Never fails on a single odd line: what is not understood is skipped.

use std::net::IpAddr;

use super::{
    BUNDLE_GROUPS_MAX, Credentials, Description, Direction, EXTENSIONS_MAX, Extension, FINGERPRINTS_MAX,
    Fingerprint, LINE_BYTES_MAX, MEDIA_SECTIONS_MAX, NAME_BYTES_MAX, PASSWORD_BYTES_MAX, SDP_BYTES_MAX,
    Setup, UFRAG_BYTES_MAX, section::Section,
};

/// Why a description was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the description is too long")]
    TooLong,
    #[error("too many media sections")]
    TooManySections,
    #[error("a media line that cannot be read")]
    MediaLine,
    #[error("an empty description")]
    Empty,
    #[error("no media section")]
    NoSection,
}

/// Reads an offer or an answer.
///
/// # Errors
///
/// Says what is wrong if it is no SDP, or past the bounds of the anchor.
pub(crate) fn parse(text: &str) -> Result<Description, Unreadable> {
    if text.len() > SDP_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    let mut description = Description::default();
    let mut session = Level::default();
    let mut sections: Vec<(Section, Level)> = Vec::new();
    for (letter, value) in lines(text) {
        if letter == "m" {
            if sections.len() == MEDIA_SECTIONS_MAX {
                return Err(Unreadable::TooManySections);
            }
            sections.push((Section::new(value).ok_or(Unreadable::MediaLine)?, Level::default()));
            continue;
        }
        let (name, rest) = attribute(letter, value);
        if take_anywhere(&mut description, name, rest) {
            continue;
        }
        match sections.last_mut() {
            Some((section, level)) => {
                if !level.take(letter, name, rest) {
                    section.take(letter, name, rest);
                }
            }
            None => {
                session.take(letter, name, rest);
            }
        }
    }
    if sections.is_empty() {
        return Err(if text.trim().is_empty() { Unreadable::Empty } else { Unreadable::NoSection });
    }
    description.media =
        sections.into_iter().map(|(section, level)| section.finish(level.or(&session))).collect();
    share_transports(&mut description);
    Ok(description)
}

/// The lines as letter and value, whatever their ends and whatever stands around them: a mark of
/// the encoding, empty lines, blanks. Lines that are too long are passed over, unless they begin
/// a section, whose place must not be lost.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.trim_start_matches('\u{feff}').split(['\n', '\r']).filter_map(|line| {
        let (letter, value) = line.trim().split_once('=')?;
        let (letter, value) = (letter.trim_end(), value.trim_start());
        (value.len() <= LINE_BYTES_MAX || letter == "m").then_some((letter, value))
    })
}

/// The name and the value of an attribute; another line keeps its value.
fn attribute<'a>(letter: &str, value: &'a str) -> (&'a str, &'a str) {
    if letter != "a" {
        return ("", value);
    }
    let (name, rest) = value.split_once(':').unwrap_or((value, ""));
    (name.trim(), rest.trim())
}

/// What holds for the whole description wherever it stands. False: it is something else.
fn take_anywhere(description: &mut Description, name: &str, rest: &str) -> bool {
    match name {
        "ice-lite" => description.ice_lite = true,
        "extmap-allow-mixed" => description.extmap_allow_mixed = true,
        "group" => {
            let mut words = rest.split_whitespace();
            if words.next() == Some("BUNDLE") && description.bundles.len() < BUNDLE_GROUPS_MAX {
                description.bundles.push(words.take(MEDIA_SECTIONS_MAX).map(str::to_owned).collect());
            }
        }
        _ => return false,
    }
    true
}

/// In a BUNDLE only the section that its group names first has to say what its transport is like,
/// and RTCP is always multiplexed (RFC 9143 7.1.3, 9.3).
fn share_transports(description: &mut Description) {
    for group in std::mem::take(&mut description.bundles) {
        let in_group = |mid: &Option<String>| mid.as_ref().is_some_and(|mid| group.contains(mid));
        let tells = group.iter().find_map(|mid| {
            description.media.iter().find(|m| m.mid.as_ref() == Some(mid) && m.credentials.is_some())
        });
        if let Some(tells) = tells.cloned() {
            for media in description.media.iter_mut().filter(|m| in_group(&m.mid)) {
                media.rtcp_mux = true;
                if media.credentials.is_none() {
                    media.credentials.clone_from(&tells.credentials);
                    media.candidates.clone_from(&tells.candidates);
                    media.connection = media.connection.or(tells.connection);
                }
                if media.fingerprints.is_empty() {
                    media.fingerprints.clone_from(&tells.fingerprints);
                }
                media.setup = media.setup.or(tells.setup);
                if media.candidates.is_empty() {
                    media.candidates.clone_from(&tells.candidates);
                }
            }
        }
        description.bundles.push(group);
    }
}

/// What may stand at session level or in a section.
#[derive(Clone, Default)]
pub(super) struct Level {
    ufrag: Option<String>,
    password: Option<String>,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Option<Setup>,
    pub(super) connection: Option<IpAddr>,
    pub(super) direction: Option<Direction>,
    pub(super) extensions: Vec<Extension>,
    pub(super) rtcp_mux: bool,
}

impl Level {
    /// False: not one of these lines.
    fn take(&mut self, letter: &str, name: &str, rest: &str) -> bool {
        if letter == "c" {
            self.connection = connection(rest);
            return true;
        }
        match name {
            "ice-ufrag" => self.ufrag = ice_text(rest, UFRAG_BYTES_MAX),
            "ice-pwd" => self.password = ice_text(rest, PASSWORD_BYTES_MAX),
            "fingerprint" if self.fingerprints.len() < FINGERPRINTS_MAX => {
                self.fingerprints.extend(Fingerprint::parse(rest));
            }
            "setup" => self.setup = setup(rest),
            "sendonly" => self.direction = Some(Direction::SendOnly),
            "recvonly" => self.direction = Some(Direction::RecvOnly),
            "sendrecv" => self.direction = Some(Direction::SendRecv),
            "inactive" => self.direction = Some(Direction::Inactive),
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "extmap" => self.take_extension(rest),
            _ => return false,
        }
        true
    }

    fn take_extension(&mut self, rest: &str) {
        let mut words = rest.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { return };
        // The id may be followed by a direction: "3/sendonly".
        let id = id.split('/').next().and_then(|id| id.parse().ok()).filter(|id| *id > 0);
        if let Some(id) = id
            && uri.len() <= NAME_BYTES_MAX
            && self.extensions.len() < EXTENSIONS_MAX
            && !self.extensions.iter().any(|e| e.id == id || e.uri == uri)
        {
            self.extensions.push(Extension { id, uri: uri.to_owned() });
        }
    }

    fn or(mut self, session: &Self) -> Self {
        // Credentials come in pairs: half a pair in a section must not mix with the session's.
        if self.ufrag.is_none() && self.password.is_none() {
            self.ufrag.clone_from(&session.ufrag);
            self.password.clone_from(&session.password);
        }
        if self.fingerprints.is_empty() {
            self.fingerprints.clone_from(&session.fingerprints);
        }
        for extension in &session.extensions {
            let taken = |e: &Extension| e.id == extension.id || e.uri == extension.uri;
            if !self.extensions.iter().any(taken) {
                self.extensions.push(extension.clone());
            }
        }
        self.setup = self.setup.or(session.setup);
        self.connection = self.connection.or(session.connection);
        self.direction = self.direction.or(session.direction);
        self.rtcp_mux |= session.rtcp_mux;
        self
    }

    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let (ufrag, password) = (self.ufrag.take()?, self.password.take()?);
        Some(Credentials { ufrag, password })
    }
}

/// The address of a `c=` line, if it is one to send to.
fn connection(value: &str) -> Option<IpAddr> {
    let address = value.split_whitespace().nth(2)?.split('/').next()?;
    address.parse::<IpAddr>().ok().filter(|a| !a.is_unspecified() && !a.is_multicast())
}

fn setup(value: &str) -> Option<Setup> {
    let known = [("actpass", Setup::ActPass), ("active", Setup::Active), ("passive", Setup::Passive)];
    known.into_iter().find(|(name, _)| value.eq_ignore_ascii_case(name)).map(|(_, setup)| setup)
}

/// ICE credentials hold `ice-char` only; anything longer than the bound is none.
fn ice_text(text: &str, bytes_max: usize) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}
