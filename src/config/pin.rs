//! A pinned certificate as an operator writes it: `sha256/` and the digest of its public key in base64. Reading only.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::text::as_text;

const DIGEST_BYTES: usize = 32;

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; DIGEST_BYTES]);

impl Pin {
    /// The pin of this digest.
    #[must_use]
    pub const fn new(digest: [u8; DIGEST_BYTES]) -> Self {
        Self(digest)
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digest = text.strip_prefix("sha256/").and_then(|digest| STANDARD.decode(digest).ok());
        let digest = digest.and_then(|digest| digest.try_into().ok());
        digest.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no pin, expected sha256/ and 44 characters of base64; the log tells that of a \
                 certificate that is not pinned"
            )
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Pin);
