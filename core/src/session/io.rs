//! What goes into the session core and what comes out of it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Epoch, NodeId, SessionId},
    media::{Fact, MediaCommand, StreamKey},
};

use super::{Event, Identity, RoomKey};

/// Something that happened outside.
///
/// After each call of `Session::handle` the caller takes all outputs, in order, and asks
/// `Session::next_timeout` again.
#[derive(Debug)]
pub enum Input<'a> {
    /// A whole text message from the client, checked to be UTF-8.
    ClientText(&'a [u8]),
    /// A whole binary message from the client.
    ClientBinary(&'a [u8]),
    /// The client answered a WebSocket ping of ours, or sent any frame: it is alive.
    ClientActivity,
    /// The client's socket ended, with the close code if there was a close frame.
    ClientClosed(Option<u16>),
    /// The dial of this epoch succeeded, at this node: the upstream's 101 was verified.
    UpstreamOpened(Epoch, NodeId),
    /// The dial of this epoch failed.
    DialFailed(Epoch, DialError),
    /// A whole text message from the upstream, checked to be UTF-8.
    UpstreamText(Epoch, &'a [u8]),
    /// A whole binary message from the upstream.
    UpstreamBinary(Epoch, &'a [u8]),
    /// Bytes that are no message arrived from the upstream (WebSocket ping, pong, a fragment).
    UpstreamActivity(Epoch),
    /// The upstream connection of this epoch ended.
    UpstreamLost(Epoch, LossCause),
    /// A node answers that could not be reached: whoever failed to reach it waits no longer.
    NodeUp,
    /// A node takes handshakes again on the path where it refused this session and probes alike.
    PathUp,
    /// Others have lost the node of this session, or doubt it: the session looks for itself.
    NodeDoubtful,
    /// What was found out after [`Output::UpstreamDoubtful`] of this epoch.
    Evidence(Epoch, Evidence),
    /// The session is to go to this node while its old connection stands, if it can unseen (rule R15).
    Move {
        /// Where to.
        to: NodeId,
    },
    /// Those who needed the connection that was left have moved: it is let go.
    LetGo,
    /// Those who need what was left have not moved yet: it is kept for another `restore.move_hold_ms`.
    Hold,
    /// The session has to leave its node now: an outage is begun on purpose.
    ForceMove,
    /// The media workers report on an anchored stream.
    Media(StreamKey, Fact),
    /// Another session of this process has something to say.
    Mail(Mail),
    /// The process is shutting down (SIGTERM).
    Shutdown,
    /// The time given by `Session::next_timeout` has come. Spurious calls are harmless.
    Timeout,
}

/// What a second dial beside a silent connection says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The node answers anew: the connection is dead and the node is not.
    NodeAnswers,
    /// The node does not answer either, and another one would.
    NodeSilent,
    /// The node does not answer, and there is no other: nothing would be won.
    None,
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialError {
    /// No TCP connection, TLS failure, or no answer within the time limit.
    Unreachable(String),
    /// The upstream answered the handshake with this HTTP status instead of 101.
    Refused(u16),
    /// As `Refused`, and it said when to come again (`Retry-After`).
    Busy(u16, Duration),
    /// This machine lacks something, such as file descriptors: no node was asked.
    Local(String),
    /// The upstream's 101 was wrong (bad accept key, an extension nobody offered).
    BadHandshake(String),
}

/// Why an upstream connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// A close frame with this code (1005 if it carried none).
    Closed(u16),
    /// End of file without a close frame.
    EndOfFile,
    /// Reset, TLS alert, or another IO error.
    Reset,
    /// The upstream broke the WebSocket protocol.
    Protocol,
    /// The upstream did not read for too long; the driver gave up on it.
    Stalled,
    /// No byte came for longer than `keepalive.upstream_silence_ms` (rule R12).
    Silent,
    /// We left it: the session had to leave its node.
    Left,
}

impl LossCause {
    /// A close frame with this code, or without one.
    #[must_use]
    pub const fn closed(code: Option<u16>) -> Self {
        match code {
            Some(code) => Self::Closed(code),
            None => Self::Closed(NO_CODE),
        }
    }

    /// How the client's socket ends where it ends as the upstream's did.
    #[must_use]
    pub const fn as_close(self) -> Close {
        match self {
            Self::Closed(NO_CODE) => Close::NoCode,
            Self::Closed(code) => Close::Code(code),
            Self::Left => Close::Code(1001),
            _ => Close::Abort,
        }
    }
}

/// Stands for a close frame without a code (RFC 6455, 7.4.1).
const NO_CODE: u16 = 1005;

/// How to end a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// A close frame with this code, then an orderly end.
    Code(u16),
    /// A close frame without a code, as browsers and the SDK send it.
    NoCode,
    /// Drop the connection without a close frame, as a dying server does.
    Abort,
}

impl Close {
    /// A close frame with this code, or without one.
    #[must_use]
    pub const fn frame(code: Option<u16>) -> Self {
        match code {
            Some(code) => Self::Code(code),
            None => Self::NoCode,
        }
    }
}

/// Who dials first when the budget is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The session publishes: others wait for its streams.
    Publisher,
    /// The session plays or is idle.
    Other,
}

/// A note between sessions of one process, small however many get it. Delivery is at most once, order per sender is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// The stream of this name is publishing again (or is known not to come back): plays that
    /// wait for it should go on.
    NameSettled(Arc<str>),
    /// Some participants of this room are back, or nobody comes back to it: joins that wait for it should go on.
    RoomSettled(RoomKey),
    /// Another session's client wants to publish this name, which the receiver holds: prove
    /// that your client is alive (rule R7), if it seems to be the same.
    ProveAlive {
        /// The stream name in question.
        name: Arc<str>,
        /// Whom to answer.
        asker: SessionId,
        /// Who the asker's client seems to be.
        identity: Identity,
    },
    /// From a media socket of the session: binary frames flow on the upstream of this epoch.
    MediaSocketFlows(Epoch),
    /// The answer to `ProveAlive`.
    Proven {
        /// The stream name in question.
        name: Arc<str>,
        /// False: the holder was dead and has ended itself. True as well if it is not for the asker
        /// to know.
        alive: bool,
    },
}

/// An order from the core to its driver, to be carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Send the frame that is being handled on to the upstream, same bytes. Only appears while
    /// a client frame is handled.
    ForwardToUpstream,
    /// Send the frame that is being handled on to the client, same bytes. Only appears while
    /// an upstream frame is handled.
    ForwardToClient,
    /// Send this text to the client.
    SendToClient(Vec<u8>),
    /// Send this text to the upstream of the current epoch.
    SendToUpstream(Vec<u8>),
    /// Send a WebSocket ping to the client; any frame in return is `ClientActivity`.
    PingClient,
    /// Send a WebSocket ping to the upstream of the current epoch.
    PingUpstream,
    /// Open a connection for this epoch, when the budget of the node allows. At most one dial
    /// is under way per session.
    Dial {
        /// Comes back in `UpstreamOpened` or `DialFailed`.
        epoch: Epoch,
        /// Place in the queue for the budget.
        priority: Priority,
        /// The node where those are whom this session belongs to, by its rooms or by what it plays: it is dialled
        /// first, if it is usable.
        toward: Option<NodeId>,
    },
    /// Open a connection for this epoch to this node and no other, while the one that leads goes on.
    DialBeside {
        /// Comes back in `UpstreamOpened` or `DialFailed`.
        epoch: Epoch,
        /// The node.
        node: NodeId,
    },
    /// From now on the connection of this epoch leads: it gets what is said upstream. The one that led stays
    /// open beside it, and is read, until it is closed or leads again.
    Lead(Epoch),
    /// Send this text on the connection beside the one that leads.
    SendLeft(Vec<u8>),
    /// The upstream of this epoch did not answer a probe in time: other evidence is wanted
    /// ([`Input::Evidence`]).
    UpstreamDoubtful(Epoch),
    /// What became of `Input::Move`.
    Moved(MoveOutcome),
    /// End the upstream connection (or the dial) of this epoch; nothing more is delivered
    /// from it.
    CloseUpstream(Epoch, Close),
    /// End the client's socket. The driver ends the session when it is done.
    CloseClient(Close),
    /// Deliver a note to another session of this process.
    Post(SessionId, Mail),
    /// An order for the media workers.
    Media(MediaCommand),
    /// Media sockets that come with this token of the client belong to this session.
    RouteMediaSockets {
        /// What the client was given.
        token: Box<str>,
        /// The upstream connection in which `upstream_token` is valid.
        epoch: Epoch,
        /// What to present there instead; `None` while the session is in an outage.
        upstream_token: Option<Arc<str>>,
    },
    /// Media sockets with this token do not belong to this session any more.
    ForgetMediaSockets {
        /// What the client was given.
        token: Box<str>,
    },
    /// A fact for the log.
    Event(Event),
    /// What the client's socket is, known from its first message on.
    Mode(Mode),
}

/// What became of a move that was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The session is on the other node, and all it has is proven there.
    Done,
    /// It cannot move unseen now, for this reason. Nothing was touched.
    Refused(&'static str),
    /// The move came to nothing, for this reason: the session is where it was, and as it was, unless it lost
    /// the connection that it was leaving.
    Returned(String),
}

impl MoveOutcome {
    /// Why a session is refused to move that is where it was to go.
    pub const THERE_ALREADY: &'static str = "there already";
}

/// What a client's socket is. Its first message says so; signs of life before that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A session: the core hears everything.
    Session,
    /// Not understood (mode `passthrough`, unknown protocols): from now on frames are copied in both
    /// directions without asking the core, and one side ends when the other ends, with the same close code.
    PassedThrough,
    /// The media socket of a player (protocol S2.9). The message that is being handled is its first, and
    /// goes nowhere by this order; the core hears no more of it.
    MediaSocket,
}
