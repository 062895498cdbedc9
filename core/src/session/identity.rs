//! Whether two sessions are of the same client, as far as can be known (rule R7).
//!
//! A digest of what a client says of itself: its headers (the driver's part, of the handshake) and
//! its `connection` but for the token. Nothing of it can be read back, so that it may be kept and
//! compared anywhere. Equal identities are no proof; different ones are no right to another's name.

use sha1::{Digest, Sha1};

use crate::signaling::view;

/// Bytes of the digest that are kept.
const DIGEST_BYTES: usize = 16;

/// Who a client seems to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; DIGEST_BYTES]);

impl Identity {
    /// Of a client that has said nothing.
    pub(super) const NONE: Self = Self([0; DIGEST_BYTES]);

    /// Of a handshake: the values of the headers that identify a client, in a fixed order. An absent
    /// header has to be told as `None`, so that no two handshakes look alike by shifting values.
    #[must_use]
    pub fn of_handshake<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut digest = Sha1::new();
        for part in parts {
            let length = part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or(u64::MAX - 1));
            digest.update(length.to_be_bytes());
            digest.update(part.unwrap_or_default());
        }
        Self(digest.finalize().first_chunk().copied().unwrap_or_default())
    }

    /// This client together with something of it, as a stream's name.
    pub(crate) fn and(self, words: &[u8]) -> Self {
        Self::of_handshake([Some(&self.0[..]), Some(words)])
    }

    /// Of a handshake's client once it has sent this `connection`.
    pub(super) fn with_connection(self, connection: view::Connection<'_>) -> Self {
        Self::of_handshake([Some(&self.0[..]), connection.without_token().as_deref()])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signaling::peek;

    fn identity(user_agent: &str, connection: &str) -> Identity {
        let handshake = Identity::of_handshake([None, Some(user_agent.as_bytes())]);
        handshake.with_connection(view::Connection::of(&peek(connection.as_bytes()).unwrap()))
    }

    #[test]
    fn the_token_alone_makes_no_other_client() {
        let first = r#"{"message":"connection","data":[{"appKey":"a","clientVersion":"2.0"}]}"#;
        let again =
            r#"{"message":"connection","data":[{"appKey":"a","authToken":"t","clientVersion":"2.0"}]}"#;
        let last =
            r#"{"message":"connection","data":[{"appKey":"a","clientVersion":"2.0","authToken":"u"}]}"#;
        assert_eq!(identity("b", first), identity("b", again));
        assert_eq!(identity("b", first), identity("b", last));
    }

    #[test]
    fn anything_else_makes_another() {
        let connection = |login: &str| {
            format!(r#"{{"message":"connection","data":[{{"appKey":"a","custom":{{"login":"{login}"}}}}]}}"#)
        };
        assert_ne!(identity("b", &connection("ann")), identity("b", &connection("bob")));
        assert_ne!(identity("b", &connection("ann")), identity("c", &connection("ann")));
    }

    #[test]
    fn values_do_not_shift_from_one_header_to_the_next() {
        let of = |parts: [Option<&[u8]>; 2]| Identity::of_handshake(parts);
        assert_ne!(of([Some(b"ab"), Some(b"c")]), of([Some(b"a"), Some(b"bc")]));
        assert_ne!(of([None, Some(b"a")]), of([Some(b"a"), None]));
        assert_ne!(of([None, Some(b"")]), of([None, None]));
    }
}
