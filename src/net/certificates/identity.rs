//! One certificate with its key and its OCSP answer, as its files have it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    nid::Nid,
    sha::sha256,
    x509::{X509, X509Ref},
};
use tokio_rustls::rustls::{SupportedCipherSuite, sign::CertifiedKey};

use crate::{
    config::{CertificateSettings, ServerPattern},
    net::{StartError, tls},
};

use super::staple::Staple;

/// Most names that are taken out of one certificate.
const NAMES_MAX: usize = 1_000;

/// What is shown to clients.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) settings: CertificateSettings,
    bare: Arc<CertifiedKey>,
    stapled: Option<(Arc<CertifiedKey>, Staple)>,
    /// Why there is an OCSP answer that is not shown.
    pub(super) staple_trouble: Option<String>,
    /// Those in it, and those for which it is shown.
    own_names: Vec<ServerPattern>,
    pub(super) names: Vec<ServerPattern>,
    /// When the first of the chain ends, in seconds of Unix time.
    ends: Option<i64>,
    /// Of the chain.
    digest: [u8; 32],
}

impl Identity {
    /// Reads the files, at this time since 1970. An OCSP answer that is of no use is left out: clients do without.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate or key, or they do not belong together.
    pub(super) fn load(settings: &CertificateSettings, now: Duration) -> Result<Self, StartError> {
        let identity = tls::identity(&settings.cert, &settings.key)?;
        let chain: Vec<X509> = identity.cert.iter().filter_map(|der| X509::from_der(der).ok()).collect();
        let leaf = chain.first().ok_or_else(|| StartError::Tls {
            path: settings.cert.clone(),
            why: "its first certificate cannot be read".to_owned(),
        })?;
        let own_names = names_in(leaf);
        let names = if settings.names.is_empty() { own_names.clone() } else { settings.names.clone() };
        let staple = settings.ocsp.as_deref().map(|path| Staple::read(path, leaf, now));
        let (staple, staple_trouble) = match staple {
            Some(Ok(staple)) => (Some(staple), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let digest = sha256(&identity.cert.iter().flat_map(|der| der.iter().copied()).collect::<Vec<u8>>());
        let stapled = staple.map(|staple| {
            (Arc::new(CertifiedKey { ocsp: Some(staple.der.clone()), ..identity.clone() }), staple)
        });
        let settings = settings.clone();
        let ends = first_end(&chain);
        Ok(Self {
            settings,
            bare: Arc::new(identity),
            stapled,
            staple_trouble,
            own_names,
            names,
            ends,
            digest,
        })
    }

    /// The file of its certificate: the name it goes by.
    pub(crate) fn file(&self) -> &Path {
        &self.settings.cert
    }

    /// The file of its OCSP answer.
    pub(crate) fn staple_file(&self) -> Option<&PathBuf> {
        self.settings.ocsp.as_ref()
    }

    /// When the first of its chain ends, in seconds of Unix time.
    pub(crate) const fn ends(&self) -> Option<i64> {
        self.ends
    }

    /// The names for which it is shown.
    pub(crate) fn names(&self) -> &[ServerPattern] {
        &self.names
    }

    /// Whether clients that ask for this name would believe it.
    pub(crate) fn has_name(&self, name: &ServerPattern) -> bool {
        let (host, is_below) = name.parts();
        let above = host.split_once('.').map(|(_, above)| above);
        let covers = |own: &ServerPattern| match own.parts() {
            (own, true) if !is_below => above == Some(own),
            (own, own_is_below) => own == host && own_is_below == is_below,
        };
        self.own_names.iter().any(covers)
    }

    /// How many certificates its chain has.
    pub(crate) fn chain_length(&self) -> usize {
        self.bare.cert.len()
    }

    /// The OCSP answer that is shown: until when, or why it is not. `None` without a file.
    pub(crate) fn staple(&self) -> Option<Result<Option<u64>, &str>> {
        match (&self.staple_trouble, &self.stapled) {
            (Some(why), _) => Some(Err(why)),
            (None, Some((_, staple))) => Some(Ok(staple.until)),
            (None, None) => None,
        }
    }

    /// What a client is shown at this time, in seconds of Unix time: the OCSP answer as long as it is valid.
    pub(super) fn shown(&self, now: u64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, staple)) if staple.until.is_none_or(|until| now < until) => stapled,
            _ => &self.bare,
        }
    }

    /// Whether both would show the same chain.
    pub(super) fn is_chain_of(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Whether both would show the same OCSP answer.
    pub(super) fn is_staple_of(&self, other: &Self) -> bool {
        let of = |one: &Self| one.stapled.as_ref().map(|(_, staple)| staple.clone());
        of(self) == of(other)
    }

    /// Whether one of these suites works with its key.
    pub(super) fn is_usable_with(&self, suites: &[SupportedCipherSuite]) -> bool {
        let algorithm = self.bare.key.algorithm();
        suites.iter().any(|suite| suite.usable_for_signature_algorithm(algorithm))
    }
}

impl AsRef<Self> for Identity {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The names of hosts in a certificate; its common name where it is so old that it has no others.
fn names_in(certificate: &X509Ref) -> Vec<ServerPattern> {
    let mut names: Vec<String> = Vec::new();
    if let Some(all) = certificate.subject_alt_names() {
        names.extend(all.iter().filter_map(|name| name.dnsname()).take(NAMES_MAX).map(str::to_owned));
    } else if let Some(common) = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next() {
        names.extend(common.data().to_string().ok().map(|name| String::from(&*name)));
    }
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// When the first of a chain ends. Whoever signed itself is a root in it, which clients have of their own.
fn first_end(chain: &[X509]) -> Option<i64> {
    let is_root = |one: &X509| {
        let names = (one.subject_name().to_der().ok(), one.issuer_name().to_der().ok());
        names.0 == names.1
    };
    let counts = chain.iter().enumerate().filter(|(index, one)| *index == 0 || !is_root(one));
    counts.filter_map(|(_, one)| seconds(one.not_after())).min()
}

/// A time of a certificate, in seconds of Unix time.
pub(super) fn seconds(time: &Asn1TimeRef) -> Option<i64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

/// Whose certificate this is, as in `CN=alice,O=Example`.
pub(crate) fn subject(der: &[u8]) -> Option<String> {
    let certificate = X509::from_der(der).ok()?;
    let entries = certificate.subject_name().entries().filter_map(|entry| {
        let kind = entry.object().nid().short_name().ok()?;
        Some(format!("{kind}={}", &*entry.data().to_string().ok()?))
    });
    Some(entries.collect::<Vec<_>>().join(","))
}
