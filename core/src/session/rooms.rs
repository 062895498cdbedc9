//! Rooms (protocol S2.7): a join is an intent and is repeated; the STATE that a repeated join
//! brings is turned into the differences the client has not seen.

use crate::signaling::{Edits, Peek, Span, fields, peek, string, synthetic};

use super::{
    Event, Output, Timestamp,
    core::Session,
    held_back::Subject,
    kept::Full,
    ledger::Room,
    packed::Packed,
    participants::{Lent, Participants, room_command},
    requests::Pending,
    state::{Outage, Stage},
    stream::Standing,
};

impl Session {
    pub(super) fn send_data(&mut self, peek: &Peek<'_>) {
        let operation = self.client_id(peek, "operationId");
        let command = peek.field("payload").and_then(|payload| room_command(peek.text(), payload));
        match (command, operation) {
            (Some((command, room)), Some(operation)) if command == "join" => {
                self.join(peek, &room, &operation)
            }
            (Some((command, room)), Some(operation)) if command == "leave" => {
                self.leave(peek, &room, &operation);
            }
            (_, Some(operation)) => {
                let pending = Pending::Data(operation.as_ref().into());
                if self.is_up() {
                    self.note_pending(pending);
                    self.outputs.push(Output::ForwardToUpstream);
                } else {
                    self.answer_lost(pending);
                }
            }
            (_, None) => self.forward_or_drop(),
        }
    }

    fn join(&mut self, peek: &Peek<'_>, name: &str, operation: &str) {
        drop(self.take_lever());
        if self.ledger.room(name).is_none() && self.ledger.rooms.len() >= self.settings.bounds.rooms_max {
            self.event(Event::LimitReached { limit: "session.rooms_max" });
            return self.join_unkept(operation);
        }
        self.forget_room(name);
        let bytes = peek.text().len().saturating_add(name.len()).saturating_add(operation.len());
        if !self.keep_if(self.may_keep_named(&[name, operation], bytes, bytes), bytes) {
            return self.join_unkept(operation);
        }
        self.ledger.rooms.push(Room {
            name: name.into(),
            join: Packed::new(peek.text()),
            client_operation: Some(operation.into()),
            asked_at: self.now,
            replay_operation: None,
            participants: Participants::default(),
        });
        // Behind the repeated joins of a return: the upstream takes it already.
        if self.is_up() || self.is_joining() {
            self.outputs.push(Output::ForwardToUpstream);
        }
    }

    /// A join that is not kept is not repeated: the client hears so where it would have to be.
    fn join_unkept(&mut self, operation: &str) {
        if self.is_up() {
            self.outputs.push(Output::ForwardToUpstream);
        } else {
            self.answer_lost(Pending::Data(operation.into()));
        }
    }

    fn leave(&mut self, peek: &Peek<'_>, name: &str, operation: &str) {
        let known = self.forget_room(name);
        if self.is_up() {
            self.note_pending(Pending::Leave(operation.into(), name.into()));
            self.outputs.push(Output::ForwardToUpstream);
            return;
        }
        // The client cleans up either way (protocol S4.2).
        self.say_to_client(synthetic::data_status(operation, Ok(())));
        if known && self.is_joining() {
            self.leave_upstream(peek);
            self.all_joined();
        }
    }

    /// The repeated join is upstream already: it is taken back there, too.
    fn leave_upstream(&mut self, peek: &Peek<'_>) {
        let operation = self.random.uuid();
        let Some(span) = peek.field("operationId") else { return };
        let mut edits = Edits::new();
        edits.push_string(span, &operation);
        self.ledger.retire(&operation);
        self.say_upstream(edits.apply(peek.text()));
    }

    /// A session that is resumed by token may still be in this room (rule R8).
    pub(super) fn leave_room_behind(&mut self, name: Box<str>) {
        let fits = self.may_keep_id(&name).is_ok();
        let rooms = &mut self.ledger.left_behind.rooms;
        if fits && self.client.keep_alive && rooms.len() < self.settings.bounds.rooms_max {
            rooms.push(name);
        }
    }

    /// The resumed session leaves the rooms that the client left meanwhile.
    pub(super) fn leave_kept_rooms(&mut self, rooms: Vec<Box<str>>) {
        for name in rooms {
            if self.ledger.room(&name).is_some() {
                continue;
            }
            let operation = self.random.uuid();
            self.ledger.retire(&operation);
            self.say_upstream(synthetic::leave_room(&operation, &name));
        }
    }

    /// Takes a room out of the ledger. The answer to a repeated join of it concerns nobody; that to
    /// the client's own is still awaited.
    fn forget_room(&mut self, name: &str) -> bool {
        let Some(index) = self.ledger.rooms.iter().position(|room| &*room.name == name) else { return false };
        let room = self.ledger.rooms.remove(index);
        if let Some(operation) = &room.replay_operation {
            self.ledger.retire(operation);
        }
        match room.client_operation {
            Some(operation) if self.is_up() && room.replay_operation.is_none() => {
                self.note_pending(Pending::Data(operation));
            }
            Some(operation) => self.answer_lost(Pending::Data(operation)),
            None => {}
        }
        if self.outage().is_some() {
            self.leave_room_behind(room.name);
        }
        true
    }

    const fn is_joining(&self) -> bool {
        matches!(self.outage(), Some(Outage { stage: Stage::Joining { .. }, .. }))
    }

    /// Goes on to the streams when no repeated join is without its answer.
    fn all_joined(&mut self) {
        if self.is_joining() && self.ledger.rooms.iter().all(|room| room.replay_operation.is_none()) {
            self.restore_streams();
        }
    }

    /// Until when a client's own join waits for an upstream.
    pub(super) fn join_deadline(&self, room: &Room) -> Option<Timestamp> {
        let outage = self.outage().filter(|_| room.client_operation.is_some())?;
        Some(room.asked_at.max(outage.since) + self.settings.hold.time_max)
    }

    /// Joins that waited too long are answered, and no longer wanted.
    fn run_join_timers(&mut self) {
        let due = |session: &Self, room: &Room| session.is_due(session.join_deadline(room));
        while let Some(room) = self.ledger.rooms.iter().find(|room| due(self, room)) {
            let name = room.name.clone();
            self.event(Event::LimitReached { limit: "hold.ms_max" });
            self.forget_room(&name);
            self.all_joined();
        }
    }

    /// Joins that still wait for the server's word when patience ends.
    pub(super) fn answer_joins(&mut self) {
        let operations: Vec<_> =
            self.ledger.rooms.iter_mut().filter_map(|room| room.client_operation.take()).collect();
        for operation in operations {
            self.answer_lost(Pending::Data(operation));
        }
    }

    /// Repeats every join, then goes on to the streams when all are answered.
    pub(super) fn join_rooms(&mut self) {
        let mut messages = Vec::new();
        for room in &mut self.ledger.rooms {
            let operation = self.random.uuid();
            let join = room.join.unpack();
            if let Ok(peek) = peek(&join)
                && let Some(span) = peek.field("operationId")
            {
                let mut edits = Edits::new();
                edits.push_string(span, &operation);
                messages.push(edits.apply(&join));
                room.participants.join_again(room.client_operation.is_none());
                room.replay_operation = Some(operation);
            }
        }
        if messages.is_empty() {
            return self.restore_streams();
        }
        self.outputs.extend(messages.into_iter().map(Output::SendToUpstream));
        self.set_stage(Stage::Joining { until: self.now + self.settings.restore.answer_timeout });
    }

    pub(super) fn data_status(&mut self, peek: &Peek<'_>) {
        let Some(operation) = peek.id("operationId") else {
            self.outputs.push(Output::ForwardToClient);
            return;
        };
        let replayed =
            self.ledger.rooms.iter().position(|room| room.replay_operation.as_deref() == Some(&*operation));
        if let Some(index) = replayed {
            self.join_answered(index, peek);
            return;
        }
        if self.ledger.is_retired(&operation) {
            return;
        }
        let accepted = peek.string("status").as_deref() == Some("ACCEPTED");
        for room in &mut self.ledger.rooms {
            if room.client_operation.as_deref() == Some(&*operation) {
                room.client_operation = None;
                if !accepted {
                    room.name = Box::default();
                }
            }
        }
        self.ledger.rooms.retain(|room| !room.name.is_empty());
        self.ledger.requests.settle_data(&operation);
        self.outputs.push(Output::ForwardToClient);
    }

    fn join_answered(&mut self, index: usize, peek: &Peek<'_>) {
        let accepted = peek.string("status").as_deref() == Some("ACCEPTED");
        let Some(room) = self.ledger.rooms.get_mut(index) else { return };
        room.replay_operation = None;
        if let (Some(operation), Some(span)) = (room.client_operation.take(), peek.field("operationId")) {
            // The client still waits for its own join: this is its answer.
            let mut edits = Edits::new();
            edits.push_string(span, &operation);
            self.say_to_client(edits.apply(peek.text()));
        } else if !accepted {
            let info = peek.string("info").unwrap_or_default().into_owned();
            self.event(Event::RoomLost {
                room: self.ledger.rooms.get(index).map(|r| r.name.to_string()).unwrap_or_default(),
                info,
            });
        }
        if !accepted {
            self.ledger.rooms.swap_remove(index);
        }
        self.all_joined();
    }

    pub(super) fn data_event(&mut self, peek: &Peek<'_>) {
        self.room_event(peek, false);
    }

    /// A room event, as it comes or `released` after it was held back: ends of participants and
    /// streams may be the burst before their epoch dies (rule R3), and what follows them in the
    /// same room keeps its place behind them.
    pub(super) fn room_event(&mut self, peek: &Peek<'_>, released: bool) {
        let text = peek.text();
        let payload = peek.field("payload");
        let [room, name, info] =
            payload.map_or([None; 3], |span| fields(text, span, ["roomName", "name", "info"]));
        let room = room.and_then(|span| string(text, span));
        let name = name.and_then(|span| string(text, span));
        let known = room.as_deref().and_then(|room| self.ledger.rooms.iter().position(|r| &*r.name == room));
        let (Some(index), Some(name), Some(info)) = (known, name, info) else {
            return self.pass_on(text, released);
        };
        let ends = matches!(&*name, "LEFT" | "UNPUBLISHED" | "FAILED");
        let subject = Subject::Room(room.unwrap_or_default().as_ref().into());
        let held_back = self.held_back.holds(&subject);
        if !released && (ends || held_back) {
            if self.hold_as_burst(subject.clone(), text) {
                return;
            }
            if held_back {
                // No room to hold more: what is held keeps its place before this.
                self.release_room(&subject);
                return self.room_event(peek, false);
            }
        }
        if !self.participants_hear(index, &name, text, info) {
            self.pass_on(text, released);
        }
    }

    /// True if the client is not to hear the event itself.
    fn participants_hear(&mut self, index: usize, event: &str, text: &[u8], info: Span) -> bool {
        let bytes_max = self.room_for_participants(index);
        let needed_bytes_max = self.needed_room_left();
        let streams = &self.ledger.streams;
        let plays = |name: &str| {
            streams.iter().any(|play| {
                !play.kind().is_publish()
                    && play.name() == name
                    && !matches!(play.standing(), Standing::Stopping | Standing::Lost)
            })
        };
        let Some(room) = self.ledger.rooms.get_mut(index) else { return false };
        let heard = room.participants.hear(
            event,
            text,
            info,
            &Lent {
                room: &room.name,
                now: self.now,
                bytes_max,
                needed_bytes_max,
                id_bytes_max: self.settings.bounds.id_bytes_max,
                repeated: self.epoch != super::Epoch(0),
                plays: &plays,
            },
        );
        self.keep(heard.needed_bytes);
        for words in heard.words {
            self.say_to_client(words);
        }
        heard.swallowed
    }

    /// How many bytes of participants this room may have in all.
    fn room_for_participants(&mut self, index: usize) -> usize {
        let known_bytes = self.ledger.rooms.get(index).map_or(0, |room| room.participants.bytes());
        let more_bytes = self.room_left();
        if more_bytes == 0 {
            self.not_kept(Full::Session);
        }
        known_bytes.saturating_add(more_bytes)
    }

    fn release_room(&mut self, subject: &Subject) {
        while let Some(event) = self.held_back.take(subject) {
            if let Ok(peek) = peek(&event.message) {
                self.room_event(&peek, true);
            }
        }
    }

    /// To the client: the frame that is being handled, or one `released` after it was held back.
    fn pass_on(&mut self, text: &[u8], released: bool) {
        if released {
            self.say_to_client(text.to_vec());
        } else {
            self.outputs.push(Output::ForwardToClient);
        }
    }

    /// Participants that did not come back have left, and their streams with them.
    pub(super) fn run_room_timers(&mut self) {
        self.run_join_timers();
        let now = self.now;
        let rooms = self.ledger.rooms.iter_mut();
        let words = rooms.flat_map(|room| room.participants.run_timer(now, &room.name));
        self.outputs.extend(words.map(Output::SendToClient));
    }
}
