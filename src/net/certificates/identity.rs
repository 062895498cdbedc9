//! One certificate with its key and its OCSP answer, as its files have it.

use std::{path::Path, sync::Arc, time::Duration};

use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    nid::Nid,
    sha::sha256,
    x509::{X509, X509Ref, X509VerifyResult},
};
use tokio_rustls::rustls::{SupportedCipherSuite, sign::CertifiedKey};

use crate::{
    config::{CertificateSettings, ServerPattern},
    net::{StartError, tls},
};

use super::staple::{Staple, Unfit};

/// Most names that are taken out of one certificate.
const NAMES_MAX: usize = 1_000;

/// What is shown to clients.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) settings: CertificateSettings,
    bare: Arc<CertifiedKey>,
    /// With its OCSP answer; that of before where the file holds one that is of no use.
    stapled: Option<(Arc<CertifiedKey>, Staple)>,
    /// Why the OCSP answer of the file is not shown.
    staple_trouble: Option<String>,
    /// Those in it, and those for which it is shown.
    own_names: Vec<ServerPattern>,
    pub(super) names: Vec<ServerPattern>,
    /// When the first of the chain ends, in seconds of Unix time.
    ends: Option<i64>,
    /// Of the chain.
    digest: [u8; 32],
}

/// What becomes of an OCSP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StapleStatus<'a> {
    pub(crate) file: &'a Path,
    /// Clients get one.
    pub(crate) is_shown: bool,
    /// Until when, in seconds of Unix time, where that is known.
    pub(crate) until: Option<u64>,
    /// The signature of the one that they get was checked.
    pub(crate) is_verified: bool,
    /// Why it is not the one in the file.
    pub(crate) trouble: Option<&'a str>,
}

impl Identity {
    /// Reads the files, at this time since 1970. An OCSP answer that is of no use is left out: clients get that of
    /// before as long as it is valid, or do without.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate or key, or they do not belong together.
    pub(super) fn load(
        settings: &CertificateSettings,
        now: Duration,
        before: Option<&Self>,
    ) -> Result<Self, StartError> {
        let identity = tls::identity(&settings.cert, &settings.key)?;
        let chain: Vec<X509> = identity.cert.iter().filter_map(|der| X509::from_der(der).ok()).collect();
        let leaf = chain.first().ok_or_else(|| StartError::Tls {
            path: settings.cert.clone(),
            why: "its first certificate cannot be read".to_owned(),
        })?;
        let own_names = names_in(leaf);
        let names = if settings.names.is_empty() { own_names.clone() } else { settings.names.clone() };
        // The next in the chain, or itself.
        let issuer = chain.iter().skip(1).chain([leaf]).find(|one| one.issued(leaf) == X509VerifyResult::OK);
        let staple =
            settings.ocsp.as_deref().map(|path| Staple::read(path, leaf, issuer.map(|one| &**one), now));
        let (staple, staple_trouble) = match staple {
            Some(Ok(staple)) => (Some(staple), None),
            Some(Err(Unfit { why, is_verdict })) => {
                let of_before = before.filter(|one| !is_verdict && one.settings.ocsp == settings.ocsp);
                (of_before.and_then(|one| one.staple_about(&identity, now.as_secs())), Some(why))
            }
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

    /// The OCSP answer at this time, in seconds of Unix time. `None` without a file.
    pub(crate) fn staple(&self, now: u64) -> Option<StapleStatus<'_>> {
        let shown = self.stapled_at(now).map(|(_, staple)| staple);
        Some(StapleStatus {
            file: self.settings.ocsp.as_deref()?,
            is_shown: shown.is_some(),
            until: self.stapled.as_ref().and_then(|(_, staple)| staple.until),
            is_verified: shown.is_some_and(|staple| staple.is_verified),
            trouble: self.staple_trouble.as_deref(),
        })
    }

    /// What a client is shown at this time, in seconds of Unix time: the OCSP answer as long as it is valid.
    pub(super) fn shown(&self, now: u64) -> &Arc<CertifiedKey> {
        self.stapled_at(now).map_or(&self.bare, |(stapled, _)| stapled)
    }

    fn stapled_at(&self, now: u64) -> Option<&(Arc<CertifiedKey>, Staple)> {
        self.stapled.as_ref().filter(|(_, staple)| staple.until.is_none_or(|until| now < until))
    }

    /// The OCSP answer, if it is about the certificate of that chain and still valid.
    fn staple_about(&self, chain: &CertifiedKey, now: u64) -> Option<Staple> {
        let is_same = self.bare.cert.first() == chain.cert.first();
        self.stapled_at(now).filter(|_| is_same).map(|(_, staple)| staple.clone())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_former_answer_is_shown_in_place_of_a_bad_one_until_it_ends() {
        let directory = std::env::temp_dir().join(format!("holdfast-staple-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = |name: &str| directory.join(name);
        let issue = || {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(file("cert.pem"), certificate.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
        };
        std::fs::write(file("ocsp.der"), "none").unwrap();
        issue();
        let settings = CertificateSettings {
            cert: file("cert.pem"),
            key: file("key.pem"),
            ocsp: Some(file("ocsp.der")),
            names: Vec::new(),
        };
        let at = Duration::from_secs;
        let mut before = Identity::load(&settings, at(0), None).unwrap();
        assert!(!before.staple(0).unwrap().is_shown);
        let staple = Staple { der: b"good".to_vec(), until: Some(100), is_verified: true };
        before.stapled = Some((Arc::clone(&before.bare), staple));
        let is_shown = |now, ocsp: Option<&str>, shown_at| {
            let settings = CertificateSettings { ocsp: ocsp.map(file), ..settings.clone() };
            let now = Identity::load(&settings, at(now), Some(&before)).unwrap();
            now.shown(shown_at).ocsp.as_deref() == Some(b"good")
        };
        assert!(is_shown(99, Some("ocsp.der"), 99));
        assert!(!is_shown(99, Some("ocsp.der"), 100), "it has ended meanwhile");
        assert!(!is_shown(100, Some("ocsp.der"), 99), "it had ended before");
        assert!(!is_shown(99, Some("other.der"), 99), "another file");
        assert!(!is_shown(99, None, 99), "none is wanted");
        issue();
        assert!(!is_shown(99, Some("ocsp.der"), 99), "it is about the certificate of before");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
