//! TLS in both directions: rustls on aws-lc-rs, versions 1.2 and 1.3.

use std::{path::Path, sync::Arc};

use openssl::{asn1::Asn1Time, x509::X509};
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::config::UpstreamSettings;

use super::{StartError, pinned::PinnedKeys};

/// What clients are shown, of one reading of its files.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// When the certificate ends, in seconds of Unix time; `None` where that cannot be read.
    pub(crate) certificate_ends: Option<i64>,
}

impl ServerTls {
    /// As [`server`].
    ///
    /// # Errors
    /// Those of [`server`].
    pub(crate) fn new(cert: &Path, key: &Path, tickets: bool) -> Result<Self, StartError> {
        Ok(Self { config: server(cert, key, tickets)?, certificate_ends: certificate_ends(cert) })
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

fn bad(path: &Path, why: impl ToString) -> StartError {
    StartError::Tls { path: path.to_owned(), why: why.to_string() }
}

fn unusable(path: &Path, expected: &str, error: pem::Error) -> StartError {
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

/// When the first certificate of a file ends, in seconds of Unix time; `None` where that cannot be read.
pub(crate) fn certificate_ends(path: &Path) -> Option<i64> {
    let certificate = certificates(path).ok()?.into_iter().next()?;
    let certificate = X509::from_der(&certificate).ok()?;
    let since = Asn1Time::from_unix(0).ok()?.diff(certificate.not_after()).ok()?;
    Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
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

/// How clients are answered: with this certificate chain and key; with `tickets` they can resume
/// their TLS session when they come back.
///
/// # Errors
/// A file cannot be read or holds no certificate or key, or they do not belong together.
pub(crate) fn server(cert: &Path, key: &Path, tickets: bool) -> Result<Arc<ServerConfig>, StartError> {
    let identity = SingleCertAndKey::from(identity(cert, key)?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(cert, error))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if tickets {
        // Without state on our side, so that all clients that come back after a restart of theirs
        // can resume, however many.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| bad(cert, error))?;
        config.send_tls13_tickets = 1;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
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
