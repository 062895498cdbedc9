//! Whether a server is told of each client by the PROXY protocol.

use serde::{Deserialize, Serialize};

/// What connections to a server begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendProxy {
    /// Nothing.
    #[default]
    Off,
    /// A header of version 1, a line of text.
    V1,
    /// A header of version 2.
    V2,
}
