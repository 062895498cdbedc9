//! Rooms (protocol S2.7): a join is an intent and is repeated; the STATE that a repeated join
//! brings is turned into the differences the client has not seen.

use std::time::Duration;

use crate::signaling::{
    peek, synthetic,
    view::{DataEvent, DataStatus, Field, RoomCommand, RoomEvent, SendData},
};

use super::{
    Event, NodeId, Output, Timestamp,
    context::Context,
    directory::{RoomKey, RoomPlace},
    held_back::Subject,
    kept::{Full, OWN_ID_BYTES},
    link::Outage,
    packed::Packed,
    participants::{Lent, Participants},
    requests::Pending,
};

/// One room the client joined or asked to join.
#[derive(Debug)]
struct Room {
    name: Box<str>,
    /// What other sessions know it by.
    key: RoomKey,
    /// The client's `sendData` with the join.
    join: Packed,
    /// The client's operation that waits for its `DataStatusEvent`.
    client_operation: Option<Box<str>>,
    /// When the client asked: an outage holds its operation only so long.
    asked_at: Timestamp,
    /// Our operation of a replayed join.
    replay_operation: Option<Box<str>>,
    /// The others, as the client knows them.
    participants: Participants,
}

impl Room {
    /// All of it, its participants as last counted.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.name.len()
            + self.join.len_bytes()
            + self.client_operation.as_ref().map_or(0, |id| id.len())
            + OWN_ID_BYTES
            + self.participants.bytes()
    }

    /// Until when the client's own join waits for an upstream.
    fn join_deadline(&self, outage: Option<Outage>, hold: Duration) -> Option<Timestamp> {
        let outage = outage.filter(|_| self.client_operation.is_some())?;
        Some(self.asked_at.max(outage.since) + hold)
    }
}

/// The rooms of a session.
#[derive(Debug, Default)]
pub(super) struct Rooms(Vec<Room>);

impl Rooms {
    pub(super) fn send_data(
        &mut self,
        ctx: &mut Context<'_>,
        data: SendData<'_>,
        operation: Option<&str>,
        command: Option<RoomCommand<'_>>,
    ) {
        let Some(operation) = operation else { return ctx.forward_or_drop() };
        match command {
            Some(RoomCommand::Join(room)) => self.join(ctx, data, &room, operation),
            Some(RoomCommand::Leave(room)) => self.leave(ctx, data, &room, operation),
            None => ctx.ask(Pending::Data(operation.into())),
        }
    }

    /// Where the room is that the client is about to join. If that is here it is in it by now, before anybody
    /// else could be first on another node.
    pub(super) fn place_to_join(ctx: &mut Context<'_>, data: SendData<'_>) -> Option<(RoomKey, RoomPlace)> {
        let Some(RoomCommand::Join(name)) = data.room_command() else { return None };
        data.operation_id().and_then(Field::id)?;
        let key = RoomKey::new(ctx.client.application, &name);
        Some((key, ctx.directory.enter_room(key, ctx.as_participant(), false)))
    }

    fn join(&mut self, ctx: &mut Context<'_>, data: SendData<'_>, name: &str, operation: &str) {
        let key = RoomKey::new(ctx.client.application, name);
        if !self.has(name) && self.0.len() >= ctx.settings.bounds.rooms_max {
            ctx.event(Event::LimitReached { limit: "session.rooms_max" });
            return Self::join_unkept(ctx, key, operation);
        }
        self.forget_room(ctx, name);
        let bytes = data.text().len().saturating_add(name.len()).saturating_add(operation.len());
        if !ctx.keep_if(ctx.may_keep_named(&[name, operation], bytes, bytes), bytes) {
            return Self::join_unkept(ctx, key, operation);
        }
        self.0.push(Room {
            name: name.into(),
            key,
            join: Packed::new(data.text()),
            client_operation: Some(operation.into()),
            asked_at: ctx.now,
            replay_operation: None,
            participants: Participants::default(),
        });
        // Behind the repeated joins of a return: the upstream takes it already.
        if ctx.is_up() || ctx.link.is_joining() {
            ctx.enter_room(key, name);
            ctx.out.forward_upstream();
        }
    }

    /// A join that is not kept is not repeated: the client hears so where it would have to be. Nor does it
    /// lead anybody to the room.
    fn join_unkept(ctx: &mut Context<'_>, key: RoomKey, operation: &str) {
        ctx.leave_room(key);
        if ctx.is_up() {
            ctx.out.forward_upstream();
        } else {
            ctx.answer_lost(Pending::Data(operation.into()));
        }
    }

    fn leave(&mut self, ctx: &mut Context<'_>, data: SendData<'_>, name: &str, operation: &str) {
        let known = self.forget_room(ctx, name);
        if ctx.is_up() {
            ctx.note_pending(Pending::Leave(operation.into(), name.into()));
            ctx.out.forward_upstream();
            return;
        }
        // The client cleans up either way (protocol S4.2).
        ctx.say_to_client(synthetic::data_status(operation, Ok(())));
        if known && ctx.link.is_joining() {
            leave_upstream(ctx, data);
        }
    }

    /// Takes a room out. The answer to a repeated join of it concerns nobody; that to
    /// the client's own is still awaited.
    fn forget_room(&mut self, ctx: &mut Context<'_>, name: &str) -> bool {
        let Some(index) = self.0.iter().position(|room| *room.name == *name) else { return false };
        let room = self.0.remove(index);
        ctx.leave_room(room.key);
        if let Some(operation) = &room.replay_operation {
            ctx.retired.add(operation);
        }
        match room.client_operation {
            Some(operation) if ctx.is_up() && room.replay_operation.is_none() => {
                ctx.note_pending(Pending::Data(operation));
            }
            Some(operation) => ctx.answer_lost(Pending::Data(operation)),
            None => {}
        }
        if ctx.outage().is_some() {
            ctx.leave_room_behind(room.name);
        }
        true
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|room| *room.name == *name)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Room> {
        self.0.iter_mut().find(|room| *room.name == *name)
    }
}

// The way back.
impl Rooms {
    /// The resumed session leaves the rooms that the client left meanwhile.
    pub(super) fn leave_kept(&self, ctx: &mut Context<'_>, rooms: Vec<Box<str>>) {
        for name in rooms.into_iter().filter(|name| !self.has(name)) {
            let operation = ctx.random.uuid();
            ctx.retired.add(&operation);
            ctx.say_upstream(synthetic::leave_room(&operation, &name));
        }
    }

    /// Their node is lost: where they will be is not known.
    pub(super) fn lose_upstream(&self, ctx: &mut Context<'_>) {
        for room in &self.0 {
            ctx.directory.lose_room(room.key, ctx.id);
        }
    }

    /// The node where others are in the first of them that has others, unless that is the one that was lost.
    pub(super) fn place(&self, ctx: &Context<'_>) -> Option<NodeId> {
        let place = |room: &Room| ctx.directory.room_place(room.key, ctx.id, ctx.upstream.node);
        self.0.iter().find_map(place).filter(|_| ctx.settings.locality)
    }

    /// The session ends.
    pub(super) fn leave_all(&mut self, ctx: &mut Context<'_>) {
        for room in std::mem::take(&mut self.0) {
            ctx.leave_room(room.key);
        }
    }

    /// By what other sessions know them.
    pub(super) fn keys(&self) -> impl Iterator<Item = RoomKey> {
        self.0.iter().map(|room| room.key)
    }

    /// Repeats every join; false if there is none.
    pub(super) fn join_again(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut any = false;
        for room in &mut self.0 {
            let operation = ctx.random.uuid();
            let join = room.join.unpack();
            if let Ok(peek) = peek(&join)
                && let Some(id) = SendData::of(&peek).operation_id()
            {
                ctx.enter_room(room.key, &room.name);
                ctx.say_upstream(id.replaced(&operation));
                room.participants.join_again(room.client_operation.is_none());
                room.replay_operation = Some(operation);
                any = true;
            }
        }
        any
    }

    /// Whether no repeated join is without its answer.
    pub(super) fn all_joined(&self) -> bool {
        self.0.iter().all(|room| room.replay_operation.is_none())
    }

    /// Joins that still wait for the server's word when patience ends.
    pub(super) fn answer_joins(&mut self, ctx: &mut Context<'_>) {
        for operation in self.0.iter_mut().filter_map(|room| room.client_operation.take()) {
            ctx.answer_lost(Pending::Data(operation));
        }
    }
}

// What the server says.
impl Rooms {
    pub(super) fn data_status(&mut self, ctx: &mut Context<'_>, status: DataStatus<'_>) {
        let operation = status.operation_id().and_then(Field::id);
        let Some(operation) = operation else { return ctx.out.forward_to_client() };
        let accepted = status.is_accepted();
        let replayed = |room: &Room| room.replay_operation.as_deref() == Some(&*operation);
        if let Some(place) = self.0.iter().position(replayed) {
            if let Some(room) = self.0.get_mut(place) {
                join_answered(room, ctx, status);
            }
            if !accepted {
                ctx.leave_room(self.0.swap_remove(place).key);
            }
            return;
        }
        if ctx.retired.has(&operation) {
            return;
        }
        self.0.retain_mut(|room| {
            let answered = room.client_operation.as_deref() == Some(&*operation);
            if answered {
                room.client_operation = None;
            }
            let refused = answered && !accepted;
            if refused {
                ctx.leave_room(room.key);
            }
            !refused
        });
        ctx.requests.settle_data(&operation);
        ctx.out.forward_to_client();
    }

    /// A room event, as it comes or `released` after it was held back: ends of participants and
    /// streams may be the burst before their epoch dies (rule R3), and what follows them in the
    /// same room keeps its place behind them. `plays`: whether the client plays a stream of this name.
    pub(super) fn event(
        &mut self,
        ctx: &mut Context<'_>,
        message: DataEvent<'_>,
        released: bool,
        plays: &dyn Fn(&str) -> bool,
    ) {
        let text = message.text();
        let Some(event) = message.room_event().filter(|event| self.has(&event.room)) else {
            return ctx.pass_on(text, released);
        };
        let subject = Subject::Room(event.room.as_ref().into());
        let held_back = ctx.held_back.holds(&subject);
        if !released && (event.kind.is_end() || held_back) {
            if ctx.hold_back(subject.clone(), text) {
                return;
            }
            if held_back {
                // No room to hold more: what is held keeps its place before this.
                self.release_all(ctx, &subject, plays);
                return self.event(ctx, message, false, plays);
            }
        }
        if !self.participants_hear(ctx, &event, plays) {
            ctx.pass_on(text, released);
        }
    }

    fn release_all(&mut self, ctx: &mut Context<'_>, subject: &Subject, plays: &dyn Fn(&str) -> bool) {
        while let Some(event) = ctx.held_back.take(subject) {
            self.release(ctx, &event.message, plays);
        }
    }

    /// The epoch lived on: what was held back of a room is the server's word after all.
    pub(super) fn release(&mut self, ctx: &mut Context<'_>, message: &[u8], plays: &dyn Fn(&str) -> bool) {
        if let Ok(peek) = peek(message) {
            self.event(ctx, DataEvent::of(&peek), true, plays);
        }
    }

    /// True if the client is not to hear the event itself.
    fn participants_hear(
        &mut self,
        ctx: &mut Context<'_>,
        event: &RoomEvent<'_>,
        plays: &dyn Fn(&str) -> bool,
    ) -> bool {
        let Some(room) = self.get_mut(&event.room) else { return false };
        let more_bytes = ctx.room_left();
        if more_bytes == 0 {
            ctx.not_kept(Full::Session);
        }
        let lent = Lent {
            room: &room.name,
            now: ctx.now,
            bytes_max: room.participants.bytes().saturating_add(more_bytes),
            needed_bytes_max: ctx.needed_room_left(),
            id_bytes_max: ctx.settings.bounds.id_bytes_max,
            repeated: !ctx.upstream.epoch.is_first(),
            plays,
        };
        let heard = room.participants.hear(event, &lent);
        ctx.keep(heard.needed_bytes);
        for words in heard.words {
            ctx.say_to_client(words);
        }
        heard.swallowed
    }
}

// Their times.
impl Rooms {
    /// When something is due in one of them.
    pub(super) fn deadline(&self, outage: Option<Outage>, hold: Duration) -> Option<Timestamp> {
        let of_room = |room: &Room| [room.participants.deadline(), room.join_deadline(outage, hold)];
        self.0.iter().flat_map(of_room).flatten().min()
    }

    /// A join that waited too long is answered, and no longer wanted; false if there is none.
    pub(super) fn expire_join(&mut self, ctx: &mut Context<'_>) -> bool {
        let hold = ctx.settings.hold.time_max;
        let due = |room: &&Room| ctx.is_due(room.join_deadline(ctx.outage(), hold));
        let Some(room) = self.0.iter().find(due) else { return false };
        let name = room.name.clone();
        ctx.event(Event::LimitReached { limit: "hold.ms_max" });
        self.forget_room(ctx, &name);
        true
    }

    /// Participants that did not come back have left, and their streams with them.
    pub(super) fn run_timers(&mut self, ctx: &mut Context<'_>) {
        for room in &mut self.0 {
            for words in room.participants.run_timer(ctx.now, &room.name) {
                ctx.out.push(Output::SendToClient(words));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|room| &*room.name)
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Room::bytes).sum()
    }

    /// What the participants of each room take, as counted anew and as known.
    #[cfg(test)]
    pub(super) fn participants_bytes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.iter().map(|room| (room.participants.counted_bytes(), room.participants.bytes()))
    }
}

/// The repeated join is upstream already: it is taken back there, too.
fn leave_upstream(ctx: &mut Context<'_>, data: SendData<'_>) {
    let operation = ctx.random.uuid();
    let Some(id) = data.operation_id() else { return };
    ctx.retired.add(&operation);
    ctx.say_upstream(id.replaced(&operation));
}

/// The server answers a join that was repeated.
fn join_answered(room: &mut Room, ctx: &mut Context<'_>, status: DataStatus<'_>) {
    room.replay_operation = None;
    if let (Some(operation), Some(id)) = (room.client_operation.take(), status.operation_id()) {
        // The client still waits for its own join: this is its answer.
        ctx.say_to_client(id.replaced(&operation));
    } else if !status.is_accepted() {
        let info = status.info().unwrap_or_default().into_owned();
        ctx.event(Event::RoomLost { room: room.name.to_string(), info });
    }
}
