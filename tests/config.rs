//! The configuration files of the repository: the complete one is complete and shows the true
//! defaults; every example is valid; every wrong one is refused with the place and the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use holdfast::config::{Config, Environment, Overrides};
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
        let tables: Vec<_> = match (section.as_str(), content) {
            ("app" | "pool", Value::Object(tables)) => tables.values().collect(),
            (_, Value::Array(tables)) => tables.iter().collect(),
            _ => vec![content],
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
        ["[app.", "[[listen.", "[[upstream.", "[[pool.", "[[route]]"]
            .iter()
            .any(|table| line.starts_with(table))
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
    for key in ["route.static", "app.restore_mode", "upstream.node.weight", "pool.node.weight"] {
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

/// What was loaded from a file, and what from its dump.
fn dumped_and_read_again(text: &str, flags: &Overrides) -> (Config, Config, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{:x}.toml", text.len()));
    fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path), flags).unwrap();
    let dump = config.to_toml(Some(&path), flags);
    let again = Config::parse(&dump, Path::new("dump.toml"), &Overrides::default());
    (config, again.unwrap_or_else(|error| panic!("{error}\n{dump}")), dump)
}

#[test]
fn every_dump_is_a_file_that_makes_the_same_configuration() {
    let complete = fs::read_to_string(root().join("config/holdfast.toml")).unwrap();
    let mut texts: Vec<String> = toml_files("tests/config/valid")
        .into_iter()
        .chain(toml_files("config"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    texts.push(with_examples(&complete));
    for text in texts {
        let (config, again, dump) = dumped_and_read_again(&text, &Overrides::default());
        assert_eq!(config, again, "{dump}");
    }
}

#[test]
fn a_dump_says_where_each_value_comes_from() {
    let text = "[upstream]\nurl = [\"ws://a:1\"]\n[limits]\nsessions_max = 7\nshutdown_ms_max = 1\n\
        [app.\"a.b c\"]\nrestore_mode = \"restart\"\n";
    let environment = Environment::of(
        [("HOLDFAST_LIMITS__SESSIONS_MAX", "8"), ("HOLDFAST_APP__x__CHECK_BITRATE", "off")]
            .map(|(name, value)| (name.into(), value.into())),
    );
    let flags = Overrides { environment, restore_rate: Some(9), ..Overrides::default() };
    let (config, again, dump) = dumped_and_read_again(text, &flags);
    assert_eq!(config, again, "{dump}");
    for line in [
        "sessions_max = 8  # environment HOLDFAST_LIMITS__SESSIONS_MAX",
        "restore_rate = 9  # flag --restore-rate",
        "message_bytes_max = 16777216  # default",
        "#tls_cert is not set",
        "check_bitrate = \"off\"  # environment HOLDFAST_APP__x__CHECK_BITRATE",
    ] {
        assert!(dump.lines().any(|one| one == line), "{line} is not in\n{dump}");
    }
    for (begin, end) in
        [("shutdown_ms_max = 1  # ", ".toml:5"), ("restore_mode = \"restart\"  # ", ".toml:7")]
    {
        let found = dump.lines().any(|line| line.starts_with(begin) && line.ends_with(end));
        assert!(found, "{begin}…{end} is not in\n{dump}");
    }
    let json = config.to_json_with_origins(None, &flags);
    assert_eq!(json["limits"]["sessions_max"]["value"], 8);
    assert_eq!(json["limits"]["sessions_max"]["from"], "environment HOLDFAST_LIMITS__SESSIONS_MAX");
    assert_eq!(json["app"]["x"]["check_bitrate"]["value"], "off");
}
