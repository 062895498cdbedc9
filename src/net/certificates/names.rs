//! Which certificate a client is shown: by the name it asks for, exact before below a star, and by what it can
//! verify where several have that name.

use std::{collections::HashMap, sync::Arc};

use tokio_rustls::rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{config::UnknownNames, milliseconds::since_1970};

use super::identity::Identity;

/// All certificates, by name.
#[derive(Debug)]
pub(super) struct ByName {
    identities: Vec<Arc<Identity>>,
    exact: HashMap<Box<str>, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
    unknown: UnknownNames,
}

impl ByName {
    pub(super) fn new(identities: Vec<Arc<Identity>>, unknown: UnknownNames) -> Self {
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (index, identity) in identities.iter().enumerate() {
            for (host, is_below) in identity.names.iter().map(|name| name.parts()) {
                let names = if is_below { &mut below } else { &mut exact };
                names.entry(Box::from(host)).or_default().push(index);
            }
        }
        Self { identities, exact, below, unknown }
    }

    /// Those that may be shown to a client that asks for this name.
    fn of(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else { return &[0] };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        match self.exact.get(name.as_str()).or_else(below) {
            Some(known) => known,
            None if self.unknown == UnknownNames::Refuse => &[],
            None => &[0],
        }
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = since_1970().as_secs();
        let of_name = self.of(hello.server_name());
        let shown = |index: &usize| self.identities.get(*index).map(|identity| identity.shown(now));
        let can_verify =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let mut all = of_name.iter().filter_map(shown);
        all.clone().find(can_verify).or_else(|| all.next()).cloned()
    }
}
