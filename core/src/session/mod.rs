//! The session core: one client signaling socket and all that hangs on it.
//!
//! It is a state machine without IO, clock or randomness of its own: bytes and time come in as
//! [`Input`], frames, dials and timers go out as [`Output`]. It must not know tokio, sockets,
//! `Instant::now` or a random source other than the seed it was given.
//!
//! Its states, and what each input does in each of them, are tables in `LIFECYCLE.md` beside this file.
//!
//! ```
//! use std::sync::Arc;
//!
//! use holdfast_core::{
//!     registry::{Member, Registry},
//!     session::{Epoch, Input, LossCause, Output, Session, SessionId, Timestamp},
//!     settings::SessionSettings,
//! };
//!
//! let at = Timestamp::from_ms;
//! let (settings, registry) = (Arc::new(SessionSettings::default()), Arc::new(Registry::default()));
//! let session = Session::new(SessionId(1), settings, 7, at(0));
//! // Among the others of its process, which know each other by the registry.
//! let mut session = Member::new(session, registry);
//!
//! // What the client says goes to its upstream, as the bytes that came.
//! let connection = br#"{"message":"connection","data":[{"appKey":"defaultApp","clientVersion":"2.0"}]}"#;
//! session.handle(Input::ClientText(connection), at(10));
//! let outputs = session.take_outputs();
//! assert!(outputs.iter().any(|output| matches!(output, Output::ForwardToUpstream)));
//!
//! // The upstream is lost: another connection is wanted, and the client hears nothing of it.
//! session.handle(Input::UpstreamLost(Epoch(0), LossCause::EndOfFile), at(20));
//! let outputs = session.take_outputs();
//! assert!(outputs.iter().any(|output| matches!(output, Output::Dial { epoch: Epoch(1), .. })));
//! assert!(!outputs.iter().any(|output| matches!(output, Output::SendToClient(_))));
//!
//! // When nothing happens before, the next thing to do is a ping: the client's own clock goes on.
//! let due = session.next_timeout().expect("a session in an outage has timers");
//! session.handle(Input::Timeout, due);
//! let outputs = session.take_outputs();
//! let pings = |output: &Output| matches!(output, Output::SendToClient(text) if text.starts_with(b"{\"message\":\"ping\""));
//! assert!(outputs.iter().any(pings));
//! ```

mod alive;
mod attempts;
mod backoff;
mod calls;
mod client;
mod context;
mod core;
mod directory;
mod event;
mod first;
mod held_back;
mod identity;
mod ids;
mod info;
mod io;
mod keeping;
mod kept;
mod left_behind;
mod leg;
mod link;
mod liveness;
mod moves;
mod moving;
mod outbox;
mod packed;
mod participants;
mod patience;
mod random;
mod request;
mod requests;
mod restart;
mod restore;
mod rooms;
mod snapshot;
mod state;
mod stream;
mod streams;
mod tally;
mod time;
mod timers;
mod upstream;

pub use self::core::Session;
pub use directory::{Directory, EndOfName, Holder, NameSnapshot, Participant, RoomKey, RoomPlace};
pub use event::{Event, Outcome};
pub use identity::Identity;
pub use io::{Close, DialError, Evidence, Input, LossCause, Mail, Mode, MoveOutcome, Output, Priority};
pub use snapshot::{Belongings, Expected, Seen, SessionSnapshot, StreamSnapshot};
pub use tally::{STREAM_KINDS, STREAM_MEDIA, STREAM_STATES, Tally};
pub use time::Timestamp;

use crate::media::{Kind, MediaCommand, StreamKey};

pub use crate::ids::{Epoch, NodeId, SessionId};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
