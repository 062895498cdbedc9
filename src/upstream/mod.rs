//! The nodes behind: dialing them, choosing among them, pacing the dials of a restore, and
//! probing a node that is down while somebody waits for it.
//!
//! Knows HTTP and sockets, but nothing of sessions beyond their id and how they are told; what a failed
//! dial means is decided elsewhere.

mod budget;
mod check;
mod cookies;
mod dial;
mod hearing;
mod names;
mod node;
mod outage;
mod pool;
pub(crate) mod proxy_header;
mod race;
mod request;
mod response;

pub use check::Figures;
pub(crate) use cookies::CookieBounds;
pub use dial::PoolError;
pub(crate) use dial::{DialFailure, Dialed, Refusal};
pub(crate) use hearing::LegOf;
pub(crate) use node::Seat;
pub use node::{DIAL_BUCKETS_MS, DialCounts, MediaState, NodeState, NodeStatus, StepCount, Wish};
pub(crate) use outage::Waits;
pub use pool::WishRefused;
pub(crate) use pool::{NodeChanges, Planned, Pool};
pub(crate) use request::ClientRequest;
