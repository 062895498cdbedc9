//! The envelope of a message: its name and where its arguments lie.
//!
//! Runs on every message in both directions. It walks the text once and allocates only when the
//! name is written with escapes. When somebody asks for a member of the first argument, it notes where
//! all of them lie, so that asking for the next does not walk over the text again.

use std::{borrow::Cow, cell::OnceCell};

use super::scan::{Cursor, Fault, Span, StringToken};
use super::value::{Key, element, fields, string, unescape};

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
#[derive(Clone, Debug)]
struct Members {
    /// Start and end of the key without its quotes, start and end of the value.
    spans: [[u32; 4]; MEMBERS_MAX],
    /// How many there are; more than [`MEMBERS_MAX`] if not all could be noted.
    count: usize,
}

impl Members {
    /// The object is not JSON, or has to be walked over again.
    const UNKNOWN: usize = MEMBERS_MAX + 1;

    /// Those of the first element of this array, if that is an object.
    fn of(text: &[u8], data: Option<Span>) -> Box<Self> {
        let walk = data.and_then(|data| Cursor::within(text, data));
        let taken = walk.and_then(|mut walk| Self::take(text, &mut walk).ok());
        taken.map_or_else(Self::none, |(_, members)| members)
    }

    fn none() -> Box<Self> {
        Box::new(Self { spans: [[0; 4]; MEMBERS_MAX], count: 0 })
    }

    /// Consumes the value at the cursor: where it lies, and those of the first element of it.
    fn take(text: &[u8], walk: &mut Cursor<'_>) -> Result<(Span, Box<Self>), Fault> {
        let mut members = Self::none();
        let (value, is_known) = walk.take_arguments(|key, value| members.note(text, key, value))?;
        if !is_known {
            members.count = Self::UNKNOWN;
        }
        Ok((value, members))
    }

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
    /// Noted when the first of them is asked for: most messages are only passed on.
    members: OnceCell<Box<Members>>,
    /// The name of the message, as `ping` or `publishStream`, in bytes: it is compared, not read.
    pub(super) name: Cow<'a, [u8]>,
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
    peek_into(text, |_| false)
}

/// As [`peek`]; on the same way notes where the members of the first argument lie, if the name stands before
/// them and `is_looked_into` says so of it.
pub(crate) fn peek_into(text: &[u8], is_looked_into: impl Fn(&[u8]) -> bool) -> Result<Peek<'_>, PeekError> {
    // Some JSON parsers take a byte order mark, and so do some senders write one.
    let mut cursor =
        Cursor::new(text, if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 });
    cursor.skip_space();
    if cursor.byte() != Some(b'{') {
        cursor.take_value()?;
        return Err(PeekError::NotAnObject);
    }
    let mut name: Option<StringToken> = None;
    let mut data = None;
    let mut members = OnceCell::new();
    let mut walk = cursor;
    walk.walk_object_with(|walk, key| {
        let key = Key::of(text, key);
        if key.is("message") && walk.byte() == Some(b'"') {
            name = Some(walk.take_string()?);
            return Ok(());
        }
        if key.is("data") {
            // Who writes the name last is looked into in any case.
            let looks = name.is_none_or(|name| is_looked_into(name.inner(text)));
            let value = if looks {
                let (value, noted) = Members::take(text, walk)?;
                members = OnceCell::from(noted);
                value
            } else {
                members = OnceCell::new();
                walk.take_value()?
            };
            data = Some(value);
            return Ok(());
        }
        let _ = walk.take_value()?;
        if key.is("message") {
            // Not a string: as if there were none.
            name = None;
        }
        Ok(())
    })?;
    walk.skip_space();
    if walk.byte().is_some() {
        return Err(PeekError::NotJson);
    }
    let name = name.ok_or(PeekError::NoName)?;
    let name = match (name.may_hold_escapes, name.inner(text)) {
        (true, written) if written.contains(&b'\\') => {
            Cow::Owned(unescape(written).into_owned().into_bytes())
        }
        (_, written) => Cow::Borrowed(written),
    };
    Ok(Peek { text, members, name, data })
}

impl<'a> Peek<'a> {
    /// The name of the message, to be read.
    pub(super) fn name_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

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
        let members = self.members.get_or_init(|| Members::of(self.text, self.data));
        members.find(self.text, keys).unwrap_or_else(|| {
            self.argument(0).map_or([None; N], |argument| fields(self.text, argument, keys))
        })
    }

    /// Whether the string at `key` of the first argument is this word. Nothing is unescaped for a word that is
    /// written as it is.
    pub(super) fn says(&self, key: &str, word: &str) -> bool {
        let Some(span) = self.field(key) else { return false };
        let written = span.of(self.text).strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        written == Some(word.as_bytes()) || string(self.text, span).is_some_and(|text| text == word)
    }

    /// The string at `key` of the first argument, unescaped.
    pub(super) fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        string(self.text, self.field(key)?)
    }
}

#[cfg(test)]
mod tests;
