//! Who is in which room, and so on which node a room is (rule R16): that of whoever of its participants came
//! first. Those who have lost their node count as on their way; where they come back, the room is.

use std::sync::Arc;

use dashmap::{DashMap, mapref::entry::Entry};

use crate::session::{NodeId, Participant, RoomKey, RoomPlace, SessionId};

use super::{Kept, RegistryLimits};

#[derive(Clone, Copy, Debug)]
struct Member {
    who: Participant,
    /// It has lost its node, which is the one that is remembered, and is on its way back.
    is_returning: bool,
}

#[derive(Debug, Default)]
struct Room {
    /// In the order of their coming.
    members: Vec<Member>,
    waiters: Vec<SessionId>,
}

impl Room {
    /// Where it is for somebody who comes.
    fn place_for(&self, who: Participant) -> RoomPlace {
        let others = || self.members.iter().filter(|member| member.who.session != who.session);
        if let Some(first) = others().find(|member| !member.is_returning) {
            return if first.who.node == who.node {
                RoomPlace::Here
            } else {
                RoomPlace::Elsewhere(first.who.node)
            };
        }
        // Who is where they were is where they may well come back to.
        if others().next().is_some() && others().all(|member| member.who.node != who.node) {
            RoomPlace::Returning
        } else {
            RoomPlace::Here
        }
    }

    /// Whether nobody has to wait any more to know where it is.
    fn is_settled(&self) -> bool {
        self.members.is_empty() || self.members.iter().any(|member| !member.is_returning)
    }

    fn is_over(&self) -> bool {
        self.members.is_empty() && self.waiters.is_empty()
    }

    fn member_mut(&mut self, session: SessionId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.who.session == session)
    }
}

/// What a room takes without who is in it, in bytes.
const ROOM_BYTES: usize = size_of::<(RoomKey, Room)>() + 16;

/// The map of rooms. Bounded by [`RegistryLimits`].
#[derive(Debug)]
pub struct Rooms {
    rooms: DashMap<RoomKey, Room>,
    limits: RegistryLimits,
    /// What they take.
    kept: Arc<Kept>,
}

impl Rooms {
    pub(super) fn new(limits: RegistryLimits, bytes_max: usize) -> Self {
        Self { rooms: DashMap::new(), limits, kept: Arc::new(Kept::new(bytes_max)) }
    }

    /// Another map within the same bound of bytes.
    pub(super) fn beside(&self) -> Self {
        Self { rooms: DashMap::new(), limits: self.limits, kept: Arc::clone(&self.kept) }
    }

    /// Somebody comes into a room, and is told where it is. They are in it from now on if it is here, or if
    /// they insist; who does not waits where all others are returning. Past the bounds nothing is remembered
    /// of them: then the room is here.
    pub fn enter(&self, key: RoomKey, who: Participant, insists: bool) -> RoomPlace {
        let mut room = match self.rooms.entry(key) {
            Entry::Occupied(room) => room.into_ref(),
            Entry::Vacant(_) if !self.kept.take(ROOM_BYTES) => return RoomPlace::Here,
            Entry::Vacant(place) => place.insert(Room::default()),
        };
        let place = room.place_for(who);
        match place {
            RoomPlace::Elsewhere(_) if !insists => {}
            RoomPlace::Returning if !insists => {
                if !self.add_waiter(&mut room, who.session) {
                    self.add(&mut room, who);
                    return RoomPlace::Here;
                }
            }
            _ => self.add(&mut room, who),
        }
        let is_over = room.is_over();
        drop(room);
        if is_over {
            self.forget(key);
        }
        place
    }

    fn add(&self, room: &mut Room, who: Participant) {
        let member = Member { who, is_returning: false };
        if let Some(known) = room.member_mut(who.session) {
            *known = member;
        } else if room.members.len() < self.limits.participants_max && self.kept.take(size_of::<Member>()) {
            room.members.push(member);
        }
    }

    fn add_waiter(&self, room: &mut Room, session: SessionId) -> bool {
        if room.waiters.contains(&session) {
            return true;
        }
        let fits = room.waiters.len() < self.limits.waiters_max && self.kept.take(size_of::<SessionId>());
        if fits {
            room.waiters.push(session);
        }
        fits
    }

    /// Somebody waits for what becomes of a room, whoever is in it; false if too many do, or there is none.
    #[must_use]
    pub fn wait(&self, key: RoomKey, session: SessionId) -> bool {
        self.rooms.get_mut(&key).is_some_and(|mut room| self.add_waiter(&mut room, session))
    }

    /// A participant has lost its node, and wants to come back.
    pub fn lose(&self, key: RoomKey, session: SessionId) {
        if let Some(mut room) = self.rooms.get_mut(&key)
            && let Some(member) = room.member_mut(session)
        {
            member.is_returning = true;
        }
    }

    /// Somebody is in the room no more.
    pub fn leave(&self, key: RoomKey, session: SessionId) {
        if let Some(mut room) = self.rooms.get_mut(&key) {
            let before = room.members.len();
            room.members.retain(|member| member.who.session != session);
            self.kept.change((before - room.members.len()) * size_of::<Member>(), 0);
        }
        self.forget(key);
    }

    /// Somebody does not wait for the room any more.
    pub fn stop_waiting(&self, key: RoomKey, session: SessionId) {
        if let Some(mut room) = self.rooms.get_mut(&key) {
            let before = room.waiters.len();
            room.waiters.retain(|waiter| *waiter != session);
            self.kept.change((before - room.waiters.len()) * size_of::<SessionId>(), 0);
        }
        self.forget(key);
    }

    /// Those who wait for the room, handed over once: some of its participants are back, or none is left.
    #[must_use]
    pub fn take_waiters(&self, key: RoomKey) -> Vec<SessionId> {
        // Most rooms have none: a shared look first.
        if self.rooms.get(&key).is_none_or(|room| room.waiters.is_empty()) {
            return Vec::new();
        }
        let Some(mut room) = self.rooms.get_mut(&key).filter(|room| room.is_settled()) else {
            return Vec::new();
        };
        let waiters = std::mem::take(&mut room.waiters);
        drop(room);
        self.kept.change(waiters.len() * size_of::<SessionId>(), 0);
        self.forget(key);
        waiters
    }

    /// The node where the first of the others is, unless that is `node`.
    #[must_use]
    pub fn place(&self, key: RoomKey, session: SessionId, node: NodeId) -> Option<NodeId> {
        let room = self.rooms.get(&key)?;
        let mut others = room.members.iter().filter(|member| member.who.session != session);
        let first = others.find(|member| !member.is_returning && member.who.node != node);
        first.map(|member| member.who.node)
    }

    /// Who is in the room and where, in the order of their coming; not those who are returning.
    #[must_use]
    pub fn participants(&self, key: RoomKey) -> Vec<Participant> {
        let Some(room) = self.rooms.get(&key) else { return Vec::new() };
        room.members.iter().filter(|member| !member.is_returning).map(|member| member.who).collect()
    }

    /// Number of rooms remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// What is remembered takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Forgets a room in which nobody is and for which nobody waits.
    fn forget(&self, key: RoomKey) {
        if self.rooms.remove_if(&key, |_, room| room.is_over()).is_some() {
            self.kept.change(ROOM_BYTES, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Identity;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    fn key(name: &str) -> RoomKey {
        RoomKey::new(Identity::default(), name)
    }

    const fn one(session: u64, node: NodeId) -> Participant {
        Participant { session: SessionId(session), node }
    }

    fn rooms(change: impl FnOnce(&mut RegistryLimits)) -> Rooms {
        let mut limits = RegistryLimits::default();
        change(&mut limits);
        Rooms::new(limits, limits.kept_bytes_max)
    }

    #[test]
    fn a_room_is_where_its_first_participant_is_until_that_leaves() {
        let (rooms, room) = (rooms(|_| {}), key("r"));
        assert_eq!(rooms.enter(room, one(1, A), false), RoomPlace::Here);
        assert_eq!(rooms.enter(room, one(2, B), false), RoomPlace::Elsewhere(A));
        assert_eq!(rooms.participants(room), [one(1, A)], "who is told to go elsewhere is not there yet");
        assert_eq!(rooms.enter(room, one(2, B), true), RoomPlace::Elsewhere(A), "it could not go");
        assert_eq!(rooms.enter(room, one(3, C), false), RoomPlace::Elsewhere(A));
        assert_eq!(rooms.enter(key("other"), one(3, C), false), RoomPlace::Here);
        rooms.leave(room, SessionId(1));
        assert_eq!(rooms.enter(room, one(3, C), false), RoomPlace::Elsewhere(B));
        rooms.leave(room, SessionId(2));
        rooms.leave(key("other"), SessionId(3));
        assert!(rooms.is_empty() && rooms.bytes() == 0, "with the last participant it is forgotten");
    }

    #[test]
    fn rooms_of_different_applications_share_no_name() {
        let rooms = rooms(|_| {});
        let [one_app, other_app] = [b"one", b"two"].map(|app| Identity::default().and(app));
        rooms.enter(RoomKey::new(one_app, "r"), one(1, A), true);
        assert_eq!(rooms.enter(RoomKey::new(other_app, "r"), one(2, B), false), RoomPlace::Here);
    }

    #[test]
    fn who_comes_while_all_others_return_waits_for_the_first_of_them() {
        let (rooms, room) = (rooms(|_| {}), key("r"));
        for session in [1, 2] {
            rooms.enter(room, one(session, A), true);
            rooms.lose(room, SessionId(session));
        }
        assert_eq!(rooms.place(room, SessionId(1), A), None);
        assert_eq!(rooms.enter(room, one(3, B), false), RoomPlace::Returning);
        assert!(rooms.take_waiters(room).is_empty(), "nobody is back");
        rooms.enter(room, one(2, C), true);
        assert_eq!((rooms.take_waiters(room), rooms.take_waiters(room)), (vec![SessionId(3)], Vec::new()));
        assert_eq!(rooms.place(room, SessionId(1), A), Some(C), "where the other goes as well");
        assert_eq!(rooms.place(room, SessionId(1), C), None);
        assert_eq!(rooms.enter(room, one(3, B), false), RoomPlace::Elsewhere(C));
    }

    #[test]
    fn who_stands_where_the_others_were_waits_for_nobody() {
        let (rooms, room) = (rooms(|_| {}), key("r"));
        rooms.enter(room, one(1, A), true);
        rooms.lose(room, SessionId(1));
        assert_eq!(rooms.enter(room, one(2, A), false), RoomPlace::Here);
        assert_eq!(rooms.place(room, SessionId(1), B), Some(A));
    }

    #[test]
    fn who_waits_for_a_room_that_nobody_comes_back_to_waits_no_longer() {
        let (rooms, room) = (rooms(|_| {}), key("r"));
        rooms.enter(room, one(1, A), true);
        rooms.lose(room, SessionId(1));
        for session in [2, 3] {
            assert_eq!(rooms.enter(room, one(session, B), false), RoomPlace::Returning);
        }
        rooms.stop_waiting(room, SessionId(3));
        rooms.leave(room, SessionId(1));
        assert_eq!(rooms.take_waiters(room), [SessionId(2)]);
        assert!(rooms.is_empty() && rooms.bytes() == 0);
    }

    #[test]
    fn who_is_in_a_room_is_bounded_in_number() {
        let (rooms, room) = (rooms(|limits| limits.participants_max = 2), key("r"));
        for session in 1..=3 {
            assert_eq!(rooms.enter(room, one(session, A), false), RoomPlace::Here);
        }
        assert_eq!(rooms.participants(room), [one(1, A), one(2, A)]);
        assert_eq!(rooms.enter(room, one(4, B), false), RoomPlace::Elsewhere(A), "they are still led there");
    }

    #[test]
    fn who_waits_is_bounded_in_number() {
        let (rooms, room) = (rooms(|limits| limits.waiters_max = 1), key("r"));
        rooms.enter(room, one(1, A), true);
        rooms.lose(room, SessionId(1));
        assert_eq!(rooms.enter(room, one(2, B), false), RoomPlace::Returning);
        assert_eq!(rooms.enter(room, one(3, B), false), RoomPlace::Here, "it waits for nobody");
        assert_eq!(rooms.take_waiters(room), [SessionId(2)], "and the room is where it stands");
    }

    #[test]
    fn bytes_are_bounded() {
        let bytes_max = 3 * (ROOM_BYTES + size_of::<Member>());
        let rooms = Rooms::new(RegistryLimits::default(), bytes_max);
        for n in 0..10 {
            rooms.enter(key(&n.to_string()), one(n, A), true);
            assert!(rooms.bytes() <= bytes_max);
        }
        assert_eq!(rooms.len(), 3);
        assert_eq!(rooms.enter(key("9"), one(10, B), false), RoomPlace::Here, "nothing is known of it");
    }
}
