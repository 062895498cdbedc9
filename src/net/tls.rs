//! TLS in both directions: rustls on aws-lc-rs, versions 1.2 and 1.3.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};

use super::StartError;

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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(path, error))?;
    if certificates.is_empty() {
        return Err(bad(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// How clients are answered: with this certificate chain and key; with `tickets` they can resume
/// their TLS session when they come back.
///
/// # Errors
/// A file cannot be read or holds no certificate or key, or they do not belong together.
pub(crate) fn server(cert: &Path, key: &Path, tickets: bool) -> Result<Arc<ServerConfig>, StartError> {
    let chain = certificates(cert)?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(cert, error))?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|error| bad(cert, error))?;
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

/// How servers are checked: against the certificates in `ca`, or the public roots.
///
/// # Errors
/// The file cannot be read or holds no usable certificate.
pub(crate) fn client(ca: Option<&Path>) -> Result<ClientConfig, StartError> {
    let mut roots = RootCertStore::empty();
    let place = ca.unwrap_or_else(|| Path::new("public roots"));
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(path, error))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let mut config = ClientConfig::builder_with_provider(client_provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(place, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
