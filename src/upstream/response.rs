//! The upstream's answer to a WebSocket handshake, read and checked.

use std::str;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::websocket::accept_key;

use super::{
    dial::{DialFailure, Refusal},
    request::ClientRequest,
};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers in it.
const HEADERS_MAX: usize = 64;
/// Longest value of a header that is passed to the client.
const VALUE_BYTES_MAX: usize = 512;

/// A verified 101.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The subprotocol the upstream chose.
    pub(super) protocol: Option<String>,
    /// Bytes after the head: the first frames.
    pub(super) leftover: Vec<u8>,
}

/// Reads the answer to a handshake that was sent with `key`.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    key: &str,
    request: &ClientRequest,
) -> Result<Accepted, DialFailure> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        let read = socket.read_buf(&mut bytes).await.map_err(DialFailure::from_io)?;
        if read == 0 {
            return Err(DialFailure::Unreachable("the connection ended before the answer".into()));
        }
        if let Some(accepted) = parse(&bytes, key, request)? {
            return Ok(accepted);
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(bad("the head of the answer is too long"));
        }
    }
}

fn bad(why: impl Into<String>) -> DialFailure {
    DialFailure::BadHandshake(why.into())
}

/// `None`: the head is not complete.
fn parse(bytes: &[u8], key: &str, request: &ClientRequest) -> Result<Option<Accepted>, DialFailure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(format!("the answer is no HTTP: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        return Err(DialFailure::Refused(refusal(status, &response)));
    }
    let accept = accept_key(key.as_bytes());
    if value(&response, "sec-websocket-accept") != Some(accept.as_str()) {
        return Err(bad("Sec-WebSocket-Accept does not fit the key"));
    }
    if !value(&response, "upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")) {
        return Err(bad("the answer does not upgrade to websocket"));
    }
    let upgrades = |v: &str| v.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if !value(&response, "connection").is_some_and(upgrades) {
        return Err(bad("the answer lacks Connection: Upgrade"));
    }
    if value(&response, "sec-websocket-extensions").is_some_and(|v| !v.is_empty()) {
        return Err(bad("the upstream answered an extension that nobody offered"));
    }
    let protocol = value(&response, "sec-websocket-protocol");
    if !request.allows_protocol(protocol) {
        return Err(bad("the upstream chose a subprotocol that was not offered"));
    }
    let protocol = protocol.map(str::to_owned);
    let leftover = bytes.get(head_bytes..).unwrap_or_default().to_vec();
    Ok(Some(Accepted { protocol, leftover }))
}

fn value<'a>(response: &httparse::Response<'_, 'a>, name: &str) -> Option<&'a str> {
    let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    str::from_utf8(header.value).ok().map(str::trim)
}

fn refusal(status: u16, response: &httparse::Response<'_, '_>) -> Refusal {
    let keep = |name| value(response, name).filter(|v| v.len() <= VALUE_BYTES_MAX).map(str::to_owned);
    Refusal { status, retry_after: keep("retry-after"), www_authenticate: keep("www-authenticate") }
}
