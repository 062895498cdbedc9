//! Who may ask on the control port. It needs no password, so no web page may reach it: neither under a name
//! of its own that leads to this machine (DNS rebinding), nor by what a browser sends for another site.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, header};

/// Whether a request may come from a page of somebody else. Browsers name the host and, with what could
/// change something, the origin; who names neither is none.
pub(super) fn is_foreign(uri: &Uri, headers: &HeaderMap) -> bool {
    let texts =
        |name: HeaderName| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let target = uri.authority().map(Authority::as_str);
    let origin_is_own =
        |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| is_this_machine(authority));
    let says_cross_site = texts(HeaderName::from_static("sec-fetch-site")).any(|site| site == "cross-site");
    !texts(header::HOST).chain(target).all(is_this_machine)
        || !texts(header::ORIGIN).all(origin_is_own)
        || (says_cross_site && !headers.contains_key(header::ORIGIN))
}

/// `localhost` or an address of loopback, with or without a port.
fn is_this_machine(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<Authority>() else { return false };
    let host = parsed.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    !authority.contains('@')
        && (host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn foreign(target: &str, given: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        is_foreign(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn this_machine_may_ask() {
        for host in
            ["127.0.0.1:18081", "127.9.9.9", "localhost:1", "LOCALHOST.", "[::1]:1", "[::ffff:127.0.0.1]"]
        {
            assert!(!foreign("/state", &[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(!foreign("/state", &[("host", host), ("origin", &origin)]), "{origin}");
        }
        assert!(!foreign("/state", &[]), "HTTP/1.0");
        assert!(!foreign("http://localhost/state", &[("host", "localhost")]));
        assert!(!foreign("/", &[("host", "localhost"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn pages_of_others_may_not() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a@localhost",
            "10.0.0.1",
            "",
            "?",
        ] {
            assert!(foreign("/state", &[("host", host)]), "{host}");
            assert!(foreign("/state", &[("host", "localhost"), ("host", host)]), "{host}");
            let origin = format!("https://{host}");
            assert!(foreign("/state", &[("host", "localhost"), ("origin", &origin)]), "{origin}");
        }
        assert!(foreign("/state", &[("host", "localhost"), ("origin", "null")]));
        assert!(foreign("http://evil.example/state", &[("host", "localhost")]));
        assert!(foreign("/state", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]));
    }
}
