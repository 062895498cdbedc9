//! The envelope of a message: its name and where its arguments lie.
//!
//! Runs on every message in both directions. It walks the text once and allocates only when the
//! name is written with escapes. On the way it notes where the members of the first argument lie,
//! so that asking for one of them does not walk over the text again.

use std::borrow::Cow;

use super::scan::{Cursor, Fault, Span, StringToken};
use super::value::{Key, element, fields, string};

/// Why a text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeekError {
    /// The text is not JSON.
    #[error("the text is not JSON")]
    NotJson,
    /// The text is JSON, but not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// There is no field `message`, or it is not a string.
    #[error("the message has no name")]
    NoName,
    /// Arrays and objects nest deeper than 127 levels.
    #[error("the message nests deeper than {} levels", super::scan::MAX_DEPTH)]
    TooDeep,
}

impl From<Fault> for PeekError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax => Self::NotJson,
            Fault::TooDeep => Self::TooDeep,
        }
    }
}

/// Members of the first argument that are noted; an object with more is walked over again. The
/// SDK's `publishStream` has about 25.
const MEMBERS_MAX: usize = 32;

/// Where the members of the first argument lie, as far as they are noted.
#[derive(Clone, Copy, Debug)]
struct Members {
    /// Start and end of the key without its quotes, start and end of the value.
    spans: [[u32; 4]; MEMBERS_MAX],
    /// How many there are; more than [`MEMBERS_MAX`] if not all could be noted.
    count: usize,
}

impl Members {
    const NONE: Self = Self { spans: [[0; 4]; MEMBERS_MAX], count: 0 };
    /// The object is not JSON, or has to be walked over again.
    const UNKNOWN: usize = MEMBERS_MAX + 1;

    fn note(&mut self, text: &[u8], key: StringToken, value: Span) {
        // Keys with escapes are rare: they are left to the walk, which resolves them.
        let escaped = key.may_hold_escapes && key.inner(text).contains(&b'\\');
        let noted = (!escaped).then(|| key.inner_span()).and_then(|key| {
            let [a, b, c, d] = [key.start, key.end, value.start, value.end].map(u32::try_from);
            Some([a.ok()?, b.ok()?, c.ok()?, d.ok()?])
        });
        match (noted, self.spans.get_mut(self.count)) {
            (Some(noted), Some(slot)) => {
                *slot = noted;
                self.count += 1;
            }
            _ => self.count = Self::UNKNOWN,
        }
    }

    /// `None` if the object has to be walked over.
    fn find<const N: usize>(&self, text: &[u8], keys: [&str; N]) -> Option<[Option<Span>; N]> {
        let mut found = [None; N];
        for &[start, end, value, value_end] in self.spans.get(..self.count)? {
            let written = text.get(start as usize..end as usize).unwrap_or_default();
            for (key, slot) in keys.iter().zip(found.iter_mut()) {
                if written == key.as_bytes() {
                    *slot = Some(Span { start: value as usize, end: value_end as usize });
                }
            }
        }
        Some(found)
    }
}

/// A message whose envelope has been found.
#[derive(Clone, Debug)]
pub struct Peek<'a> {
    text: &'a [u8],
    members: Members,
    /// The name of the message, as `ping` or `publishStream`.
    pub(super) name: Cow<'a, str>,
    /// Where the value of `data` lies, of whatever type it is. `None` if there is none: the
    /// media sockets' `ping` has no `data` (protocol S2.9).
    pub(super) data: Option<Span>,
}

/// U+FEFF at the start of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Finds the name and the `data` of a message, whatever the order and the spelling of its keys.
/// Where a key occurs twice the last one counts, as in `JSON.parse`.
///
/// # Errors
/// The text is no JSON object with a string `message`, or nests too deep. Not every text that is
/// no JSON is an error: what lies inside `data` is only skipped.
pub fn peek(text: &[u8]) -> Result<Peek<'_>, PeekError> {
    // Some JSON parsers take a byte order mark, and so do some senders write one.
    let mut cursor =
        Cursor::new(text, if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 });
    cursor.skip_space();
    if cursor.byte() != Some(b'{') {
        cursor.take_value()?;
        return Err(PeekError::NotAnObject);
    }
    let mut name = None;
    let mut data = None;
    let mut members = Members::NONE;
    let mut walk = cursor;
    walk.walk_object_with(|walk, key| {
        let key = Key::of(text, key);
        if key.is("data") {
            members.count = 0;
            let (value, is_known) = walk.take_arguments(|key, value| members.note(text, key, value))?;
            if !is_known {
                members.count = Members::UNKNOWN;
            }
            data = Some(value);
        } else {
            let value = walk.take_value()?;
            if key.is("message") {
                name = Some(value);
            }
        }
        Ok(())
    })?;
    walk.skip_space();
    if walk.byte().is_some() {
        return Err(PeekError::NotJson);
    }
    let name = name.and_then(|span| string(text, span)).ok_or(PeekError::NoName)?;
    Ok(Peek { text, members, name, data })
}

impl<'a> Peek<'a> {
    /// The whole text of the message.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The element of the `data` array with this index; `None` if `data` is no array.
    pub(super) fn argument(&self, index: usize) -> Option<Span> {
        element(self.text, self.data?, index)
    }

    /// The value of `key` in the object that is the first argument.
    pub(super) fn field(&self, key: &str) -> Option<Span> {
        let [value] = self.fields([key]);
        value
    }

    /// The values of several keys of the first argument, found in a single walk.
    pub(super) fn fields<const N: usize>(&self, keys: [&str; N]) -> [Option<Span>; N] {
        self.members.find(self.text, keys).unwrap_or_else(|| {
            self.argument(0).map_or([None; N], |argument| fields(self.text, argument, keys))
        })
    }

    /// The string at `key` of the first argument, unescaped.
    pub(super) fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        string(self.text, self.field(key)?)
    }
}

#[cfg(test)]
mod tests;
