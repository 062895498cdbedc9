//! The configuration files of the repository: the complete one is complete and shows the true
//! defaults; every example is valid; every wrong one is refused with the place and the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use holdfast::config::{Config, Overrides};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{directory} has no .toml file");
    files
}

/// Every key of every section, as `section.key`; for the tables of `[app]`, `app.key`, and for those in a
/// list, `section.list.key`.
fn keys(config: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (section, content) in config.as_object().unwrap() {
        let content = content.as_object().unwrap();
        let tables: Vec<_> = match section.as_str() {
            "app" | "pool" => content.values().collect(),
            _ => vec![&config[section]],
        };
        for table in tables {
            keys_of(section, table, &mut keys);
        }
    }
    keys
}

fn keys_of(place: &str, table: &Value, keys: &mut BTreeSet<String>) {
    for (key, value) in table.as_object().unwrap() {
        let key = format!("{place}.{key}");
        for inner in value.as_array().into_iter().flatten().filter(|one| one.is_object()) {
            keys_of(&key, inner, keys);
        }
        keys.insert(key);
    }
}

/// The file with its `#key = example` and `#[section]` lines switched on.
fn with_examples(text: &str) -> String {
    let is_example = |line: &str| {
        let name = line.split(" = ").next().unwrap_or("");
        ["[app.", "[[upstream.", "[[pool."].iter().any(|table| line.starts_with(table))
            || (line.contains(" = ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if is_example(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_complete_file_shows_the_defaults() {
    let file = Config::load(Some(&root().join("config/holdfast.toml")), &Overrides::default()).unwrap();
    let flags = Overrides { upstream: file.net.upstream.url.clone(), ..Overrides::default() };
    let defaults = Config::load(None, &flags).unwrap();
    assert_eq!(file.to_json(), defaults.to_json());
    assert_eq!(file, defaults);
}

#[test]
fn the_complete_file_has_every_setting() {
    let path = root().join("config/holdfast.toml");
    let text = with_examples(&fs::read_to_string(&path).unwrap());
    let written: Value = toml::from_str(&text).unwrap();
    let config = Config::parse(&text, &path, &Overrides::default()).unwrap();
    // JSON shows settings without a value as null, so that none is left out here.
    assert_eq!(keys(&written), keys(&config.to_json()));
    for key in ["app.restore_mode", "upstream.node.weight", "pool.node.weight"] {
        assert!(keys(&written).contains(key), "{key}");
    }
}

#[test]
fn every_setting_is_explained() {
    let text = fs::read_to_string(root().join("config/holdfast.toml")).unwrap();
    let mut explained = false;
    for (number, line) in text.lines().enumerate() {
        let is_comment = line.starts_with("# ");
        if line.is_empty() {
            explained = false;
        } else if is_comment {
            explained = true;
        } else if line.contains(" = ") {
            assert!(explained, "line {}: `{line}` has no comment above it", number + 1);
        }
    }
}

#[test]
fn every_valid_file_is_accepted() {
    for path in toml_files("tests/config/valid").into_iter().chain(toml_files("config")) {
        let config = Config::load(Some(&path), &Overrides::default());
        assert!(config.is_ok(), "{}", config.unwrap_err());
    }
}

/// Each invalid file says in its first lines (`# expect: TEXT`) what its error must contain.
#[test]
fn every_invalid_file_is_refused_with_its_reason() {
    for path in toml_files("tests/config/invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        let Err(error) = Config::load(Some(&path), &Overrides::default()) else {
            panic!("{} was accepted", path.display());
        };
        let error = error.to_string();
        assert!(error.starts_with(&path.display().to_string()), "no file in: {error}");
        for part in expected {
            assert!(error.contains(part), "{}: expected `{part}` in: {error}", path.display());
        }
    }
}
