//! Finding single values inside a message and reading them.
//!
//! Where a key occurs twice the last one counts, as in `JSON.parse`. Everything yields `None`
//! when the value is missing, of another type, or the text around it is no JSON.

use std::borrow::Cow;

use super::scan::{Cursor, NEAR_BYTES, Span, StringToken};

/// The value of `key` in the object at `object`.
pub(super) fn field(text: &[u8], object: Span, key: &str) -> Option<Span> {
    let [value] = fields(text, object, [key]);
    value
}

/// The values of several keys of one object, found in a single walk over it.
pub(super) fn fields<const N: usize>(text: &[u8], object: Span, keys: [&str; N]) -> [Option<Span>; N] {
    let Some(mut cursor) = Cursor::within(text, object) else { return [None; N] };
    let mut found = [None; N];
    let walked = cursor.walk_object(|token, value| {
        let written = Key::of(text, token);
        for (key, slot) in keys.iter().zip(found.iter_mut()) {
            if written.is(key) {
                *slot = Some(value);
            }
        }
    });
    if walked.is_err() { [None; N] } else { found }
}

/// The element of the array at `array` with this index.
pub(super) fn element(text: &[u8], array: Span, index: usize) -> Option<Span> {
    elements(text, array).nth(index)
}

/// The elements of the array at `array`, in order. Ends early where the text is no JSON; empty
/// if the value is no array.
pub(super) fn elements(text: &[u8], array: Span) -> impl Iterator<Item = Span> + '_ {
    let mut cursor = Cursor::within(text, array).filter(|cursor| cursor.byte() == Some(b'['));
    std::iter::from_fn(move || {
        let at = cursor.as_mut()?;
        // The opening bracket before the first element, a comma before each further one.
        let separator = if at.at() == array.start { b'[' } else { b',' };
        let value = at.take(separator).then(|| {
            at.skip_space();
            let value = at.take_value().ok()?;
            at.skip_space();
            Some(value)
        });
        let value = value.flatten();
        if value.is_none() {
            cursor = None;
        }
        value
    })
}

/// The string at `value`, unescaped; no allocation if it holds no escapes. Lone surrogates and
/// invalid UTF-8 become U+FFFD.
pub(super) fn string(text: &[u8], value: Span) -> Option<Cow<'_, str>> {
    let inner = value.of(text).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !needs_a_walk(inner) {
        return Some(plain(inner));
    }
    let token = Cursor::within(text, value)?.take_string().ok()?;
    (token.span == value).then(|| unescape(inner))
}

/// Whether there is an escape in it, or an end before its end. Most ids and words are short: for those a
/// plain loop beats starting a vector search.
fn needs_a_walk(inner: &[u8]) -> bool {
    if inner.len() <= NEAR_BYTES {
        inner.iter().any(|byte| matches!(byte, b'\\' | b'"'))
    } else {
        memchr::memchr2(b'\\', b'"', inner).is_some()
    }
}

/// What was written without escapes.
fn plain(inner: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(inner).map_or_else(|_| String::from_utf8_lossy(inner), Cow::Borrowed)
}

/// The id or name at `value`: a string, or a number as it is written. Clients may choose ids that are
/// numbers; to an object of JavaScript and a `String` of Java they are the same.
pub(super) fn identifier(text: &[u8], value: Span) -> Option<Cow<'_, str>> {
    string(text, value).or_else(|| number_token(text, value).map(Cow::Borrowed))
}

/// The boolean at `value`.
pub(super) fn boolean(text: &[u8], value: Span) -> Option<bool> {
    match value.of(text) {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

fn number_token(text: &[u8], value: Span) -> Option<&str> {
    let token = value.of(text);
    // As JSON writes numbers: nothing like "inf", "nan" and "+1".
    let starts_as_number = matches!(token.first(), Some(b'-' | b'0'..=b'9'));
    let only_digits = token.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    (starts_as_number && only_digits).then(|| std::str::from_utf8(token).ok()).flatten()
}

/// A key of an object as it is written.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    inner: &'a [u8],
    escaped: bool,
}

impl<'a> Key<'a> {
    pub(super) fn of(text: &'a [u8], token: StringToken) -> Self {
        let inner = token.inner(text);
        Self { inner, escaped: token.may_hold_escapes }
    }

    /// True if it reads `key` once unescaped.
    pub(super) fn is(self, key: &str) -> bool {
        if self.escaped { unescape(self.inner) == key } else { self.inner == key.as_bytes() }
    }
}

/// Resolves the escapes of a string token without its quotes.
pub(super) fn unescape(inner: &[u8]) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inner) else {
        return plain(inner);
    };
    let mut plain = Vec::with_capacity(inner.len());
    plain.extend_from_slice(inner.get(..first).unwrap_or_default());
    let mut rest = inner.get(first..).unwrap_or_default();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\' {
            rest = unescape_one(tail, &mut plain);
        } else {
            let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            plain.extend_from_slice(rest.get(..run).unwrap_or_default());
            rest = rest.get(run..).unwrap_or_default();
        }
    }
    Cow::Owned(match String::from_utf8(plain) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Resolves one escape whose backslash is already consumed; returns what follows it. An escape
/// that JSON does not know stands for the character after the backslash.
fn unescape_one<'a>(tail: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let Some((&kind, after)) = tail.split_first() else {
        return tail;
    };
    match kind {
        b'b' => plain.push(0x08),
        b'f' => plain.push(0x0c),
        b'n' => plain.push(b'\n'),
        b'r' => plain.push(b'\r'),
        b't' => plain.push(b'\t'),
        b'u' => return unescape_unicode(after, plain),
        other => plain.push(other),
    }
    after
}

/// Resolves `XXXX` or a surrogate pair `XXXX\uXXXX` after a `\u`; returns what follows it.
fn unescape_unicode<'a>(after: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let Some((unit, rest)) = hex_unit(after) else {
        push_char(char::REPLACEMENT_CHARACTER, plain);
        return after;
    };
    if let Some(character) = char::from_u32(unit) {
        push_char(character, plain);
        return rest;
    }
    let low = rest.strip_prefix(b"\\u").and_then(hex_unit);
    if let (0xd800..=0xdbff, Some((low @ 0xdc00..=0xdfff, behind))) = (unit, low) {
        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        push_char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), plain);
        return behind;
    }
    push_char(char::REPLACEMENT_CHARACTER, plain);
    rest
}

/// Four hexadecimal digits and what follows them.
fn hex_unit(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (unit, rest) = digits.split_at_checked(4)?;
    let mut code = 0;
    for &digit in unit {
        code = code * 16 + char::from(digit).to_digit(16)?;
    }
    Some((code, rest))
}

fn push_char(character: char, plain: &mut Vec<u8>) {
    plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests;
