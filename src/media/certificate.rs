//! Our DTLS certificate and the cryptography behind it; one for the process, made at the start.

use std::sync::Arc;

use rand::{RngExt as _, distr::Alphanumeric, rngs::StdRng};
use str0m::{config::DtlsCert, crypto::CryptoProvider};

use super::sdp::{Credentials, Fingerprint, Hash};

/// What every transport is built with.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
    /// As in `a=fingerprint`.
    pub(crate) fingerprint: Arc<str>,
}

impl Identity {
    /// Makes a certificate (ECDSA P-256, as browsers do).
    ///
    /// # Errors
    ///
    /// If the cryptographic library cannot.
    pub(crate) fn generate() -> std::io::Result<Self> {
        let provider = super::authentic::provider();
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| std::io::Error::other("no DTLS certificate could be made"))?;
        let fingerprint = Fingerprint::of(Hash::Sha256, &certificate.certificate)
            .ok_or_else(|| std::io::Error::other("SHA-256 does not work"))?;
        Ok(Self { provider: Arc::new(provider), certificate, fingerprint: fingerprint.to_string().into() })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// Fresh ICE credentials: 48 bits of name to tell legs apart, 142 bits of secret (RFC 8445 asks
/// for 24 and 128).
pub(crate) fn credentials(random: &mut StdRng) -> Credentials {
    let mut word =
        |length: usize| (&mut *random).sample_iter(Alphanumeric).take(length).map(char::from).collect();
    Credentials { ufrag: word(8), password: word(24) }
}
