//! The whole configuration as text, with where each value comes from. What it writes can be read again.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use toml::Value;

use super::{
    Overrides,
    environment::Names,
    file::{self, ConfigFile},
};

/// What the last word of a setting is that holds a secret itself; the names of files with secrets are none.
const SECRET: [&str; 3] = ["password", "secret", "token"];

/// Where values come from.
pub(super) struct Origins<'a> {
    file: Option<(PathBuf, String)>,
    flags: &'a Overrides,
    variables: Names,
}

impl<'a> Origins<'a> {
    pub(super) fn new(path: Option<&Path>, flags: &'a Overrides) -> Self {
        // One that is gone meanwhile has no lines to tell.
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            file: path.map(|path| (path.to_owned(), text(path))),
            flags,
            variables: flags.environment.names(),
        }
    }

    /// Of this setting: a flag, a variable of the environment, a line of the file, or `default`.
    fn of(&self, key: &str) -> String {
        if let Some(flag) = self.flags.flag_of(key) {
            return format!("flag {flag}");
        }
        if let Some(variable) = self.variables.variable_of(key) {
            return format!("environment {variable}");
        }
        let line = self.file.as_ref().and_then(|(path, text)| Some((path, file::line_of(text, key, 0)?)));
        match line {
            Some((path, line)) => {
                format!("{}:{line}", path.display().to_string().replace(char::is_control, "\u{fffd}"))
            }
            None => "default".to_owned(),
        }
    }
}

fn is_secret(key: &str) -> bool {
    key.rsplit(['.', '_']).next().is_some_and(|word| SECRET.contains(&word))
}

fn settings(file: &ConfigFile) -> Map<String, Json> {
    match serde_json::to_value(file) {
        Ok(Json::Object(sections)) => sections,
        // Plain structs of numbers and text: there is nothing in them that JSON cannot hold.
        _ => Map::new(),
    }
}

/// As a file.
pub(super) fn to_toml(file: &ConfigFile, origins: &Origins<'_>) -> String {
    let mut text = String::new();
    let sections = settings(file);
    // What is no table has to stand before the first one.
    for (key, value) in sections.iter().filter(|(_, value)| !value.is_object()) {
        line(&mut text, key, (key, value), origins);
    }
    for (section, content) in &sections {
        let Json::Object(keys) = content else { continue };
        let is_of_tables = keys.values().all(Json::is_object);
        if !is_of_tables {
            table(&mut text, section, keys, origins);
            continue;
        }
        for (name, inner) in keys {
            if let Json::Object(inner) = inner {
                table(&mut text, &format!("{section}.{}", Value::String(name.clone())), inner, origins);
            }
        }
    }
    text
}

/// One section; `name` as it stands in its header.
fn table(text: &mut String, name: &str, keys: &Map<String, Json>, origins: &Origins<'_>) {
    text.push_str(&format!("\n[{name}]\n"));
    // In the file, names are told apart by what they are, not by how they are quoted.
    let place = name.replace('"', "");
    for (key, value) in keys {
        line(text, &format!("{place}.{key}"), (key, value), origins);
    }
}

fn line(text: &mut String, place: &str, (key, value): (&str, &Json), origins: &Origins<'_>) {
    let origin = origins.of(place);
    let line = match to_value(value) {
        None => format!("#{key} is not set\n"),
        Some(_) if is_secret(place) => format!("#{key} is withheld  # {origin}\n"),
        Some(value) => format!("{key} = {value}  # {origin}\n"),
    };
    text.push_str(&line);
}

/// What is null is left out, as in the file.
fn to_value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(list) => Value::Array(list.iter().filter_map(to_value).collect()),
        Json::Object(keys) => Value::Table(
            keys.iter().filter_map(|(key, value)| Some((key.clone(), to_value(value)?))).collect(),
        ),
    })
}

/// As JSON: of each setting `value` and `from`.
pub(super) fn to_json(file: &ConfigFile, origins: &Origins<'_>) -> Json {
    fn explain(place: &str, value: &Json, depth: usize, origins: &Origins<'_>) -> Json {
        match value {
            Json::Object(keys) if depth > 0 => {
                let inner =
                    |key: &String, value| explain(&format!("{place}.{key}"), value, depth - 1, origins);
                Json::Object(keys.iter().map(|(key, value)| (key.clone(), inner(key, value))).collect())
            }
            _ if is_secret(place) && !value.is_null() => {
                json!({"value": null, "withheld": true, "from": origins.of(place)})
            }
            _ => json!({"value": value, "from": origins.of(place)}),
        }
    }
    let explained = settings(file).into_iter().map(|(section, content)| {
        let of_tables = content.as_object().is_some_and(|keys| keys.values().all(Json::is_object));
        let depth = if of_tables { 2 } else { 1 };
        let explained = explain(&section, &content, depth, origins);
        (section, explained)
    });
    Json::Object(explained.collect())
}
