//! What clients have to show: certificates signed by those of a file, and on no list of revoked ones.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use openssl::{sha::Sha256, x509::X509Crl};
use tokio_rustls::rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{
        CertificateRevocationListDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    config::{ClientAuth, EndedLists, ListenSettings},
    net::{StartError, tls},
};

use super::identity::seconds;

/// Who checks certificates of clients, and what of.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of revoked ones.
    pub(super) lists: Option<RevocationLists>,
    /// Of all that decides.
    pub(super) digest: [u8; 32],
    pub(super) roots: usize,
}

/// Lists of revoked certificates, in times of seconds of Unix time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevocationLists {
    pub(crate) file: PathBuf,
    /// When the last of them was made.
    pub(crate) from: Option<i64>,
    /// When the first of them is to be replaced.
    pub(crate) until: Option<i64>,
    /// From then on clients that show a certificate are refused; else the list goes on to count.
    pub(crate) refuses_when_ended: bool,
}

impl Clients {
    /// Reads the files; `None` where nobody is asked for a certificate.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should.
    pub(super) fn load(
        listen: &ListenSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<Self>>, StartError> {
        let Some(ca) = listen.client_ca.as_deref().filter(|_| listen.client_auth != ClientAuth::Off) else {
            return Ok(None);
        };
        let roots = tls::roots(ca)?;
        let lists = listen.client_crl.as_deref().map(lists).transpose()?.unwrap_or_default();
        let times = listen.client_crl.as_ref().map(|file| RevocationLists {
            file: file.clone(),
            from: lists.iter().filter_map(|list| seconds(parsed(list)?.last_update())).max(),
            until: lists.iter().filter_map(|list| seconds(parsed(list)?.next_update()?)).min(),
            refuses_when_ended: listen.client_crl_ended == EndedLists::Refuse,
        });
        let digest = digest(listen, &roots, &lists);
        let count = roots.len();
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = builder.with_crls(lists);
        let builder = match listen.client_crl_ended {
            EndedLists::Refuse => builder.enforce_revocation_expiration(),
            EndedLists::Use => builder,
        };
        let builder = if listen.client_auth == ClientAuth::Optional {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        let verifier = builder.build().map_err(|error| {
            let path = listen.client_crl.as_deref().unwrap_or(ca).to_owned();
            StartError::Tls { path, why: format!("it cannot be used: {error}") }
        })?;
        Ok(Some(Arc::new(Self { verifier, lists: times, digest, roots: count })))
    }
}

fn lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, StartError> {
    let read = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
    let read = read.and_then(
        |lists: Vec<_>| {
            if lists.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(lists) }
        },
    );
    read.map_err(|error| tls::unusable(path, "lists of revoked certificates (X509 CRL)", error))
}

fn parsed(list: &CertificateRevocationListDer<'_>) -> Option<X509Crl> {
    X509Crl::from_der(list).ok()
}

fn digest(
    listen: &ListenSettings,
    roots: &RootCertStore,
    lists: &[CertificateRevocationListDer<'_>],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(format!("{:?} {:?}", listen.client_auth, listen.client_crl_ended).as_bytes());
    for root in &roots.roots {
        hash.update(&root.subject);
        hash.update(&root.subject_public_key_info);
    }
    for list in lists {
        hash.update(list);
    }
    hash.finish()
}
