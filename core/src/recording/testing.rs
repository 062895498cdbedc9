//! A tape in memory, for tests.
#![allow(clippy::unwrap_used, clippy::disallowed_types)]

use std::sync::{Arc, Mutex};

use crate::signaling::redactor::{KEY_BYTES, Names, Redactor};

use super::{Heading, Line, ReadError, Replay, Report, SCHEMA, Tape};

/// Keeps what is written, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct MemoryTape {
    /// Lines, and their bytes.
    written: Arc<Mutex<(Vec<String>, usize)>>,
    bytes_max: usize,
    held_bytes: usize,
    pub(crate) names: Names,
}

impl MemoryTape {
    pub(crate) fn new(bytes_max: usize, names: Names) -> Self {
        Self { written: Arc::default(), bytes_max, held_bytes: 0, names }
    }

    pub(crate) fn boxed(&self) -> Box<dyn Tape> {
        Box::new(self.clone())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.written.lock().unwrap().0.clone()
    }

    pub(crate) fn replay(&self) -> Result<Report, ReadError> {
        replay(&self.lines(), self.names)
    }
}

impl Tape for MemoryTape {
    fn write(&mut self, lines: Vec<String>) -> bool {
        let mut written = self.written.lock().unwrap();
        let bytes = written.1 + lines.iter().map(String::len).sum::<usize>();
        let fits = bytes <= self.bytes_max;
        if fits {
            written.0.extend(lines);
            written.1 = bytes;
        }
        fits
    }

    fn is_over(&self) -> bool {
        false
    }

    fn hold(&mut self, bytes: usize) -> bool {
        self.held_bytes += bytes;
        self.held_bytes <= self.bytes_max
    }

    fn release(&mut self) {
        self.held_bytes = 0;
    }
}

/// What becomes of these lines behind a heading.
pub(crate) fn replay(lines: &[String], names: Names) -> Result<Report, ReadError> {
    let anonymous = names == Names::Anonymous;
    let heading = Heading { schema: SCHEMA, version: "1".to_owned(), anonymous, began_unix_ms: 0 };
    let mut replay = Replay::default();
    replay.line(&serde_json::to_string(&Line::Recording(heading)).unwrap())?;
    for line in lines {
        replay.line(line)?;
    }
    replay.finish()
}

pub(crate) fn redactor(names: Names) -> Redactor {
    Redactor::new([3; KEY_BYTES], names)
}
