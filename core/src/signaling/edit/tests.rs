#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::signaling::testing::object_text;
use crate::signaling::{peek, value::field};

fn whole(text: &str) -> Span {
    Span { start: 0, end: text.len() }
}

#[test]
fn only_the_value_changes() {
    let text = br#"{ "data":[{"sdp" : "v=0\r\n", "mediaSessionId":"a\u002d1" }],"message":"publishStream" }"#;
    let message = peek(text).unwrap();
    let mut edits = Edits::new();
    edits.push_string(message.field("sdp").unwrap(), "new \"sdp\"\r\n");
    edits.push_string(message.field("mediaSessionId").unwrap(), "b-2");
    assert_eq!(
        String::from_utf8(edits.apply(text)).unwrap(),
        r#"{ "data":[{"sdp" : "new \"sdp\"\r\n", "mediaSessionId":"b-2" }],"message":"publishStream" }"#
    );
}

#[test]
fn edits_may_come_in_any_order_and_overlaps_are_left_out() {
    let text = b"0123456789";
    let mut edits = Edits::new();
    edits.push(Span { start: 6, end: 8 }, "B");
    edits.push(Span { start: 2, end: 4 }, "A");
    edits.push(Span { start: 3, end: 5 }, "overlaps");
    edits.push(Span { start: 9, end: 40 }, "outside");
    edits.push(Span { start: 5, end: 4 }, "reversed");
    assert_eq!(edits.apply(text), b"01A45B89");
    assert!(Edits::new().is_empty());
    assert_eq!(Edits::new().apply(text), text);
}

#[test]
fn fields_are_removed_with_their_commas() {
    for (text, expected) in [
        (r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#),
        (r#"{"b":2,"c":3}"#, r#"{"c":3}"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#),
        (r#"{"b":2}"#, r#"{}"#),
        (r#"{"b":2,"a":1,"\u0062":3}"#, r#"{"a":1}"#),
        (r#"{ "a" : 1 , "b" : {"b":","} , "c" : 3 }"#, r#"{ "a" : 1 , "c" : 3 }"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
        (r#"{}"#, r#"{}"#),
        (r#"["b"]"#, r#"["b"]"#),
        (r#"{"b":1"#, r#"{"b":1"#),
    ] {
        let removed = remove_field(text.as_bytes(), whole(text), "b");
        assert_eq!(String::from_utf8(removed).unwrap(), expected, "{text}");
    }
}

#[test]
fn fields_are_set_in_place_or_appended() {
    for (text, expected) in [
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":"x"}"#),
        (r#"{"b":1,"b":2}"#, r#"{"b":1,"b":"x"}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":"x"}"#),
        (r#"{}"#, r#"{"b":"x"}"#),
        (r#"{ "a":1 }"#, r#"{ "a":1 ,"b":"x"}"#),
        (r#"7"#, r#"7"#),
    ] {
        let set = set_field(text.as_bytes(), whole(text), "b", "\"x\"");
        assert_eq!(String::from_utf8(set).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_connection_loses_its_credentials() {
    let text = br#"{"message":"connection","data":[{"appKey":"a","sipLogin":"1","sipPassword":"p","keepAlive":true}]}"#;
    let object = peek(text).unwrap().argument(0).unwrap();
    let bare = remove_fields(text, object, &["sipLogin", "sipPassword"]);
    let object = peek(&bare).unwrap().argument(0).unwrap();
    let resumed = set_field(&bare, object, "authToken", "\"t\"");
    assert_eq!(
        String::from_utf8(resumed).unwrap(),
        r#"{"message":"connection","data":[{"appKey":"a","keepAlive":true,"authToken":"t"}]}"#
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn removing_and_setting_agree_with_serde_json(text in object_text(), key in "message|data|name") {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let mut expected: Value = serde_json::from_str(text).unwrap();
        let mut without = expected.clone();
        without.as_object_mut().unwrap().remove(&key);
        let removed = remove_field(text.as_bytes(), whole(text), &key);
        prop_assert_eq!(serde_json::from_slice::<Value>(&removed).unwrap(), without);

        expected[&key] = Value::from("new");
        let set = set_field(text.as_bytes(), whole(text), &key, "\"new\"");
        prop_assert_eq!(serde_json::from_slice::<Value>(&set).unwrap(), expected);
    }

    #[test]
    fn replacing_a_value_changes_no_other_byte(text in object_text(), key in "message|data|name", new in any::<String>()) {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if let Some(span) = field(text.as_bytes(), whole(text), &key) {
            let mut edits = Edits::new();
            edits.push_string(span, &new);
            let edited = edits.apply(text.as_bytes());
            prop_assert_eq!(&edited[..span.start], &text.as_bytes()[..span.start]);
            prop_assert!(edited.ends_with(&text.as_bytes()[span.end..]));
            let value: Value = serde_json::from_slice(&edited).unwrap();
            prop_assert_eq!(&value[&key], &Value::from(new));
        }
    }

    #[test]
    fn any_edits_are_safe(text in prop::collection::vec(any::<u8>(), 0..40), spans in prop::collection::vec((0..50_usize, 0..50_usize), 0..8)) {
        let mut edits = Edits::new();
        for (start, end) in spans {
            let span = Span { start, end };
            let _ = remove_field(&text, span, "a");
            let _ = set_field(&text, span, "a", "1");
            edits.push(span, "x");
        }
        let _ = edits.apply(&text);
    }
}
