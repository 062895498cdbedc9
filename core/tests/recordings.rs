//! What once happened in the field, or in the demo, is decided today as it was then: every recording in
//! `core/tests/recordings` replays (`docs/recording.md`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::{fs, path::Path};

use holdfast_core::recording::{Replay, Report};

fn replay(path: &Path) -> Report {
    let mut replay = Replay::default();
    for line in fs::read_to_string(path).unwrap().lines() {
        replay.line(line).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    replay.finish().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_recording_replays_to_the_same_decisions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().and_then(|end| end.to_str()), Some("jsonl"), "{}", path.display());
        let report = replay(&path);
        for session in &report.sessions {
            assert!(session.from_start, "{} {}: it cannot be replayed", path.display(), session.session);
            assert_eq!(session.difference, None, "{} {}", path.display(), session.session);
        }
        assert!(
            report.sessions.iter().any(|session| session.decisions > 10),
            "{} says nothing",
            path.display()
        );
        count += 1;
    }
    assert!(count > 0, "there is none");
}
