//! `holdfast demo --headless`: built-in clients, real kills and a drain, a picture that comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{path::Path, process::Command};

/// Its outages and its drain, recorded, replay to the same decisions.
fn replays(recording: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast")).arg("replay").arg(recording).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert_eq!(
        text.matches("replays to the same decisions").count(),
        2,
        "the publisher and the viewer: {text}"
    );
    for expected in
        ["is lost (epoch 0)", "tells SessionRestored", "is to move to node", "decides lead", "media →"]
    {
        assert!(
            text.split_whitespace().collect::<Vec<_>>().join(" ").contains(expected),
            "{expected} in {text}"
        );
    }
}

#[test]
fn the_picture_survives_only_behind_holdfast_and_nobody_is_told() {
    let recording = std::env::temp_dir().join(format!("holdfast-demo-{}.jsonl", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["demo", "--headless", "--record"])
        .arg(&recording)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    for line in [
        "server a killed",
        "upstream lost",
        "session restored",
        "picture dead",
        "server b is drained",
        "session moved",
        "server b was empty",
        "server b killed",
        "new picture",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    let dials = text.lines().filter(|line| line.contains("dial failed")).count();
    assert!(dials < 10, "they are folded:\n{text}");
    assert!(text.contains("with 0 events seen by the clients"), "{text}");
    replays(&recording);
    std::fs::remove_file(&recording).unwrap();
}
