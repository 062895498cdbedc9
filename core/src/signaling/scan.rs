//! A cursor over JSON text that skips values without building anything.
//!
//! It checks what it must to find the ends of values (quotes, brackets, separators at the level
//! it is asked to walk) and leaves the rest to whoever parses the value. Skipping is a loop with
//! a fixed stack of bits, so that nesting costs nothing and is bounded.

use memchr::memchr;

/// How deep arrays and objects may nest inside one message, in levels. The same limit as
/// `serde_json`, whose parser is used on parts of messages.
pub(super) const MAX_DEPTH: u32 = 127;

/// The byte range of one JSON value in a text, quotes and brackets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first byte of the value.
    pub start: usize,
    /// Offset after the last byte of the value.
    pub end: usize,
}

impl Span {
    /// The bytes of this value. Empty if the span does not lie in `text`.
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// True if the span lies inside `text`.
    pub(super) const fn fits(self, text: &[u8]) -> bool {
        self.start <= self.end && self.end <= text.len()
    }
}

/// Why the cursor cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text is not JSON here.
    Syntax,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
}

/// Strings are searched byte by byte up to here, in bytes: most keys and statuses are shorter, and
/// for those a plain loop beats starting a vector search.
pub(super) const NEAR_BYTES: usize = 24;

/// A string token: where it is, quotes included.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringToken {
    pub(super) span: Span,
    /// False if it surely holds no escapes.
    pub(super) may_hold_escapes: bool,
}

impl StringToken {
    /// Where the bytes between the quotes lie.
    pub(super) const fn inner_span(self) -> Span {
        Span { start: self.span.start.saturating_add(1), end: self.span.end.saturating_sub(1) }
    }

    /// The bytes between the quotes.
    pub(super) fn inner(self, text: &[u8]) -> &[u8] {
        self.inner_span().of(text)
    }
}

/// A position in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// A cursor at the start of a value which sees nothing behind it. `None` if the span does
    /// not fit the text.
    pub(super) fn within(text: &'a [u8], span: Span) -> Option<Self> {
        (span.start <= span.end)
            .then(|| text.get(..span.end))
            .flatten()
            .map(|text| Self::new(text, span.start))
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// Consumes `wanted` if it is the next byte.
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.byte() == Some(wanted);
        if found {
            self.at += 1;
        }
        found
    }

    /// Consumes a string. The cursor must stand at its opening quote.
    pub(super) fn take_string(&mut self) -> Result<StringToken, Fault> {
        let start = self.at;
        if !self.take(b'"') {
            return Err(Fault::Syntax);
        }
        let may_hold_escapes = self.skip_to_closing_quote()?;
        Ok(StringToken { span: Span { start, end: self.at }, may_hold_escapes })
    }

    /// Moves behind the closing quote of the string the cursor is in. False if the string surely
    /// holds no escapes.
    fn skip_to_closing_quote(&mut self) -> Result<bool, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (offset, &byte) in rest.iter().take(NEAR_BYTES).enumerate() {
            if byte == b'"' {
                self.at += offset + 1;
                return Ok(false);
            }
            if byte == b'\\' {
                break;
            }
        }
        self.skip_to_far_quote()?;
        Ok(true)
    }

    /// Looks for quotes only: an SDP in a message has two escapes on each line, but no quote.
    fn skip_to_far_quote(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let offset = memchr(b'"', rest).ok_or(Fault::Syntax)?;
            let before = self.text.get(..self.at + offset).unwrap_or_default();
            // The run of backslashes ends at the latest at the quote before.
            let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
            self.at += offset + 1;
            if backslashes.is_multiple_of(2) {
                return Ok(());
            }
        }
    }

    /// Consumes one value of any kind and tells where it was. The cursor must stand at its
    /// first byte.
    pub(super) fn take_value(&mut self) -> Result<Span, Fault> {
        self.take_value_within(0)
    }

    /// As [`take_value`](Self::take_value), for a value inside this many containers which count
    /// against [`MAX_DEPTH`].
    fn take_value_within(&mut self, containers: u32) -> Result<Span, Fault> {
        let start = self.at;
        match self.byte() {
            Some(b'"') => {
                self.take_string()?;
            }
            // Brackets must match; separators between values are not looked at.
            Some(b'{' | b'[') => self.skip_levels(0, 0, containers)?,
            _ => self.skip_scalar()?,
        }
        Ok(Span { start, end: self.at })
    }

    /// Skips a number, `true`, `false` or `null`.
    fn skip_scalar(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'E' | b'+' | b'-' | b'.'))
            .unwrap_or(rest.len());
        let token = rest.get(..length).unwrap_or_default();
        let valid = match token.first() {
            Some(b'-' | b'0'..=b'9') => {
                token.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            }
            _ => matches!(token, b"true" | b"false" | b"null"),
        };
        if !valid {
            return Err(Fault::Syntax);
        }
        self.at += length;
        Ok(())
    }

    /// Skips up to the end of the outermost of `depth` open levels; with none open, over the array
    /// or object at the cursor. `kinds` has one bit per open level, the innermost lowest: 1 for an
    /// object, 0 for an array. `containers`: how many more it all lies in.
    fn skip_levels(&mut self, mut kinds: u128, mut depth: u32, containers: u32) -> Result<(), Fault> {
        loop {
            let byte = self.byte().ok_or(Fault::Syntax)?;
            self.at += 1;
            match byte {
                b'"' => {
                    self.skip_to_closing_quote()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth + containers > MAX_DEPTH {
                        return Err(Fault::TooDeep);
                    }
                    kinds = (kinds << 1) | u128::from(byte == b'{');
                }
                b'}' | b']' => {
                    if (kinds & 1 == 1) != (byte == b'}') {
                        return Err(Fault::Syntax);
                    }
                    kinds >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    /// Consumes a value as [`take_value`](Self::take_value) does. If it is an array whose first
    /// element is an object, `visit` is called with each key and value of that. True if that object
    /// is JSON as far as it was looked at, or if there is none.
    pub(super) fn take_arguments(
        &mut self,
        visit: impl FnMut(StringToken, Span),
    ) -> Result<(Span, bool), Fault> {
        let start = *self;
        self.take(b'[');
        self.skip_space();
        if start.byte() != Some(b'[') || self.byte() != Some(b'{') {
            *self = start;
            return Ok((self.take_value()?, true));
        }
        if self.walk_members(2, visit).is_err() {
            // What lies inside is skipped without being judged.
            *self = start;
            return Ok((self.take_value()?, false));
        }
        // The array is still open.
        self.skip_levels(0, 1, 0)?;
        Ok((Span { start: start.at, end: self.at }, true))
    }

    /// Walks the members of an object at the cursor and calls `visit` with each key and value.
    /// Leaves the cursor behind the closing brace.
    pub(super) fn walk_object(&mut self, visit: impl FnMut(StringToken, Span)) -> Result<(), Fault> {
        self.walk_members(0, visit)
    }

    /// As [`walk_object`](Self::walk_object); `visit` consumes the value itself.
    pub(super) fn walk_object_with(
        &mut self,
        mut visit: impl FnMut(&mut Self, StringToken) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.take(b'{') {
            return Err(Fault::Syntax);
        }
        self.skip_space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.take_string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(Fault::Syntax);
            }
            self.skip_space();
            visit(self, key)?;
            self.skip_space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(Fault::Syntax);
            }
        }
    }

    /// As [`walk_object`](Self::walk_object), for an object that is the innermost of `containers`.
    fn walk_members(
        &mut self,
        containers: u32,
        mut visit: impl FnMut(StringToken, Span),
    ) -> Result<(), Fault> {
        self.walk_object_with(|walk, key| {
            visit(key, walk.take_value_within(containers)?);
            Ok(())
        })
    }
}
