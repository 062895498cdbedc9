//! How sessions, nodes and upstream connections are named, for all above. Plain values; decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a session for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Names a node of the upstream for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// One upstream connection of a session. Each dial starts a new one; whatever arrives for an
/// older epoch is dropped by the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u32);

impl Epoch {
    /// Whether it is the connection that the client came with.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.0 == 0
    }
}
