//! TLS towards servers, and files of certificates and keys: rustls on aws-lc-rs, versions 1.2 and 1.3. What clients
//! are shown is in `certificates`.

use std::{path::Path, sync::Arc};

use openssl::sha::Sha256;
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::config::UpstreamSettings;

use super::{StartError, pinned::PinnedKeys};

/// How servers are spoken to, and what that was read from.
#[derive(Debug)]
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    /// Of the files and settings.
    mark: [u8; 32],
}

impl ClientTls {
    /// As [`client`]; what was made of the same settings and files is the same.
    ///
    /// # Errors
    /// Those of [`client`].
    pub(crate) fn new(settings: &UpstreamSettings, before: Option<&Self>) -> Result<Self, StartError> {
        let mut hash = Sha256::new();
        for path in [&settings.ca, &settings.client_cert, &settings.client_key].into_iter().flatten() {
            let read = std::fs::read(path);
            let bytes = read.map_err(|source| StartError::Unreadable { path: path.clone(), source })?;
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(&bytes.len().to_le_bytes());
            hash.update(&bytes);
        }
        hash.update(format!("{:?}", settings.pins).as_bytes());
        let mark = hash.finish();
        let config = match before.filter(|before| before.mark == mark) {
            Some(before) => Arc::clone(&before.config),
            None => Arc::new(client(settings)?),
        };
        Ok(Self { config, mark })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Offers suites in the order of browsers: AES-128 first, whose SHA-256 the processor computes.
fn client_provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // Stable: everything else stays in its order.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

pub(super) fn bad(path: &Path, why: impl ToString) -> StartError {
    StartError::Tls { path: path.to_owned(), why: why.to_string() }
}

pub(super) fn unusable(path: &Path, expected: &str, error: pem::Error) -> StartError {
    match error {
        pem::Error::Io(source) => StartError::Unreadable { path: path.to_owned(), source },
        pem::Error::NoItemsFound => {
            bad(path, format!("nothing of that kind is in it; expected {expected} as PEM"))
        }
        error => bad(path, format!("{error}; expected {expected} as PEM")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, "certificates", error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "certificates", pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// A certificate chain and its key.
///
/// # Errors
/// A file cannot be read or holds no certificate or key, or they do not belong together.
pub(crate) fn identity(cert: &Path, key: &Path) -> Result<CertifiedKey, StartError> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        unusable(key, "a private key (PKCS#8, PKCS#1 or SEC1, without a password)", error)
    })?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        bad(cert, format!("it and {} do not belong together or cannot be used: {error}", key.display()))
    })
}

/// Certificates to trust.
///
/// # Errors
/// The file cannot be read or holds no usable certificate.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| bad(path, format!("a certificate in it cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// How servers are checked: by the keys that are pinned, or else against the certificates in `ca`, or the public
/// roots; and what they are shown.
///
/// # Errors
/// A file cannot be read or holds no usable certificate or key.
pub(crate) fn client(settings: &UpstreamSettings) -> Result<ClientConfig, StartError> {
    let (place, roots) = match &settings.ca {
        Some(path) => (path.as_path(), roots(path)?),
        None => (Path::new("public roots"), webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()),
    };
    let provider = client_provider();
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(place, error))?;
    let checked = if settings.pins.is_empty() {
        versions.with_root_certificates(roots)
    } else {
        let pinned = PinnedKeys::new(settings.pins.clone(), provider);
        versions.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
    };
    let mut config = match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => {
            checked.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity(cert, key)?)))
        }
        _ => checked.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
