//! The network side: listening, handshakes, TLS, WebSocket framing, and the task that drives each
//! session. The only part that knows tokio's sockets; it decides nothing about the protocol.

mod addresses;
mod admission;
mod buffer;
mod closing;
mod driver;
pub(crate) mod forwarded;
mod frames;
mod handshake;
pub(crate) mod health;
pub(crate) mod keepalive;
mod listener;
pub(crate) mod live;
mod media;
mod memory;
pub(crate) mod outages;
mod proxy;
mod request;
mod scratch;
mod shared;
pub(crate) mod side;
pub(crate) mod socket;
pub(crate) mod tls;
pub mod websocket;

pub use proxy::{Facts, MemoryFacts, Proxy, StartError, sessions_that_fit};
