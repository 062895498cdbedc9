//! One walk over a message, value by value, without recursion. Nothing but the values that are replaced is written
//! anew.

use serde::de::IgnoredAny;

use super::{
    Names, Redactor,
    fields::{self, Rule},
};
use crate::signaling::{
    Edits, Span,
    peek::peek,
    scan::{Cursor, MAX_DEPTH},
    value::{fields as members, string, unescape},
};

/// With what a description of media begins, wherever it stands.
const SDP_BEGINS: &str = "v=0";
/// U+FEFF, which a message may begin with.
const MARK: &str = "\u{feff}";

/// An array or an object that the walk is in.
struct Level {
    /// In an array: of each value. In an object: of the value that comes.
    rule: Rule,
    is_object: bool,
    awaits_key: bool,
    /// Which value it is.
    index: usize,
}

struct Walk<'a> {
    redactor: &'a Redactor,
    /// Name of the message.
    name: &'a str,
    /// It says what became of a snapshot.
    is_of_snapshot: bool,
    text: &'a [u8],
    cursor: Cursor<'a>,
    levels: Vec<Level>,
    edits: Edits<'a>,
}

/// The message without its secrets; `None` if it is no JSON, or nests too deep.
pub(super) fn message(redactor: &Redactor, message: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok()?;
    let mark = if text.starts_with(MARK) { MARK } else { "" };
    let text = text.strip_prefix(MARK).unwrap_or(text);
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let peek = peek(text.as_bytes());
    let name = peek.as_ref().map(|peek| String::from_utf8_lossy(&peek.name).into_owned());
    let kind = peek.as_ref().ok().and_then(|peek| peek.string("type"));
    let is_of_snapshot = matches!(name.as_deref(), Ok("notifyStreamEvent"))
        && kind.is_some_and(|kind| kind.starts_with("snapshot"));
    let walk = Walk {
        redactor,
        name: name.as_deref().unwrap_or_default(),
        is_of_snapshot,
        text: text.as_bytes(),
        cursor: Cursor::new(text.as_bytes(), 0),
        levels: Vec::new(),
        edits: Edits::new(),
    };
    let edits = walk.edits()?;
    Some(format!("{mark}{}", String::from_utf8(edits.apply(text.as_bytes())).ok()?))
}

impl<'a> Walk<'a> {
    fn edits(mut self) -> Option<Edits<'a>> {
        loop {
            self.cursor.skip_space();
            match self.cursor.byte() {
                None => return self.levels.is_empty().then_some(self.edits),
                Some(b',') => {
                    self.cursor.take(b',');
                    let level = self.levels.last_mut()?;
                    level.awaits_key = level.is_object;
                    level.index += 1;
                }
                Some(b':') => {
                    self.cursor.take(b':');
                }
                Some(close @ (b'}' | b']')) => {
                    self.cursor.take(close);
                    self.levels.pop()?;
                }
                Some(b'"') if self.levels.last().is_some_and(|level| level.awaits_key) => self.key()?,
                Some(open @ (b'{' | b'[')) => self.open(open)?,
                Some(_) => self.scalar()?,
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        let token = self.cursor.take_string().ok()?;
        let key = unescape(token.inner(self.text));
        let level = self.levels.last_mut()?;
        level.rule = fields::rule(&key, self.name);
        level.awaits_key = false;
        Some(())
    }

    /// What becomes of the value at the cursor.
    fn rule(&self) -> Rule {
        self.levels.last().map_or(Rule::Unknown, |level| level.rule)
    }

    fn open(&mut self, open: u8) -> Option<()> {
        let is_object = open == b'{';
        let mut rule = self.rule();
        if rule == Rule::Payload {
            let is_known = self.is_of_snapshot || self.is_of_room();
            rule = if is_object && is_known { Rule::Unknown } else { Rule::Secret };
        }
        if rule == Rule::Secret {
            let value = self.cursor.take_value().ok()?;
            let stands = self.redactor.placeholder_of(value.of(self.text));
            if !is_redacted(value.of(self.text)) {
                let json = if is_object {
                    format!(r#"{{"redacted":"{stands}"}}"#)
                } else {
                    format!(r#"["{stands}"]"#)
                };
                self.edits.push(value, json);
            }
            return Some(());
        }
        self.cursor.take(open);
        if self.levels.len() >= usize::try_from(MAX_DEPTH).ok()? {
            return None;
        }
        self.levels.push(Level { rule, is_object, awaits_key: is_object, index: 0 });
        Some(())
    }

    /// Whether the object at the cursor is a command or an event of the room protocol (S2.7).
    fn is_of_room(&self) -> bool {
        let Ok(object) = self.cursor.clone().take_value() else { return false };
        let [command, options, room] = members(self.text, object, ["command", "options", "roomName"]);
        command.is_some() && options.is_some() || room.is_some()
    }

    fn scalar(&mut self) -> Option<()> {
        let value = self.cursor.take_value().ok()?;
        let rule = self.rule();
        if self.cursor.at() == value.start {
            return None;
        }
        match string(self.text, value) {
            Some(text) => self.replace(value, rule, &text),
            None => self.replace_number(value, rule),
        }
        Some(())
    }

    fn replace(&mut self, value: Span, rule: Rule, text: &str) {
        let redactor = self.redactor;
        let index = self.levels.last().map_or(0, |level| level.index);
        let rule = if rule == Rule::Arguments { fields::argument(self.name, index) } else { rule };
        let shown = match rule {
            Rule::Secret | Rule::Payload => redactor.secret(text),
            _ if text.starts_with(SDP_BEGINS) => redactor.sdp(text),
            Rule::Word => redactor.word(text),
            Rule::Words => redactor.words(text),
            Rule::Name => redactor.name(text),
            Rule::Sdp => redactor.sdp(text),
            Rule::Unknown | Rule::Arguments => redactor.secret(text),
        };
        if shown != text {
            self.edits.push_string(value, &shown);
        }
    }

    /// A number, or a word of JSON, which tells nothing.
    fn replace_number(&mut self, value: Span, rule: Rule) {
        let number = value.of(self.text);
        if matches!(number, b"true" | b"false" | b"null") {
            return;
        }
        match rule {
            Rule::Secret | Rule::Payload => {
                // It stays a number. Once replaced, it is replaced again: only texts say that they are placeholders.
                let [a, b, c, d, ..] = self.redactor.digest(number);
                self.edits.push(value, u32::from_be_bytes([a, b, c, d]).to_string());
            }
            // Read as what it is written like.
            Rule::Name if self.redactor.names == Names::Anonymous => {
                let stands = self.redactor.name(&String::from_utf8_lossy(number));
                self.edits.push_string(value, &stands);
            }
            _ => {}
        }
    }
}

/// Whether this array or object was put there in the place of another.
fn is_redacted(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"{\"redacted\":\"").or_else(|| value.strip_prefix(b"[\""));
    let value = value.and_then(|value| value.strip_suffix(b"\"}").or_else(|| value.strip_suffix(b"\"]")));
    value.and_then(|value| std::str::from_utf8(value).ok()).is_some_and(super::is_placeholder)
}
