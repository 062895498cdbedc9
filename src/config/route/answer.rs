//! What a route answers by itself: a text of the configuration, or another URL.

use std::{collections::BTreeMap, fmt, str::FromStr};

use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use super::super::{number::Between, text::as_text};

/// Most bytes of an answer that stands in the configuration.
const STATIC_BYTES_MAX: usize = 1024 * 1024;

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

as_text!(RedirectUrl);

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
