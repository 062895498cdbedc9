//! The DTLS certificate of one run: new in every process, as after a restart of a real server.

use std::io;

use str0m::config::{CryptoProvider, DtlsCert};

/// Makes the certificate; RSA-2048 if `rsa`, else ECDSA P-256.
pub(crate) fn create(provider: &CryptoProvider, rsa: bool) -> io::Result<DtlsCert> {
    if rsa {
        return create_rsa().map_err(io::Error::other);
    }
    provider
        .dtls_provider
        .generate_certificate()
        .ok_or_else(|| io::Error::other("no DTLS certificate could be made"))
}

fn create_rsa() -> Result<DtlsCert, rcgen::Error> {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?;
    let mut params = rcgen::CertificateParams::new(vec!["webrtc".to_owned()])?;
    // The default validity is centuries long, which some peers refuse.
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    params.not_before = (now - day).into();
    params.not_after = (now + 30 * day).into();
    let certificate = params.self_signed(&key)?;
    Ok(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}
