//! `[[route]]`: what becomes of a request, by where it came in and what it asks for. Shape and ranges only; whether
//! routes fit together is checked in `routes`.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use super::{
    address::{ListenAddress, UpstreamUrl},
    node::Name,
    number::{Between, MaybeBetween},
    pin::Pin,
    text::as_text,
    upstream::UpstreamSettings,
};

/// Most bytes of an answer that stands in the configuration.
const STATIC_BYTES_MAX: usize = 1024 * 1024;

/// One route: whom it is for, and exactly one thing that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// What it goes by in log and metrics. Default: its number, from 1.
    pub name: Option<Name>,
    /// Only requests that came in at this address of `listen.address`. Default all.
    pub listener: Option<ListenAddress>,
    /// Only requests for this host, or any below it (`*.example.org`). Default all.
    pub host: Option<HostPattern>,
    /// Only requests for this path and what is below it. Default all.
    pub path: Option<PathPrefix>,
    /// Only sessions of this application; plain requests have none. Default all.
    pub app_key: Option<String>,
    /// WebSockets become sessions on the nodes of this pool. Plain requests are none of its business.
    pub pool: Option<Name>,
    /// Plain requests are passed on to this server.
    pub http: Option<HttpUrl>,
    /// What stands there for `path`; `/` takes it off. Default `path` itself.
    pub replace_path: Option<PathPrefix>,
    /// Whether the server gets the `Host` of the request, or its own. Default true.
    pub keep_host: Option<bool>,
    /// Whether WebSockets are passed on to this server as they are; they are no sessions. Default false: they go on to
    /// the next route.
    pub tunnel: Option<bool>,
    /// Whether answers for `lbUrl` are made to name this proxy (protocol S1). Default false.
    pub rewrite_lb: Option<bool>,
    /// How clients reach this proxy, for these. Default as the request itself says.
    pub lb: Option<LbPublic>,
    /// How an https server is checked. Default as those of `[upstream]`.
    pub tls: Option<HttpTls>,
    /// Plain requests get this answer.
    #[serde(rename = "static")]
    pub fixed: Option<StaticAnswer>,
    /// Plain requests are sent to this URL.
    pub redirect: Option<RedirectUrl>,
    /// How they are told. Default 302.
    #[serde(with = "MaybeBetween::<301, 308>")]
    pub redirect_status: Option<u16>,
    /// Whether path and query of the request are added to the URL. Default true.
    pub redirect_keep_path: Option<bool>,
    /// Plain requests and WebSockets are refused with this status.
    #[serde(with = "MaybeBetween::<400, 599>")]
    pub deny: Option<u16>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub line: Line,
}

/// The line of a file; where two settings stand is no difference between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line(pub Option<usize>);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Line {}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction<'a> {
    /// WebSockets go to a pool.
    Pool(&'a Name),
    /// Passed on to an HTTP server.
    Http(&'a HttpUrl),
    /// An answer of the configuration.
    Static(&'a StaticAnswer),
    /// Another URL is named.
    Redirect(&'a RedirectUrl),
    /// Refused with this status.
    Deny(u16),
}

impl RouteSettings {
    /// All that it does: one thing, where it is right.
    #[must_use]
    pub fn actions(&self) -> Vec<RouteAction<'_>> {
        let pool = self.pool.as_ref().map(RouteAction::Pool);
        let http = self.http.as_ref().map(RouteAction::Http);
        let fixed = self.fixed.as_ref().map(RouteAction::Static);
        let redirect = self.redirect.as_ref().map(RouteAction::Redirect);
        let deny = self.deny.map(RouteAction::Deny);
        [pool, http, fixed, redirect, deny].into_iter().flatten().collect()
    }

    /// What it goes by: its name, or its number.
    #[must_use]
    pub fn label(&self, nth: usize) -> String {
        self.name.as_ref().map_or_else(|| nth.saturating_add(1).to_string(), Name::to_string)
    }

    /// Whether it concerns plain requests, and WebSockets.
    #[must_use]
    pub fn concerns(&self) -> (bool, bool) {
        match self.actions().first() {
            Some(RouteAction::Pool(_)) | None => (false, true),
            Some(RouteAction::Deny(_)) => (self.app_key.is_none(), true),
            Some(RouteAction::Http(_)) => (true, self.tunnel == Some(true)),
            Some(RouteAction::Static(_) | RouteAction::Redirect(_)) => (true, false),
        }
    }
}

impl fmt::Display for RouteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut conditions = Vec::new();
        conditions.extend(self.listener.as_ref().map(|listener| format!("at {}", listener.address)));
        conditions.extend(self.host.as_ref().map(|host| format!("host {host}")));
        conditions.extend(self.path.as_ref().map(|path| format!("path {path}")));
        conditions.extend(self.app_key.as_ref().map(|app_key| format!("appKey {app_key:?}")));
        let whom = if conditions.is_empty() { "all".to_owned() } else { conditions.join(", ") };
        let what = match self.concerns() {
            (true, false) => "requests",
            (false, _) => "WebSockets",
            (true, true) => "requests and WebSockets",
        };
        let action = match self.actions().first() {
            Some(RouteAction::Pool(pool)) => format!("pool {pool}"),
            Some(RouteAction::Http(url)) => format!("passed on to {url}"),
            Some(RouteAction::Static(answer)) => format!("static answer {}", answer.status),
            Some(RouteAction::Redirect(url)) => format!("redirect to {url}"),
            Some(RouteAction::Deny(status)) => format!("denied with {status}"),
            None => "nothing".to_owned(),
        };
        write!(f, "{what}, {whom}: {action}")
    }
}

/// A host as a route names it: exactly one, or with `*.` in front any below it. Upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case.
    host: Box<str>,
    is_below: bool,
}

impl HostPattern {
    /// Whether this host, without its port, is one of them.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        if !self.is_below {
            return host.eq_ignore_ascii_case(&self.host);
        }
        let Some(at) = host.len().checked_sub(self.host.len()) else { return false };
        let ends = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(&self.host));
        ends && host.get(..at).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
    }

    /// Whether all hosts of the other one are among those of this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.is_below {
            let is_further = other.host.ends_with(&format!(".{}", self.host));
            return self.is_below && (other.host == self.host || is_further);
        }
        self.matches(&other.host)
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, is_below) = text.strip_prefix("*.").map_or((text, false), |host| (host, true));
        let host = host.trim_end_matches('.');
        let is_address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_address = is_address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if is_address && !is_below || !host.is_empty() && host.chars().all(in_name) {
            return Ok(Self { host: host.to_ascii_lowercase().into(), is_below });
        }
        Err(format!(
            "`{text}` is no host, expected one without a port such as wcs.example.org, *.example.org or 192.0.2.1"
        ))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_below { "*." } else { "" }, self.host)
    }
}

/// The beginning of a path, which ends where a segment does: `/rest` is `/rest` and `/rest/x`, and not `/restless`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What of this path is behind the prefix; `None` if the path is another one.
    #[must_use]
    pub fn rest<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(self.0.as_bytes())?;
        let is_whole = self.0.ends_with('/') || rest.first().is_none_or(|byte| *byte == b'/');
        is_whole.then_some(rest)
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut segments = text.split('/');
        let begins = segments.next() == Some("");
        let is_plain = |c: char| !c.is_control() && !matches!(c, ' ' | '%' | '?' | '#' | '\\' | ';');
        let is_last = |segments: &std::str::Split<'_, char>| segments.clone().next().is_none();
        while let Some(segment) = segments.next() {
            let is_end = segment.is_empty() && is_last(&segments);
            if matches!(segment, "." | "..") || segment.is_empty() && !is_end {
                return Err(format!("`{text}`: `.`, `..` and `//` have no place in the path of a route"));
            }
        }
        if begins && text.starts_with('/') && text.chars().all(is_plain) {
            return Ok(Self(text.into()));
        }
        Err(format!(
            "`{text}` is no path, expected one such as /rest, as it is without percent-encoding; a query is not \
             looked at"
        ))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where clients are sent: an `http` or `https` URL. The host `$host` is that of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUrl(Box<str>);

/// What stands for the host of the request.
const SAME_HOST: &str = "$host";

impl RedirectUrl {
    /// The URL for a request to this host; `target` is its path and query, where these are kept.
    #[must_use]
    pub fn for_request(&self, host: &str, target: Option<&str>) -> String {
        let mut url = self.0.replace(SAME_HOST, host);
        if let Some(target) = target {
            url.truncate(url.trim_end_matches('/').len());
            url.push_str(target);
        }
        url
    }

    /// Whether it needs a host to be complete.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        self.0.contains(SAME_HOST)
    }

    /// Whether it has a query, to which no path can be added.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.0.contains('?')
    }
}

impl FromStr for RedirectUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no URL to redirect to, expected one such as https://wcs.example.org or https://$host:8443"
            )
        };
        let complete = text.replacen(SAME_HOST, "host", 1);
        let uri: Uri = complete.parse().map_err(|_| expected())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().ok_or_else(expected)?;
        let is_plain = !authority.as_str().contains('@') && !complete.contains(['$', '#']);
        let is_sendable = HeaderValue::from_str(&complete).is_ok();
        (is_known && is_plain && is_sendable).then(|| Self(text.into())).ok_or_else(expected)
    }
}

impl fmt::Display for RedirectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An HTTP server: `http://HOST:PORT` or `https://HOST:PORT`. It has no path: that of the request is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(UpstreamUrl);

impl HttpUrl {
    /// Whether to speak TLS (`https`).
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.0.is_tls()
    }

    /// Host name or IP address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port()
    }

    /// What stands in `Host` for it.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            |why: &str| format!("not an HTTP server: {why}; expected http://HOST:PORT or https://HOST:PORT");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| expected("the scheme is missing"))?;
        let scheme = match scheme {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(expected("this scheme is not spoken")),
        };
        format!("{scheme}://{rest}").parse().map(Self).map_err(|error: String| {
            let why = error.trim_start_matches("not an upstream: ").split(';').next().unwrap_or_default();
            expected(why.trim_end_matches(", the client's own are forwarded"))
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let host = self.0.authority_of_port(self.port());
        write!(f, "{scheme}://{host}")
    }
}

/// How clients reach this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbPublic {
    /// The host, as it stands in a URL.
    pub server: Option<String>,
    /// The port of `ws`.
    #[serde(with = "MaybeBetween::<1, 65_535>")]
    pub ws: Option<u16>,
    /// The port of `wss`.
    #[serde(with = "MaybeBetween::<1, 65_535>")]
    pub wss: Option<u16>,
}

/// How an https server is checked, and what it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTls {
    /// PEM file with the certificates that sign that of the server. `None`: the public roots.
    pub ca: Option<PathBuf>,
    /// The name by which it is asked for and checked, instead of the host of its URL.
    pub server_name: Option<String>,
    /// Public keys that are believed whoever signed the certificate.
    pub pins: Vec<Pin>,
    /// PEM file with the certificate chain that it is shown if it asks for one.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
}

impl HttpTls {
    /// The same as settings of upstreams, beside the others of these.
    #[must_use]
    pub fn in_settings(&self, upstream: &UpstreamSettings) -> UpstreamSettings {
        UpstreamSettings {
            ca: self.ca.clone(),
            server_name: self.server_name.clone(),
            pins: self.pins.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            ..upstream.clone()
        }
    }
}

as_text!(HostPattern, PathPrefix, RedirectUrl, HttpUrl);

/// An answer that stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticAnswer {
    /// Its status. Default 200.
    #[serde(default = "ok", with = "Between::<200, 599>")]
    pub status: u16,
    /// Its text. Default empty.
    #[serde(default, deserialize_with = "body")]
    pub body: String,
    /// What the text is. Default `text/plain; charset=utf-8`.
    #[serde(default = "plain_text")]
    pub content_type: String,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

const fn ok() -> u16 {
    200
}

fn plain_text() -> String {
    "text/plain; charset=utf-8".to_owned()
}

fn body<'de, D: serde::Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let body = String::deserialize(input)?;
    if body.len() > STATIC_BYTES_MAX {
        return Err(serde::de::Error::custom(format!(
            "the text has {} bytes, expected at most {STATIC_BYTES_MAX}",
            body.len()
        )));
    }
    Ok(body)
}

impl StaticAnswer {
    /// The headers, the type of the text first.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn header_fields(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        const OWN: [HeaderName; 5] = [
            http::header::CONNECTION,
            http::header::CONTENT_LENGTH,
            http::header::TRANSFER_ENCODING,
            http::header::UPGRADE,
            http::header::TRAILER,
        ];
        let kind = [("content-type", &self.content_type)];
        let others = self.headers.iter().map(|(name, value)| (name.as_str(), value));
        let field = |(name, value): (&str, &String)| {
            let field: HeaderName = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
            if OWN.contains(&field) {
                return Err(format!("{field} is a header that the proxy writes itself"));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of {field} cannot be sent in a header"))?;
            Ok((field, value))
        };
        kind.into_iter().filter(|(_, value)| !value.is_empty()).chain(others).map(field).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_exact_or_whatever_is_below_it() {
        let exact: HostPattern = "WCS.example.org".parse().unwrap();
        let below: HostPattern = "*.example.org".parse().unwrap();
        for (host, is_exact, is_below) in [
            ("wcs.example.org", true, true),
            ("WCS.EXAMPLE.ORG.", true, true),
            ("a.b.example.org", false, true),
            ("example.org", false, false),
            (".example.org", false, false),
            ("evilexample.org", false, false),
            ("wcs.example.org.evil", false, false),
            ("", false, false),
        ] {
            assert_eq!((exact.matches(host), below.matches(host)), (is_exact, is_below), "{host}");
        }
        assert!(below.covers(&exact) && !exact.covers(&below) && below.covers(&below));
        let further: HostPattern = "*.a.example.org".parse().unwrap();
        assert!(below.covers(&further) && !further.covers(&below));
        assert!("[::1]".parse::<HostPattern>().unwrap().matches("[::1]"));
        for wrong in ["", "*", "*.", "a:80", "http://a", "a*", "*.*.a", "a b", "[::1", "*.[::1]"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_ends_with_a_segment() {
        let rest = |prefix: &str, path: &str| {
            let prefix: PathPrefix = prefix.parse().unwrap();
            prefix.rest(path.as_bytes()).map(|rest| String::from_utf8(rest.to_vec()).unwrap())
        };
        assert_eq!(rest("/rest", "/rest/x").as_deref(), Some("/x"));
        assert_eq!(rest("/rest", "/rest").as_deref(), Some(""));
        assert_eq!(rest("/rest", "/restless"), None);
        assert_eq!(rest("/rest/", "/rest/x").as_deref(), Some("x"));
        assert_eq!(rest("/rest/", "/rest"), None);
        assert_eq!(rest("/", "/anything").as_deref(), Some("anything"));
        for wrong in ["", "rest", "/a?b", "/a%20b", "/a/../b", "/./a", "/a//b", "//", "/a;b", "/a\\b", "/a b"]
        {
            assert!(wrong.parse::<PathPrefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_redirect_keeps_host_and_path_where_that_is_asked() {
        let to: RedirectUrl = "https://$host:8443/".parse().unwrap();
        assert_eq!(to.for_request("wcs", Some("/a?b=1")), "https://wcs:8443/a?b=1");
        assert_eq!(to.for_request("wcs", None), "https://wcs:8443/");
        let to: RedirectUrl = "https://other.example/new?x=1".parse().unwrap();
        assert!(to.has_query() && !to.needs_host());
        for wrong in [
            "",
            "/path",
            "ftp://a",
            "https://me@a",
            "https://",
            "https://a/$x",
            "https://a/#b",
            "https://a b",
        ] {
            assert!(wrong.parse::<RedirectUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_of_an_answer_are_those_that_can_be_sent() {
        let with = |name: &str, value: &str| {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            StaticAnswer { status: 200, body: String::new(), content_type: plain_text(), headers }
                .header_fields()
        };
        assert_eq!(with("X-Robots-Tag", "none").unwrap().len(), 2);
        for (name, value) in [("x y", "1"), ("x", "a\nb"), ("Content-Length", "5"), ("Connection", "close")] {
            assert!(with(name, value).is_err(), "{name}");
        }
    }
}
