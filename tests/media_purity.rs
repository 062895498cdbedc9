//! What decides about media does no IO: it has no socket, no clock, no randomness of its own and no
//! thread. That is what lets a seeded simulation run it, so the source is searched for breaches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The parts that decide, below `src/media`.
const PARTS: [&str; 12] = [
    "bucket.rs",
    "connections.rs",
    "continuity.rs",
    "core",
    "core.rs",
    "resolve.rs",
    "routes",
    "routes.rs",
    "stream",
    "transport",
    "transport.rs",
    "watchdog.rs",
];

/// Compiled for tests only.
const HARNESSES: [&str; 3] = ["tests.rs", "testing.rs", "sizes.rs"];

/// What reaches outside.
const FORBIDDEN: [&str; 14] = [
    "Instant::now",
    "SystemTime::now",
    "rand::rng()",
    "rand::random",
    "mio::",
    "socket2",
    "rustix",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "ToSocketAddrs",
    "std::fs",
    "std::env",
    "std::thread",
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if !HARNESSES.iter().any(|harness| path.ends_with(harness)) {
        found.push(path.to_owned());
    }
}

/// The breaches in a text, comments and tests aside, with their line.
fn breaches(text: &str) -> Vec<(usize, &'static str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("mod tests {"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            let here = FORBIDDEN.iter().filter(move |word| line.contains(**word));
            here.map(move |word| (number + 1, *word))
        })
        .collect()
}

#[test]
fn what_decides_about_media_reaches_nothing_outside() {
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/media");
    let mut found = Vec::new();
    for part in PARTS {
        let mut files = Vec::new();
        sources(&media.join(part), &mut files);
        assert!(!files.is_empty(), "{part} was not found");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let here = breaches(&text).into_iter();
            found.extend(here.map(|(line, word)| format!("{}:{line}: {word}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found() {
    let text = "// Instant::now\nlet now = Instant::now();\nuse mio::Token;\nmod tests {\nInstant::now()\n";
    assert_eq!(breaches(text), [(2, "Instant::now"), (3, "mio::")]);
}
