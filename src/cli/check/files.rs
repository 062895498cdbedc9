//! Whether PEM files hold what the configuration says they do.

use std::path::Path;

use tokio_rustls::rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

use crate::cli::Failure;

/// Reads a certificate chain and its key, and checks that they belong together. Returns how many
/// certificates the chain has.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<usize, Failure> {
    let chain = certificates(certificate)?;
    let count = chain.len();
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        unusable(key, "a private key (PKCS#8, PKCS#1 or SEC1, without a password)", error)
    })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|error| {
        Failure::Usage(format!(
            "{} and {} do not belong together or cannot be used: {error}",
            certificate.display(),
            key.display()
        ))
    })?;
    Ok(count)
}

/// Reads certificates to trust.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            Failure::Usage(format!("{}: a certificate in it cannot be used: {error}", path.display()))
        })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, "certificates", error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "certificates", pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unusable(path: &Path, expected: &str, error: pem::Error) -> Failure {
    let path = path.display();
    match error {
        pem::Error::Io(error) => Failure::Unreadable(format!("cannot read {path}: {error}")),
        pem::Error::NoItemsFound => {
            Failure::Usage(format!("{path} holds nothing of that kind; expected {expected} as PEM"))
        }
        error => Failure::Usage(format!("{path}: {error}; expected {expected} as PEM")),
    }
}
