//! Why a stream gets no leg, or loses one.

use crate::media::{
    routes::NoSocketLeft,
    sdp::{Refusal, Unreadable},
    transport::TransportError,
};

/// Why a client's offer came to no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfferError {
    /// A bound of ours.
    #[error("as many streams as allowed")]
    TooManyStreams,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It can be read, and not anchored.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing is left of a section after what is refused.
    #[error("no codec left to offer")]
    NoCodec,
}

/// Why an answer of the upstream came to no leg.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// It is of use, and we have no socket left. The others are of no use to us, but perhaps to the
    /// client.
    #[error("no socket for the upstream: {0}")]
    NoSocket(#[from] NoSocketLeft),
    /// The same, of a connection.
    #[error("no descriptor for a connection to the upstream")]
    NoConnection,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It was cut off, or is one to another offer.
    #[error("the answer lacks a section of the offer")]
    LacksSection,
    /// Nothing could be signed or checked.
    #[error("the answer has no ICE credentials that can be used")]
    NoCredentials,
    /// Nobody could be told apart from the upstream.
    #[error("the answer has no fingerprint of a hash that we know")]
    NoFingerprint,
    /// No section is taken; why the first is not.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// A stream without it would be half restored.
    #[error("the upstream does not take all that the client sends")]
    LosesMedia,
    /// A player that moved there would see less than now.
    #[error("the upstream does not send all that the player is sent")]
    LacksMedia,
    /// It says nowhere where the upstream is.
    #[error("the answer has no candidate to send to")]
    NoCandidate,
    /// Nowhere where it could be reached.
    #[error("no UDP candidate of the answer has a route, no TCP candidate can be connected to")]
    NoWay,
    /// No transport came of it, on either side.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The client's offer says too little of its own transport.
    #[error("the client's offer has no ICE credentials")]
    NoClientCredentials,
    /// There is no address to give to the client.
    #[error("no address to give to the client")]
    NoClientAddress,
    /// A section that was not offered, or not taken: a fault of ours.
    #[error("a section that was not offered")]
    NoSection,
}

impl AnswerError {
    /// Another socket would have helped, not another answer.
    pub(super) const fn is_for_want_of_sockets(&self) -> bool {
        matches!(self, Self::NoSocket(_) | Self::NoConnection)
    }
}

/// Why the upstream takes no part in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    /// Its port is zero.
    #[error("the answer rejects it")]
    Rejected,
    /// Nothing would flow.
    #[error("the answer has it go the other way")]
    OtherWay,
    /// It took none of what was offered.
    #[error("no common codec")]
    NoCodec,
}

/// Why a leg ended that was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LegEnd {
    /// close_notify.
    #[error("the peer closed the DTLS session")]
    PeerClosed,
    /// ICE has no pair left.
    #[error("no connectivity any more")]
    Disconnected,
    /// The only way was in TCP.
    #[error("the TCP connection has ended")]
    ConnectionEnded,
    /// A name that was looked up late leads to a socket that we do not have.
    #[error("no socket for the upstream: {0}")]
    NoSocket(#[from] NoSocketLeft),
    /// All candidates were names, and none of them was found.
    #[error("no name among the candidates of the answer leads anywhere")]
    NoName,
    /// The upstream did not connect.
    #[error("no DTLS session within the time limit")]
    NotConnected,
    /// The client was never there.
    #[error("nothing came from the client within the time limit")]
    NeverHeard,
    /// The client was there and did not connect.
    #[error("no DTLS session with the client within the time limit")]
    ClientNotConnected,
    /// New credentials did not help.
    #[error("the client stayed silent")]
    StayedSilent,
    /// The transport is of no use any more.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
