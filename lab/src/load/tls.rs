//! TLS of the clients, as browsers offer it.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        CipherSuite, ClientConfig, Error, RootCertStore,
        client::Resumption,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer,
            pem::{self, PemObject as _},
        },
    },
};

/// Why a server cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(io::Error),
    /// There is no certificate in it.
    #[error("expected certificates as PEM: {0}")]
    NoCertificate(pem::Error),
    /// A certificate in it is none that can be trusted, or TLS itself does not work.
    #[error("{0}")]
    Unusable(#[from] Error),
}

impl From<pem::Error> for TlsError {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::Io(error) => Self::Unreadable(error),
            error => Self::NoCertificate(error),
        }
    }
}

/// Checks servers against the certificates in `ca`, or the public roots. Each client is a new one for the
/// server: no session is resumed.
pub(super) fn connector(ca: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let roots = match ca {
        Some(path) => read_roots(path)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let mut provider = aws_lc_rs::default_provider();
    // In the order of browsers: AES-128 first. Stable, so everything else stays in its place.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err(pem::Error::NoItemsFound.into());
    }
    Ok(roots)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_without_certificates_are_told() {
        let told = |path: &str| connector(Some(Path::new(path))).err().unwrap().to_string();
        assert!(told("/no/such/file").contains("cannot read it"), "{}", told("/no/such/file"));
        assert!(told("/dev/null").contains("certificates as PEM"), "{}", told("/dev/null"));
        assert!(connector(None).is_ok());
    }
}
