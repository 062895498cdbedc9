//! The bodies of the fuzz targets: what must hold for any bytes from outside.
//!
//! Called by the fuzzing package and by `tests/fuzz_corpus.rs`. They panic when something does
//! not hold; no other code may call them.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    ClientMessage, Edits, Peek, ServerMessage, Span,
    edit::{remove_field, set_field},
    redact,
    redactor::{KEY_BYTES, Names, Redactor},
    sdp,
    view::{self, Field},
};

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
            assert_eq!(message.name_text(), name);
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
            assert!(section.has_codec(codec));
        }
    }
}

/// Redaction takes anything: what was a message is one of the same shape, and what is redacted again is the same.
pub fn redactor(data: &[u8]) {
    for names in [Names::Shown, Names::Anonymous] {
        let redactor = Redactor::new([5; KEY_BYTES], names);
        let redacted = redactor.message(data);
        let shown = redacted.text.trim_start_matches('\u{feff}');
        assert_eq!(
            redacted.is_readable,
            serde_json::from_str::<IgnoredAny>(shown).is_ok(),
            "it is JSON if it was"
        );
        let [before, after] = [data, shown.as_bytes()].map(|text| serde_json::from_slice::<Value>(text).ok());
        if let (Some(before), Some(after)) = (before, after) {
            assert_eq!(std::mem::discriminant(&before), std::mem::discriminant(&after));
        }
        let text = String::from_utf8_lossy(data);
        let sdp = redactor.sdp(&text);
        assert_eq!(sdp.matches(['\n', '\r']).count(), text.matches(['\n', '\r']).count());
        let words = redactor.words(&text);
        assert_eq!(redactor.secret(&redactor.secret(&text)), redactor.secret(&text));
        assert!(words.is_empty() == text.is_empty());
    }
}

/// Every view takes any message, and no edit through one breaks it.
pub fn view(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(redact::without_credentials(&text).len() < 20_000);
    let Ok(message) = super::peek(data) else {
        return;
    };
    let fields = [of_client(&message), of_server(&message), of_views(&message)];
    for field in fields.into_iter().flatten().chain(view::ids_of_client(&message)) {
        replace(data, &message, field);
    }
}

/// What a field says can be replaced, and the message stays a message.
fn replace(data: &[u8], message: &Peek<'_>, field: Field<'_>) {
    let Span { start, end } = field.span();
    assert!(start < end && end <= data.len() && field.message() == data);
    assert!(field.string().is_none() || field.id() == field.string());
    assert!(!field.is_string() || field.span().of(data).ends_with(b"\""));
    let replaced = field.replaced("new \"id\"");
    let again = super::peek(&replaced);
    assert_eq!(again.map(|again| again.name).as_deref(), Ok(&*message.name));
}

/// What the message of this name is asked for, if a client says it.
fn of_client<'a>(message: &'a Peek<'a>) -> Vec<Field<'a>> {
    let field = match ClientMessage::of(message) {
        ClientMessage::Ping | ClientMessage::Pong | ClientMessage::OneShot | ClientMessage::Other => None,
        ClientMessage::Connection(connection) => connection.argument(),
        ClientMessage::ConnectMediaTransport(first) => first.auth_token(),
        ClientMessage::PublishStream(request)
        | ClientMessage::PlayStream(request)
        | ClientMessage::UnPublishStream(request)
        | ClientMessage::StopStream(request) => request.media_session_id(),
        ClientMessage::MetricsBatch(about)
        | ClientMessage::MetricsDescription(about)
        | ClientMessage::AvailableStream(about)
        | ClientMessage::Snapshot(about) => about.media_session_id(),
        ClientMessage::SendStreamEvent(event) => event.media_session_id(),
        ClientMessage::SendData(sent) => sent.operation_id(),
        ClientMessage::Call(call) | ClientMessage::CallVerb(call) | ClientMessage::Hangup(call) => {
            call.call_id()
        }
        ClientMessage::SessionDebug(debug) => {
            let _ = debug.starts();
            None
        }
    };
    field.into_iter().collect()
}

/// What the message of this name is asked for, if a server says it.
fn of_server<'a>(message: &'a Peek<'a>) -> Vec<Field<'a>> {
    let field = match ServerMessage::of(message) {
        ServerMessage::Ping | ServerMessage::Version | ServerMessage::Registered | ServerMessage::Other => {
            None
        }
        ServerMessage::UserData(user_data) => user_data.auth_token(),
        ServerMessage::Fail(fail) => fail.stream(),
        ServerMessage::RemoteSdp(remote) => remote.id(),
        ServerMessage::StreamStatus(status) | ServerMessage::VideoFormat(status) => status.media_session_id(),
        ServerMessage::StreamEvent(event) => event.media_session_id(),
        ServerMessage::VideoRate(about) => about.media_session_id(),
        ServerMessage::AvailableStream(answer) => answer.id(),
        ServerMessage::AudioCodec(codec) => codec.id(),
        ServerMessage::DataStatus(status) => status.operation_id(),
        ServerMessage::DataEvent(event) => {
            let _ = event.room_event();
            None
        }
        ServerMessage::IncomingCall(call) | ServerMessage::CallStatus(call) => call.call_id(),
        ServerMessage::MetricsUpdate(update) => return update.ids().collect(),
    };
    field.into_iter().collect()
}

/// What else is read, of a message of any name.
fn of_views<'a>(message: &'a Peek<'a>) -> Vec<Field<'a>> {
    let connection = view::Connection::of(message);
    let _ = (connection.is_sfu(), connection.client_version(), connection.keep_alive());
    let resuming = connection.resuming("token");
    assert!(super::peek(&resuming).is_ok(), "an edit broke the message");
    assert!(connection.without_token().is_none_or(|said| said.len() <= message.text().len()));
    let _ = (view::UserData::of(message).app_key(), view::Fail::of(message).info());
    let _ = (view::RemoteSdp::of(message).sdp(), view::CallMessage::of(message).is_over());
    let _ = (view::StreamEvent::of(message).kind(), view::SendData::of(message).room_command());
    let (status, data) = (view::StreamStatus::of(message), view::DataStatus::of(message));
    let _ = (status.status(), status.info(), data.is_accepted(), data.info());
    if let Some(event) = view::DataEvent::of(message).room_event() {
        assert!(event.participants(8).count() <= 8);
        let _ = (event.participant(), event.kind.is_end());
    }
    let request = view::StreamRequest::of(message);
    let _ = (request.name(), request.media_provider());
    request.sdp().into_iter().collect()
}
