//! The envelope of a message: its name and where its arguments lie.
//!
//! Runs on every message in both directions. It walks the text once, allocates only when the
//! name is written with escapes, and looks into nothing but the outermost object.

use std::borrow::Cow;

use super::scan::{Cursor, Fault, Span};
use super::value::{Key, element, fields_at, string};

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
    /// Arrays and objects nest deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("the message nests deeper than {} levels", super::MAX_DEPTH)]
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

/// A message whose envelope has been found.
#[derive(Clone, Debug)]
pub struct Peek<'a> {
    text: &'a [u8],
    /// The name of the message, as `ping` or `publishStream`.
    pub name: Cow<'a, str>,
    /// Where the value of `data` lies, of whatever type it is. `None` if there is none: the
    /// media sockets' `ping` has no `data` (protocol S2.9).
    pub data: Option<Span>,
}

/// Finds the name and the `data` of a message, whatever the order and the spelling of its keys.
/// Where a key occurs twice the last one counts, as in `JSON.parse`.
///
/// # Errors
/// The text is no JSON object with a string `message`, or nests too deep. Not every text that is
/// no JSON is an error: what lies inside `data` is only skipped.
pub fn peek(text: &[u8]) -> Result<Peek<'_>, PeekError> {
    let mut cursor = Cursor::new(text, 0);
    cursor.skip_space();
    if cursor.byte() != Some(b'{') {
        cursor.take_value()?;
        return Err(PeekError::NotAnObject);
    }
    let mut name = None;
    let mut data = None;
    let mut walk = cursor;
    walk.walk_object(|key, value| {
        let key = Key::of(text, key);
        if key.is("message") {
            name = Some(value);
        } else if key.is("data") {
            data = Some(value);
        }
    })?;
    walk.skip_space();
    if walk.byte().is_some() {
        return Err(PeekError::NotJson);
    }
    let name = name.and_then(|span| string(text, span)).ok_or(PeekError::NoName)?;
    Ok(Peek { text, name, data })
}

impl<'a> Peek<'a> {
    /// The whole text of the message.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The element of the `data` array with this index; `None` if `data` is no array.
    #[must_use]
    pub fn argument(&self, index: usize) -> Option<Span> {
        element(self.text, self.data?, index)
    }

    /// The string argument with this index.
    #[must_use]
    pub fn string_argument(&self, index: usize) -> Option<Cow<'a, str>> {
        string(self.text, self.argument(index)?)
    }

    /// The value of `key` in the object that is the first argument.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<Span> {
        let [value] = self.fields([key]);
        value
    }

    /// The values of several keys of the first argument, found in a single walk.
    #[must_use]
    pub fn fields<const N: usize>(&self, keys: [&str; N]) -> [Option<Span>; N] {
        // Not by way of `argument(0)`, which would walk over the object once more.
        let Some(mut cursor) = self.data.and_then(|data| Cursor::within(self.text, data)) else {
            return [None; N];
        };
        if !cursor.take(b'[') {
            return [None; N];
        }
        cursor.skip_space();
        fields_at(self.text, &mut cursor, keys)
    }

    /// The string at `key` of the first argument, unescaped.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        string(self.text, self.field(key)?)
    }
}

#[cfg(test)]
mod tests;
