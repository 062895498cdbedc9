#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::signaling::testing::object_text;
use crate::signaling::{scan::MAX_DEPTH, value::boolean};

fn parsed(text: &[u8], span: Option<Span>) -> Option<Value> {
    span.map(|span| serde_json::from_slice(span.of(text)).unwrap())
}

#[test]
fn an_envelope_as_the_sdk_writes_it() {
    let text =
        br#"{"message":"publishStream","data":[{"mediaSessionId":"a-1","name":"cam","published":true}]}"#;
    let message = peek(text).unwrap();
    assert_eq!(message.name_text(), "publishStream");
    assert!(matches!(message.name_text(), Cow::Borrowed(_)));
    assert_eq!(message.string("mediaSessionId").unwrap(), "a-1");
    assert_eq!(message.field("published").and_then(|span| boolean(text, span)), Some(true));
    assert_eq!(message.field("record"), None);
    assert_eq!(message.argument(1), None);
}

#[test]
fn key_order_and_escapes_do_not_matter() {
    let text = br#" { "data" : [ null , {"message":"no"} ] , "\u006dess\u0061ge" : "pi\u006eg" } "#;
    let message = peek(text).unwrap();
    assert_eq!(message.name_text(), "ping");
    assert_eq!(message.argument(0).unwrap().of(text), b"null");
    assert_eq!(message.argument(1).unwrap().of(text), br#"{"message":"no"}"#);
    assert_eq!(message.argument(2), None);
    assert_eq!(message.field("message"), None);
}

#[test]
fn the_last_of_two_keys_counts() {
    let text = br#"{"message":"first","data":[1],"message":"second","\u0064ata":[2]}"#;
    let message = peek(text).unwrap();
    assert_eq!(message.name_text(), "second");
    assert_eq!(message.argument(0).unwrap().of(text), b"2");
}

#[test]
fn data_may_be_missing_or_of_any_type() {
    assert_eq!(peek(br#"{"message":"ping"}"#).unwrap().data, None);
    for data in [&b"null"[..], b"{}", b"[]", b"7", b"\"x\"", br#"{"mediaSessionId":"a"}"#] {
        let text = [br#"{"message":"x","data":"#, data, b"}"].concat();
        let message = peek(&text).unwrap();
        assert_eq!(message.data.unwrap().of(&text), data);
        assert_eq!(message.argument(0), None);
        assert_eq!(message.field("mediaSessionId"), None);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_message() {
    let text = b"\xef\xbb\xbf {\"message\":\"x\",\"data\":[{\"id\":7}]}";
    let peek = peek(text).unwrap();
    assert_eq!(peek.name_text(), "x");
    assert_eq!(peek.text(), text);
    assert_eq!(peek.field("id").unwrap().of(text), b"7");
}

#[test]
fn what_is_no_message_is_an_error() {
    for (text, error) in [
        (&b""[..], PeekError::NotJson),
        (b"  ", PeekError::NotJson),
        (b"hello", PeekError::NotJson),
        (b"{\xef\xbb\xbf\"message\":\"x\"}", PeekError::NotJson),
        (b"\xef\xbb\xbf\xef\xbb\xbf{\"message\":\"x\"}", PeekError::NotJson),
        (b"{\"message\":\"x\"", PeekError::NotJson),
        (b"{\"message\":\"x", PeekError::NotJson),
        (b"{\"message\":\"x\\", PeekError::NotJson),
        (b"{\"message\":\"x\"}}", PeekError::NotJson),
        (b"{\"message\":\"x\",}", PeekError::NotJson),
        (b"{\"message\" \"x\"}", PeekError::NotJson),
        (b"{message:\"x\"}", PeekError::NotJson),
        (b"{\"message\":\"x\",\"data\":[}]}", PeekError::NotJson),
        (b"{\"message\":\"x\",\"data\":[}}", PeekError::NotJson),
        (b"{\"message\":\"x\",\"data\":[{]}}", PeekError::NotJson),
        (b"{\"message\":\"x\",\"data\":tru}", PeekError::NotJson),
        (b"[]", PeekError::NotAnObject),
        (b"\"ping\"", PeekError::NotAnObject),
        (b"null", PeekError::NotAnObject),
        (b"{}", PeekError::NoName),
        (b"{\"data\":[]}", PeekError::NoName),
        (b"{\"message\":7}", PeekError::NoName),
        (b"{\"message\":\"x\",\"message\":null}", PeekError::NoName),
    ] {
        assert_eq!(peek(text).unwrap_err(), error, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn nesting_is_bounded_where_serde_json_bounds_it() {
    let nested = |levels: usize| {
        let text = format!("{{\"message\":\"x\",\"data\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        text.into_bytes()
    };
    // The envelope is a level of its own for serde_json.
    let deepest = MAX_DEPTH as usize;
    assert!(peek(&nested(deepest)).is_ok());
    assert!(serde_json::from_slice::<Value>(&nested(deepest - 1)).is_ok());
    assert_eq!(peek(&nested(deepest + 1)).unwrap_err(), PeekError::TooDeep);
    for opening in [&b"["[..], b"{\"a\":"] {
        assert_eq!(peek(&opening.repeat(100_000)).unwrap_err(), PeekError::TooDeep);
        let inside = [br#"{"message":"x","data":"#, opening.repeat(100_000).as_slice()].concat();
        assert_eq!(peek(&inside).unwrap_err(), PeekError::TooDeep);
    }
}

#[test]
fn invalid_utf8_is_replaced_or_left_alone() {
    let text = b"{\"message\":\"p\xff\",\"data\":[{\"name\":\"\xc3\"}]}";
    let message = peek(text).unwrap();
    assert_eq!(message.name_text(), "p\u{fffd}");
    assert_eq!(message.string("name").unwrap(), "\u{fffd}");
}

#[test]
fn a_message_of_16_mib_is_peeked() {
    let payload = "iVBORw0KGgo\\/".repeat(16 * 1024 * 1024 / 13);
    let text = format!(
        r#"{{"message":"notifyStreamEvent","data":[{{"payload":{{"snapshot":"{payload}"}},"mediaSessionId":"a"}}]}}"#
    );
    let message = peek(text.as_bytes()).unwrap();
    assert_eq!(message.name_text(), "notifyStreamEvent");
    assert_eq!(message.string("mediaSessionId").unwrap(), "a");
    let cut = text.len() / 2;
    assert_eq!(peek(&text.as_bytes()[..cut]).unwrap_err(), PeekError::NotJson);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_serde_json(text in object_text()) {
        let value: Value = serde_json::from_str(&text).unwrap();
        let peeked = peek(text.as_bytes());
        match value.get("message").and_then(Value::as_str) {
            None => prop_assert_eq!(peeked.unwrap_err(), PeekError::NoName),
            Some(name) => {
                let message = peeked.unwrap();
                prop_assert_eq!(&*message.name_text(), name);
                prop_assert_eq!(parsed(text.as_bytes(), message.data), value.get("data").cloned());
                let list = value.get("data").and_then(Value::as_array);
                for index in 0..5 {
                    prop_assert_eq!(
                        parsed(text.as_bytes(), message.argument(index)),
                        list.and_then(|list| list.get(index)).cloned()
                    );
                }
                let first = list.and_then(|list| list.first());
                for key in ["message", "data", "mediaSessionId", "", "sdp"] {
                    prop_assert_eq!(
                        parsed(text.as_bytes(), message.field(key)),
                        first.and_then(|first| first.get(key)).cloned()
                    );
                    let read = message.string(key);
                    prop_assert_eq!(
                        read.as_deref(),
                        first.and_then(|first| first.get(key)).and_then(Value::as_str)
                    );
                }
            }
        }
    }

    #[test]
    fn a_truncated_message_is_never_a_message(text in object_text(), cut in 0.0..1.0_f64) {
        let whole = text.trim_end();
        let length = (whole.len() as f64 * cut) as usize;
        prop_assert!(peek(&whole.as_bytes()[..length]).is_err());
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = peek(&bytes);
    }
}

#[test]
fn every_member_is_found_however_many_and_however_written() {
    for count in [0, 1, MEMBERS_MAX - 1, MEMBERS_MAX, MEMBERS_MAX + 1, 3 * MEMBERS_MAX] {
        let members: Vec<String> = (0..count).map(|index| format!(r#""key{index}": {index}"#)).collect();
        let text = format!(r#"{{"data": [{{{}}}, 1], "message": "m"}}"#, members.join(", "));
        let peek = peek(text.as_bytes()).unwrap();
        for index in 0..count {
            let value = peek.field(&format!("key{index}")).unwrap();
            assert_eq!(value.of(text.as_bytes()), index.to_string().as_bytes(), "{count}");
        }
        assert_eq!(peek.field(&format!("key{count}")), None);
    }
    let text = br#"{"message":"m","data":[{"k\u0065y":1,"a name of more than twenty-four bytes":2,"twice":3,"twice":4}]}"#;
    let found = peek(text).unwrap().fields(["key", "a name of more than twenty-four bytes", "twice"]);
    assert_eq!(found.map(|value| value.unwrap().of(text)), [b"1", b"2", b"4"]);
}

#[test]
fn what_follows_the_first_argument_is_skipped_unjudged() {
    let text = br#"{"message":"m","data":[{"a":[1,{"b":2}]} {"a" 9}, [}], "x":1}"#;
    assert_eq!(peek(text).unwrap_err(), PeekError::NotJson, "brackets must match");
    let text = br#"{"message":"m","data":[{"a":[1,{"b":2}]} {"a" 9}, []], "x":1}"#;
    let peeked = peek(text).unwrap();
    assert_eq!(peeked.field("a").unwrap().of(text), br#"[1,{"b":2}]"#);
    let text = br#"{"message":"m","data":[{"a" 9}]}"#;
    assert_eq!(peek(text).unwrap().field("a"), None, "an argument that is no JSON has no members");
}
