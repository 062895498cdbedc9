//! What TLS listeners speak with: certificates by name, their OCSP answers, what clients have to show, versions and
//! suites. All of it is read beforehand ([`Certificates::prepare`], which changes nothing) and put in place at once
//! ([`Certificates::install`]); connections that stand are never touched. Listens on nothing and decides nothing about
//! who is admitted.

mod changes;
mod clients;
mod identity;
mod names;
mod signature;
mod staple;
mod tickets;
mod watch;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio_rustls::rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ProducesTickets},
};

use crate::{
    config::{ListenSettings, TlsSuite},
    milliseconds::since_1970,
};

use super::{StartError, tls::bad};

pub(crate) use changes::CertificateChanges;
pub(crate) use clients::RevocationLists;
pub(crate) use identity::{Identity, StapleStatus, subject};
pub(super) use watch::watch;

use clients::Clients;
use names::ByName;
use watch::Stamps;

/// What is in place, for new handshakes.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    shown: ArcSwapOption<Shown>,
    /// Held while something is put in place, so that a look at the files never undoes a reload.
    install: Mutex<()>,
}

/// One state of it.
#[derive(Debug)]
struct Shown {
    listen: ListenSettings,
    identities: Vec<Arc<Identity>>,
    clients: Option<Arc<Clients>>,
    config: Arc<ServerConfig>,
    ticketer: Arc<dyn ProducesTickets>,
    /// Of the files, before they were read.
    stamps: Stamps,
    /// Files that hold something newer which cannot be used, and why.
    troubles: Vec<Trouble>,
}

/// Why what was there before is still in use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    /// The certificate, or what clients' certificates are checked by.
    file: PathBuf,
    why: String,
}

/// What may be put in place.
#[derive(Debug)]
pub(crate) struct Prepared {
    shown: Option<Arc<Shown>>,
}

/// What was read of the files.
struct Read {
    identities: Vec<Arc<Identity>>,
    clients: Option<Arc<Clients>>,
    troubles: Vec<Trouble>,
}

impl Certificates {
    /// What these settings ask for, in place.
    ///
    /// # Errors
    /// As [`Certificates::prepare`].
    pub(crate) fn new(listen: &ListenSettings) -> Result<Self, StartError> {
        let certificates = Self::default();
        certificates.install(certificates.prepare(listen)?);
        Ok(certificates)
    }

    /// Reads what these settings ask for. Changes nothing.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should, or what they hold does not fit together.
    pub(crate) fn prepare(&self, listen: &ListenSettings) -> Result<Prepared, StartError> {
        if listen.tls_cert.is_some() != listen.tls_key.is_some() {
            return Err(StartError::NoCertificate);
        }
        let speaks_tls = listen.listeners().any(|(_, tls)| tls);
        if !listen.has_certificate() {
            return if speaks_tls { Err(StartError::NoCertificate) } else { Ok(Prepared { shown: None }) };
        }
        let stamps = Stamps::of(listen);
        let provider = provider(&listen.tls_suites);
        let before = self.shown.load();
        let of_before = |file: &PathBuf| {
            let identities = before.as_ref().map(|shown| shown.identities.as_slice()).unwrap_or_default();
            identities.iter().find(|one| one.file() == file).map(AsRef::as_ref)
        };
        let identities = listen.all_certificates().into_iter();
        let identities = identities
            .map(|one| Identity::load(&one, since_1970(), of_before(&one.cert)).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let clients = Clients::load(listen, &provider)?;
        let read = Read { identities, clients, troubles: Vec::new() };
        let shown = Shown::new(listen, &provider, read, stamps, before.as_deref())?;
        Ok(Prepared { shown: Some(Arc::new(shown)) })
    }

    /// Puts it in place for handshakes to come; what that changes.
    pub(crate) fn install(&self, prepared: Prepared) -> CertificateChanges {
        let _alone = self.install.lock();
        let before = self.shown.swap(prepared.shown.clone());
        CertificateChanges::between(before.as_deref(), prepared.shown.as_deref())
    }

    /// What a handshake that begins now goes by.
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        self.shown.load().as_ref().map(|shown| Arc::clone(&shown.config))
    }

    /// The certificates, the one for unknown names first; with each whether its file holds a newer one that cannot
    /// be used.
    pub(crate) fn identities(&self) -> Vec<(Arc<Identity>, bool)> {
        let shown = self.shown.load();
        let Some(shown) = shown.as_ref() else { return Vec::new() };
        let is_stale = |one: &Identity| shown.troubles.iter().any(|trouble| trouble.file == one.file());
        shown.identities.iter().map(|one| (Arc::clone(one), is_stale(one))).collect()
    }

    /// How many certificates sign those of clients; `None` where nobody is asked for one.
    pub(crate) fn client_roots(&self) -> Option<usize> {
        self.shown.load().as_ref()?.clients.as_ref().map(|clients| clients.roots)
    }

    /// The lists of revoked certificates of clients; `None` where none are looked at.
    pub(crate) fn revocation_lists(&self) -> Option<RevocationLists> {
        self.shown.load().as_ref()?.clients.as_ref()?.lists.clone()
    }

    /// Reads the files of what is in place anew. What cannot be used stays as it was; `None` if something else was
    /// put in place meanwhile.
    fn refresh(&self, before: &Arc<Shown>, stamps: Stamps) -> Option<CertificateChanges> {
        let shown = Arc::new(before.read_anew(stamps));
        let _alone = self.install.lock();
        let is_in_place = self.shown.load().as_ref().is_some_and(|shown| Arc::ptr_eq(shown, before));
        is_in_place.then(|| {
            self.shown.store(Some(Arc::clone(&shown)));
            CertificateChanges::between(Some(before), Some(&shown))
        })
    }
}

impl Shown {
    fn new(
        listen: &ListenSettings,
        provider: &Arc<CryptoProvider>,
        read: Read,
        stamps: Stamps,
        before: Option<&Self>,
    ) -> Result<Self, StartError> {
        let Read { identities, clients, troubles } = read;
        check_suites(listen, provider, &identities)?;
        let ticketer =
            tickets::ticketer(clients.as_deref(), before).map_err(|why| bad(place(listen), why))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(listen.tls_min.versions())
            .map_err(|error| bad(place(listen), error))?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
            None => builder.with_no_client_auth(),
        };
        let by_name = ByName::new(identities.clone(), listen.tls_unknown_names);
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if listen.tls_tickets {
            // Without state on our side, so that all clients that come back after a restart of theirs
            // can resume, however many.
            config.ticketer = tickets::while_lists_count(&ticketer, clients.as_deref());
            config.send_tls13_tickets = 1;
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let (listen, config) = (listen.clone(), Arc::new(config));
        Ok(Self { listen, identities, clients, config, ticketer, stamps, troubles })
    }

    /// The same settings with what the files hold now, or as before where that cannot be used.
    fn read_anew(&self, stamps: Stamps) -> Self {
        let provider = provider(&self.listen.tls_suites);
        let mut troubles = Vec::new();
        let mut read = |before: &Arc<Identity>| {
            let usable = Identity::load(&before.settings, since_1970(), Some(before)).and_then(|one| {
                check_suites(&self.listen, &provider, std::slice::from_ref(&one)).map(|()| one)
            });
            usable.map(Arc::new).unwrap_or_else(|error| {
                troubles.push(Trouble { file: before.file().to_owned(), why: error.to_string() });
                Arc::clone(before)
            })
        };
        let identities = self.identities.iter().map(&mut read).collect();
        let clients = Clients::load(&self.listen, &provider).unwrap_or_else(|error| {
            let file = self.listen.client_ca.clone().unwrap_or_default();
            troubles.push(Trouble { file, why: error.to_string() });
            self.clients.clone()
        });
        let read = Read { identities, clients, troubles: troubles.clone() };
        Self::new(&self.listen, &provider, read, stamps.clone(), Some(self)).unwrap_or_else(|error| {
            troubles.push(Trouble { file: place(&self.listen).to_owned(), why: error.to_string() });
            self.with_troubles(stamps, troubles)
        })
    }

    fn with_troubles(&self, stamps: Stamps, troubles: Vec<Trouble>) -> Self {
        Self {
            listen: self.listen.clone(),
            identities: self.identities.clone(),
            clients: self.clients.clone(),
            config: Arc::clone(&self.config),
            ticketer: Arc::clone(&self.ticketer),
            stamps,
            troubles,
        }
    }
}

/// Cryptography with these suites alone, or with all there are.
fn provider(suites: &[TlsSuite]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = suites.iter().filter_map(|suite| suite.supported()).collect();
    }
    Arc::new(provider)
}

/// Refuses a certificate that no handshake could be made with.
fn check_suites<I: AsRef<Identity>>(
    listen: &ListenSettings,
    provider: &CryptoProvider,
    identities: &[I],
) -> Result<(), StartError> {
    let versions = listen.tls_min.versions();
    let is_spoken = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
    let suites: Vec<_> = provider.cipher_suites.iter().copied().filter(is_spoken).collect();
    let unusable = identities.iter().map(AsRef::as_ref).find(|one| !one.is_usable_with(&suites));
    unusable.map_or(Ok(()), |one| {
        Err(bad(
            one.file(),
            "none of listen.tls_suites can be used with its key: add one of TLS 1.3 (TLS13_...), or one with RSA or \
             ECDSA in its name as the key is",
        ))
    })
}

/// The file to name where it is about all of them.
fn place(listen: &ListenSettings) -> &std::path::Path {
    let further = listen.certificates.first().map(|one| one.cert.as_path());
    listen.tls_cert.as_deref().or(further).unwrap_or(std::path::Path::new("listen"))
}
