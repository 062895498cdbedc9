//! Judges a peer's certificate by fingerprints of any hash that we know.
//!
//! `str0m` compares with one SHA-256 fingerprint and knows no other hash. Its check stays on: a
//! wrapper of the DTLS provider judges the certificate itself and hands `str0m` a word in its
//! place whose fingerprint `str0m` was told to expect. What the wrapper does not accept it hands
//! on as it is, and `str0m` ends the transport.

use std::{cell::RefCell, sync::Arc, time::Instant};

use str0m::{
    Rtc, RtcConfig,
    config::{DtlsCert, Fingerprint as RtcFingerprint},
    crypto::{
        CryptoError, CryptoProvider,
        dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion},
    },
};

use super::{
    sdp::{Fingerprint, Hash},
    transport::TransportError,
};

/// What `str0m` sees of a certificate that was accepted. No certificate reads like this: they are
/// DER and begin with 0x30.
const ACCEPTED: &[u8] = b"a certificate that Holdfast has judged";

thread_local! {
    /// By what the transport that is being built on this thread judges: `str0m` makes its DTLS
    /// instance while it is built, and has no place for more than a certificate.
    static EXPECTED: RefCell<Option<Vec<Fingerprint>>> = const { RefCell::new(None) };
}

/// Builds a transport that takes no other certificate than one with these fingerprints. Of
/// several hashes one counts (RFC 8122 5).
///
/// # Errors
///
/// If there is nothing to judge by.
pub(crate) fn build(
    config: RtcConfig,
    provider: &Arc<CryptoProvider>,
    fingerprints: &[Fingerprint],
    now: Instant,
) -> Result<Rtc, TransportError> {
    let expected = Fingerprint::preferred(fingerprints);
    let (mut rtc, fingerprint) = match expected.as_slice() {
        [] => return Err(TransportError::NoFingerprint),
        [only] if only.hash == Hash::Sha256 => {
            (config.set_crypto_provider(provider.clone()).build(now), only.clone())
        }
        _ => {
            let accepted = Fingerprint::of(Hash::Sha256, ACCEPTED).ok_or(TransportError::NoDigest)?;
            let wrapped = CryptoProvider { dtls_provider: &Judging, ..CryptoProvider::clone(provider) };
            EXPECTED.set(Some(expected));
            let rtc = config.set_crypto_provider(Arc::new(wrapped)).build(now);
            EXPECTED.take();
            (rtc, accepted)
        }
    };
    let hash_func = fingerprint.hash.as_str().to_owned();
    rtc.direct_api().set_remote_fingerprint(RtcFingerprint { hash_func, bytes: fingerprint.digest });
    Ok(rtc)
}

/// Makes the DTLS instances that judge.
#[derive(Debug)]
struct Judging;

impl DtlsProvider for Judging {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        backend().generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = backend().new_dtls(certificate, now, version, mtu)?;
        // With nothing expected no certificate is accepted.
        let expected = EXPECTED.take().unwrap_or_default();
        Ok(Box::new(Judge { inner, expected }))
    }
}

fn backend() -> &'static dyn DtlsProvider {
    str0m::crypto::from_feature_flags().dtls_provider
}

/// A DTLS instance whose peer has to have one of these fingerprints.
#[derive(Debug)]
struct Judge {
    inner: Box<dyn DtlsInstance>,
    expected: Vec<Fingerprint>,
}

impl DtlsInstance for Judge {
    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.inner.poll_output(buffer) {
            DtlsOutput::PeerCert(certificate) if self.expected.iter().any(|f| f.matches(certificate)) => {
                DtlsOutput::PeerCert(ACCEPTED)
            }
            other => other,
        }
    }

    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn built(fingerprints: &[Fingerprint]) -> Result<Rtc, TransportError> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        build(RtcConfig::new(), &provider, fingerprints, Instant::now())
    }

    #[test]
    fn a_transport_without_fingerprints_is_not_built() {
        assert!(built(&[]).is_err());
    }

    #[test]
    fn what_is_expected_of_one_transport_is_not_expected_of_another() {
        let fingerprint = |hash| Fingerprint::of(hash, b"x").unwrap();
        assert!(built(&[fingerprint(Hash::Sha512)]).is_ok());
        assert!(EXPECTED.take().is_none(), "taken by the transport it was meant for");
        assert!(built(&[fingerprint(Hash::Sha256)]).is_ok());
        assert!(EXPECTED.take().is_none(), "one of SHA-256 is judged by str0m alone");

        let certificate = backend().generate_certificate().unwrap();
        let judge = Judging.new_dtls(&certificate, Instant::now(), DtlsVersion::Dtls12, None).unwrap();
        assert!(format!("{judge:?}").contains("expected: []"), "no certificate is accepted: {judge:?}");
    }
}
