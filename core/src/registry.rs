//! What the sessions of this process know of each other: who publishes which name, where which room is, and
//! how much all of them keep.
//!
//! Hands out clones, never guards, so that no caller can hold a lock across an await. It decides
//! nothing: the session core asks it and acts.

mod directory;
mod in_vain;
mod kept;
mod member;
mod names;
mod rooms;

pub use in_vain::InVain;
pub use kept::Kept;
pub use member::Member;

use std::sync::Arc;

use names::Names;
use rooms::Rooms;

/// Bounds of the registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Most stream names remembered at once, live or lately ended. Past it new names are not
    /// tracked: their players are treated as if the publisher were not ours.
    pub names_max: usize,
    /// Most players that may wait for one name, and most sessions for one room.
    pub waiters_max: usize,
    /// Most participants of a room that are remembered. Those past it go where the room is, and do not count
    /// when it is asked where that is.
    pub participants_max: usize,
    /// How long the end of a name is remembered, in milliseconds.
    pub ended_ms_max: u64,
    /// Longest name that is remembered, in bytes; as with too many of them for longer ones.
    pub name_bytes_max: usize,
    /// Most bytes that all sessions together keep to restore their clients; names take up to a
    /// quarter of it, and who is in which room an eighth.
    pub kept_bytes_max: usize,
    /// Most publishers remembered that were answered H264 and sent no video; each takes some 30
    /// bytes. Past it further ones are not remembered beyond their session.
    pub in_vain_max: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            names_max: 100_000,
            waiters_max: 10_000,
            participants_max: 10_000,
            ended_ms_max: 60_000,
            name_bytes_max: 1024,
            kept_bytes_max: 256 * 1024 * 1024,
            in_vain_max: 10_000,
        }
    }
}

/// Shared knowledge of all sessions of the process.
#[derive(Debug)]
pub struct Registry {
    names: Names,
    rooms: Rooms,
    kept: Arc<Kept>,
    in_vain: Arc<InVain>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(RegistryLimits::default())
    }
}

impl Registry {
    /// An empty registry with these bounds.
    #[must_use]
    pub fn new(limits: RegistryLimits) -> Self {
        let (of_names, of_rooms) = (limits.kept_bytes_max / 4, limits.kept_bytes_max / 8);
        Self {
            names: Names::new(limits, of_names),
            rooms: Rooms::new(limits, of_rooms),
            kept: Arc::new(Kept::new(limits.kept_bytes_max.saturating_sub(of_names + of_rooms))),
            in_vain: Arc::new(InVain::new(limits)),
        }
    }

    /// One for sessions that share no names and no rooms with those of this one, as their servers are others; what
    /// they keep counts together.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            names: self.names.beside(),
            rooms: self.rooms.beside(),
            kept: Arc::clone(&self.kept),
            in_vain: Arc::clone(&self.in_vain),
        }
    }

    /// Who publishes what.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Where which room is.
    #[must_use]
    pub const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// How much all sessions keep.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Who was answered H264 and sent no video.
    #[must_use]
    pub fn h264_in_vain(&self) -> &InVain {
        &self.in_vain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Holder, Identity, NodeId, Participant, RoomKey, RoomPlace, SessionId, Timestamp};

    #[test]
    fn who_is_beside_shares_bounds_and_no_names() {
        let one = Registry::default();
        let other = one.beside();
        let holder = Holder { session: SessionId(1), restoring: false, node: NodeId(0) };
        one.names().hold("name", holder, Timestamp::from_ms(1));
        assert_eq!((one.names().len(), other.names().len()), (1, 0));
        assert_eq!(one.names().bytes(), other.names().bytes(), "they count together");
        let room = RoomKey::new(Identity::default(), "room");
        let who = |session, node| Participant { session: SessionId(session), node: NodeId(node) };
        assert_eq!(one.rooms().enter(room, who(1, 0), false), RoomPlace::Here);
        assert_eq!(other.rooms().enter(room, who(2, 1), false), RoomPlace::Here);
        one.kept().change(0, 7);
        assert_eq!(other.kept().bytes(), 7);
    }
}
