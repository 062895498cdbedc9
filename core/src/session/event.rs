//! Facts for the log: one per event an operator acts on. Nothing secret: names and ids only.

use std::{fmt, time::Duration};

use crate::media::StreamStats;

use super::{DialError, LossCause, MoveOutcome, NodeId};

/// How a stream left an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Proven alive on the new upstream.
    Restored,
    /// The client was told, in its own vocabulary.
    Reported,
    /// The client stopped it.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restored => "restored",
            Self::Reported => "reported",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first `getUserData` reached the client.
    SessionUp {
        /// Application key of the client.
        app_key: String,
        /// The restore mode in force, as it is spelled in the settings.
        mode: &'static str,
    },
    /// The session is relayed without being understood.
    PassedThrough {
        /// Why.
        reason: &'static str,
    },
    /// The upstream connection was lost; an outage begins.
    UpstreamLost {
        /// How it ended.
        cause: LossCause,
        /// Streams that now owe an outcome.
        streams: usize,
    },
    /// A try to reconnect failed.
    AttemptFailed {
        /// Number of failed tries in this outage.
        tries: u32,
        /// Why.
        error: DialError,
    },
    /// The server took the connection but refused or ignored the session.
    ReplayRefused {
        /// Number of failed tries in this outage.
        tries: u32,
        /// The server's words, or what was missing.
        info: String,
        /// Whether it will be tried again.
        retry: bool,
    },
    /// The session is established on a new upstream.
    SessionRestored {
        /// From the loss until now.
        outage: Duration,
        /// Dials it took.
        tries: u32,
    },
    /// A move to another node ended.
    Moved {
        /// Where the session was.
        from: NodeId,
        /// Where it was to go.
        to: NodeId,
        /// How it ended.
        outcome: MoveOutcome,
        /// How long it took.
        took: Duration,
    },
    /// A stream left the outage.
    StreamOutcome {
        /// Stream name.
        name: String,
        /// The client's stream id.
        stream: String,
        /// "publish" or "play".
        kind: &'static str,
        /// How.
        outcome: Outcome,
        /// From the loss until now.
        after: Duration,
    },
    /// A refused request is tried again without telling the client.
    StreamRetry {
        /// Stream name.
        name: String,
        /// The server's words.
        info: String,
        /// Tries so far.
        tries: u16,
    },
    /// A request was refused for a stream that runs on another node, where the session could not go (R16).
    StreamElsewhere {
        /// Stream name.
        name: String,
        /// "publish" or "play".
        kind: &'static str,
        /// Where it runs.
        node: NodeId,
    },
    /// A client joined a room whose other participants are on another node, where the session could not go
    /// (R16).
    RoomElsewhere {
        /// Room name.
        room: String,
        /// Where they are.
        node: NodeId,
    },
    /// A refused publish is tried again without H264.
    RetriedWithoutH264 {
        /// Stream name.
        name: String,
    },
    /// The client gave no sign of life.
    ClientDead {
        /// Why we believe so.
        reason: &'static str,
    },
    /// A stream goes the way of direct media although anchoring is on.
    Unanchorable {
        /// Stream name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The media of an anchored stream is gone for good; its client is told.
    MediaLost {
        /// Stream name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A client's media path was silent and is heard again.
    ClientLegRevived {
        /// Stream name.
        name: String,
        /// How long it was silent.
        silence: Duration,
    },
    /// A publisher's browser changed its codec by itself; the upstream is asked anew.
    CodecChanged {
        /// Stream name.
        name: String,
        /// The codec it sends now.
        codec: String,
    },
    /// A publisher sends no video although it is not muted.
    NoVideo {
        /// Stream name.
        name: String,
        /// It never sent any; false: it did and pauses.
        never_sent: bool,
    },
    /// Video of such a publisher comes after all.
    VideoBack {
        /// Stream name.
        name: String,
    },
    /// How long media stood still at the receiver of an anchored stream because of a restore.
    MediaGap {
        /// Stream name.
        name: String,
        /// "publish" (its receiver is the server) or "play" (a viewer).
        kind: &'static str,
        /// From the last packet of the old upstream to the first (for video: of a key frame) of
        /// the new one.
        gap: Duration,
    },
    /// An anchored stream is over: what its media came to.
    MediaSummary {
        /// Stream name.
        name: String,
        /// Outages it was restored from.
        restored: u32,
        /// What the media workers counted last.
        numbers: Box<StreamStats>,
    },
    /// The server no longer lets the client into a room it had joined.
    RoomLost {
        /// The room.
        room: String,
        /// The server's words.
        info: String,
    },
    /// No more tries: streams reported, socket closed (rule R10).
    GaveUp {
        /// Why.
        reason: String,
        /// Dials made.
        tries: u32,
    },
    /// A limit was reached; the request was answered as refused or dropped.
    LimitReached {
        /// Name of the setting.
        limit: &'static str,
    },
}
