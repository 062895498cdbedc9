//! A port of loopback needs no password, so a web page must not reach it: neither under a name of its own
//! that resolves to 127.0.0.1 (DNS rebinding), nor by a request that the browser sends for another site.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

/// Why this request is none of this machine's own, if it is not. `hosts` are further names to answer to.
///
/// A browser always says the host and, for what could change something, the origin; who says neither is
/// none.
pub(crate) fn stranger(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Option<&'static str> {
    let is_own = |authority: &str| {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        !authority.as_str().contains('@') && is_own_host(authority.host(), hosts)
    };
    let mut named = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    if !named.all(is_own) || uri.authority().is_some_and(|target| !is_own(target.as_str())) {
        return Some(
            "this host is not served here: ask by an address of loopback, or name it in the settings",
        );
    }
    let mut origins =
        headers.get_all(header::ORIGIN).iter().map(|origin| origin.to_str().unwrap_or_default());
    if !origins.all(|origin| origin.split_once("://").is_some_and(|(_, authority)| is_own(authority))) {
        return Some("pages of other origins are not served here");
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| site == "cross-site") && !headers.contains_key(header::ORIGIN) {
        return Some("pages of other sites are not served here");
    }
    None
}

fn is_own_host(host: &str, hosts: &[String]) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    let named = |name: &str| host.trim_end_matches('.').eq_ignore_ascii_case(name);
    is_loopback || named("localhost") || hosts.iter().any(|name| named(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_refused(target: &str, given: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        stranger(&target.parse().unwrap(), &headers, &["admin.internal".to_owned()]).is_some()
    }

    #[test]
    fn this_machine_may_ask() {
        for host in [
            "127.0.0.1:8089",
            "127.9.9.9",
            "localhost:1",
            "LOCALHOST.",
            "[::1]:8089",
            "[::ffff:127.0.0.1]",
            "admin.internal:80",
        ] {
            assert!(!is_refused("/status", &[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(!is_refused("/status", &[("host", host), ("origin", &origin)]), "{origin}");
        }
        assert!(!is_refused("/status", &[]), "HTTP/1.0");
        assert!(!is_refused("http://localhost/status", &[("host", "localhost")]));
        assert!(!is_refused("/", &[("host", "localhost"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn pages_of_others_may_not() {
        for host in [
            "evil.example",
            "evil.example:8089",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a@localhost",
            "127.0.0.1@evil",
            "10.0.0.1",
            "",
            "?",
        ] {
            assert!(is_refused("/status", &[("host", host)]), "{host}");
            assert!(is_refused("/status", &[("host", "localhost"), ("host", host)]), "{host}");
            let origin = format!("https://{host}");
            assert!(is_refused("/status", &[("host", "localhost"), ("origin", &origin)]), "{origin}");
        }
        assert!(is_refused("/status", &[("host", "localhost"), ("origin", "null")]));
        assert!(is_refused("http://evil.example/status", &[("host", "localhost")]));
        assert!(is_refused("/status", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]));
    }
}
