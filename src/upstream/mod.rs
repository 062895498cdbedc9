//! The nodes behind: dialing them, choosing among them, pacing the dials of a restore, and
//! probing a node that is down while somebody waits for it.
//!
//! Knows HTTP and sockets, but nothing of sessions beyond their id and how they are told; what a failed
//! dial means is decided elsewhere.

mod budget;
mod cookies;
mod dial;
mod health;
mod names;
mod news;
mod outage;
mod pool;
mod race;
mod request;
mod response;

pub(crate) use cookies::CookieBounds;
pub use dial::PoolError;
pub(crate) use dial::{DialFailure, Dialed, Refusal};
pub(crate) use outage::Waits;
pub use pool::NodeStatus;
pub(crate) use pool::Pool;
pub(crate) use request::ClientRequest;
