//! What the parts of a session are lent for the handling of one input: the time, the settings, where to say
//! things, and the small keepers that more than one of them needs. A part changes nothing of the session but
//! itself and what is lent here; what concerns another part it returns.

use std::{borrow::Cow, time::Duration};

use crate::{
    settings::{RestoreMode, SessionSettings},
    signaling::view::Field,
};

use super::{
    Event, Mail, Output, SessionId, Timestamp,
    directory::{Directory, Holder, Participant, RoomKey, RoomPlace},
    held_back::{HeldBack, Subject},
    kept::Kept,
    left_behind::{LeftBehind, Retired},
    link::{Link, Outage},
    outbox::Outbox,
    packed::Packed,
    random::Random,
    requests::{Pending, Requests},
    restart::Restart,
    state::{Client, Upstream},
    time::after,
};

/// Lent to the parts.
pub(super) struct Context<'a> {
    pub(super) id: SessionId,
    /// The time of the input being handled.
    pub(super) now: Timestamp,
    pub(super) link: Link,
    pub(super) settings: &'a SessionSettings,
    pub(super) client: &'a Client,
    pub(super) upstream: &'a Upstream,
    /// What other sessions know.
    pub(super) directory: &'a mut dyn Directory,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut Outbox,
    pub(super) kept: &'a mut Kept,
    pub(super) requests: &'a mut Requests,
    pub(super) held_back: &'a mut HeldBack,
    pub(super) left_behind: &'a mut LeftBehind,
    pub(super) retired: &'a mut Retired,
    pub(super) restart: &'a mut Restart,
}

// What is so.
impl Context<'_> {
    /// Whether the client's words go straight to the upstream.
    pub(super) const fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) const fn outage(&self) -> Option<Outage> {
        self.link.outage()
    }

    pub(super) fn is_due(&self, deadline: Option<Timestamp>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.now)
    }

    /// A moment after which a wait that may be switched off ends.
    pub(super) fn patience(&self, wait: Duration) -> Timestamp {
        after(self.now, wait).unwrap_or(self.now)
    }

    /// This session as the holder of a name.
    pub(super) const fn as_holder(&self, restoring: bool) -> Holder {
        Holder { session: self.id, restoring, node: self.upstream.node }
    }

    /// Another session that publishes this name, on another node than ours; one that is being restored or moves
    /// runs nowhere for now.
    pub(super) fn runs_elsewhere(&self, name: &str) -> Option<Holder> {
        let holder = self.directory.name(name).holder?;
        let settled = !holder.restoring && holder.session != self.id;
        (settled && holder.node != self.upstream.node).then_some(holder)
    }

    /// This session as a participant of rooms.
    pub(super) const fn as_participant(&self) -> Participant {
        Participant { session: self.id, node: self.upstream.node }
    }

    pub(super) fn restarts(&self) -> bool {
        self.client.mode == RestoreMode::Restart
    }

    /// The upstream may have what the client told the one before.
    pub(super) const fn may_be_resumed(&self) -> bool {
        self.upstream.resumed || self.upstream.perhaps_resumed
    }

    /// Mode `restart`: the `getUserData` of the new epoch, for the case that it is wanted.
    pub(super) fn load_restart(&mut self, user_data: &[u8]) {
        if self.restarts() {
            let fits = self.keep_if(self.may_keep(user_data.len(), user_data.len()), user_data.len());
            self.restart.load(fits.then(|| Packed::plain(user_data)));
        }
    }

    /// An id in a message of the client; one that is a number is remembered as such.
    pub(super) fn client_id<'p>(&mut self, id: Option<Field<'p>>) -> Option<Cow<'p, str>> {
        self.out.numeric_ids.client_id(id?)
    }
}

// What is said.
impl Context<'_> {
    pub(super) fn event(&mut self, event: Event) {
        self.out.event(event);
    }

    pub(super) fn say_to_client(&mut self, message: Vec<u8>) {
        self.out.say_to_client(message);
    }

    pub(super) fn say_upstream(&mut self, message: Vec<u8>) {
        self.out.say_upstream(message);
    }

    /// For what loses nothing when lost: one-shot notes that nobody waits for (protocol S4.2).
    pub(super) fn forward_or_drop(&mut self) {
        if self.is_up() {
            self.out.forward_upstream();
        }
    }

    /// To the client: the frame that is being handled, or one `released` after it was held back.
    pub(super) fn pass_on(&mut self, text: &[u8], released: bool) {
        if released {
            self.say_to_client(text.to_vec());
        } else {
            self.out.push(Output::ForwardToClient);
        }
    }

    /// Keeps an end back that the client did not ask for, to see whether its epoch dies with it.
    /// False if holding is switched off.
    pub(super) fn hold_back(&mut self, subject: Subject, message: &[u8]) -> bool {
        if self.settings.restore.burst_hold.is_zero()
            || self.held_back.events() >= self.settings.bounds.pending_requests_max
        {
            return false;
        }
        let Some(message) = self.kept_message(0, message) else { return false };
        let until = self.now + self.settings.restore.burst_hold;
        self.held_back.hold(subject, until, message);
        true
    }
}

// Where rooms are.
impl Context<'_> {
    /// The client is in this room from now on, where its session is.
    pub(super) fn enter_room(&mut self, key: RoomKey, name: &str) {
        let place = self.directory.enter_room(key, self.as_participant(), true);
        if let (RoomPlace::Elsewhere(node), true) = (place, self.settings.locality) {
            self.event(Event::RoomElsewhere { room: name.to_owned(), node });
        }
        self.settle_room(key);
    }

    /// It is there no more.
    pub(super) fn leave_room(&mut self, key: RoomKey) {
        self.directory.leave_room(key, self.id);
        self.settle_room(key);
    }

    /// Those who wait to know where the room is may go on.
    fn settle_room(&mut self, key: RoomKey) {
        for waiter in self.directory.take_room_waiters(key) {
            self.out.push(Output::Post(waiter, Mail::RoomSettled(key)));
        }
    }
}

// Requests that wait for an answer.
impl Context<'_> {
    /// A request that waits for an answer: it goes upstream as it is, or is answered where there is none.
    pub(super) fn ask(&mut self, pending: Pending) {
        if self.is_up() {
            self.note_pending(pending);
            self.out.forward_upstream();
        } else {
            self.answer_lost(pending);
        }
    }

    /// Notes a request that waits for an answer. Past the bound it is only forwarded.
    pub(super) fn note_pending(&mut self, pending: Pending) {
        if self.requests.len() >= self.settings.bounds.pending_requests_max {
            self.event(Event::LimitReached { limit: "session.pending_requests_max" });
        } else if self.keep_if(self.may_keep_id(pending.longest()), pending.bytes()) {
            self.requests.note(pending);
        }
    }

    /// Answers a request whose answer will never come, in the shape the SDK needs to settle it
    /// (protocol S4.2).
    pub(super) fn answer_lost(&mut self, pending: Pending) {
        let answer = pending.lost_answer();
        match pending {
            Pending::Leave(_, room) => self.leave_room_behind(room),
            Pending::Hangup(id) => self.leave_call_behind(id),
            Pending::Data(_) | Pending::Available(_) | Pending::Snapshot(_) => {}
        }
        self.say_to_client(answer);
    }

    /// Answers the requests that the upstream took with it. A join is repeated instead.
    pub(super) fn answer_all_lost(&mut self) {
        for pending in self.requests.take_all() {
            self.answer_lost(pending);
        }
    }

    /// A session that is resumed by token may still have this call (rule R8).
    pub(super) fn leave_call_behind(&mut self, id: Box<str>) {
        let fits = self.may_keep_id(&id).is_ok();
        let calls = &mut self.left_behind.calls;
        if fits && self.client.keep_alive && calls.len() < self.settings.bounds.calls_max {
            calls.push(id);
        }
    }

    /// A session that is resumed by token may still be in this room (rule R8).
    pub(super) fn leave_room_behind(&mut self, name: Box<str>) {
        let fits = self.may_keep_id(&name).is_ok();
        let rooms = &mut self.left_behind.rooms;
        if fits && self.client.keep_alive && rooms.len() < self.settings.bounds.rooms_max {
            rooms.push(name);
        }
    }
}
