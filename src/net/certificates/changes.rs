//! What is otherwise than before: for the log, and for whoever asked for it.

use std::fmt;

use super::Shown;

/// In files of certificates, and in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateChanges {
    /// Certificates that were not there.
    pub(crate) added: Vec<String>,
    /// Those whose file holds another one than before.
    pub(crate) renewed: Vec<String>,
    /// Those with another OCSP answer, or key, or for other names.
    pub(crate) changed: Vec<String>,
    /// Certificates that are not shown any more.
    pub(crate) removed: Vec<String>,
    /// Clients are checked by other certificates or lists, or otherwise.
    pub(crate) clients: bool,
    /// Versions, suites, tickets, or what becomes of unknown names.
    pub(crate) terms: bool,
}

impl CertificateChanges {
    pub(super) fn between(before: Option<&Shown>, now: Option<&Shown>) -> Self {
        let mut changes = Self::default();
        let identities =
            |shown: Option<&'_ Shown>| shown.map(|shown| shown.identities.clone()).unwrap_or_default();
        let (old, new) = (identities(before), identities(now));
        for one in &new {
            let file = one.file().display().to_string();
            match old.iter().find(|old| old.file() == one.file()) {
                None => changes.added.push(file),
                Some(old) if !old.is_chain_of(one) => changes.renewed.push(file),
                Some(old)
                    if !old.is_staple_of(one) || old.names != one.names || old.settings != one.settings =>
                {
                    changes.changed.push(file);
                }
                Some(_) => {}
            }
        }
        let is_gone =
            |one: &&_| !new.iter().any(|new| new.file() == AsRef::<super::Identity>::as_ref(*one).file());
        changes.removed = old.iter().filter(is_gone).map(|one| one.file().display().to_string()).collect();
        if let (Some(before), Some(now)) = (before, now) {
            let digest = |shown: &Shown| shown.clients.as_ref().map(|clients| clients.digest);
            changes.clients = digest(before) != digest(now);
            let terms = |shown: &Shown| {
                let listen = &shown.listen;
                (listen.tls_min, listen.tls_suites.clone(), listen.tls_tickets, listen.tls_unknown_names)
            };
            changes.terms = terms(before) != terms(now);
        }
        changes
    }

    /// Whether all is as before.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for CertificateChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let lists = [
            (&self.renewed, "renewed"),
            (&self.added, "added"),
            (&self.changed, "changed"),
            (&self.removed, "removed"),
        ];
        for (files, what) in lists {
            match files.as_slice() {
                [] => {}
                [one] => parts.push(format!("certificate {what}: {one}")),
                several => {
                    parts.push(format!("{} certificates {what}: {}", several.len(), several.join(", ")))
                }
            }
        }
        if self.clients {
            parts.push("clients' certificates are checked anew".to_owned());
        }
        if self.terms {
            parts.push("TLS settings changed".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}
