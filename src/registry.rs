//! What the sessions of this process know of each other: who publishes which name, and which
//! client token belongs to which upstream token.
//!
//! Hands out clones, never guards, so that no caller can hold a lock across an await. It decides
//! nothing: the session core asks it and acts.

mod names;
mod tokens;

pub use names::{EndOfName, Holder, NameSnapshot};
pub use tokens::MediaRoute;

use names::Names;
use tokens::Tokens;

/// Bounds of the registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Most stream names remembered at once, live or lately ended. Past it new names are not
    /// tracked: their players are treated as if the publisher were not ours.
    pub names_max: usize,
    /// Most players that may wait for one name.
    pub waiters_max: usize,
    /// How long the end of a name is remembered, in milliseconds.
    pub ended_ms_max: u64,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { names_max: 100_000, waiters_max: 10_000, ended_ms_max: 60_000 }
    }
}

/// Shared knowledge of all sessions of the process.
#[derive(Debug, Default)]
pub struct Registry {
    names: Names,
    tokens: Tokens,
}

impl Registry {
    /// An empty registry with these bounds.
    #[must_use]
    pub fn new(limits: RegistryLimits) -> Self {
        Self { names: Names::new(limits), tokens: Tokens::default() }
    }

    /// Who publishes what.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Which client token stands for which upstream token.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}
