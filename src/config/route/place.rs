//! Which requests a route is for: hosts and paths as it names them. Knows nothing of what a path may mean to others.

use std::{fmt, str::FromStr};

use super::super::text::as_text;

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

as_text!(HostPattern, PathPrefix);

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
}
