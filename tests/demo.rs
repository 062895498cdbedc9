//! `holdfast demo --headless`: built-in clients, real kills and a drain, a picture that comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

#[test]
fn the_picture_survives_only_behind_holdfast_and_nobody_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast")).args(["demo", "--headless"]).output().unwrap();
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
}
