//! The session core: one client signaling socket and all that hangs on it.
//!
//! It is a state machine without IO, clock or randomness of its own: bytes and time come in as
//! [`Input`], frames, dials and timers go out as [`Output`]. It must not know tokio, sockets,
//! `Instant::now` or a random source other than the seed it was given.

mod core;
mod io;
mod time;

pub use self::core::Session;
pub use io::{Close, DialError, Epoch, Input, LossCause, Mail, Output, Priority, SessionId};
pub use time::Timestamp;
