//! What a session asks of others while it handles an input: heard and noted on the way to who knows, or answered
//! from what was noted.

use std::cell::RefCell;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::session::{
    Directory, EndOfName, Holder, Identity, NameSnapshot, NodeId, Participant, RoomKey, RoomPlace, SessionId,
    Timestamp,
};

use super::words::Words;

/// A question, or something that is told; not yet in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    what: &'static str,
    name: Option<Box<str>>,
    room: Option<RoomKey>,
    publisher: Option<Identity>,
    more: String,
}

impl Question {
    fn of(what: &'static str) -> Self {
        Self { what, ..Self::default() }
    }

    fn name(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    fn room(self, room: RoomKey) -> Self {
        Self { room: Some(room), ..self }
    }

    fn publisher(self, publisher: Identity) -> Self {
        Self { publisher: Some(publisher), ..self }
    }

    fn more(self, more: &impl Serialize) -> Self {
        Self { more: serde_json::to_string(more).unwrap_or_default(), ..self }
    }

    /// As it is written.
    pub(super) fn written(&self, words: &mut Words) -> String {
        let mut text = self.what.to_owned();
        if let Some(name) = &self.name {
            text.push_str(&format!(" {:?}", words.name(name)));
        }
        if let Some(room) = self.room {
            text.push_str(&format!(" room {}", words.room(room)));
        }
        if let Some(publisher) = self.publisher {
            text.push_str(&format!(" publisher {}", words.publisher(publisher)));
        }
        if !self.more.is_empty() {
            text.push(' ');
            text.push_str(&self.more);
        }
        text
    }
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) answer: Value,
}

/// Answers what was noted: the next question and its answer.
pub(super) trait Script {
    fn answer(&mut self, question: &Question) -> Value;
}

enum Source<'a> {
    Others(&'a mut dyn Directory),
    Script(RefCell<&'a mut dyn Script>),
}

/// Lent to a session in the place of what is known of others.
pub(super) struct Listening<'a> {
    source: Source<'a>,
    asked: RefCell<Vec<Asked>>,
}

impl<'a> Listening<'a> {
    /// Hears what is asked of these others.
    pub(super) fn to(others: &'a mut dyn Directory) -> Self {
        Self { source: Source::Others(others), asked: RefCell::default() }
    }

    /// Answers by this script.
    pub(super) fn by(script: &'a mut dyn Script) -> Self {
        Self { source: Source::Script(RefCell::new(script)), asked: RefCell::default() }
    }

    /// What was asked, in order.
    pub(super) fn into_asked(self) -> Vec<Asked> {
        self.asked.into_inner()
    }

    fn ask<T>(&self, question: Question, others: impl FnOnce(&dyn Directory) -> T) -> T
    where
        T: Serialize + DeserializeOwned + Default,
    {
        match &self.source {
            Source::Others(known) => {
                let answer = others(&**known);
                self.note(question, &answer);
                answer
            }
            Source::Script(script) => scripted(&mut **script.borrow_mut(), &question),
        }
    }

    fn tell<T>(&mut self, question: Question, others: impl FnOnce(&mut dyn Directory) -> T) -> T
    where
        T: Serialize + DeserializeOwned + Default,
    {
        match &mut self.source {
            Source::Others(known) => {
                let answer = others(&mut **known);
                self.note(question, &answer);
                answer
            }
            Source::Script(script) => scripted(&mut **script.get_mut(), &question),
        }
    }

    fn note(&self, question: Question, answer: &impl Serialize) {
        let answer = serde_json::to_value(answer).unwrap_or_default();
        self.asked.borrow_mut().push(Asked { question, answer });
    }
}

/// An answer that does not fit is a difference, which whoever replays sees by what follows.
fn scripted<T: DeserializeOwned + Default>(script: &mut dyn Script, question: &Question) -> T {
    serde_json::from_value(script.answer(question)).unwrap_or_default()
}

impl Directory for Listening<'_> {
    fn name(&self, name: &str) -> NameSnapshot {
        self.ask(Question::of("name").name(name), |others| others.name(name))
    }

    fn hold_name(&mut self, name: &str, holder: Holder, now: Timestamp) {
        self.tell(Question::of("hold_name").name(name).more(&holder), |others| {
            others.hold_name(name, holder, now)
        });
    }

    fn release_name(&mut self, name: &str, session: SessionId, end: EndOfName, now: Timestamp) {
        self.tell(Question::of("release_name").name(name).more(&end), |others| {
            others.release_name(name, session, end, now);
        });
    }

    fn await_name(&mut self, name: &str, session: SessionId) -> bool {
        self.tell(Question::of("await_name").name(name), |others| others.await_name(name, session))
    }

    fn stop_awaiting_name(&mut self, name: &str, session: SessionId) {
        self.tell(Question::of("stop_awaiting_name").name(name), |others| {
            others.stop_awaiting_name(name, session)
        });
    }

    fn take_waiters(&mut self, name: &str) -> Vec<SessionId> {
        self.tell(Question::of("take_waiters").name(name), |others| others.take_waiters(name))
    }

    fn enter_room(&mut self, room: RoomKey, who: Participant, insists: bool) -> RoomPlace {
        let question = Question::of("enter_room").room(room).more(&(who.node, insists));
        self.tell(question, |others| others.enter_room(room, who, insists))
    }

    fn lose_room(&mut self, room: RoomKey, session: SessionId) {
        self.tell(Question::of("lose_room").room(room), |others| others.lose_room(room, session));
    }

    fn leave_room(&mut self, room: RoomKey, session: SessionId) {
        self.tell(Question::of("leave_room").room(room), |others| others.leave_room(room, session));
    }

    fn await_room(&mut self, room: RoomKey, session: SessionId) -> bool {
        self.tell(Question::of("await_room").room(room), |others| others.await_room(room, session))
    }

    fn stop_awaiting_room(&mut self, room: RoomKey, session: SessionId) {
        self.tell(Question::of("stop_awaiting_room").room(room), |others| {
            others.stop_awaiting_room(room, session)
        });
    }

    fn take_room_waiters(&mut self, room: RoomKey) -> Vec<SessionId> {
        self.tell(Question::of("take_room_waiters").room(room), |others| others.take_room_waiters(room))
    }

    fn room_place(&self, room: RoomKey, session: SessionId, node: NodeId) -> Option<NodeId> {
        let question = Question::of("room_place").room(room).more(&node);
        self.ask(question, |others| others.room_place(room, session, node))
    }

    fn kept_bytes_left(&self) -> usize {
        self.ask(Question::of("kept_bytes_left"), |others| others.kept_bytes_left())
    }

    /// Sizes are no decisions: a placeholder is not as long as a secret.
    fn kept_bytes_changed(&mut self, before: usize, now: usize) {
        if let Source::Others(others) = &mut self.source {
            others.kept_bytes_changed(before, now);
        }
    }

    fn note_h264_in_vain(&mut self, publisher: Identity, until: Timestamp, now: Timestamp) {
        let question = Question::of("note_h264_in_vain").publisher(publisher).more(&until);
        self.tell(question, |others| others.note_h264_in_vain(publisher, until, now));
    }

    fn had_h264_in_vain(&self, publisher: Identity, now: Timestamp) -> bool {
        let question = Question::of("had_h264_in_vain").publisher(publisher);
        self.ask(question, |others| others.had_h264_in_vain(publisher, now))
    }
}
