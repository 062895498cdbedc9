//! Where a message carries a stream's `mediaSessionId`, so that ids can be mapped in both
//! directions (trap S10.5).
//!
//! Only places are told; which id stands for which is the session core's affair. A place that a
//! call id may take as well (`setRemoteSDP`) is told too: ids that are not mapped stay.

use super::names::{ClientMessage, ServerMessage};
use super::peek::Peek;
use super::scan::Span;
use super::value::{elements, field};

/// A few spans; no allocation for the usual one or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    first: Option<Span>,
    more: Vec<Span>,
}

impl Spans {
    /// The spans in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.first.iter().chain(&self.more).copied()
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl From<Option<Span>> for Spans {
    fn from(first: Option<Span>) -> Self {
        Self { first, more: Vec::new() }
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut spans = spans.into_iter();
        Self { first: spans.next(), more: spans.collect() }
    }
}

/// The values in a client's message that are a `mediaSessionId`. They need not be strings: the
/// sender is not trusted.
#[must_use]
pub fn client_media_session_ids(kind: ClientMessage, message: &Peek<'_>) -> Spans {
    if kind.concerns_stream() { message.field("mediaSessionId").into() } else { Spans::default() }
}

/// The values in a server's message that are a `mediaSessionId`, or may be one.
#[must_use]
pub fn server_media_session_ids(kind: ServerMessage, message: &Peek<'_>) -> Spans {
    match kind {
        ServerMessage::NotifyStreamStatusEvent
        | ServerMessage::NotifyVideoFormat
        | ServerMessage::NotifyStreamEvent
        | ServerMessage::InboundVideoRate
        | ServerMessage::OutboundVideoRate => message.field("mediaSessionId").into(),
        ServerMessage::AvailableStream | ServerMessage::Fail => message.field("id").into(),
        ServerMessage::SetRemoteSdp | ServerMessage::NotifyAudioCodec => message.argument(0).into(),
        ServerMessage::MetricsDescriptionUpdate => metrics_ids(message, message.field("ids")),
        ServerMessage::GetUserData => {
            let description = message.field("webRTCMetricsServerDescription");
            let ids = description.and_then(|object| field(message.text(), object, "ids"));
            metrics_ids(message, ids)
        }
        _ => Spans::default(),
    }
}

fn metrics_ids(message: &Peek<'_>, ids: Option<Span>) -> Spans {
    ids.map(|ids| elements(message.text(), ids).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signaling::{Edits, peek};

    fn swap(text: &str, spans: &Spans) -> String {
        let mut edits = Edits::new();
        for span in spans.iter() {
            assert_eq!(span.of(text.as_bytes()), b"\"old\"", "{text}");
            edits.push_string(span, "new");
        }
        String::from_utf8(edits.apply(text.as_bytes())).unwrap()
    }

    #[test]
    fn server_messages_are_mapped_wherever_they_carry_an_id() {
        for text in [
            r#"{"message":"notifyStreamStatusEvent","data":[{"name":"keep","mediaSessionId":"old","status":"FAILED"}]}"#,
            r#"{"message":"notifyVideoFormat","data":[{"mediaSessionId":"old"}]}"#,
            r#"{"message":"notifyStreamEvent","data":[{"payload":{"mediaSessionId":"keep"},"mediaSessionId":"old"}]}"#,
            r#"{"message":"inboundVideoRate","data":[{"mediaSessionId":"old","videoRate":1}]}"#,
            r#"{"message":"outboundVideoRate","data":[{"mediaSessionId":"old","videoRate":1}]}"#,
            r#"{"message":"availableStream","data":[{"id":"old","status":"true"}]}"#,
            r#"{"message":"fail","data":[{"apiMethod":"StreamStatusEvent","id":"old"}]}"#,
            r#"{"message":"setRemoteSDP","data":["old","v=0",true]}"#,
            r#"{"message":"notifyAudioCodec","data":["old",{"name":"speex"}]}"#,
            r#"{"message":"webRTCMetricsDescriptionUpdate","data":[{"ids":["old","old","old"]}]}"#,
            r#"{"message":"getUserData","data":[{"webRTCMetricsServerDescription":{"ids":["old"]}}]}"#,
        ] {
            let message = peek(text.as_bytes()).unwrap();
            let spans = server_media_session_ids(ServerMessage::from_name(&message.name), &message);
            assert_eq!(swap(text, &spans), text.replace("\"old\"", "\"new\""));
            assert!(!spans.is_empty());
        }
    }

    #[test]
    fn client_messages_are_mapped_wherever_they_carry_an_id() {
        for name in [
            "publishStream",
            "playStream",
            "unPublishStream",
            "stopStream",
            "availableStream",
            "snapshot",
            "sendStreamEvent",
            "webRTCMetricsClientDescription",
            "webRTCMetricsBatch",
        ] {
            let text = format!(
                r#"{{"message":"{name}","data":[{{"custom":{{"mediaSessionId":"keep"}},"mediaSessionId":"old"}}]}}"#
            );
            let message = peek(text.as_bytes()).unwrap();
            let spans = client_media_session_ids(ClientMessage::from_name(name), &message);
            assert_eq!(swap(&text, &spans), text.replace("\"old\"", "\"new\""));
            assert!(!spans.is_empty());
        }
    }

    #[test]
    fn other_messages_have_none() {
        let text = br#"{"message":"sendData","data":[{"operationId":"a","payload":{"mediaSessionId":"x"},"mediaSessionId":"x","id":"y"}]}"#;
        let message = peek(text).unwrap();
        assert!(client_media_session_ids(ClientMessage::SendData, &message).is_empty());
        assert!(server_media_session_ids(ServerMessage::OnDataEvent, &message).is_empty());
        let empty = peek(br#"{"message":"fail","data":[]}"#).unwrap();
        assert!(server_media_session_ids(ServerMessage::Fail, &empty).is_empty());
        let wrong = peek(br#"{"message":"webRTCMetricsDescriptionUpdate","data":[{"ids":"old"}]}"#).unwrap();
        assert!(server_media_session_ids(ServerMessage::MetricsDescriptionUpdate, &wrong).is_empty());
    }
}
