//! A cursor over JSON text that skips values without building anything.
//!
//! It checks what it must to find the ends of values (quotes, brackets, separators at the level
//! it is asked to walk) and leaves the rest to whoever parses the value. Skipping is a loop with
//! a fixed stack of bits, so that nesting costs nothing and is bounded.

use memchr::memchr;

/// How deep arrays and objects may nest inside one message, in levels. The same limit as
/// `serde_json`, whose parser is used on parts of messages.
pub const MAX_DEPTH: u32 = 127;

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

/// A string token: where it is, quotes included.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringToken {
    pub(super) span: Span,
}

impl StringToken {
    /// The bytes between the quotes.
    pub(super) fn inner(self, text: &[u8]) -> &[u8] {
        text.get(self.span.start.saturating_add(1)..self.span.end.saturating_sub(1)).unwrap_or_default()
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
        self.skip_to_closing_quote()?;
        Ok(StringToken { span: Span { start, end: self.at } })
    }

    /// Moves behind the closing quote of the string the cursor is in.
    ///
    /// Looks for quotes only: an SDP in a message has two escapes on each line, but no quote.
    fn skip_to_closing_quote(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            // Keys and statuses are short: a plain loop beats starting a vector search.
            let near = rest.iter().take(16).position(|&byte| byte == b'"');
            let offset = near.or_else(|| memchr(b'"', rest)).ok_or(Fault::Syntax)?;
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
        let start = self.at;
        match self.byte() {
            Some(b'"') => {
                self.take_string()?;
            }
            Some(b'{' | b'[') => self.skip_container()?,
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

    /// Skips an array or object with all it holds. Brackets must match; separators between
    /// values are not looked at.
    fn skip_container(&mut self) -> Result<(), Fault> {
        // One bit per open level, the innermost lowest: 1 for an object, 0 for an array.
        let mut kinds: u128 = 0;
        let mut depth: u32 = 0;
        loop {
            let byte = self.byte().ok_or(Fault::Syntax)?;
            self.at += 1;
            match byte {
                b'"' => {
                    self.skip_to_closing_quote()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
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

    /// Walks the members of an object at the cursor and calls `visit` with each key and value.
    /// Leaves the cursor behind the closing brace.
    pub(super) fn walk_object(&mut self, mut visit: impl FnMut(StringToken, Span)) -> Result<(), Fault> {
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
            let value = self.take_value()?;
            visit(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(Fault::Syntax);
            }
        }
    }
}
