//! Names of HTTP headers in the configuration.

use std::fmt;

use http::HeaderName;
use serde::{Deserialize, Deserializer, Serializer};

use super::text::as_text;

/// Headers that belong to one connection, or that the proxy writes itself: naming them in a setting
/// would break handshakes or forge what they say.
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a header, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField {
    written: Box<str>,
    name: HeaderName,
}

impl HeaderField {
    /// The name to look for.
    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Whether the proxy itself decides what this header says, or whether it passes at all.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        let name = self.name.as_str();
        OURS.contains(&name) || name.starts_with("sec-websocket-") || name.starts_with("x-forwarded-")
    }
}

impl std::str::FromStr for HeaderField {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let name = written.parse().map_err(|_| format!("`{written}` is no name of an HTTP header"))?;
        Ok(Self { written: written.into(), name })
    }
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

as_text!(HeaderField);

/// A header that may be switched off with an empty name.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, HeaderField, Serializer};
    use serde::de::Error as _;

    pub(in crate::config) fn serialize<S: Serializer>(
        field: &Option<HeaderField>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(field.as_ref().map_or("", |field| &field.written))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HeaderField>, D::Error> {
        let written = String::deserialize(deserializer)?;
        if written.is_empty() {
            return Ok(None);
        }
        written.parse().map(Some).map_err(D::Error::custom)
    }
}
