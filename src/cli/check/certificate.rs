//! What is wrong with a certificate that can be read: clients would refuse it, or soon will.

use std::{fs, path::Path};

use openssl::{asn1::Asn1Time, x509::X509};

/// An end that is so near is told.
const EXPIRES_SOON_DAYS: u32 = 14;

/// What is to be said of the certificates in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// With these clients refuse the connection.
    pub(super) wrong: Vec<String>,
    /// What needs an eye.
    pub(super) odd: Vec<String>,
    /// When the first one ends.
    pub(super) until: Option<String>,
}

/// Looks at each certificate of a PEM file. A file that cannot be read says nothing here: whoever needs it
/// tells why.
pub(super) fn look_at(path: &Path) -> Findings {
    let mut findings = Findings::default();
    let stack = fs::read(path).ok().and_then(|pem| X509::stack_from_pem(&pem).ok()).unwrap_or_default();
    for (index, certificate) in stack.iter().enumerate() {
        let which =
            if index == 0 { "the certificate".to_owned() } else { format!("certificate {}", index + 1) };
        findings.until.get_or_insert_with(|| certificate.not_after().to_string());
        findings.look(&format!("{}: {which}", path.display()), certificate);
    }
    findings
}

impl Findings {
    fn look(&mut self, which: &str, certificate: &X509) {
        if certificate.version() == 0 {
            self.wrong.push(format!(
                "{which} is X.509 version 1, which clients refuse: make one of version 3 (with a subject \
                 alternative name)"
            ));
        }
        let in_days = |days| Asn1Time::days_from_now(days).ok();
        let Some(now) = in_days(0) else { return };
        if certificate.not_after() < now {
            self.wrong.push(format!("{which} expired on {}", certificate.not_after()));
        } else if certificate.not_before() > now {
            self.wrong.push(format!("{which} is not valid before {}", certificate.not_before()));
        } else if in_days(EXPIRES_SOON_DAYS).is_some_and(|soon| certificate.not_after() < soon) {
            self.odd.push(format!("{which} expires soon, on {}", certificate.not_after()));
        }
    }
}
