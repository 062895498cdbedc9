//! Nothing that the core depends on has a runtime, sockets or a source of randomness, or clippy's bans
//! could be got around. Asks cargo, as the build does.
#![allow(clippy::unwrap_used, clippy::disallowed_types)]

use std::process::Command;

/// What would bring one in.
const FORBIDDEN: [&str; 16] = [
    "tokio",
    "async-std",
    "smol",
    "mio",
    "polling",
    "socket2",
    "quinn-udp",
    "hyper",
    "tungstenite",
    "rustls",
    "openssl",
    "str0m",
    "rand",
    "getrandom",
    "rustix",
    "holdfast",
];

/// The packages that this one is built from, itself included.
fn dependencies() -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    let names = String::from_utf8(tree.stdout).unwrap();
    names.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn no_dependency_reaches_outside() {
    let all = dependencies();
    assert!(all.iter().any(|name| name == "holdfast-core") && all.iter().any(|name| name == "serde_json"));
    let found: Vec<_> = all.iter().filter(|name| FORBIDDEN.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "{found:?}");
}
