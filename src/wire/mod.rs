//! Connections: sockets with and without TLS, WebSocket frames, the buffers both need, and what the head of
//! a request says of who is behind it. What a client's side and a server's side have in common lives here, so
//! that neither [`crate::net`] nor `upstream` needs the other for it.
//!
//! Knows neither sessions nor servers and decides nothing: it says what came and how a connection ended.

mod buffer;
pub(crate) mod forwarded;
pub(crate) mod frames;
pub(crate) mod keepalive;
pub(crate) mod read;
pub(crate) mod scratch;
pub(crate) mod side;
pub(crate) mod socket;
pub mod websocket;
