//! The registry as a session sees it.

use crate::session::{
    Directory, EndOfName, Holder, Identity, NameSnapshot, NodeId, Participant, RoomKey, RoomPlace, SessionId,
    Timestamp,
};

use super::Registry;

impl Directory for &Registry {
    fn name(&self, name: &str) -> NameSnapshot {
        self.names.get(name)
    }

    fn hold_name(&mut self, name: &str, holder: Holder, now: Timestamp) {
        self.names.hold(name, holder, now);
    }

    fn release_name(&mut self, name: &str, session: SessionId, end: EndOfName, now: Timestamp) {
        self.names.release(name, session, end, now);
    }

    fn await_name(&mut self, name: &str, session: SessionId) -> bool {
        self.names.wait(name, session)
    }

    fn stop_awaiting_name(&mut self, name: &str, session: SessionId) {
        self.names.stop_waiting(name, session);
    }

    fn take_waiters(&mut self, name: &str) -> Vec<SessionId> {
        self.names.take_waiters(name)
    }

    fn enter_room(&mut self, room: RoomKey, who: Participant, insists: bool) -> RoomPlace {
        self.rooms.enter(room, who, insists)
    }

    fn lose_room(&mut self, room: RoomKey, session: SessionId) {
        self.rooms.lose(room, session);
    }

    fn leave_room(&mut self, room: RoomKey, session: SessionId) {
        self.rooms.leave(room, session);
    }

    fn await_room(&mut self, room: RoomKey, session: SessionId) -> bool {
        self.rooms.wait(room, session)
    }

    fn stop_awaiting_room(&mut self, room: RoomKey, session: SessionId) {
        self.rooms.stop_waiting(room, session);
    }

    fn take_room_waiters(&mut self, room: RoomKey) -> Vec<SessionId> {
        self.rooms.take_waiters(room)
    }

    fn room_place(&self, room: RoomKey, session: SessionId, node: NodeId) -> Option<NodeId> {
        self.rooms.place(room, session, node)
    }

    fn kept_bytes_left(&self) -> usize {
        self.kept.left()
    }

    fn kept_bytes_changed(&mut self, before: usize, now: usize) {
        self.kept.change(before, now);
    }

    fn note_h264_in_vain(&mut self, publisher: Identity, until: Timestamp, now: Timestamp) {
        self.in_vain.note(publisher, until, now);
    }

    fn had_h264_in_vain(&self, publisher: Identity, now: Timestamp) -> bool {
        self.in_vain.knows(publisher, now)
    }
}
