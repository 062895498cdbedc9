//! The bodies of the fuzz targets: what must hold for any bytes from outside.
//!
//! Called by the fuzzing package and by `tests/fuzz_corpus.rs`. They panic when something does
//! not hold; no other code may call them.

use serde_json::Value;

use super::names::{ClientMessage, ServerMessage};
use super::redact::{Redacted, Sender, redacted};
use super::{Edits, Peek, Span, ids, remove_field, sdp, set_field, view};

/// The peek agrees with `serde_json` on every valid message and keeps inside any other.
pub fn peek(data: &[u8]) {
    let peeked = super::peek(data);
    if let Ok(message) = &peeked {
        for span in message.data.into_iter().chain(message.argument(0)).chain(message.argument(2)) {
            assert!(span.start < span.end && span.end <= data.len());
        }
    }
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    match (peeked, object.get("message").and_then(Value::as_str)) {
        (Ok(message), Some(name)) => {
            assert_eq!(message.name, name);
            agrees(data, message.data, object.get("data"));
            let first = object.get("data").and_then(Value::as_array).and_then(|list| list.first());
            agrees(data, message.argument(0), first);
            for key in ["mediaSessionId", "name", "message", "sdp", "payload"] {
                let value = first.and_then(Value::as_object).and_then(|first| first.get(key));
                agrees(data, message.field(key), value);
                assert_eq!(message.string(key).as_deref(), value.and_then(Value::as_str));
            }
        }
        (Err(super::PeekError::NoName), None) => {}
        (peeked, name) => assert!(name.is_none() && peeked.is_err(), "{name:?} was not found"),
    }
}

fn agrees(data: &[u8], span: Option<Span>, value: Option<&Value>) {
    let found = span.map(|span| serde_json::from_slice::<Value>(span.of(data)).ok());
    assert_eq!(found, value.cloned().map(Some));
}

/// Editing never fails, and what was set or removed reads back so.
pub fn edits(data: &[u8]) {
    // Spans anywhere, also outside of the text and overlapping.
    let mut edits = Edits::new();
    for pair in data.windows(2).step_by(3).take(8) {
        let span = Span {
            start: pair.first().map_or(0, |&byte| usize::from(byte)),
            end: pair.last().map_or(0, |&byte| usize::from(byte)),
        };
        let _ = set_field(data, span, "name", "1");
        let _ = remove_field(data, span, "name");
        edits.push_string(span, "new");
    }
    let added = edits.apply(data).len();
    assert!(added <= data.len() + 8 * 5);

    let Ok(message) = super::peek(data) else {
        return;
    };
    if let Some(span) = message.field("mediaSessionId") {
        let mut edits = Edits::new();
        edits.push_string(span, "new \"id\"");
        assert_string(&edits.apply(data), "mediaSessionId", Some("new \"id\""));
    }
    let Some(object) = message.argument(0) else {
        return;
    };
    let set = set_field(data, object, "added", "\"value\"");
    if set != data {
        assert_string(&set, "added", Some("value"));
        assert_eq!(super::peek(&set).map(|set| set.name), Ok(message.name.clone()));
    }
    let removed = remove_field(data, object, "name");
    if removed != data {
        assert_string(&removed, "name", None);
    }
}

fn assert_string(text: &[u8], key: &str, expected: Option<&str>) {
    let message = super::peek(text);
    assert!(message.is_ok(), "an edit broke the message");
    let read = message.as_ref().ok().and_then(|message| message.string(key));
    assert_eq!(read.as_deref(), expected);
}

/// SDP reading and editing takes anything. The first line names the codecs to strip.
pub fn sdp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (codecs, offer) = text.split_once('\n').unwrap_or((&text, ""));
    let stripped = sdp::strip_codecs(offer, codecs);
    assert_eq!(sdp::strip_codecs(&stripped, codecs), stripped, "stripping twice changes more");
    for section in sdp::media_sections(offer) {
        for codec in section.codecs() {
            assert!(section.has_codec(codec.name));
        }
    }
    for line in sdp::lines(&sdp::redact(offer)).filter(|line| sdp::is_secret_line(line)) {
        assert!(line.ends_with('…'), "a secret is shown");
    }
    assert!(sdp::summary(offer).len() < 10_000);
}

/// Every view, the id search and the redaction take any message.
pub fn view(data: &[u8]) {
    for sender in [Sender::Client, Sender::Server] {
        assert!(redacted(sender, data).to_string().len() < 20_000);
    }
    let Ok(message) = super::peek(data) else {
        return;
    };
    let _ = Redacted::of(Sender::Client, &message).to_string();
    let client = ids::client_media_session_ids(ClientMessage::from_name(&message.name), &message);
    let server = ids::server_media_session_ids(ServerMessage::from_name(&message.name), &message);
    for span in client.iter().chain(server.iter()) {
        assert!(span.start < span.end && span.end <= data.len());
    }
    read_views(&message);
}

fn read_views(message: &Peek<'_>) {
    let _ = view::Connection::read(message).is_sfu();
    let _ = view::UserData::read(message);
    let _ = view::Fail::read(message).refuses_connection();
    let _ = view::MediaTransport::read(message);
    let _ = view::StreamRequest::read(message);
    let _ = view::StreamMessage::read(message).is_terminal();
    let _ = view::RemoteSdp::read(message);
    let _ = view::AvailableAnswer::read(message);
    let _ = view::StreamEvent::read(message);
    let _ = view::MetricsUpdate::read(message);
    let _ = view::CallMessage::read(message).is_terminal();
    let _ = view::SendData::read(message);
    let _ = view::DataStatus::read(message);
    let _ = view::DataEvent::read(message).participants();
}
