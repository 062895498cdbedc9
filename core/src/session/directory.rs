//! What the sessions of a process know of each other, as a session sees it: a view that is lent with each
//! input. Whoever implements it decides nothing; the session asks and acts.

use serde::{Deserialize, Serialize};

use super::{Identity, NodeId, SessionId, Timestamp};

/// The session that publishes a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndOfName {
    /// The publisher's client stopped it: a choice, players hear it at once (rule R9).
    Chosen,
    /// The publisher's socket or stream was lost: it may be back in a moment.
    Lost,
}

/// What is known of one name, copied out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameSnapshot {
    /// Who publishes it now.
    pub holder: Option<Holder>,
    /// How the last publisher left, while that is remembered.
    pub ended: Option<(EndOfName, Timestamp)>,
}

/// Which room: rooms of different applications share no name (protocol S2.7). A digest, so that it takes the same
/// room in memory whatever the name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(Identity);

impl RoomKey {
    /// The room of this name of an application, which is told by a digest as well.
    #[must_use]
    pub fn new(application: Identity, room: &str) -> Self {
        Self(application.and(room.as_bytes()))
    }
}

/// A session that is in a room, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Which.
    pub session: SessionId,
    /// Where it is.
    pub node: NodeId,
}

/// Where a room is for somebody who comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomPlace {
    /// Where they are: nobody was first on another node.
    #[default]
    Here,
    /// Others were first on this node.
    Elsewhere(NodeId),
    /// All others have lost another node, and where they come back is not known yet.
    Returning,
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

    /// Somebody comes into a room, and is told where it is. They are in it from now on if it is here, or if
    /// they `insist`. Who does not is told when those are back who are returning (`take_room_waiters`).
    fn enter_room(&mut self, room: RoomKey, who: Participant, insists: bool) -> RoomPlace;

    /// `session` has lost its node, and wants to come back into the room.
    fn lose_room(&mut self, room: RoomKey, session: SessionId);

    /// `session` is in the room no more, if it was.
    fn leave_room(&mut self, room: RoomKey, session: SessionId);

    /// `session` waits for what becomes of the room; false if too many do.
    fn await_room(&mut self, room: RoomKey, session: SessionId) -> bool;

    /// `session` does not wait for the room any more.
    fn stop_awaiting_room(&mut self, room: RoomKey, session: SessionId);

    /// Takes those who wait for the room, if it is known by now where it is.
    fn take_room_waiters(&mut self, room: RoomKey) -> Vec<SessionId>;

    /// The node where others than `session` are in the room, unless that is `node`.
    fn room_place(&self, room: RoomKey, session: SessionId, node: NodeId) -> Option<NodeId>;

    /// How many bytes all sessions together may still keep.
    fn kept_bytes_left(&self) -> usize;

    /// One that kept `before` bytes keeps `now` bytes.
    fn kept_bytes_changed(&mut self, before: usize, now: usize);

    /// A publisher was answered H264 and sent no video; remembered until then.
    fn note_h264_in_vain(&mut self, publisher: Identity, until: Timestamp, now: Timestamp);

    /// Whether this publisher is remembered for that.
    fn had_h264_in_vain(&self, publisher: Identity, now: Timestamp) -> bool;
}
