//! What was seen so far, by question. What is not here is unknown; it is never filled in by a guess.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;

use super::{question::Question, redact::Redactor};
use crate::simulator::durations::as_millis;

/// Longest text of the server that is kept in an answer, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// Questions whose positions are the server's own words.
const SAID: [&str; 8] = [
    "server_version",
    "unknown_name_info",
    "connect_refusal_info",
    "duplicate_name_info",
    "pending_status",
    "answer_setup",
    "answer_profile",
    "answer_codecs",
];

/// What was seen of one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Finding {
    /// Its word, or its number as text; none: it is unknown, and `detail` says why.
    pub(super) position: Option<String>,
    /// Its number.
    pub(super) value: Option<Value>,
    /// What else there is to say.
    pub(super) detail: String,
}

/// All findings of a run.
pub(super) struct Findings {
    found: Mutex<BTreeMap<&'static str, Finding>>,
}

impl Findings {
    pub(super) const fn new() -> Self {
        Self { found: Mutex::new(BTreeMap::new()) }
    }

    /// A position was seen; a later look at the same question replaces it.
    pub(super) fn see(&self, key: &'static str, position: impl Into<String>) {
        self.put(key, Some(position.into()), None, String::new());
    }

    /// As [`see`](Self::see), with more to say.
    pub(super) fn see_with(&self, key: &'static str, position: impl Into<String>, detail: impl Into<String>) {
        self.put(key, Some(position.into()), None, detail.into());
    }

    /// A number was seen.
    pub(super) fn measure(&self, key: &'static str, value: u64, detail: impl Into<String>) {
        self.put(key, Some(value.to_string()), Some(value.into()), detail.into());
    }

    /// It took so long.
    pub(super) fn measure_time(&self, key: &'static str, took: Duration, detail: impl Into<String>) {
        self.measure(key, as_millis(took), detail);
    }

    /// It was looked for and not seen. Never replaces what was seen.
    pub(super) fn miss(&self, key: &'static str, why: impl Into<String>) {
        debug_assert!(Question::of(key).is_some(), "{key} is no question");
        let missed = Finding { position: None, value: None, detail: why.into() };
        self.found.lock().entry(key).or_insert(missed);
    }

    fn put(&self, key: &'static str, position: Option<String>, value: Option<Value>, detail: String) {
        debug_assert!(Question::of(key).is_some(), "{key} is no question");
        let position = position.map(|text| text.chars().take(TEXT_CHARS_MAX).collect());
        self.found.lock().insert(key, Finding { position, value, detail });
    }

    /// What was seen of a question.
    pub(super) fn of(&self, key: &str) -> Option<Finding> {
        self.found.lock().get(key).cloned()
    }

    /// Whether this position was seen.
    pub(super) fn is(&self, key: &str, position: &str) -> bool {
        self.of(key).is_some_and(|finding| finding.position.as_deref() == Some(position))
    }

    /// A question with what was seen of it, without secrets.
    pub(super) fn shown(&self, key: &str, redactor: &Redactor) -> Option<Finding> {
        let mut finding = self.of(key)?;
        if SAID.contains(&key) {
            finding.position = finding.position.map(|text| redactor.text(&text));
        }
        finding.detail = redactor.text(&finding.detail);
        Some(finding)
    }
}
