//! What every dial repeats of the client's own request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Uri, header};

/// Headers that reach the upstream as the client sent them. Anything else concerns the client's
/// connection to us alone, above all `Sec-WebSocket-Extensions`: no compression is negotiated.
const FORWARDED: [HeaderName; 5] = [
    header::ORIGIN,
    header::COOKIE,
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::SEC_WEBSOCKET_PROTOCOL,
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The head of a client's request, and where it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    /// Path and query are repeated, they may hold secrets.
    pub(crate) uri: &'a Uri,
    /// All its headers.
    pub(crate) headers: &'a HeaderMap,
    /// The address of the peer on our socket.
    pub(crate) peer: IpAddr,
    /// Whether it spoke TLS.
    pub(crate) tls: bool,
    /// Whether forwarding headers of this peer are believed and extended.
    pub(crate) trusted: bool,
}

/// A client's request, kept as the bytes that go over the wire: one allocation per session.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    start: Box<[u8]>,
    protocols: Option<Box<str>>,
    chosen_protocol: Option<Box<str>>,
}

impl ClientRequest {
    /// Takes over what is needed of a client's request.
    pub(crate) fn new(head: RequestHead<'_>) -> Self {
        let mut start = Vec::with_capacity(512);
        start.extend_from_slice(b"GET ");
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        start.extend_from_slice(if target.is_empty() { b"/" } else { target.as_bytes() });
        start.extend_from_slice(b" HTTP/1.1\r\n");
        for name in &FORWARDED {
            for value in head.headers.get_all(name) {
                push_header(&mut start, name.as_str(), value.as_bytes());
            }
        }
        push_forwarding(&mut start, head);
        let protocols = join(head.headers, &header::SEC_WEBSOCKET_PROTOCOL);
        Self {
            start: start.into_boxed_slice(),
            protocols: protocols.map(String::into_boxed_str),
            chosen_protocol: None,
        }
    }

    /// A request of our own, for a probe of this path. It shows nothing of any client's.
    pub(crate) fn probe(path: &str) -> Self {
        let start = format!("GET {path} HTTP/1.1\r\nUser-Agent: holdfast-probe\r\n");
        Self { start: start.into_bytes().into(), protocols: None, chosen_protocol: None }
    }

    /// The path that is asked for, without the query: what decides in a balancer where it goes.
    pub(crate) fn path(&self) -> &str {
        let target = self.start.get(b"GET ".len()..).unwrap_or_default();
        let path = target.split(|byte| matches!(byte, b'?' | b' ')).next().unwrap_or_default();
        std::str::from_utf8(path).ok().filter(|path| !path.is_empty()).unwrap_or("/")
    }

    /// The whole request to the node of this authority.
    pub(crate) fn render(&self, authority: &str, key: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.start.len().saturating_add(192));
        bytes.extend_from_slice(&self.start);
        push_header(&mut bytes, "Host", authority.as_bytes());
        bytes
            .extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
        push_header(&mut bytes, "Sec-WebSocket-Key", key.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Whether an upstream may answer with this subprotocol: one that was offered, and after the
    /// first answer only that one, for the client heard of it.
    pub(crate) fn allows_protocol(&self, answered: Option<&str>) -> bool {
        if let Some(chosen) = &self.chosen_protocol {
            return answered == Some(chosen);
        }
        match (answered, &self.protocols) {
            (None, _) => true,
            (Some(answered), Some(offered)) => offered.split(',').any(|one| one.trim() == answered),
            (Some(_), None) => false,
        }
    }

    /// Remembers what the first upstream answered.
    pub(crate) fn choose_protocol(&mut self, answered: Option<&str>) {
        self.chosen_protocol = answered.map(Into::into);
        self.protocols = None;
    }
}

fn push_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

/// All values of a header, joined by commas. Bytes that are no text are left out.
fn join(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn push_forwarding(bytes: &mut Vec<u8>, head: RequestHead<'_>) {
    let known = |name: &HeaderName| if head.trusted { join(head.headers, name) } else { None };
    let peer = head.peer.to_canonical();
    let chain = match known(&X_FORWARDED_FOR) {
        Some(chain) => format!("{chain}, {peer}"),
        None => peer.to_string(),
    };
    push_header(bytes, "X-Forwarded-For", chain.as_bytes());
    let scheme = if head.tls { "https" } else { "http" };
    let scheme = known(&X_FORWARDED_PROTO).unwrap_or_else(|| scheme.to_owned());
    push_header(bytes, "X-Forwarded-Proto", scheme.as_bytes());
    if let Some(host) = known(&X_FORWARDED_HOST).or_else(|| join(head.headers, &header::HOST)) {
        push_header(bytes, "X-Forwarded-Host", host.as_bytes());
    }
}
