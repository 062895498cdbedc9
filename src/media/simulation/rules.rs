//! What must hold, whatever happens on the network.

use std::fmt;

/// A rule of the packet simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Numbers towards a receiver go as the packets of their source went, and never back at an epoch.
    Sequence,
    /// Time towards a receiver never runs against its numbers.
    Time,
    /// A receiver has one source per kind of media for as long as its leg lives.
    OneSource,
    /// Nothing goes to an address that passed no check, or is not the upstream's.
    CheckedOnly,
    /// Media does not follow a check that somebody sent again while its client is where it was.
    NotLedAway,
    /// Under one number a key protects one packet.
    KeyOnce,
    /// What comes out of a connection is what was sent on it, in whole datagrams, however it was cut.
    Frames,
    /// Nothing is written to a connection that there is not, or not yet, or no more.
    Connected,
    /// Who connects and passes no check does not stay, and little is read of it.
    Strangers,
    /// A leg whose ways have all come to nothing is reported at once.
    Told,
    /// Nothing passes but what the sender of this stream sent to the leg of now.
    OwnMediaOnly,
    /// Once a player has been shown the newest leg of a stream that moves, nothing passes of the one that
    /// is left, until it is gone back to.
    SwitchedOnce,
    /// A move on a network that is well leaves no gap in the picture, and sound changes over with it.
    Seamless,
    /// The first picture through a leg is one that a decoder can start with.
    Decodable,
    /// All that is kept is bounded.
    Bounds,
    /// When all is well, media flows.
    Flows,
    /// Who is closed leaves nothing: no route, no socket, no connection.
    Clean,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) rule: Rule,
    pub(super) at_ms: u64,
    pub(super) what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.rule, self.at_ms, self.what)
    }
}
