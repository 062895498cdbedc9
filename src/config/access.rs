//! Section `[access]`: one line for each session that ended.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{number::Between, text::as_text};

/// Longest format, in bytes.
const FORMAT_BYTES_MAX: usize = 4_096;

/// Where the line goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere.
    #[default]
    Off,
    /// Into the log, wherever that goes.
    Log,
    /// Into this file.
    File(PathBuf),
}

impl FromStr for AccessTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "log" => Ok(Self::Log),
            path if path.contains('/') => Ok(Self::File(path.into())),
            other => Err(format!(
                "`{other}`: expected \"off\", \"log\", or a file with its directory, such as /var/log/holdfast/access.log"
            )),
        }
    }
}

impl fmt::Display for AccessTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Log => f.write_str("log"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Something that is known of a session that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessField {
    /// When it ended, in UTC.
    Time,
    /// Its id.
    Session,
    /// The address of its client.
    Client,
    /// The node that it was connected to last.
    Node,
    /// What its client said it is of.
    AppKey,
    /// How long it was there.
    DurationMs,
    /// Messages of the client, and bytes in them.
    ClientMessages,
    /// See above.
    ClientBytes,
    /// Messages of the server, and bytes in them.
    ServerMessages,
    /// See above.
    ServerBytes,
    /// Streams that were published in it.
    Published,
    /// Streams that were played in it.
    Played,
    /// Outages that it survived.
    Outages,
    /// The longest of them.
    WorstOutageMs,
    /// The longest time for which one of its streams that came back stood still.
    WorstGapMs,
    /// The code it was closed with.
    CloseCode,
    /// `client`, `server` or `proxy`.
    ClosedBy,
    /// In a few words, as `session_ended` has it.
    Cause,
}

impl AccessField {
    /// All of them, in the order in which they stand in JSON.
    pub const ALL: [Self; 18] = [
        Self::Time,
        Self::Session,
        Self::Client,
        Self::Node,
        Self::AppKey,
        Self::DurationMs,
        Self::ClientMessages,
        Self::ClientBytes,
        Self::ServerMessages,
        Self::ServerBytes,
        Self::Published,
        Self::Played,
        Self::Outages,
        Self::WorstOutageMs,
        Self::WorstGapMs,
        Self::CloseCode,
        Self::ClosedBy,
        Self::Cause,
    ];

    /// As it is written in formats and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Session => "session",
            Self::Client => "client",
            Self::Node => "node",
            Self::AppKey => "app_key",
            Self::DurationMs => "duration_ms",
            Self::ClientMessages => "client_messages",
            Self::ClientBytes => "client_bytes",
            Self::ServerMessages => "server_messages",
            Self::ServerBytes => "server_bytes",
            Self::Published => "streams_published",
            Self::Played => "streams_played",
            Self::Outages => "outages",
            Self::WorstOutageMs => "worst_outage_ms",
            Self::WorstGapMs => "worst_gap_ms",
            Self::CloseCode => "close_code",
            Self::ClosedBy => "closed_by",
            Self::Cause => "cause",
        }
    }
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessPiece {
    /// As it stands.
    Text(String),
    /// What is known of the session.
    Field(AccessField),
}

/// How the line looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object with all fields.
    #[default]
    Json,
    /// Text with fields in it.
    Text {
        /// As it was written.
        written: String,
        /// The same, taken apart.
        pieces: Vec<AccessPiece>,
    },
}

impl FromStr for AccessFormat {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if written == "json" {
            return Ok(Self::Json);
        }
        if written.len() > FORMAT_BYTES_MAX || written.contains(char::is_control) {
            return Err(format!("a format is one line of at most {FORMAT_BYTES_MAX} bytes"));
        }
        let pieces = pieces(written)?;
        if !pieces.iter().any(|piece| matches!(piece, AccessPiece::Field(_))) {
            return Err(format!("`{written}` has no field, expected \"json\", or text with {}", names()));
        }
        Ok(Self::Text { written: written.to_owned(), pieces })
    }
}

impl fmt::Display for AccessFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text { written, .. } => written,
        })
    }
}

fn pieces(written: &str) -> Result<Vec<AccessPiece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = written;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, found) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = found.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = found.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else if let Some((name, after)) = found.strip_prefix('{').and_then(|found| found.split_once('}')) {
            let field = AccessField::ALL.into_iter().find(|field| field.name() == name);
            let field = field.ok_or_else(|| format!("`{{{name}}}` is no field, expected {}", names()))?;
            if !text.is_empty() {
                pieces.push(AccessPiece::Text(std::mem::take(&mut text)));
            }
            pieces.push(AccessPiece::Field(field));
            rest = after;
        } else {
            return Err(format!("`{written}` has a brace without its other; a brace itself is {{{{ or }}}}"));
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(AccessPiece::Text(text));
    }
    Ok(pieces)
}

fn names() -> String {
    let names: Vec<String> = AccessField::ALL.iter().map(|field| format!("{{{}}}", field.name())).collect();
    names.join(", ")
}

as_text!(AccessTarget, AccessFormat);

/// The line of sessions that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// Default `off`.
    pub target: AccessTarget,
    /// `json`, or text with fields in braces. Default `json`.
    pub format: AccessFormat,
    /// Lines that wait for their file, in bytes; what does not fit is dropped and counted. Default 1 MiB.
    #[serde(with = "Between::<4_096, 1_073_741_824>")]
    pub queue_bytes_max: usize,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { target: AccessTarget::default(), format: AccessFormat::default(), queue_bytes_max: 1_048_576 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_taken_apart_and_written_as_they_were() {
        let written = "{client} \"{app_key}\" {{x}} {duration_ms}ms";
        let format: AccessFormat = written.parse().unwrap();
        assert_eq!(format.to_string(), written);
        let AccessFormat::Text { pieces, .. } = format else { panic!("it is text") };
        let text = |text: &str| AccessPiece::Text(text.to_owned());
        assert_eq!(
            pieces,
            [
                AccessPiece::Field(AccessField::Client),
                text(" \""),
                AccessPiece::Field(AccessField::AppKey),
                text("\" {x} "),
                AccessPiece::Field(AccessField::DurationMs),
                text("ms"),
            ]
        );
        assert_eq!("json".parse(), Ok(AccessFormat::Json));
    }

    #[test]
    fn what_is_no_field_is_refused_with_those_that_are() {
        for wrong in ["{clinet}", "{client", "client}", "jsno", "", "{}", "{client}\n{node}"] {
            let error = wrong.parse::<AccessFormat>().unwrap_err();
            assert!(
                error.contains("field") || error.contains("brace") || error.contains("line"),
                "{wrong}: {error}"
            );
        }
        let error = "{clinet}".parse::<AccessFormat>().unwrap_err();
        assert!(error.contains("{client}, {node}") && error.contains("{worst_gap_ms}"), "{error}");
        assert!("x".repeat(FORMAT_BYTES_MAX + 1).parse::<AccessFormat>().is_err());
    }

    #[test]
    fn targets_are_words_or_files() {
        assert_eq!("off".parse(), Ok(AccessTarget::Off));
        assert_eq!("log".parse(), Ok(AccessTarget::Log));
        assert_eq!("./a".parse(), Ok(AccessTarget::File("./a".into())));
        assert!("lgo".parse::<AccessTarget>().is_err());
    }
}
