//! What the sessions of a process know of each other, as a session sees it: a view that is lent with each
//! input. Whoever implements it decides nothing; the session asks and acts.

use super::{Identity, NodeId, SessionId, Timestamp};

/// The session that publishes a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The publishing session.
    pub session: SessionId,
    /// True from the loss of its upstream, or from the moment that it moves, until the stream is proven or
    /// given up.
    pub restoring: bool,
    /// Where it publishes, or did last.
    pub node: NodeId,
}

/// How a name lost its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfName {
    /// The publisher's client stopped it: a choice, players hear it at once (rule R9).
    Chosen,
    /// The publisher's socket or stream was lost: it may be back in a moment.
    Lost,
}

/// What is known of one name, copied out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameSnapshot {
    /// Who publishes it now.
    pub holder: Option<Holder>,
    /// How the last publisher left, while that is remembered.
    pub ended: Option<(EndOfName, Timestamp)>,
}

/// The knowledge of all sessions, lent to one of them.
pub trait Directory {
    /// What is known of a stream name.
    fn name(&self, name: &str) -> NameSnapshot;

    /// The name is published by this holder. Another one is replaced.
    fn hold_name(&mut self, name: &str, holder: Holder, now: Timestamp);

    /// `session` publishes the name no more, if it did.
    fn release_name(&mut self, name: &str, session: SessionId, end: EndOfName, now: Timestamp);

    /// `session` has a player that waits until the name is settled; false if nobody is restoring it, or
    /// too many wait.
    fn await_name(&mut self, name: &str, session: SessionId) -> bool;

    /// `session` has no player any more that waits for the name.
    fn stop_awaiting_name(&mut self, name: &str, session: SessionId);

    /// Takes those who wait for the name.
    fn take_waiters(&mut self, name: &str) -> Vec<SessionId>;

    /// How many bytes all sessions together may still keep.
    fn kept_bytes_left(&self) -> usize;

    /// One that kept `before` bytes keeps `now` bytes.
    fn kept_bytes_changed(&mut self, before: usize, now: usize);

    /// A publisher was answered H264 and sent no video; remembered until then.
    fn note_h264_in_vain(&mut self, publisher: Identity, until: Timestamp, now: Timestamp);

    /// Whether this publisher is remembered for that.
    fn had_h264_in_vain(&self, publisher: Identity, now: Timestamp) -> bool;
}
