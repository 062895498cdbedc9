//! What every dial repeats of the client's own request.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, header};
use parking_lot::Mutex;

use crate::{
    config::{DEFAULT_POOL, HashBy},
    session::Identity,
    wire::forwarded::{LastHop, is_secure, push_header, split_port},
};

use super::cookies::{CookieBounds, Jar, Site};

/// Headers that reach the upstream as the client sent them, besides `Cookie` and those of
/// `listen.pass_headers`. Anything else concerns the client's connection to us alone, above all
/// `Sec-WebSocket-Extensions`: no compression is negotiated.
const FORWARDED: [HeaderName; 4] =
    [header::ORIGIN, header::AUTHORIZATION, header::USER_AGENT, header::SEC_WEBSOCKET_PROTOCOL];

/// A client's request, kept as the bytes that go over the wire: one allocation per session.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    start: Box<[u8]>,
    /// Where in it the line with the client's cookies lies.
    cookie_line: Range<usize>,
    cookie_bounds: CookieBounds,
    /// What upstreams set; most set nothing.
    jar: Mutex<Option<Box<Jar>>>,
    protocols: Option<Box<str>>,
    chosen_protocol: Option<Box<str>>,
    identity: Identity,
    /// Whose it is; a probe is nobody's.
    client: Option<IpAddr>,
    /// The pool whose nodes it is for; without one, the pool `default`.
    pool: Option<Arc<str>>,
    /// Its port, 0 where a balancer did not tell it, and the address that it reached.
    client_port: u16,
    reached: SocketAddr,
}

impl ClientRequest {
    /// Takes over what is needed of a client's request.
    pub(crate) fn new(hop: LastHop<'_>, cookie_bounds: CookieBounds) -> Self {
        let mut start = Vec::with_capacity(768);
        start.extend_from_slice(b"GET ");
        let target = hop.uri.path_and_query().map_or("/", |target| target.as_str());
        if !target.starts_with('/') {
            // An absolute target may have a query and no path.
            start.push(b'/');
        }
        start.extend_from_slice(target.as_bytes());
        start.extend_from_slice(b" HTTP/1.1\r\n");
        let passed = hop.settings.pass_headers.iter().map(crate::config::HeaderField::name);
        for name in FORWARDED.iter().chain(passed.filter(|name| !is_always_sent(name))) {
            for value in hop.values(name) {
                push_header(&mut start, name.as_str(), value);
            }
        }
        let before = start.len();
        let cookies: Vec<&[u8]> = hop.values(&header::COOKIE).collect();
        if !cookies.is_empty() {
            push_header(&mut start, "cookie", &cookies.join(&b"; "[..]));
        }
        let cookie_line = before..start.len();
        hop.push(&mut start);
        let protocols: Vec<&str> = hop
            .values(&header::SEC_WEBSOCKET_PROTOCOL)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .collect();
        Self {
            start: start.into_boxed_slice(),
            cookie_line,
            cookie_bounds,
            jar: Mutex::new(None),
            protocols: (!protocols.is_empty()).then(|| protocols.join(", ").into_boxed_str()),
            chosen_protocol: None,
            identity: identity(hop),
            client: Some(hop.client_ip()),
            pool: None,
            client_port: hop.client(hop.peer).port.unwrap_or(0),
            reached: hop.reached,
        }
    }

    /// A request of our own, for a probe of this path. It shows nothing of any client's.
    pub(crate) fn probe(path: &str) -> Self {
        let start = format!("GET {path} HTTP/1.1\r\nUser-Agent: holdfast-probe\r\n");
        Self {
            start: start.into_bytes().into(),
            cookie_line: 0..0,
            cookie_bounds: CookieBounds { count_max: 0, bytes_max: 0 },
            jar: Mutex::new(None),
            protocols: None,
            chosen_protocol: None,
            identity: Identity::default(),
            client: None,
            pool: None,
            client_port: 0,
            reached: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// The same for the nodes of this pool.
    pub(crate) fn in_pool(self, pool: Option<Arc<str>>) -> Self {
        Self { pool, ..self }
    }

    /// The pool whose nodes it is for.
    pub(crate) fn pool(&self) -> &str {
        self.pool.as_deref().unwrap_or(DEFAULT_POOL)
    }

    /// The path that is asked for, without the query: what decides in a balancer where it goes.
    pub(crate) fn path(&self) -> &str {
        let target = self.start.get(b"GET ".len()..).unwrap_or_default();
        let path = target.split(|byte| matches!(byte, b'?' | b' ')).next().unwrap_or_default();
        std::str::from_utf8(path).ok().filter(|path| !path.is_empty()).unwrap_or("/")
    }

    /// The client, and the address that it reached; `None` for a probe.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.client.map(|ip| (SocketAddr::new(ip, self.client_port), self.reached))
    }

    /// What the policy `hash` goes by.
    pub(super) fn hash_key(&self, by: HashBy) -> Vec<u8> {
        match (by, self.client) {
            (HashBy::ClientAddress, Some(client)) => client.to_string().into_bytes(),
            (HashBy::ClientAddress, None) => Vec::new(),
            (HashBy::Target, _) => {
                let target = self.start.get(b"GET ".len()..).unwrap_or_default();
                target.split(|byte| *byte == b' ').next().unwrap_or_default().to_vec()
            }
        }
    }

    /// The whole request to the node of this authority.
    pub(crate) fn render(&self, authority: &str, key: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.start.len().saturating_add(192));
        match self.jar.lock().as_deref() {
            None => bytes.extend_from_slice(&self.start),
            Some(jar) => {
                bytes.extend_from_slice(self.start.get(..self.cookie_line.start).unwrap_or_default());
                let line = self.start.get(self.cookie_line.clone()).unwrap_or_default();
                let own = line.get(b"cookie: ".len()..).unwrap_or_default();
                let cookies = jar.apply(String::from_utf8_lossy(own).trim_end());
                if !cookies.is_empty() {
                    push_header(&mut bytes, "cookie", cookies.as_bytes());
                }
                bytes.extend_from_slice(self.start.get(self.cookie_line.end..).unwrap_or_default());
            }
        }
        push_header(&mut bytes, "Host", authority.as_bytes());
        bytes
            .extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
        push_header(&mut bytes, "Sec-WebSocket-Key", key.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Remembers the cookies that an answer sets, for the dials to come.
    pub(super) fn note_answer(&self, answer: &HeaderMap) {
        if self.cookie_bounds.count_max == 0 || !answer.contains_key(header::SET_COOKIE) {
            return;
        }
        let host = self.told("X-Forwarded-Host").unwrap_or_default();
        let host = host.split(',').next().unwrap_or_default().trim();
        let site = Site {
            host: split_port(host).0,
            path: self.path(),
            secure: self.told("X-Forwarded-Proto").is_some_and(is_secure),
        };
        self.jar.lock().get_or_insert_default().take(answer, site, self.cookie_bounds);
    }

    /// What we tell the upstream in this header.
    fn told(&self, name: &str) -> Option<&str> {
        let lines = self.start.get(self.cookie_line.end..).unwrap_or_default();
        let mut lines = std::str::from_utf8(lines).ok()?.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Who the client seems to be (rule R7).
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
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

fn is_always_sent(name: &HeaderName) -> bool {
    FORWARDED.contains(name) || *name == header::COOKIE
}

/// Headers that a stranger may forge count only together with who vouches for them.
fn identity(hop: LastHop<'_>) -> Identity {
    let own = &hop.settings.identity_headers;
    let names = [header::ORIGIN, header::USER_AGENT];
    let names = names.iter().chain(own.iter().map(crate::config::HeaderField::name));
    let values: Vec<Option<Vec<u8>>> = names
        .map(|name| {
            let values: Vec<&[u8]> = hop.values(name).collect();
            (!values.is_empty()).then(|| values.join(&b"\n"[..]))
        })
        .collect();
    let vouched: Option<&[u8]> = (!own.is_empty() && hop.is_trusted()).then_some(b"trusted");
    Identity::of_handshake(values.iter().map(Option::as_deref).chain([vouched]))
}
