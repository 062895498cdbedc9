//! The core's facts, and the driver's own, as lines of the log.

use std::fmt;

use crate::{session::Event, telemetry::events};

use super::Driver;

/// How a session ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum EndCause {
    /// We closed the client's socket because the core said so.
    Closed,
    /// The client sent a close frame.
    Client(Option<u16>),
    /// The client's socket ended without one.
    ClientLost,
    /// The client broke a rule of the socket and was closed with this code.
    Rejected(u16),
    /// Nothing came from either side for too long; it was only passed through.
    Idle,
    /// The process ends.
    Shutdown,
    /// It was no session: a player's media socket.
    MediaSocket,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the proxy"),
            Self::Client(Some(code)) => write!(f, "client closed {code}"),
            Self::Client(None) => f.write_str("client closed"),
            Self::ClientLost => f.write_str("client lost"),
            Self::Rejected(code) => write!(f, "client rejected {code}"),
            Self::Idle => f.write_str("idle"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::MediaSocket => f.write_str("became a media socket"),
        }
    }
}

/// The session is over.
pub(super) fn ended(driver: &Driver) {
    let lived = driver.shared.clock.now().since(driver.began);
    events::session_ended(driver.id(), &driver.end_cause, lived);
}

impl Driver {
    /// Writes a fact of the core to the log.
    pub(super) fn log(&self, event: &Event) {
        let mailbox = &self.registered.mailbox;
        match event {
            Event::UpstreamLost { .. } => mailbox.set_in_outage(true),
            Event::SessionRestored { .. } | Event::GaveUp { .. } => mailbox.set_in_outage(false),
            _ => {}
        }
        let node = self.shared.pool.node_name(mailbox.node());
        events::report(self.id(), &node, event);
    }
}
