//! The session core: one client signaling socket and all that hangs on it.
//!
//! It is a state machine without IO, clock or randomness of its own: bytes and time come in as
//! [`Input`], frames, dials and timers go out as [`Output`]. It must not know tokio, sockets,
//! `Instant::now` or a random source other than the seed it was given.

mod anchor;
mod backoff;
mod calls;
mod client;
mod client_leg;
mod core;
mod event;
mod first;
mod identity;
mod ids;
mod info;
mod io;
mod kept;
mod ledger;
mod liveness;
mod packed;
mod participants;
mod random;
mod request;
mod restore;
mod rooms;
mod snapshot;
mod state;
mod streams;
mod time;
mod upstream;
mod verdict;
mod video;

pub use self::core::Session;
pub use event::{Event, Outcome};
pub use identity::Identity;
pub use io::{
    Close, DialError, Epoch, Input, LossCause, Mail, MediaCommand, MediaKey, Mode, Output, Priority,
    SessionId,
};
pub use snapshot::{SessionSnapshot, StreamSnapshot};
pub use time::Timestamp;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
