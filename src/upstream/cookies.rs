//! The cookies that upstreams set in their answers: on later dials of the same session they are sent as
//! a browser would, which knows of them only from the first answer.
//!
//! A jar is for one request, so that host, path and scheme never change: a cookie either fits them or
//! is not kept.

use std::time::Duration;

use cookie::{Cookie, time::OffsetDateTime};
use http::{HeaderMap, header};

/// Longest cookie that browsers keep, name and value, in bytes.
const COOKIE_BYTES_MAX: usize = 4096;

/// How much a jar may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieBounds {
    /// Most cookies.
    pub(crate) count_max: usize,
    /// Most bytes of names and values.
    pub(crate) bytes_max: usize,
}

/// What the client asked for, as far as cookies go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    /// The host, without its port.
    pub(super) host: &'a str,
    /// The path, without its query.
    pub(super) path: &'a str,
    /// Whether the client's connection is encrypted.
    pub(super) secure: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    name: Box<str>,
    /// `None`: deleted. The client may still send one of this name in its own header.
    value: Option<Box<str>>,
    until: Option<OffsetDateTime>,
}

impl Kept {
    fn len_bytes(&self) -> usize {
        self.name.len().saturating_add(self.value.as_deref().map_or(0, str::len))
    }
}

/// The cookies of one session's upstream.
#[derive(Debug, Default)]
pub(super) struct Jar(Vec<Kept>);

impl Jar {
    /// Takes what an answer sets. Past the bounds the oldest are forgotten.
    pub(super) fn take(&mut self, answer: &HeaderMap, site: Site<'_>, bounds: CookieBounds) {
        let now = OffsetDateTime::now_utc();
        let lines = answer.get_all(header::SET_COOKIE).iter();
        for cookie in lines.filter_map(|line| Cookie::parse(line.to_str().ok()?).ok()) {
            if fits(&cookie, site) {
                self.put(&cookie, now, bounds);
            }
        }
        // A jar without cookies costs nothing.
        self.0.shrink_to_fit();
    }

    fn put(&mut self, cookie: &Cookie<'_>, now: OffsetDateTime, bounds: CookieBounds) {
        let until = expiry(cookie, now);
        let over = until.is_some_and(|until| until <= now);
        let value = (!over).then(|| cookie.value().into());
        let kept = Kept { name: cookie.name().into(), value, until: until.filter(|_| !over) };
        self.0.retain(|known| known.name != kept.name);
        if kept.len_bytes() > COOKIE_BYTES_MAX.min(bounds.bytes_max) || bounds.count_max == 0 {
            return;
        }
        self.0.push(kept);
        while self.0.len() > bounds.count_max || self.len_bytes() > bounds.bytes_max {
            self.0.remove(0);
        }
    }

    fn len_bytes(&self) -> usize {
        self.0.iter().map(Kept::len_bytes).sum()
    }

    /// The value of `Cookie` for the next dial, given the client's own; empty if there is none.
    pub(super) fn apply(&self, own: &str) -> String {
        let now = OffsetDateTime::now_utc();
        let own = own.split(';').map(str::trim).filter(|pair| !pair.is_empty());
        let own = own.filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().trim_end();
            self.0.iter().all(|kept| *kept.name != *name)
        });
        let set = self.0.iter().filter(|kept| kept.until.is_none_or(|until| now < until));
        let set = set.filter_map(|kept| Some(format!("{}={}", kept.name, kept.value.as_deref()?)));
        let pairs: Vec<String> = own.map(str::to_owned).chain(set).collect();
        pairs.join("; ")
    }
}

/// When the cookie ends; `Max-Age` goes before `Expires` (RFC 6265 section 5.3).
fn expiry(cookie: &Cookie<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    match cookie.max_age() {
        Some(age) => {
            let age = Duration::try_from(age).unwrap_or(Duration::ZERO);
            // What ends after the calendar does not end.
            Some(now).filter(|_| age.is_zero()).or_else(|| now.checked_add(age.try_into().ok()?))
        }
        None => cookie.expires_datetime(),
    }
}

/// Whether a browser would keep the cookie, and send it with this same request again.
fn fits(cookie: &Cookie<'_>, site: Site<'_>) -> bool {
    let secure = cookie.secure() == Some(true);
    let domain = cookie.domain().map(|domain| domain.trim_start_matches('.')).filter(|d| !d.is_empty());
    let prefixed = |prefix: &str| {
        cookie.name().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let named_well = if prefixed("__Host-") {
        secure && domain.is_none() && cookie.path() == Some("/")
    } else {
        secure || !prefixed("__Secure-")
    };
    let plain = |text: &str| text.bytes().all(|byte| byte >= 0x20 && byte != 0x7F && byte != b';');
    named_well
        && (site.secure || !secure)
        && domain.is_none_or(|domain| domain_matches(site.host, domain))
        && cookie.path().is_none_or(|path| path_matches(site.path, path))
        && plain(cookie.name())
        && plain(cookie.value())
}

/// RFC 6265 section 5.1.3. Nobody sets a cookie for a whole top-level domain.
fn domain_matches(host: &str, domain: &str) -> bool {
    if host.eq_ignore_ascii_case(domain) {
        return true;
    }
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let is_address = host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[');
    let ends = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    let dotted = host.get(..at).is_some_and(|start| start.ends_with('.'));
    ends && dotted && domain.contains('.') && !is_address
}

/// RFC 6265 section 5.1.4. A path that is none means the default, which the request always matches.
fn path_matches(request: &str, path: &str) -> bool {
    if !path.starts_with('/') || request == path {
        return true;
    }
    request.strip_prefix(path).is_some_and(|rest| path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOUNDS: CookieBounds = CookieBounds { count_max: 16, bytes_max: 8192 };
    const PLAIN: Site<'static> = Site { host: "wcs.example.com", path: "/wss/room", secure: false };

    fn answer(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, line.parse().unwrap());
        }
        headers
    }

    fn sent(lines: &[&str], site: Site<'_>, own: &str) -> String {
        let mut jar = Jar::default();
        jar.take(&answer(lines), site, BOUNDS);
        jar.apply(own)
    }

    #[test]
    fn a_set_cookie_joins_and_replaces_the_clients_own() {
        assert_eq!(sent(&["SRV=b; Path=/; HttpOnly"], PLAIN, ""), "SRV=b");
        assert_eq!(sent(&["SRV=b", "x=\"1 2\""], PLAIN, "lang=de; SRV=a"), "lang=de; SRV=b; x=\"1 2\"");
        assert_eq!(sent(&["SRV=a", "SRV=b"], PLAIN, "SRVX=1"), "SRVX=1; SRV=b");
        assert_eq!(sent(&[], PLAIN, "a=1; b=2"), "a=1; b=2");
    }

    #[test]
    fn a_cookie_that_ended_is_not_sent_and_takes_the_clients_with_it() {
        for line in [
            "SRV=; Max-Age=0",
            "SRV=b; Max-Age=-5; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
            "SRV=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(sent(&[line], PLAIN, "SRV=a; lang=de"), "lang=de", "{line}");
        }
        let lasting = "SRV=b; Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(sent(&[lasting], PLAIN, ""), "SRV=b");
    }

    #[test]
    fn only_what_fits_the_request_is_kept() {
        for (line, fits) in [
            ("a=1; Domain=example.com", true),
            ("a=1; Domain=.WCS.example.com", true),
            ("a=1; Domain=other.example.com", false),
            ("a=1; Domain=com", false),
            ("a=1; Domain=cs.example.com", false),
            ("a=1; Path=/wss", true),
            ("a=1; Path=/wss/", true),
            ("a=1; Path=/ws", false),
            ("a=1; Path=/other", false),
            ("a=1; Secure", false),
            ("__Secure-a=1", false),
        ] {
            assert_eq!(!sent(&[line], PLAIN, "").is_empty(), fits, "{line}");
        }
        let secure = Site { secure: true, ..PLAIN };
        assert_eq!(sent(&["__Host-a=1; Secure; Path=/"], secure, ""), "__Host-a=1");
        assert_eq!(sent(&["__Host-a=1; Secure; Path=/; Domain=example.com"], secure, ""), "");
        let address = Site { host: "192.0.2.1", ..PLAIN };
        assert_eq!(sent(&["a=1; Domain=2.1"], address, ""), "");
    }

    #[test]
    fn both_bounds_are_kept_by_forgetting_the_oldest() {
        let many: Vec<String> = (0..40).map(|n| format!("c{n}=x")).collect();
        let lines: Vec<&str> = many.iter().map(String::as_str).collect();
        let cookies = sent(&lines, PLAIN, "");
        assert_eq!(cookies.split("; ").count(), 16);
        assert!(cookies.starts_with("c24=x") && cookies.ends_with("c39=x"), "{cookies}");
        let large: Vec<String> = (0..4).map(|n| format!("c{n}={}", "x".repeat(3000))).collect();
        let lines: Vec<&str> = large.iter().map(String::as_str).collect();
        assert_eq!(sent(&lines, PLAIN, "").split("; ").count(), 2);
        let huge = format!("a={}", "x".repeat(5000));
        assert_eq!(sent(&[&huge], PLAIN, ""), "");
    }
}
