//! What both sides said, as JSON lines without secrets.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::redact::Redactor;
use crate::simulator::durations::as_millis;

/// The form of a transcript.
pub const TRANSCRIPT_SCHEMA: u32 = 1;
/// Lines that are kept; later ones are counted.
pub(super) const LINES_MAX: usize = 20_000;

/// The first line: what was seen, as a stand-in takes it for its switches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// [`TRANSCRIPT_SCHEMA`].
    pub schema: u32,
    /// Of Holdfast.
    pub version: String,
    /// Positions by the key of their question; those that were not seen are missing.
    pub positions: BTreeMap<String, Position>,
}

/// One position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Position {
    /// Its word, or its number as text.
    pub position: String,
    /// Its number, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    /// The probe.
    Out,
    /// The server.
    In,
    /// Nobody: the connection opened or ended.
    Event,
}

#[derive(Debug, Serialize)]
struct Line {
    at_ms: u64,
    connection: usize,
    direction: Direction,
    message: Value,
}

#[derive(Default)]
struct Lines {
    kept: Vec<Line>,
    dropped: u64,
}

/// Everything that was said in a run.
pub struct Transcript {
    begun: Instant,
    lines: Mutex<Lines>,
    redactor: Redactor,
}

impl Transcript {
    pub(super) fn new(anonymise: bool) -> Self {
        Self { begun: Instant::now(), lines: Mutex::default(), redactor: Redactor::new(anonymise) }
    }

    pub(super) const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Notes a message; it is redacted before it is kept.
    pub(super) fn note(&self, connection: usize, direction: Direction, text: &str) {
        let message = match direction {
            Direction::Event => Value::String(self.redactor.text(text)),
            _ => self.redactor.message(text),
        };
        let at_ms = as_millis(self.elapsed());
        let mut lines = self.lines.lock();
        if lines.kept.len() < LINES_MAX {
            lines.kept.push(Line { at_ms, connection, direction, message });
        } else {
            lines.dropped += 1;
        }
    }

    /// All of it as JSON lines, `head` first.
    ///
    /// # Errors
    /// It cannot be written as JSON, which does not happen.
    pub fn text(&self, head: &Head) -> serde_json::Result<String> {
        let mut out = serde_json::to_string(head)?;
        out.push('\n');
        let lines = self.lines.lock();
        for line in &lines.kept {
            // Once more: what was learned to be secret later may stand in what came before.
            out.push_str(&self.redactor.text(&serde_json::to_string(line)?));
            out.push('\n');
        }
        if lines.dropped > 0 {
            out.push_str(&serde_json::to_string(&serde_json::json!({"dropped_lines": lines.dropped}))?);
            out.push('\n');
        }
        Ok(out)
    }
}
