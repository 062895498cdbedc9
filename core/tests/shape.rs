//! The shape of the session core: no type does everything, and the parts that own state know nothing of the
//! session that routes to them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Most methods of one type.
const METHODS_MAX: usize = 80;
/// Types that still have more, and how many at most: a number here may only become smaller.
const TOO_LARGE: [(&str, usize); 1] = [("Session", SESSION_METHODS)];
const SESSION_METHODS: usize = 254;

/// Modules that own their state. Whoever needs something of the session is lent it.
const PARTS: [&str; 13] = [
    "alive.rs",
    "backoff.rs",
    "held_back.rs",
    "info.rs",
    "leg.rs",
    "packed.rs",
    "participants.rs",
    "patience.rs",
    "random.rs",
    "request.rs",
    "requests.rs",
    "stream.rs",
    "time.rs",
];

fn session() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session")
}

/// The code of the session, without its tests.
fn sources() -> Vec<String> {
    let files = fs::read_dir(session()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// Counts the methods of each type in a text that rustfmt has written.
fn count_methods(text: &str, counts: &mut BTreeMap<String, usize>) {
    let mut of: Option<String> = None;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("impl ") {
            let name: String = head.chars().take_while(|c| c.is_alphanumeric()).collect();
            of = (!head.contains(" for ")).then_some(name);
        } else if line.starts_with('}') {
            of = None;
        } else if let Some(name) = &of {
            let item = line.strip_prefix("    ").unwrap_or_default();
            let is_method = !item.starts_with([' ', '/']) && item.split_whitespace().any(|word| word == "fn");
            *counts.entry(name.clone()).or_default() += usize::from(is_method);
        }
    }
}

#[test]
fn methods_are_counted() {
    let text = "impl A {\n    pub(super) const fn one() {\n        let fn_two = 2;\n    }\n\n    // fn three\n    fn four() {}\n}\n\nimpl Drop for A {\n    fn drop(&mut self) {}\n}\n";
    let mut counts = BTreeMap::new();
    count_methods(text, &mut counts);
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("A".to_owned(), 2)]);
}

#[test]
fn no_type_has_too_many_methods() {
    let mut counts = BTreeMap::new();
    for text in sources() {
        count_methods(&text, &mut counts);
    }
    for (name, count) in counts {
        let allowed = TOO_LARGE.iter().find(|(large, _)| *large == name).map_or(METHODS_MAX, |(_, max)| *max);
        assert!(count <= allowed, "{name} has {count} methods, {allowed} are allowed");
    }
}

#[test]
fn parts_know_no_session() {
    for part in PARTS {
        let text = fs::read_to_string(session().join(part)).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let knows: Vec<_> =
            code.filter(|line| line.contains("core::") && !line.contains("holdfast_core::")).collect();
        assert!(knows.is_empty(), "{part}: {knows:?}");
    }
}
