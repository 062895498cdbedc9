//! `benches/pool/pool.py` at small size: nodes that are drained, killed and evened out under real media, by the command
//! of the README. Counts and order are asserted there; times are for full runs of the script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

use serde_json::Value;

fn trial(words: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pool/pool.py");
    let output = Command::new("python3")
        .arg(script)
        .args(words)
        .args(["--json", "--binary", env!("CARGO_BIN_EXE_holdfast")])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

#[test]
fn each_node_in_turn_is_drained_restarted_and_used_again_unseen() {
    let seen = trial(&["drain", "--sessions", "9"]);
    assert!(seen["moves"].as_u64() >= Some(9), "{seen}");
    assert_eq!((&seen["reported"], &seen["pictures"]), (&0.into(), &6.into()), "{seen}");
}

#[test]
fn each_node_in_turn_is_killed_and_no_client_is_told() {
    let seen = trial(&["kill", "--sessions", "9"]);
    assert_eq!((&seen["reported"], &seen["pictures"]), (&0.into(), &6.into()), "{seen}");
}

#[test]
fn all_nodes_are_killed_at_once_and_who_belongs_together_meets_again() {
    let seen = trial(&["blackout", "--sessions", "12"]);
    assert_eq!((&seen["reported"], &seen["pictures"]), (&0.into(), &8.into()), "{seen}");
}

#[test]
fn sessions_are_evened_out_after_a_nodes_return_within_their_rate() {
    let seen = trial(&["rebalance", "--sessions", "150"]);
    assert!(seen["moved"].as_u64() > Some(0), "{seen}");
}
