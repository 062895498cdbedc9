//! Where a stream can stand, and what its changes are answered with. Values alone.

use crate::session::{Timestamp, kept::OWN_ID_BYTES};

use super::SentAs;

/// Where a stream stands upstream, with what can be known of it only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The client's own request went upstream in this epoch and has no final answer yet.
    Requested,
    /// Running upstream and, as far as the client knows, always was.
    Live { owed: Owed },
    /// Waits for an upstream to be sent to; nothing of it is upstream.
    Held { may_be_kept: bool },
    /// An answered direct stream whose upstream died: owed a FAILED (modes notify, restart).
    Lost { may_be_kept: bool },
    /// An answered direct stream on a resumed session: alive if the server says so by then.
    Probation { until: Timestamp },
    /// The media workers are making the offer for this epoch; `replay` if the client is not to
    /// hear of a refusal at once.
    Offering { until: Timestamp, replay: bool },
    /// Replayed in this epoch; proof is due by `until`. `alive`: packets came, if not yet the proof.
    Replayed { until: Timestamp, owed: Owed, alive: bool },
    /// Refused for now; next try at `at`.
    Retry { at: Timestamp },
    /// A play whose publisher is being restored in this process; asked again at `at`.
    AwaitsPublisher { at: Timestamp },
    /// Refused as in use by another live session of ours, which is asked for a sign of life.
    AwaitsProof { until: Timestamp },
    /// The client stopped it and waits for the server's word. `may_be_kept` once its upstream is lost.
    Stopping { owed: Owed, may_be_kept: bool },
}

/// A stream as the node has it that is left.
#[derive(Debug)]
pub(super) struct LeftAs {
    pub(super) sent_as: SentAs,
    pub(super) owed: Owed,
    /// It is proven where it goes.
    pub(super) arrived: bool,
}

impl LeftAs {
    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + OWN_ID_BYTES
    }
}

/// What the upstream still has to say to our replay and the client has heard long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    /// PUBLISHING or PLAYING.
    pub(super) word: bool,
    /// `setRemoteSDP`.
    pub(super) answer: bool,
}

/// Where a stream stands, for those who only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Standing {
    Requested,
    Live,
    Held,
    Lost,
    Probation,
    Offering,
    Replayed,
    Retry,
    AwaitsPublisher,
    AwaitsProof,
    Stopping,
}

/// What becomes of a stream whose upstream is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Loss {
    /// Its client had stopped it, and is answered now.
    Stopped,
    /// It is replayed on the next upstream.
    Held,
    /// Nothing can replay it.
    Lost,
}

/// What the server's word that a stream runs means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Running {
    /// Nothing to the client: it has heard it, and the proof is to come or has come.
    Known,
    /// The replay is proven by it. The client has not heard that it runs, if `first`.
    Proof { first: bool },
    /// The client is to hear it.
    News,
}

/// What the client's stop asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Stop {
    /// The server answers it.
    Forward,
    /// What we sent is taken back, and the client answered here.
    TakeBack,
    /// The server has nothing of it: the client is answered here.
    Answer,
}

/// What the end of a stream in a living epoch is, by where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum End {
    /// It ran.
    OfLive,
    /// A refusal of a request: the client's own, if `first`.
    Refusal,
    /// The kept session did not keep it.
    OfKept,
    /// The client asked for it.
    Answer,
}
