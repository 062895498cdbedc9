//! Looking at a client's request, and the answers that are no 101.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;

use crate::upstream::{DialFailure, Refusal};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Any answer of ours: the bodies are short texts.
pub(super) type Answer = Response<Full<Bytes>>;

/// Whether this is a handshake we can answer; if so, its key.
#[allow(clippy::result_large_err)] // Once per connection, and it is sent at once.
pub(super) fn check<B>(request: &Request<B>) -> Result<HeaderValue, Answer> {
    if request.method() != Method::GET {
        let mut answer =
            text(StatusCode::METHOD_NOT_ALLOWED, "only WebSocket handshakes (GET) are answered here");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return Err(answer);
    }
    let headers = request.headers();
    if !has_token(headers, &header::UPGRADE, "websocket") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only");
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade, close"));
        return Err(answer);
    }
    if request.version() != Version::HTTP_11 {
        return Err(text(StatusCode::BAD_REQUEST, "a WebSocket handshake needs HTTP/1.1"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(text(StatusCode::BAD_REQUEST, "the handshake lacks Connection: Upgrade"));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != b"13") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(answer);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    match key {
        Some(key) if STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16) => Ok(key.clone()),
        _ => Err(text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed")),
    }
}

/// Whether a list header has this entry, in any spelling.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

/// Length of all names and values: what a client may send is bounded.
pub(super) fn head_bytes<B>(request: &Request<B>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers.fold(target, usize::saturating_add)
}

/// An answer with a line of text; the connection ends with it.
pub(super) fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// 503: it may work in a moment.
pub(super) fn unavailable(line: &str) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, line);
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    answer
}

/// What a client hears when its upstream could not be had.
pub(super) fn dial_failed(failure: &DialFailure) -> Answer {
    match failure {
        DialFailure::Unreachable(_) => unavailable("no upstream can be reached"),
        DialFailure::Local(_) => unavailable("the proxy is short of something"),
        DialFailure::BadHandshake(_) => text(StatusCode::BAD_GATEWAY, "the upstream's handshake was wrong"),
        DialFailure::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    // 1xx and 2xx make no sense as an end: the upstream did not do what was asked.
    let status = StatusCode::from_u16(refusal.status)
        .ok()
        .filter(|status| status.as_u16() >= 300)
        .unwrap_or(StatusCode::BAD_GATEWAY);
    let mut answer = text(status, "the upstream refused the handshake");
    let kept =
        [(header::RETRY_AFTER, &refusal.retry_after), (header::WWW_AUTHENTICATE, &refusal.www_authenticate)];
    for (name, value) in kept {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The 101.
pub(super) fn switching(accept: &str, protocol: Option<&str>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(Ok(protocol)) = protocol.map(HeaderValue::from_str) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}
