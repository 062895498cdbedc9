//! Settings from the environment: `HOLDFAST_SECTION__KEY`, over the file and below the flags.
//!
//! What the variables say is kept as it was found and read anew with each configuration, so that a reload sees a
//! file that changed beneath them, and files that they name. Reads no variable of its own accord: whoever starts
//! the program takes them ([`Environment::of_process`]).

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{ConfigError, file::ConfigFile, renamed, secret};
use crate::signaling::redact::without_credentials;

/// What all of them begin with.
const PREFIX: &str = "HOLDFAST_";
/// What stands between a section and a key.
const BETWEEN: &str = "__";
/// What is put behind the name of a setting whose value is in a file.
const FILE: &str = "_FILE";
/// Variables that are no settings of the file, though their names look like it: of the admin token, which stands in
/// no file but its own.
const OTHERS: [&str; 1] = ["HOLDFAST_ADMIN__TOKEN"];
/// Other names of variables, for who knows them so.
const ALIASES: [(&str, &str); 1] = [("HOLDFAST_ADMIN_TOKEN_FILE", "HOLDFAST_ADMIN__TOKEN_FILE")];
/// Deepest setting: `[app."KEY"]` has three parts, what is deeper is written as inline TOML.
const PARTS_MAX: usize = 8;

/// The variables that begin with `HOLDFAST_`. Empty ones are as if they were not there.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, OsString)>,
}

impl fmt::Debug for Environment {
    /// Their names alone: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

/// What one variable says.
struct Given {
    /// Its name.
    variable: String,
    /// The setting, part by part.
    path: Vec<String>,
    value: Value,
}

/// What is to be told of the variables beside their values.
pub(super) struct Read {
    given: Vec<Given>,
    pub(super) notices: Vec<String>,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// These variables; others than ours are left out.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            (!value.is_empty()).then_some((name, value))
        });
        let mut variables: Vec<_> = ours.collect();
        variables.sort();
        Self { variables }
    }

    /// Reads those that are settings.
    ///
    /// # Errors
    /// A name with `__` that is no setting, a value that its setting does not take, or a file that cannot be read.
    pub(super) fn read(&self) -> Result<Read, ConfigError> {
        let mut read = Read { given: Vec::new(), notices: Vec::new() };
        let known = Known::new();
        for (name, value) in &self.variables {
            match known.place(full_name(name)) {
                Place::Setting { path, is_file } => {
                    let said = Said { variable: name, path, is_file };
                    let given = said.value(value, &known, &mut read.notices)?;
                    if let Some(earlier) = read.given.iter().find(|one| one.path == given.path) {
                        return Err(said.wrong(&format!("{} says the same setting", earlier.variable), None));
                    }
                    read.given.push(given);
                }
                Place::Unknown => return Err(known.unknown(name)),
                Place::Other => read.notices.extend(known.mistyped(name)),
            }
        }
        Ok(read)
    }

    /// The variables that are settings. Reads no value and no file.
    pub(super) fn names(&self) -> Names {
        let known = Known::new();
        let of = |(name, _): &(String, OsString)| match known.place(full_name(name)) {
            Place::Setting { path, .. } => Some((path.join("."), name.clone())),
            Place::Unknown | Place::Other => None,
        };
        Names(self.variables.iter().filter_map(of).collect())
    }
}

/// Settings, each with the variable that says it.
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// The variable that this setting, or the table it is in, comes from.
    pub(super) fn variable_of(&self, key: &str) -> Option<&str> {
        let is_of =
            |path: &str| key == path || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.0.iter().find(|(path, _)| is_of(path)).map(|(_, variable)| variable.as_str())
    }
}

/// The name that a variable goes by here.
fn full_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, full)| full)
}

impl Read {
    pub(super) const fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Lays what is given over the tables of the file.
    pub(super) fn lay_over(self, table: &mut Table) -> Result<(), ConfigError> {
        for given in self.given {
            let Given { variable, path, value } = given;
            put(table, &path, value).map_err(|message| ConfigError::Environment {
                variable,
                key: path.join("."),
                message,
                hint: None,
            })?;
        }
        Ok(())
    }
}

/// Puts a value where it belongs, with the tables around it.
fn put(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let Some((last, tables)) = path.split_last() else { return Ok(()) };
    let mut here = table;
    for name in tables {
        let inner = here.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
        here =
            inner.as_table_mut().ok_or_else(|| format!("`{name}` is no table in the configuration file"))?;
    }
    here.insert(last.clone(), value);
    Ok(())
}

/// What a name stands for.
enum Place {
    Setting {
        path: Vec<String>,
        is_file: bool,
    },
    /// It looks like a setting and is none.
    Unknown,
    /// None of our business here.
    Other,
}

/// All settings, with their defaults.
struct Known(Json);

impl Known {
    fn new() -> Self {
        // Plain structs of numbers and text: there is nothing in them that JSON cannot hold.
        Self(serde_json::to_value(ConfigFile::default()).unwrap_or(Json::Null))
    }

    fn place(&self, name: &str) -> Place {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !OTHERS.contains(&name)) else {
            return Place::Other;
        };
        if let Some(path) = self.path(rest) {
            return Place::Setting { path, is_file: false };
        }
        if let Some(path) = rest.strip_suffix(FILE).and_then(|rest| self.path(rest)) {
            return Place::Setting { path, is_file: true };
        }
        if rest.contains(BETWEEN) { Place::Unknown } else { Place::Other }
    }

    /// The setting that a name without its prefix stands for: `LIMITS__SESSIONS_MAX`. Parts are in any case, but for
    /// names that the operator chose (of pools and apps), which are taken as they stand.
    fn path(&self, name: &str) -> Option<Vec<String>> {
        let parts: Vec<&str> = name.split(BETWEEN).collect();
        if parts.len() > PARTS_MAX || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let renamed = renamed::new_name(&parts.join(".").to_ascii_lowercase());
        if let Some(new) = renamed {
            return Some(new.split('.').map(str::to_owned).collect());
        }
        let mut path = Vec::new();
        let mut here = Some(&self.0);
        let mut is_chosen = false;
        for part in parts {
            match here {
                // Beyond what the operator named the keys are known when they are read.
                None => {
                    path.push(if is_chosen { part.to_owned() } else { part.to_ascii_lowercase() });
                    is_chosen = false;
                }
                Some(Json::Object(keys)) => {
                    let (key, inner) = keys.iter().find(|(key, _)| key.eq_ignore_ascii_case(part))?;
                    path.push(key.clone());
                    is_chosen = inner.as_object().is_some_and(serde_json::Map::is_empty);
                    here = (!is_chosen).then_some(inner);
                }
                Some(_) => return None,
            }
        }
        // A section is no setting; a table of the operator's own names is.
        let is_section = matches!(here, Some(Json::Object(_)));
        (!is_section).then_some(path)
    }

    fn default(&self, path: &[String]) -> Option<&Json> {
        path.iter().try_fold(&self.0, |here, part| here.get(part))
    }

    /// The names of all settings, as variables.
    fn variables(&self) -> Vec<String> {
        fn walk(value: &Json, name: &str, found: &mut Vec<String>) {
            match value {
                Json::Object(keys) if !keys.is_empty() => {
                    let between = if name.is_empty() { "" } else { BETWEEN };
                    for (key, inner) in keys {
                        walk(inner, &format!("{name}{between}{}", key.to_ascii_uppercase()), found);
                    }
                }
                _ => found.push(format!("{PREFIX}{name}")),
            }
        }
        let mut found = Vec::new();
        walk(&self.0, "", &mut found);
        found
    }

    fn unknown(&self, name: &str) -> ConfigError {
        let upper = name.to_ascii_uppercase();
        let nearest = self
            .variables()
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(&upper, &known), known))
            .min()
            .map(|(_, known)| format!("the nearest name is {known}"));
        ConfigError::Environment {
            variable: name.to_owned(),
            key: String::new(),
            message: "is no setting; names are HOLDFAST_SECTION__KEY, as in `holdfast config dump`"
                .to_owned(),
            hint: nearest,
        }
    }

    /// A name that is none of ours, but for an underscore.
    fn mistyped(&self, name: &str) -> Option<String> {
        let plain = |name: &str| name.replace('_', "").to_ascii_uppercase();
        let meant =
            self.variables().into_iter().find(|known| plain(known) == plain(name) && known != name)?;
        let is_ours = OTHERS.iter().any(|other| plain(other) == plain(name));
        (!is_ours).then(|| format!("{name} is no setting and nothing reads it: did you mean {meant}?"))
    }
}

/// One variable that is a setting.
struct Said<'a> {
    variable: &'a str,
    path: Vec<String>,
    is_file: bool,
}

impl Said<'_> {
    fn wrong(&self, message: &str, hint: Option<String>) -> ConfigError {
        ConfigError::Environment {
            variable: self.variable.to_owned(),
            key: self.path.join("."),
            message: without_credentials(message.trim_end()).into_owned(),
            hint,
        }
    }

    fn value(&self, text: &OsString, known: &Known, notices: &mut Vec<String>) -> Result<Given, ConfigError> {
        let from_file = if self.is_file { Some(self.read_file(Path::new(text), notices)?) } else { None };
        let text = match &from_file {
            Some(text) => text.as_str(),
            None => text.to_str().ok_or_else(|| self.wrong("its value is no UTF-8", None))?,
        };
        let old = self.variable.strip_prefix(PREFIX).unwrap_or_default().replace(BETWEEN, ".");
        if renamed::new_name(&old.to_ascii_lowercase()).is_some() {
            let new = self.path.join(BETWEEN).to_ascii_uppercase();
            notices.push(format!("{} is deprecated: the setting is {PREFIX}{new} now", self.variable));
        }
        let mut why = None;
        for candidate in candidates(text, known.default(&self.path)) {
            match accepted(&self.path, &candidate) {
                Ok(()) => {
                    return Ok(Given {
                        variable: self.variable.to_owned(),
                        path: self.path.clone(),
                        value: candidate,
                    });
                }
                // What was written as TOML is told as such, before the text that it is as well.
                Err(error) => _ = why.get_or_insert(error),
            }
        }
        let why = why.unwrap_or_else(|| "has no value".to_owned());
        let hint =
            why.contains("socket address").then(|| "expected IP:PORT, such as 0.0.0.0:20900".to_owned());
        Err(self.wrong(&why, hint))
    }

    fn read_file(&self, path: &Path, notices: &mut Vec<String>) -> Result<String, ConfigError> {
        let path: PathBuf = path.to_owned();
        let read = secret::read(&path).map_err(|source| ConfigError::EnvironmentFile {
            variable: self.variable.to_owned(),
            path: path.clone(),
            source,
        })?;
        notices.extend(secret::open_to_all(&path));
        Ok(read)
    }
}

/// What a text may mean: TOML, a list whose parts stand between commas, and itself.
fn candidates(text: &str, default: Option<&Json>) -> Vec<Value> {
    let mut candidates = Vec::new();
    let trimmed = text.trim();
    if let Ok(mut table) = toml::from_str::<Table>(&format!("value = {trimmed}\n"))
        && table.len() == 1
    {
        candidates.extend(table.remove("value"));
    }
    // An address of IPv6 begins like a list.
    if default.is_some_and(Json::is_array) {
        let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
        candidates.push(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()));
    }
    candidates.push(Value::String(text.to_owned()));
    candidates
}

/// Whether the setting takes this value.
fn accepted(path: &[String], value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    put(&mut table, path, value.clone())?;
    ConfigFile::deserialize(Value::Table(table)).map(drop).map_err(|error| error.message().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
