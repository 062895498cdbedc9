//! How a node is chosen for a session.

use serde::{Deserialize, Serialize};

/// Which of the nodes that are up gets a session; weights count in all but `first`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The one with the fewest sessions for its weight.
    #[default]
    LeastSessions,
    /// The first that is up, in the order in which they are written.
    First,
    /// Each in its turn.
    RoundRobin,
    /// The one that belongs to what `hash_by` says, as long as it is up.
    Hash,
}

/// What the policy `hash` goes by. Names of streams and apps are said after the dial: only what the request
/// for the connection holds is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashBy {
    /// The client's address.
    #[default]
    ClientAddress,
    /// Path and query, where pages write a name into them.
    Target,
}
