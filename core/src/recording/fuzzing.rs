//! The body of a fuzz target: a recording may hold anything.
//!
//! Called by the fuzzing package and by `tests/fuzz_corpus.rs`; no other code may call it.

use super::{Replay, told};

/// Whatever the lines say, they are refused or replayed, and told.
pub fn replay(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut replay = Replay::default();
    let mut read = 0;
    for line in text.lines() {
        let Ok(line) = replay.line(line) else { return };
        if let Some((who, what)) = told(&line) {
            assert!(!who.is_empty() && !what.contains('\n'));
        }
        read += 1;
    }
    if let Ok(report) = replay.finish() {
        assert!(report.sessions.len() < read);
        assert_eq!(report.is_same().is_none(), report.sessions.iter().all(|session| !session.from_start));
    }
}
