//! The DTLS certificate of one run: new in every process, as after a restart of a real server.

use std::io;

use openssl::hash::{MessageDigest, hash};
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

/// The fingerprints of a certificate (RFC 8122) by these hashes, as `sha-512`; by SHA-256 if none is named.
/// A name that is no hash gives none.
pub(crate) fn fingerprints(certificate: &DtlsCert, hashes: &[String]) -> Vec<String> {
    let by = |name: &str| fingerprint(&certificate.certificate, name);
    if hashes.is_empty() {
        return by("sha-256").into_iter().collect();
    }
    hashes.iter().filter_map(|name| by(name)).collect()
}

fn fingerprint(der: &[u8], name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    // MD5 and MD2 are no longer taken (RFC 8122 5).
    let bits = name.strip_prefix("sha-")?;
    let digest = hash(MessageDigest::from_name(&format!("SHA{bits}"))?, der).ok()?;
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Some(format!("{name} {}", bytes.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_standard() {
        let certificate = DtlsCert { certificate: b"abc".to_vec(), private_key: Vec::new() };
        let by = |names: &[&str]| {
            fingerprints(&certificate, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        // FIPS 180-4, the examples for "abc".
        let sha1 = "sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        assert_eq!(by(&["SHA-1", "md5", "sha-3", ""]), [sha1]);
        assert!(by(&[]).concat().starts_with("sha-256 BA:78:16:BF:8F:01:CF:EA:"));
        assert!(by(&["sha-224", "sha-384", "sha-512"]).iter().all(|text| text.len() > 80));
    }
}
