//! The shape of the session core: no type does everything, and the modules of the session call each other in
//! one direction only. The session routes to its parts, the parts are lent a context, and nobody calls upwards.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Most methods of one type.
const METHODS_MAX: usize = 80;

/// Modules that are one thing in several files: methods of the same type.
const ONE_THING: [(&str, &[&str]); 2] = [
    (
        "session",
        &["core", "client", "first", "liveness", "moves", "restore", "snapshot", "tally", "upstream"],
    ),
    ("context", &["context", "keeping"]),
];

/// The parts of a session: each owns its state, and knows nothing of the others.
const PARTS: [&str; 3] = ["streams", "rooms", "calls"];

fn session() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session")
}

/// The code of the session by module, without its tests; files of a folder belong to its module.
fn sources() -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut folders = vec![(session(), None)];
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let own = module.clone().unwrap_or_else(|| stem.clone());
            if path.is_dir() {
                if !matches!(&*stem, "tests" | "simulation") {
                    folders.push((path, Some(own)));
                }
            } else if path.extension().is_some_and(|end| end == "rs") && stem != "tests" {
                let text = fs::read_to_string(&path).unwrap();
                texts.entry(own).or_default().push_str(text.split("#[cfg(test)]\n#[allow").next().unwrap());
            }
        }
    }
    texts.remove("mod");
    texts
}

fn thing(module: &str) -> String {
    let one = ONE_THING.iter().find(|(_, modules)| modules.contains(&module));
    one.map_or(module, |(name, _)| name).to_owned()
}

/// Which modules of the session a text names, in the imports that rustfmt has written and in paths.
fn named(text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let mut found = BTreeSet::new();
    for word in words.filter(|word| word.contains("::")) {
        let path: Vec<_> = word.split("::").filter(|part| !matches!(*part, "" | "super" | "crate")).collect();
        let first = path.iter().find(|part| **part != "session");
        found.extend(first.filter(|part| modules.contains(**part)).map(|part| (*part).to_owned()));
    }
    found
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
    for text in sources().values() {
        count_methods(text, &mut counts);
    }
    assert!(counts["Session"] > 40 && counts["Streams"] > 40, "they are counted: {counts:?}");
    for (name, count) in counts {
        assert!(count <= METHODS_MAX, "{name} has {count} methods, {METHODS_MAX} are allowed");
    }
}

/// What each module calls, as a graph of things.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    let modules: BTreeSet<_> = sources.keys().cloned().collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in &sources {
        let own = thing(module);
        let named = named(text, &modules);
        let others = named.iter().map(|other| thing(other)).filter(|other| *other != own);
        graph.entry(own.clone()).or_default().extend(others);
    }
    graph
}

#[test]
fn imports_are_found() {
    let modules = ["context", "held_back", "kept"].map(str::to_owned).into();
    let text = "use super::{\n    Event,\n    context::Context,\n    kept::{Full, Kept},\n};\nuse crate::session::held_back::HeldBack;\n// other::Thing\n";
    assert_eq!(named(text, &modules), modules);
    let graph = graph();
    assert!(graph["session"].contains("streams") && graph["streams"].contains("context"), "{graph:#?}");
}

#[test]
fn calls_go_one_way() {
    let graph = graph();
    let mut left: BTreeMap<_, _> = graph.clone();
    while let Some(leaf) = left.iter().find(|(_, calls)| calls.is_empty()).map(|(name, _)| name.clone()) {
        left.remove(&leaf);
        for calls in left.values_mut() {
            calls.remove(&leaf);
        }
    }
    assert!(left.is_empty(), "these call each other in a circle: {left:#?}");
    for (module, text) in &sources() {
        let words = text.replace("SessionSettings", "Settings");
        let takes_session =
            ["&mut Session", "&Session", "impl Session"].iter().any(|way| words.contains(way));
        assert!(
            thing(module) == "session" || !takes_session,
            "{module} is called by the session, and calls it"
        );
    }
    let above_parts: BTreeSet<_> = ["session".to_owned()].into();
    for part in PARTS {
        let callers: BTreeSet<_> =
            graph.iter().filter(|(_, calls)| calls.contains(part)).map(|(name, _)| name.clone()).collect();
        assert_eq!(callers, above_parts, "{part} is called by the session alone");
    }
}
