//! Looking at a client's request, and the answers that are no 101.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Full;

use crate::{
    upstream::{DialFailure, Refusal},
    wire::forwarded::has_token,
};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Any answer of ours: the bodies are short texts.
pub(super) type Answer = Response<Full<Bytes>>;

/// Headers of which a request may have only one: what two of them would mean is anybody's guess, and
/// the upstream might guess otherwise than we do.
const SINGLE: [HeaderName; 5] = [
    header::HOST,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::ORIGIN,
    header::AUTHORIZATION,
];

/// Whether the request makes sense whatever it asks for (RFC 9112 section 3.2).
#[allow(clippy::result_large_err)] // Once per connection, and it is sent at once.
pub(super) fn check_host<B>(request: &Request<B>) -> Result<(), Answer> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(bad("Host appears twice")),
        (Some(host), None) if !is_host(host.as_bytes()) => Err(bad("Host is malformed")),
        (None, None) if request.version() >= Version::HTTP_11 => Err(bad("Host is missing")),
        _ => Ok(()),
    }
}

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
        return Err(bad("a WebSocket handshake needs HTTP/1.1"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(bad("the handshake lacks Connection: Upgrade"));
    }
    if !is_target(request.uri()) {
        return Err(bad("the target is neither a path nor a URL"));
    }
    if let Some(name) = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(bad(&format!("{name} appears twice")));
    }
    if has_body(headers) {
        return Err(bad("a WebSocket handshake has no body"));
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
        _ => Err(bad("Sec-WebSocket-Key is missing or malformed")),
    }
}

/// Whether a request that is passed on makes one sense only.
pub(super) fn check_plain<B>(request: &Request<B>) -> Result<(), &'static str> {
    if !is_target(request.uri()) {
        return Err("the target is neither a path nor a URL");
    }
    let is_double = |name: &&HeaderName| request.headers().get_all(*name).iter().nth(1).is_some();
    if SINGLE.iter().any(|name| is_double(&name)) {
        return Err("a header appears twice that may only appear once");
    }
    Ok(())
}

/// 400: what was asked makes no sense.
pub(super) fn bad(line: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, line)
}

/// 431: more than anybody needs to say.
pub(super) fn head_too_large() -> Answer {
    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large")
}

/// Whether the target is a path, or a URL of our kind without credentials (RFC 9112 section 3.2).
fn is_target(target: &Uri) -> bool {
    let has_path = target.path_and_query().is_some_and(|path| path.as_str().starts_with('/'));
    match (target.scheme_str(), target.authority()) {
        (None, None) => has_path,
        (Some("http" | "https" | "ws" | "wss"), Some(authority)) => is_host(authority.as_str().as_bytes()),
        _ => false,
    }
}

/// Whether this is a host with or without a port (RFC 3986 section 3.2), and not empty.
fn is_host(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => ("address", port),
                None if rest.is_empty() => ("address", ""),
                None => return false,
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let port_fits =
        port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    !host.is_empty() && host.bytes().all(in_name) && port_fits
}

fn has_body(headers: &HeaderMap) -> bool {
    let is_none = |value: &HeaderValue| value.as_bytes().trim_ascii() == b"0";
    headers.contains_key(header::TRANSFER_ENCODING)
        || !headers.get_all(header::CONTENT_LENGTH).iter().all(is_none)
}

/// Length of all names and values: what a client may send is bounded.
pub(super) fn head_bytes<B>(request: &Request<B>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers.fold(target, usize::saturating_add)
}

/// An answer with this body; the connection ends with it.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer with a line of text.
pub(super) fn text(status: StatusCode, line: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

fn later(status: StatusCode, line: &str) -> Answer {
    let mut answer = text(status, line);
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    answer
}

/// 503: it may work in a moment.
pub(super) fn unavailable(line: &str) -> Answer {
    later(StatusCode::SERVICE_UNAVAILABLE, line)
}

/// 429: others are not affected, this one has enough.
pub(super) fn too_many(line: &str) -> Answer {
    later(StatusCode::TOO_MANY_REQUESTS, line)
}

/// 403: this one is not admitted, now or later.
pub(super) fn forbidden(line: &str) -> Answer {
    text(StatusCode::FORBIDDEN, line)
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
    pass(&refusal.headers, &mut answer);
    answer
}

/// Adds what the upstream has to say to the client.
fn pass(headers: &HeaderMap, answer: &mut Answer) {
    for (name, value) in headers {
        answer.headers_mut().append(name.clone(), value.clone());
    }
}

/// The 101, with what the upstream's own has for the client.
pub(super) fn switching(accept: &str, protocol: Option<&str>, passed: &HeaderMap) -> Answer {
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
    pass(passed, &mut answer);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in
            ["a", "wcs.example.com:8443", "192.0.2.1", "[2001:db8::1]:80", "[::1]", "a:", "a%20b", "_x"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a b", "a/b", "user@a", "a:b", "a:80:80", "a:99999", "[::1", "[a]", "[::1]x", "a\\",
            "a,b c", "a?b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"\xff"));
    }
}
