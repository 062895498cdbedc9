//! The upstream's answer to a WebSocket handshake, read and checked.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::wire::forwarded;

use super::{
    dial::{DialFailure, Refusal},
    request::ClientRequest,
};

/// Largest head of an answer; interim answers before it count.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers in it.
const HEADERS_MAX: usize = 100;

/// Headers of an answer that concern the upstream's connection to us, or a body that is not passed on.
const NOT_PASSED: [HeaderName; 13] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A verified 101.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The subprotocol the upstream chose.
    pub(super) protocol: Option<String>,
    /// What the client has to learn.
    pub(super) headers: Box<HeaderMap>,
    /// Bytes after the head: the first frames.
    pub(super) leftover: Vec<u8>,
}

/// The head of one answer.
struct Head {
    /// Where it ends.
    bytes: usize,
    http_11: bool,
    status: u16,
    headers: HeaderMap,
}

/// Reads the answer to a handshake that was sent with `key`.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    key: &str,
    request: &ClientRequest,
) -> Result<Accepted, DialFailure> {
    let mut bytes = Vec::with_capacity(512);
    let mut interim_bytes = 0_usize;
    loop {
        let read = socket.read_buf(&mut bytes).await.map_err(DialFailure::from_io)?;
        if read == 0 {
            return Err(DialFailure::Unreachable("the connection ended before the answer".into()));
        }
        while let Some(head) = parse(&bytes)? {
            if is_interim(head.status) {
                // Something else may be on its way: the answer follows (RFC 9110 section 15.2).
                bytes.drain(..head.bytes);
                interim_bytes = interim_bytes.saturating_add(head.bytes);
                continue;
            }
            let leftover = bytes.split_off(head.bytes);
            return judge(head, leftover, key, request);
        }
        if bytes.len().saturating_add(interim_bytes) > HEAD_BYTES_MAX {
            return Err(bad("the head of the answer is too long"));
        }
    }
}

const fn is_interim(status: u16) -> bool {
    status >= 100 && status < 200 && status != 101
}

fn bad(why: impl Into<String>) -> DialFailure {
    DialFailure::BadHandshake(why.into())
}

/// `None`: the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, DialFailure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(format!("the answer is no HTTP: {error}"))),
    };
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    let (http_11, status) = (response.version == Some(1), response.code.unwrap_or_default());
    Ok(Some(Head { bytes: length, http_11, status, headers }))
}

fn judge(head: Head, leftover: Vec<u8>, key: &str, request: &ClientRequest) -> Result<Accepted, DialFailure> {
    let Head { http_11, status, headers, .. } = head;
    if !(100..600).contains(&status) {
        return Err(bad(format!("an answer with status {status}")));
    }
    request.note_answer(&headers);
    if status != 101 {
        return Err(DialFailure::Refused(Refusal { status, headers: Box::new(for_client(&headers)) }));
    }
    if !http_11 {
        return Err(bad("a 101 needs HTTP/1.1"));
    }
    let protocol = check(&headers, key, request)?;
    Ok(Accepted { protocol, headers: Box::new(for_client(&headers)), leftover })
}

/// What RFC 6455 section 4.1 asks of a 101; the subprotocol it names.
fn check(headers: &HeaderMap, key: &str, request: &ClientRequest) -> Result<Option<String>, DialFailure> {
    if single(headers, &header::SEC_WEBSOCKET_ACCEPT)? != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(bad("Sec-WebSocket-Accept does not fit the key"));
    }
    if !single(headers, &header::UPGRADE)?.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err(bad("the answer does not upgrade to websocket"));
    }
    if !forwarded::has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(bad("the answer lacks Connection: Upgrade"));
    }
    if headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().any(|value| !value.is_empty()) {
        return Err(bad("the upstream answered an extension that nobody offered"));
    }
    let protocol = single(headers, &header::SEC_WEBSOCKET_PROTOCOL)?;
    if !request.allows_protocol(protocol) {
        return Err(bad("the upstream chose a subprotocol that was not offered"));
    }
    Ok(protocol.map(str::to_owned))
}

/// The value of a header that may occur once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, DialFailure> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(bad(format!("the answer has several headers {name}")));
    }
    match value.map(HeaderValue::to_str).transpose() {
        Ok(value) => Ok(value),
        Err(_) => Err(bad(format!("the answer's {name} is no text"))),
    }
}

/// The headers that are meant for the client (RFC 9110 section 7.6.1).
fn for_client(headers: &HeaderMap) -> HeaderMap {
    let is_passed = |name: &HeaderName| {
        !NOT_PASSED.contains(name)
            && !name.as_str().starts_with("sec-websocket-")
            && !forwarded::names(headers, name)
    };
    let mut passed = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_passed(name)) {
        passed.append(name.clone(), value.clone());
    }
    passed
}
