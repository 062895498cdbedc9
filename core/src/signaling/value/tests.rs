#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::signaling::testing::{Node, Style, choices, render};

fn whole(text: &str) -> Span {
    Span { start: 0, end: text.len() }
}

fn read(text: &str) -> Option<Cow<'_, str>> {
    string(text.as_bytes(), whole(text))
}

#[test]
fn strings_are_unescaped() {
    assert_eq!(read(r#""plain ü""#).unwrap(), "plain ü");
    assert!(matches!(read(r#""plain ü""#).unwrap(), Cow::Borrowed(_)));
    assert_eq!(
        read(r#""v=0\r\no=- \"x\" \\ \/ \b\f\t \u00e9\ud83d\ude00""#).unwrap(),
        "v=0\r\no=- \"x\" \\ / \u{8}\u{c}\t é😀"
    );
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    assert_eq!(read(r#""a\ud800b""#).unwrap(), "a\u{fffd}b");
    assert_eq!(read(r#""\udc00\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
    assert_eq!(read(r#""\ud800\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
    assert_eq!(read(r#""\ud83dxx""#).unwrap(), "\u{fffd}xx");
    assert_eq!(read(r#""\u12""#).unwrap(), "\u{fffd}12");
    assert_eq!(read(r#""\u+123""#).unwrap(), "\u{fffd}+123");
}

#[test]
fn a_value_of_another_type_is_none() {
    for text in ["1", "true", "null", "{}", "[]", "[\"a\"]", "\"a", "\"", "\"a\\\"", ""] {
        assert_eq!(read(text), None, "{text}");
    }
    assert_eq!(string(b"\"a\"b", Span { start: 0, end: 4 }), None);
    let boolean = |text: &str| boolean(text.as_bytes(), whole(text));
    assert_eq!((boolean("true"), boolean("false")), (Some(true), Some(false)));
    assert_eq!((boolean("1"), boolean("\"true\""), boolean("")), (None, None, None));
}

#[test]
fn an_identifier_is_a_string_or_a_number_as_it_is_written() {
    let identifier = |text: &'static str| identifier(text.as_bytes(), whole(text));
    assert_eq!((identifier("-1.5e2").as_deref(), identifier("7").as_deref()), (Some("-1.5e2"), Some("7")));
    assert_eq!(identifier(r#""a\u0062""#).as_deref(), Some("ab"));
    for text in ["inf", "+1", "nan", "null", "true", "{}", ""] {
        assert_eq!(identifier(text), None, "{text}");
    }
}

#[test]
fn spans_that_do_not_fit_are_harmless() {
    let text = br#"{"a":"b"}"#;
    for span in [
        Span { start: 5, end: 3 },
        Span { start: 0, end: 400 },
        Span { start: usize::MAX, end: usize::MAX },
        Span { start: 3, end: 4 },
    ] {
        assert_eq!(field(text, span, "a"), None);
        assert_eq!(element(text, span, 0), None);
        assert_eq!(string(text, span), None);
        assert_eq!(identifier(text, span), None);
    }
}

#[test]
fn elements_end_where_the_text_is_no_json() {
    let count = |text: &str| elements(text.as_bytes(), whole(text)).count();
    assert_eq!(count("[]"), 0);
    assert_eq!(count("[ 1 , [2,3] , \"x\" ]"), 3);
    assert_eq!(count("[1 2]"), 1);
    assert_eq!(count("[1,,2]"), 1);
    assert_eq!(count("{\"a\":1}"), 0);
}

#[test]
fn an_object_that_is_broken_has_no_fields() {
    for text in [r#"{"a":1"#, r#"{"a":1,}"#, r#"{"a" 1}"#, r#"{"a":}"#, r#"[{"a":1}]"#] {
        assert_eq!(field(text.as_bytes(), whole(text), "a"), None, "{text}");
    }
}

proptest! {
    #[test]
    fn every_string_survives_its_spelling(value in any::<String>(), choices in choices()) {
        let mut text = String::new();
        render(&Node::Text(value.clone()), &mut Style::new(&choices), &mut text);
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        prop_assert_eq!(read(text).unwrap(), value);
    }

    #[test]
    fn escapes_of_any_kind_are_safe(inner in prop::collection::vec(prop::sample::select(b"\\u\"dD8cC0nx{".to_vec()), 0..30)) {
        let _ = unescape(&inner);
    }
}
