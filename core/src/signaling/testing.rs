//! Random JSON texts for the tests of this layer: any order and spelling of keys, duplicates,
//! blanks, escapes. Only for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;

use proptest::prelude::*;

/// A JSON value which, unlike `serde_json::Value`, may hold a key twice.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Plain(&'static str),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Takes one choice after another from a random list, so that a failing case shrinks.
pub(crate) struct Style<'a> {
    choices: &'a [u8],
    next: usize,
}

impl<'a> Style<'a> {
    pub(crate) fn new(choices: &'a [u8]) -> Self {
        Self { choices, next: 0 }
    }

    fn choose(&mut self) -> u8 {
        if self.choices.is_empty() {
            return 0;
        }
        self.next += 1;
        self.choices[self.next % self.choices.len()]
    }

    fn blank(&mut self, text: &mut String) {
        let choice = self.choose();
        if choice > 200 {
            text.push_str([" ", "\n", "\t ", "\r\n"][usize::from(choice % 4)]);
        }
    }
}

pub(crate) fn render(node: &Node, style: &mut Style<'_>, text: &mut String) {
    style.blank(text);
    match node {
        Node::Plain(plain) => text.push_str(plain),
        Node::Text(value) => render_string(value, style, text),
        Node::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                render(item, style, text);
            }
            style.blank(text);
            text.push(']');
        }
        Node::Object(members) => {
            text.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                style.blank(text);
                render_string(key, style, text);
                style.blank(text);
                text.push(':');
                render(value, style, text);
            }
            style.blank(text);
            text.push('}');
        }
    }
    style.blank(text);
}

fn render_string(value: &str, style: &mut Style<'_>, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        let must = matches!(character, '"' | '\\') || character < ' ';
        let choice = style.choose();
        if !must && choice < 230 {
            text.push(character);
            continue;
        }
        let short = match character {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' => Some("\\/"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            _ => None,
        };
        if let Some(short) = short.filter(|_| choice.is_multiple_of(2)) {
            text.push_str(short);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            if choice.is_multiple_of(3) {
                write!(text, "\\u{unit:04X}").unwrap();
            } else {
                write!(text, "\\u{unit:04x}").unwrap();
            }
        }
    }
    text.push('"');
}

/// Keys that matter here, near misses of them, and any others.
pub(crate) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("message".to_owned()),
        4 => Just("data".to_owned()),
        2 => prop::sample::select(vec!["mediaSessionId", "name", "", "Data", "messages", "sdp"])
            .prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

pub(crate) fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "0", "-1.5e3", "12", "1E-2"])
            .prop_map(Node::Plain),
        ".{0,12}".prop_map(Node::Text),
        prop::sample::select(vec!["ping", "\\", "\"", "]}", "a\r\nb", "😀", "\u{0}"])
            .prop_map(|text| Node::Text(text.to_owned())),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::vec((key(), inner), 0..5).prop_map(Node::Object),
        ]
    })
}

pub(crate) fn object() -> impl Strategy<Value = Node> {
    prop::collection::vec((key(), node()), 0..6).prop_map(Node::Object)
}

/// A random choice list for [`Style`].
pub(crate) fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

/// The text of a random JSON object in a random spelling.
pub(crate) fn object_text() -> impl Strategy<Value = String> {
    (object(), choices()).prop_map(|(node, choices)| {
        let mut text = String::new();
        render(&node, &mut Style::new(&choices), &mut text);
        text
    })
}
