//! The configuration file as it is written: sections, and errors with their line. Knows the
//! shape of the file, not whether its values fit together.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{
    AppSettings, HoldSettings, KeepaliveSettings, RestoreSettings, SessionBounds, VideoSettings,
    access::AccessSettings,
    admin::AdminSettings,
    environment::Environment,
    error::ConfigError,
    health::HealthSettings,
    http::HttpSettings,
    limits::LimitSettings,
    listen::ListenSettings,
    log::LogSettings,
    media::MediaSettings,
    node::{Name, PoolSettings},
    reload::ReloadSettings,
    renamed::{self, Found, RENAMED},
    route::RouteSettings,
    server::ServerSettings,
    upstream::UpstreamSettings,
};
use crate::signaling::redact::without_credentials;

/// The whole file, section by section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfigFile {
    pub(super) listen: ListenSettings,
    pub(super) upstream: UpstreamSettings,
    pub(super) pool: BTreeMap<Name, PoolSettings>,
    pub(super) route: Vec<RouteSettings>,
    pub(super) http: HttpSettings,
    pub(super) limits: LimitSettings,
    pub(super) health: HealthSettings,
    pub(super) restore: RestoreSettings,
    pub(super) hold: HoldSettings,
    pub(super) keepalive: KeepaliveSettings,
    pub(super) session: SessionBounds,
    pub(super) video: VideoSettings,
    pub(super) media: MediaSettings,
    pub(super) log: LogSettings,
    pub(super) access: AccessSettings,
    pub(super) admin: AdminSettings,
    pub(super) reload: ReloadSettings,
    pub(super) server: ServerSettings,
    pub(super) app: BTreeMap<String, AppSettings>,
}

/// What was read of a file and of the environment.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) file: ConfigFile,
    /// What to say of them, one sentence each.
    pub(super) notices: Vec<String>,
}

impl ConfigFile {
    /// Reads the text of a file and lays the environment over it; `path` is for messages only.
    pub(super) fn read(text: &str, path: &Path, environment: &Environment) -> Result<Settings, ConfigError> {
        let wrong = |error: &toml::de::Error| describe(text, path, error);
        let mut table = DeTable::parse(text).map_err(|error| wrong(&error))?;
        let mut notices = Vec::new();
        for found in renamed::rename(table.get_mut(), RENAMED) {
            notices.push(deprecated(&found, text, path)?);
        }
        let file =
            Self::deserialize(toml::Deserializer::from(table.clone())).map_err(|error| wrong(&error))?;
        let given = environment.read()?;
        notices.extend(given.notices.iter().cloned());
        if given.is_empty() {
            return Ok(Settings { file, notices });
        }
        let mut all =
            toml::Table::deserialize(toml::Deserializer::from(table)).map_err(|error| wrong(&error))?;
        given.lay_over(&mut all)?;
        // Each part was accepted by itself, so that this fails only where they contradict each other.
        let file = Self::deserialize(toml::Value::Table(all)).map_err(|error| ConfigError::Environment {
            variable: "the environment over the configuration file".to_owned(),
            key: String::new(),
            message: without_credentials(error.message().trim_end()).into_owned(),
            hint: None,
        })?;
        Ok(Settings { file, notices })
    }
}

/// What to say of a setting under its old name.
fn deprecated(found: &Found, text: &str, path: &Path) -> Result<String, ConfigError> {
    let (line, column) = line_and_column(text, found.at);
    if found.is_double {
        return Err(ConfigError::InFile {
            path: path.to_owned(),
            line,
            column,
            key: found.old.to_owned(),
            message: format!("is the old name of {}, which is set as well: take this one out", found.new),
            hint: None,
        });
    }
    let path = path.display();
    Ok(format!("{path}:{line}: {} is deprecated: the setting is {} now", found.old, found.new))
}

fn describe(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let (line, column) = line_and_column(text, offset);
    // What can be read around a syntax error is enough to name the key.
    let (table, _) = DeTable::parse_recoverable(text);
    let key = key_at(table.get_ref(), offset, "").map_or_else(String::new, |(key, _)| key);
    // A line may be that of an upstream, with a password that does not belong there.
    let message = without_credentials(error.message().trim_end()).into_owned();
    let hint = if key.is_empty() {
        let line = text.lines().nth(line - 1).unwrap_or("").trim();
        (!line.is_empty()).then(|| format!("the line is `{}`", without_credentials(line)))
    } else {
        hint(&key, &message)
    };
    ConfigError::InFile { path: path.to_owned(), line, column, key, message, hint }
}

/// Line and column, both from 1, of a byte offset.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The key whose name or value covers `offset`, with the width of what covers it; the narrowest
/// wins. A table's own span may be its header alone, so tables are always searched.
fn key_at(table: &DeTable<'_>, offset: usize, prefix: &str) -> Option<(String, usize)> {
    let mut best: Option<(String, usize)> = None;
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        let mut offer = |key: String, span: Range<usize>| {
            let width = span.len();
            if (span.contains(&offset) || span.start == offset)
                && best.as_ref().is_none_or(|(_, narrowest)| width < *narrowest)
            {
                best = Some((key, width));
            }
        };
        offer(key.clone(), name.span());
        offer(key.clone(), value.span());
        for inner in tables_in(value.get_ref()) {
            if let Some((inner_key, width)) = key_at(inner, offset, &key)
                && best.as_ref().is_none_or(|(_, narrowest)| width <= *narrowest)
            {
                best = Some((inner_key, width));
            }
        }
    }
    best
}

/// The tables that a value is or has in a list.
fn tables_in<'a, 'i>(value: &'a DeValue<'i>) -> Vec<&'a DeTable<'i>> {
    match value {
        DeValue::Table(inner) => vec![inner],
        DeValue::Array(list) => list
            .iter()
            .filter_map(|one| match one.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The line, from 1, at which a key such as `listen.tls_cert` is set, or the entry of it with this number,
/// from 0, where it is a list.
pub(super) fn line_of(text: &str, key: &str, nth: usize) -> Option<usize> {
    fn find(table: &DeTable<'_>, key: &str, nth: usize, prefix: &str) -> Option<usize> {
        table.iter().find_map(|(name, value)| {
            let here = join(prefix, name.get_ref());
            match value.get_ref() {
                DeValue::Array(list) if here == key => {
                    Some(list.get(nth).map_or(name.span(), |one| one.span()).start)
                }
                _ if here == key => Some(name.span().start),
                DeValue::Table(inner) => find(inner, key, nth, &here),
                _ => None,
            }
        })
    }
    let mut table = DeTable::parse(text).ok()?;
    renamed::rename(table.get_mut(), RENAMED);
    find(table.get_ref(), key, nth, "").map(|offset| line_and_column(text, offset).0)
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// What was probably meant by a key that does not exist, or a word that is not accepted.
fn hint(key: &str, message: &str) -> Option<String> {
    if message.contains("socket address") {
        return Some("expected IP:PORT, such as 0.0.0.0:20900".to_owned());
    }
    if message.contains("IP address syntax") {
        return Some("expected an IP address, such as 203.0.113.7; names are not resolved".to_owned());
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    if message.starts_with("unknown field") {
        let known = known_keys();
        let (section, _) = key.rsplit_once('.').unwrap_or(("", key));
        if let Some(elsewhere) = known.iter().find(|known| {
            known.rsplit_once('.').is_some_and(|(other, name)| name == wrong && other != section)
        }) {
            return Some(format!("`{wrong}` exists as `{elsewhere}`"));
        }
    } else if !message.starts_with("unknown variant") {
        return None;
    }
    quoted
        .map(|accepted| (strsim::damerau_levenshtein(wrong, accepted), accepted))
        .filter(|(distance, accepted)| *distance <= 1 + accepted.len() / 4)
        .min()
        .map(|(_, accepted)| format!("did you mean `{accepted}`?"))
}

/// Every key of the file, as `section.name`.
fn known_keys() -> Vec<String> {
    let Ok(Value::Object(sections)) = serde_json::to_value(ConfigFile::default()) else {
        return Vec::new();
    };
    sections
        .iter()
        .filter_map(|(section, keys)| keys.as_object().map(|keys| (section, keys)))
        .flat_map(|(section, keys)| keys.keys().map(move |key| join(section, key)))
        .collect()
}
