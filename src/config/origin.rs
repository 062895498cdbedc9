//! Origins of pages as an operator writes them: `https://host`, `https://host:port`, with `*.` for any subdomain,
//! `null`, or `*`. Reading and comparing only.

use std::{fmt, str::FromStr};

use http::Uri;

use super::text::as_text;

/// Which origins of pages are meant (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// What browsers say for a page without an origin, such as a file or a sandbox.
    Null,
    Of {
        scheme: Box<str>,
        /// In lower case.
        host: Box<str>,
        /// Any name below the host, and not the host itself.
        is_below: bool,
        port: u16,
    },
}

impl OriginPattern {
    /// Whether this value of the header `Origin` is one of them.
    #[must_use]
    pub fn matches(&self, origin: &str) -> bool {
        match &self.0 {
            Pattern::Any => true,
            Pattern::Null => origin == "null",
            Pattern::Of { scheme, host, is_below, port } => {
                let Some((its_scheme, its_host, its_port)) = parts(origin) else { return false };
                let its_host = its_host.to_ascii_lowercase();
                let is_host = match its_host.strip_suffix(&**host) {
                    Some("") => !is_below,
                    Some(below) => *is_below && below.len() > 1 && below.ends_with('.'),
                    None => false,
                };
                is_host && its_scheme.eq_ignore_ascii_case(scheme) && its_port == *port
            }
        }
    }
}

/// Scheme, host and port of an origin; it has nothing else.
fn parts(text: &str) -> Option<(String, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    if rest.contains(['/', '?', '#', '@']) {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let told = uri.authority()?.as_str().rsplit_once(']').map_or(rest, |(_, behind)| behind).rsplit_once(':');
    let told = told.map(|(_, digits)| digits.parse::<u16>().ok());
    let port = match (told, scheme.to_ascii_lowercase().as_str()) {
        // A colon with no port behind it is no origin.
        (Some(port), _) => port?,
        (None, "https" | "wss") => 443,
        (None, "http" | "ws") => 80,
        (None, _) => 0,
    };
    Some((scheme.to_owned(), uri.host().filter(|host| !host.is_empty())?.to_owned(), port))
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no origin, expected one such as https://example.com, https://*.example.com, \
                 http://localhost:8000, null or *"
            )
        };
        match text {
            "*" => return Ok(Self(Pattern::Any)),
            "null" => return Ok(Self(Pattern::Null)),
            _ => {}
        }
        let (plain, is_below) = match text.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (text.to_owned(), false),
        };
        let (scheme, host, port) =
            parts(&plain).filter(|(_, host, _)| !host.contains('*')).ok_or_else(expected)?;
        let host = host.to_ascii_lowercase().into_boxed_str();
        Ok(Self(Pattern::Of { scheme: scheme.to_ascii_lowercase().into_boxed_str(), host, is_below, port }))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Any => f.write_str("*"),
            Pattern::Null => f.write_str("null"),
            Pattern::Of { scheme, host, is_below, port } => {
                let below = if *is_below { "*." } else { "" };
                match (&**scheme, port) {
                    ("https" | "wss", 443) | ("http" | "ws", 80) | (_, 0) => {
                        write!(f, "{scheme}://{below}{host}")
                    }
                    _ => write!(f, "{scheme}://{below}{host}:{port}"),
                }
            }
        }
    }
}

as_text!(OriginPattern);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_by_scheme_host_and_port() {
        for (pattern, yes, no) in [
            (
                "https://example.com",
                &[
                    "https://example.com",
                    "https://EXAMPLE.com",
                    "https://example.com:443",
                    "HTTPS://example.com",
                ][..],
                &[
                    "http://example.com",
                    "https://example.com:8443",
                    "https://example.com.evil.net",
                    "https://evilexample.com",
                    "https://a.example.com",
                    "https://example.com/",
                    "https://user@example.com",
                    "https://example.com:",
                    "https://",
                    "null",
                    "",
                ][..],
            ),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a.b.example.com", "https://A.Example.Com"],
                &[
                    "https://example.com",
                    "https://.example.com",
                    "https://evilexample.com",
                    "http://a.example.com",
                ],
            ),
            (
                "https://*.example.com:8443",
                &["https://a.example.com:8443"],
                &["https://a.example.com", "https://example.com:8443", "https://a.example.com:443"],
            ),
            (
                "http://localhost:8000",
                &["http://localhost:8000"],
                &["http://localhost", "http://localhost:80"],
            ),
            ("https://[::1]:8443", &["https://[::1]:8443"], &["https://[::2]:8443"]),
            ("app://local", &["app://local"], &["app://other", "app://local:1"]),
            ("null", &["null"], &["NULL", "https://null"]),
            ("*", &["null", "https://example.com", "anything"], &[]),
        ] {
            let read: OriginPattern = pattern.parse().unwrap();
            assert_eq!(read.to_string(), pattern);
            for origin in yes {
                assert!(read.matches(origin), "{pattern} is not {origin}");
            }
            for origin in no {
                assert!(!read.matches(origin), "{pattern} is {origin}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "example.com",
            "https://",
            "https://a.example.com/path",
            "https://*",
            "https://a.*.com",
            "https://x:99999",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }
}
