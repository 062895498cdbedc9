//! Who the client is when balancers stand in front, and what the upstream is told of that.
//!
//! What a peer claims counts only if it is a trusted proxy. Nothing here decides what follows from an
//! address.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Uri, header};

use crate::config::ListenSettings;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Whether this peer may be a balancer on this machine or next to it: it sends `X-Forwarded-For` from
/// a loopback or private address.
pub(crate) fn looks_like_a_balancer(peer: IpAddr, headers: &HeaderMap) -> bool {
    let near = match peer.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    near && (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED))
}

/// The last hop of a client's request: the connection it came over, and what it says of the hops
/// before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastHop<'a> {
    /// The target: path and query may hold secrets.
    pub(crate) uri: &'a Uri,
    /// All headers.
    pub(crate) headers: &'a HeaderMap,
    /// The address of the peer on our socket.
    pub(crate) peer: SocketAddr,
    /// The address that it reached.
    pub(crate) reached: SocketAddr,
    /// Whether it spoke TLS.
    pub(crate) tls: bool,
    /// Whom to believe, and how headers are called.
    pub(crate) settings: &'a ListenSettings,
}

impl<'a> LastHop<'a> {
    /// Whether what the peer says of the hops before it counts.
    pub(crate) fn is_trusted(&self) -> bool {
        self.settings.trusts(self.peer.ip())
    }

    /// All values of a header, unless it concerns this hop alone because `Connection` names it
    /// (RFC 9110 section 7.6.1).
    pub(crate) fn values(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let all = (!names(self.headers, name)).then(|| self.headers.get_all(name));
        all.into_iter().flatten().map(http::HeaderValue::as_bytes)
    }

    /// The host and port that the client asked for: the target's own, or `Host` (RFC 9112
    /// section 3.2.2).
    pub(crate) fn authority(&self) -> Option<&'a str> {
        let asked = self.uri.authority().map(http::uri::Authority::as_str);
        asked.or_else(|| self.headers.get(header::HOST)?.to_str().ok())
    }

    /// The host and port that the client asked for at the first of the balancers that are trusted.
    pub(crate) fn asked_host(&self) -> Option<String> {
        let told = self.told(&X_FORWARDED_HOST);
        let told = told.and_then(|hosts| hosts.split(',').next().map(|host| host.trim().to_owned()));
        told.or_else(|| self.authority().map(str::to_owned))
    }

    /// Whether the client asked for TLS there, and the port, where that is told.
    pub(crate) fn asked_scheme(&self) -> (bool, Option<u16>) {
        let first = |list: String| list.split(',').next().map(|first| first.trim().to_owned());
        let proto = self.told(&X_FORWARDED_PROTO);
        let port = self.told(&X_FORWARDED_PORT).and_then(first).and_then(|port| port.parse().ok());
        (proto.as_deref().map_or(self.tls, is_secure), port)
    }

    /// Whether a balancer says how the client reached it.
    pub(crate) fn is_behind_balancer(&self) -> bool {
        self.told(&X_FORWARDED_PROTO).is_some()
    }

    /// The address of the client: of the last peer that is no trusted proxy.
    pub(crate) fn client_ip(&self) -> IpAddr {
        let peer = self.peer.ip().to_canonical();
        if !self.is_trusted() {
            return peer;
        }
        let Some(chain) = self.chain() else { return self.told_client_ip().unwrap_or(peer) };
        let mut client = peer;
        for hop in chain.rsplit(',') {
            // What comes before an entry that is no address was added by nobody we know.
            let Some(ip) = address_in(hop) else { break };
            client = ip;
            if !self.settings.trusts(ip) {
                break;
            }
        }
        client
    }

    /// The client's address for the log: with its port where it is known.
    pub(crate) fn client(&self, peer: SocketAddr) -> Client {
        let ip = self.client_ip();
        let port = (ip == peer.ip().to_canonical()).then(|| peer.port());
        Client { ip, port }
    }

    /// What a trusted proxy says in the header for the client's address.
    fn told_client_ip(&self) -> Option<IpAddr> {
        let field = self.settings.client_ip_header.as_ref()?;
        self.told(field.name()).and_then(|value| address_in(&value))
    }

    /// The addresses before the peer, as a trusted proxy tells them, separated by commas.
    fn chain(&self) -> Option<String> {
        self.told(&X_FORWARDED_FOR).or_else(|| {
            let nodes: Vec<String> = self.told(&header::FORWARDED)?.split(',').filter_map(node_in).collect();
            (!nodes.is_empty()).then(|| nodes.join(", "))
        })
    }

    /// What a trusted proxy says in this header; several lines of it are one list.
    fn told(&self, name: &HeaderName) -> Option<String> {
        if !self.is_trusted() {
            return None;
        }
        let texts = self.values(name).filter_map(|value| std::str::from_utf8(value).ok());
        let texts: Vec<&str> = texts.map(str::trim).filter(|text| !text.is_empty()).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// Writes the headers that tell the upstream of the client.
    pub(crate) fn push(&self, bytes: &mut Vec<u8>) {
        self.tell(|name, value| push_header(bytes, name, value.as_bytes()));
    }

    /// Gives the names and values of these headers.
    pub(crate) fn tell(&self, mut push: impl FnMut(&str, &str)) {
        let peer = self.peer.ip().to_canonical();
        let chain = self.chain();
        let for_header = chain.as_ref().map_or_else(|| peer.to_string(), |chain| format!("{chain}, {peer}"));
        push("X-Forwarded-For", &for_header);
        let told_proto = self.told(&X_FORWARDED_PROTO);
        let proto = told_proto.clone().unwrap_or_else(|| if self.tls { "https" } else { "http" }.to_owned());
        push("X-Forwarded-Proto", &proto);
        let told_host = self.told(&X_FORWARDED_HOST);
        let host = told_host.as_deref().or_else(|| self.authority());
        if let Some(host) = host {
            push("X-Forwarded-Host", host);
        }
        let host_port = host.map_or("", |host| split_port(host).1);
        let port = self.told(&X_FORWARDED_PORT).unwrap_or_else(|| match (&told_proto, host_port) {
            // The client reached a port of the balancer's, not of ours.
            (Some(proto), "") if is_secure(proto) => "443".to_owned(),
            (Some(_), "") => "80".to_owned(),
            (Some(_), port) => port.to_owned(),
            (None, _) => self.reached.port().to_string(),
        });
        push("X-Forwarded-Port", &port);
        push("Forwarded", &self.forwarded(chain.as_deref(), host));
        if let Some(field) = &self.settings.client_ip_header {
            let client = self.told_client_ip().unwrap_or_else(|| self.client_ip());
            push(&field.to_string(), &client.to_string());
        }
    }

    /// The value of `Forwarded` (RFC 7239): what a trusted proxy sent, or its `X-Forwarded-For` put in
    /// these words (section 7.4), and an element for this hop.
    fn forwarded(&self, chain: Option<&str>, host: Option<&str>) -> String {
        let mut value = self.told(&header::FORWARDED).unwrap_or_else(|| {
            let nodes = chain.into_iter().flat_map(|chain| chain.split(','));
            let nodes: Vec<String> =
                nodes.filter_map(address_in).map(|ip| format!("for={}", node(ip))).collect();
            nodes.join(", ")
        });
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str("for=");
        value.push_str(&node(self.peer.ip().to_canonical()));
        if let Some(host) = host.filter(|host| host.bytes().all(|byte| !matches!(byte, b'"' | b'\\'))) {
            value.push_str(";host=\"");
            value.push_str(host);
            value.push('"');
        }
        value.push_str(if self.tls { ";proto=https" } else { ";proto=http" });
        value
    }
}

/// A client's address as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its port, unless a balancer stands between.
    pub(crate) port: Option<u16>,
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// Whether `Connection` names this header.
pub(crate) fn names(headers: &HeaderMap, name: &HeaderName) -> bool {
    has_token(headers, &header::CONNECTION, name.as_str())
}

/// Whether a list header has this entry, in any spelling.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|entry| entry.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether what `X-Forwarded-Proto` says is a scheme with TLS: the first entry is the client's.
pub(crate) fn is_secure(proto: &str) -> bool {
    let first = proto.split(',').next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case("https") || first.eq_ignore_ascii_case("wss")
}

/// A host, and the port that it is written with; empty if there is none.
pub(crate) fn split_port(host: &str) -> (&str, &str) {
    let parts = host.rsplit_once(':');
    parts.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or((host, ""))
}

/// Appends the line of a header.
pub(crate) fn push_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// The address in an entry of `X-Forwarded-For`: some balancers add the port, some write brackets.
fn address_in(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim().trim_matches('"');
    let ip = entry.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    let ip = ip.or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The value of `for` in an element of `Forwarded`.
fn node_in(element: &str) -> Option<String> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// An address as `Forwarded` writes it.
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// The client's address and the headers for the upstream.
    fn told(peer: &str, headers: &[(&str, &str)], trusted: &[&str]) -> (String, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let settings = ListenSettings {
            trusted_proxies: trusted.iter().map(|range| range.parse().unwrap()).collect(),
            ..ListenSettings::default()
        };
        let uri = Uri::from_static("/path");
        let peer = peer.parse().unwrap();
        let hop = LastHop {
            uri: &uri,
            headers: &map,
            peer: SocketAddr::new(peer, 1),
            reached: SocketAddr::from(([192, 0, 2, 1], 8080)),
            tls: false,
            settings: &settings,
        };
        let mut bytes = Vec::new();
        hop.push(&mut bytes);
        let lines = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
        (hop.client_ip().to_string(), lines)
    }

    const FORGED: [(&str, &str); 7] = [
        ("host", "page.example:8080"),
        ("x-forwarded-for", "6.6.6.6, 10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "front.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=6.6.6.6;proto=https, for=10.0.0.9"),
        ("x-client-ip", "6.6.6.6"),
    ];

    #[test]
    fn what_a_stranger_says_is_replaced() {
        let (client, lines) = told("192.0.2.1", &FORGED, &[]);
        assert_eq!(client, "192.0.2.1");
        let wanted = [
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: page.example:8080",
            "X-Forwarded-Port: 8080",
            "Forwarded: for=192.0.2.1;host=\"page.example:8080\";proto=http",
            "X-Client-IP: 192.0.2.1",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_extended_or_passed() {
        let (client, lines) = told("10.0.0.1", &FORGED, &["10.0.0.0/8"]);
        assert_eq!(client, "6.6.6.6", "the last that is no proxy of ours");
        let wanted = [
            "X-Forwarded-For: 6.6.6.6, 10.0.0.9, 10.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: front.example",
            "X-Forwarded-Port: 443",
            "Forwarded: for=6.6.6.6;proto=https, for=10.0.0.9, for=10.0.0.1;host=\"front.example\";proto=http",
            "X-Client-IP: 6.6.6.6",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn one_kind_of_header_is_told_in_the_words_of_the_other() {
        let (client, lines) = told("10.0.0.1", &[("forwarded", "For=\"[2001:db8::1]:4711\"")], &["10.0.0.1"]);
        assert_eq!(client, "2001:db8::1");
        assert_eq!(lines[0], "X-Forwarded-For: [2001:db8::1]:4711, 10.0.0.1");
        let (client, lines) = told("10.0.0.1", &[("x-forwarded-for", "2001:db8::1")], &["10.0.0.1"]);
        assert_eq!(client, "2001:db8::1");
        assert!(
            lines.iter().any(|line| { line == "Forwarded: for=\"[2001:db8::1]\", for=10.0.0.1;proto=http" }),
            "{lines:?}"
        );
    }

    #[test]
    fn only_the_part_of_a_chain_that_proxies_of_ours_wrote_counts() {
        let chain = |text: &str| told("10.0.0.1", &[("x-forwarded-for", text)], &["10.0.0.0/8"]).0;
        assert_eq!(chain("6.6.6.6, 198.51.100.7"), "198.51.100.7", "the client's own claim comes first");
        assert_eq!(chain("198.51.100.7:51000, 10.0.0.2"), "198.51.100.7");
        assert_eq!(chain("unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(chain("::ffff:198.51.100.7"), "198.51.100.7");
        assert_eq!(chain("nobody"), "10.0.0.1");
    }

    #[test]
    fn a_header_named_in_connection_is_for_this_hop_alone() {
        let headers = [("connection", "upgrade, X-Forwarded-For"), ("x-forwarded-for", "6.6.6.6")];
        let (client, lines) = told("10.0.0.1", &headers, &["10.0.0.1"]);
        assert_eq!((client.as_str(), lines[0].as_str()), ("10.0.0.1", "X-Forwarded-For: 10.0.0.1"));
    }

    #[test]
    fn the_port_is_the_one_the_client_reached() {
        let port = |headers: &[(&str, &str)]| {
            let (_, lines) = told("10.0.0.1", headers, &["10.0.0.1"]);
            lines.into_iter().find(|line| line.starts_with("X-Forwarded-Port")).unwrap()
        };
        assert_eq!(port(&[("x-forwarded-proto", "https")]), "X-Forwarded-Port: 443");
        let written = [("x-forwarded-proto", "https"), ("x-forwarded-host", "a:8443")];
        assert_eq!(port(&written), "X-Forwarded-Port: 8443");
        assert_eq!(port(&[]), "X-Forwarded-Port: 8080");
    }

    #[test]
    fn a_balancer_nearby_is_noticed() {
        let mut headers = HeaderMap::new();
        assert!(!looks_like_a_balancer("127.0.0.1".parse().unwrap(), &headers));
        headers.insert(X_FORWARDED_FOR, "198.51.100.7".parse().unwrap());
        for (peer, wanted) in
            [("127.0.0.1", true), ("::1", true), ("::ffff:10.1.2.3", true), ("198.51.100.1", false)]
        {
            assert_eq!(looks_like_a_balancer(peer.parse().unwrap(), &headers), wanted, "{peer}");
        }
    }
}
