//! Replacing single values inside a message while every other byte stays.
//!
//! The new values are JSON text made by the caller; nothing here checks that they are. Spans
//! come from the functions of [`value`](super) on the same text.

use std::borrow::Cow;

use super::scan::{Cursor, Span, StringToken};
use super::value::Key;

/// A set of replacements for one text.
#[derive(Clone, Debug, Default)]
pub struct Edits<'a> {
    edits: Vec<(Span, Cow<'a, str>)>,
}

impl<'a> Edits<'a> {
    /// No replacement yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { edits: Vec::new() }
    }

    /// Puts this JSON text in place of the value at `span`. Edits may come in any order and must
    /// not overlap.
    pub fn push(&mut self, span: Span, json: impl Into<Cow<'a, str>>) {
        self.edits.push((span, json.into()));
    }

    /// Puts a JSON string that reads `value` in place of the value at `span`.
    pub fn push_string(&mut self, span: Span, value: &str) {
        self.edits.push((span, Cow::Owned(quote(value))));
    }

    /// True if there is nothing to replace: the text may be forwarded as it is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The text with all replacements made. An edit that does not fit the text or overlaps an
    /// earlier part of it that is already replaced is left out.
    #[must_use]
    pub fn apply(mut self, text: &[u8]) -> Vec<u8> {
        self.edits.retain(|(span, _)| span.fits(text));
        self.edits.sort_by_key(|(span, _)| span.start);
        let added: usize = self.edits.iter().map(|(_, json)| json.len()).sum();
        let mut result = Vec::with_capacity(text.len().saturating_add(added));
        let mut copied = 0;
        for (span, json) in &self.edits {
            // Empty when the edit overlaps the one before.
            let Some(between) = text.get(copied..span.start) else {
                continue;
            };
            result.extend_from_slice(between);
            result.extend_from_slice(json.as_bytes());
            copied = span.end;
        }
        result.extend_from_slice(text.get(copied..).unwrap_or_default());
        result
    }
}

/// The JSON string that reads `value`, quotes included.
#[must_use]
pub(super) fn quote(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// The text without the field `key` of the object at `object`, every occurrence of it. The same
/// text if there is none.
pub(super) fn remove_field(text: &[u8], object: Span, key: &str) -> Vec<u8> {
    remove_fields(text, object, &[key])
}

/// The text without these fields of the object at `object`, every occurrence of each.
pub(super) fn remove_fields(text: &[u8], object: Span, keys: &[&str]) -> Vec<u8> {
    let unwanted = |key: StringToken| keys.iter().any(|unwanted| Key::of(text, key).is(unwanted));
    let Some(members) = members(text, object) else {
        return text.to_vec();
    };
    if !members.iter().any(|member| unwanted(member.key)) {
        return text.to_vec();
    }
    let mut result = Vec::with_capacity(text.len());
    result.extend_from_slice(text.get(..=object.start).unwrap_or_default());
    let kept = members.iter().filter(|member| !unwanted(member.key));
    for (index, member) in kept.enumerate() {
        if index > 0 {
            result.push(b',');
        }
        result.extend_from_slice(member.whole.of(text));
    }
    result.extend_from_slice(text.get(object.end.saturating_sub(1)..).unwrap_or_default());
    result
}

/// The text in which the field `key` of the object at `object` has this JSON value: replaced
/// where it stands, else appended to the object. The same text if there is no object.
pub(super) fn set_field(text: &[u8], object: Span, key: &str, json: &str) -> Vec<u8> {
    let Some(members) = members(text, object) else {
        return text.to_vec();
    };
    let mut edits = Edits::new();
    match members.iter().rev().find(|member| Key::of(text, member.key).is(key)) {
        Some(member) => edits.push(member.value, json),
        None => {
            let separator = if members.is_empty() { "" } else { "," };
            let end = object.end.saturating_sub(1);
            let at = Span { start: end, end };
            edits.push(at, format!("{separator}{}:{json}", quote(key)));
        }
    }
    edits.apply(text)
}

/// One field of an object.
struct Member {
    key: StringToken,
    value: Span,
    /// The field with the blanks around it, without the commas.
    whole: Span,
}

/// The fields of the object at `object`; `None` if the span holds none exactly.
fn members(text: &[u8], object: Span) -> Option<Vec<Member>> {
    let mut cursor = Cursor::within(text, object)?;
    let mut members: Vec<Member> = Vec::new();
    cursor
        .walk_object(|key, value| {
            members.push(Member { key, value, whole: Span { start: key.span.start, end: value.end } });
        })
        .ok()?;
    if cursor.at() != object.end {
        return None;
    }
    // Each field owns what lies before it back to the comma or brace, and the last one what
    // follows it, so that the fields that stay keep their blanks.
    let mut start = object.start + 1;
    let count = members.len();
    for (index, member) in members.iter_mut().enumerate() {
        let end = if index + 1 == count {
            object.end - 1
        } else {
            let behind = text.get(member.value.end..object.end)?;
            member.value.end + memchr::memchr(b',', behind)?
        };
        member.whole = Span { start, end };
        start = end + 1;
    }
    Some(members)
}

#[cfg(test)]
mod tests;
