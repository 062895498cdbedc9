//! The rules the simulation watches, and what a breach of one says.

use std::fmt;

/// What must hold at every step (rules R1 to R16, seen from outside the core).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// A WebRTC stream gets one answer in its life (protocol S0.2).
    AnswerOnce,
    /// ESTABLISHED fires once, and once more per outage in mode `restart` (R1, S3.6).
    EstablishedOnce,
    /// A registered client stays registered (S3.1).
    RegisteredKept,
    /// PUBLISHING, PLAYING and `getVersion` are not repeated by a replay (R1).
    StartOnce,
    /// PUBLISHING and PLAYING of an anchored stream are said when its client's media path stands.
    RunsConnected,
    /// Nothing from an older epoch reaches the client (R3).
    OldEpochSilent,
    /// The client hears only of ids it made (R7).
    KnownIds,
    /// The upstream never sees one `mediaSessionId` twice (R7).
    FreshIds,
    /// A stop, or another word on a stream, names a stream of that very session (R7).
    OwnStreams,
    /// No second publish of a name by a session whose first is held.
    NameOnce,
    /// One `connection` per epoch, and it comes first (R5, R8).
    OneConnection,
    /// One live request per intent and epoch.
    IntentOnce,
    /// An answered direct stream is never replayed (S10.1).
    AnsweredStays,
    /// A request that is not an intent is never sent twice (S4.4).
    NoReplayOfRequests,
    /// Every stream ends an outage restored, reported or cancelled in time (R2).
    Verdict,
    /// A terminal word is the last one.
    ReportedOnce,
    /// In quiet times client and server agree on everything.
    Agreement,
    /// What the client ended is never stated again (R4).
    WordWins,
    /// A stop is answered (S4.2).
    StopAnswered,
    /// After the client's end there is nothing but the upstream's close (R4).
    SilentAfterEnd,
    /// Requests settle in time (S4.2, R11).
    Settles,
    /// Requests settle once.
    SettlesOnce,
    /// JSON pings reach the client at its pace, always (R1, S6).
    PingsFlow,
    /// A client without a sign of life is ended (S6).
    DeadEnd,
    /// Queues keep their bounds.
    Bounds,
    /// Every timer lies ahead.
    TimersMove,
    /// At most one dial is under way, each for a new epoch.
    OneDial,
    /// An outage has no more dials than allowed (R10).
    TriesBounded,
    /// The pace of a session's dials is that of its backoff, whatever it is told (R6).
    Paced,
    /// Refused credentials are not shown again (R8).
    NotHammered,
    /// A replayed play waits for a publisher under restore in this process (R5).
    PublisherFirst,
    /// A room's STATE is said once per join; later ones become differences (S10.8).
    RoomDifferences,
    /// What is sent has somebody to go to.
    Addressed,
    /// The client hears nothing of a move (R15).
    MoveUnseen,
    /// A stream is published on one node as far as a player can see; on two only while its session moves, and
    /// never after it is let go (R15).
    PublishedOnce,
    /// What comes back from a move runs as before (R15).
    BackAsBefore,
    /// In quiet times no move is half made (R15).
    HalfMoved,
    /// Participants of one room are on one node, or the log was told of it (R16).
    RoomsMeet,
    /// The registry remembers no session that is gone.
    RegistryClean,
}

/// A rule that was broken.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) rule: Rule,
    pub(super) what: String,
    pub(super) at_ms: u64,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.rule, self.at_ms, self.what)
    }
}
