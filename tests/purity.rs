//! The session core is a function of its inputs: no clock, no randomness, no IO, no threads. That
//! is what makes the simulation of it worth something, so the source is searched for breaches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What reaches outside.
const FORBIDDEN: [&str; 14] = [
    "Instant::now",
    "SystemTime",
    "tokio::",
    "rand::rng",
    "thread_rng",
    "RandomState",
    "std::net",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "io::stdin",
    "socket2",
    "rustix",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Compiled for tests only: these may start threads and read the seed to replay.
        let is_harness = path.ends_with("session/tests") || path.ends_with("session/simulation");
        if is_harness {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The breaches in a text, comments aside, with their line.
fn breaches(text: &str) -> Vec<(usize, &'static str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            let here = FORBIDDEN.iter().filter(move |word| line.contains(**word));
            here.map(move |word| (number + 1, *word))
        })
        .collect()
}

#[test]
fn the_session_core_reaches_nothing_outside() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session"), &mut files);
    assert!(files.len() > 5, "the session core was not found");
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let here = breaches(&fs::read_to_string(path).unwrap());
            here.into_iter().map(move |(line, word)| format!("{}:{line}: {word}", path.display()))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found() {
    let text = "// Instant::now in a comment\nlet now = Instant::now();\nuse tokio::time;\n";
    assert_eq!(breaches(text), [(2, "Instant::now"), (3, "tokio::")]);
}
