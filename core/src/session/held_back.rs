//! What is kept back for a moment: ends that the server says, until it is clear whether its epoch dies
//! with them (rule R3), and messages of the client that nobody acts on, until an upstream stands. Keeps
//! them in order and says when their time is over; what they mean is for others.

use crate::settings::HoldSettings;

use super::Timestamp;

/// What a held back event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A stream, by the client's id.
    Stream(Box<str>),
    /// A call, by its id.
    Call(Box<str>),
    /// A room, by its name.
    Room(Box<str>),
}

impl Subject {
    fn name(&self) -> &str {
        let (Self::Stream(name) | Self::Call(name) | Self::Room(name)) = self;
        name
    }
}

/// An event of the server that is kept back.
#[derive(Debug)]
pub(super) struct HeldEvent {
    pub(super) subject: Subject,
    pub(super) message: Box<[u8]>,
    until: Timestamp,
}

/// A message of the client that waits for an upstream.
#[derive(Debug)]
struct HeldMessage {
    until: Timestamp,
    message: Box<[u8]>,
}

/// All that is kept back in one session.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    events: Vec<HeldEvent>,
    messages: Vec<HeldMessage>,
}

// Events of the server.
impl HeldBack {
    /// Keeps an event until then.
    pub(super) fn hold(&mut self, subject: Subject, until: Timestamp, message: Box<[u8]>) {
        self.events.push(HeldEvent { subject, message, until });
    }

    /// How many events are kept back.
    pub(super) fn events(&self) -> usize {
        self.events.len()
    }

    /// Whether something of this is kept back.
    pub(super) fn holds(&self, subject: &Subject) -> bool {
        self.events.iter().any(|event| event.subject == *subject)
    }

    /// The same of a stream, by the client's id.
    pub(super) fn holds_of_stream(&self, id: &str) -> bool {
        self.events.iter().any(|event| matches!(&event.subject, Subject::Stream(held) if **held == *id))
    }

    /// Takes the oldest event about this.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<HeldEvent> {
        let place = self.events.iter().position(|event| event.subject == *subject)?;
        Some(self.events.remove(place))
    }

    /// Takes the oldest event whose time is over.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<HeldEvent> {
        let place = self.events.iter().position(|event| event.until <= now)?;
        Some(self.events.remove(place))
    }

    /// Forgets what is kept back about this; true if there was something.
    pub(super) fn forget(&mut self, subject: &Subject) -> bool {
        let before = self.events.len();
        self.events.retain(|event| event.subject != *subject);
        self.events.len() < before
    }

    /// The epoch died: none of its last words counts.
    pub(super) fn drop_events(&mut self) {
        self.events.clear();
    }
}

// Messages of the client.
impl HeldBack {
    /// Which bound keeps a message of this length out; `None` if it fits.
    pub(super) fn full(&self, bytes: usize, bounds: &HoldSettings) -> Option<&'static str> {
        let held_bytes: usize = self.messages.iter().map(|held| held.message.len()).sum();
        if self.messages.len() >= bounds.count_max {
            Some("hold.count_max")
        } else if held_bytes + bytes > bounds.bytes_max {
            Some("hold.bytes_max")
        } else {
            None
        }
    }

    /// Keeps a message until then.
    pub(super) fn hold_message(&mut self, until: Timestamp, message: Box<[u8]>) {
        self.messages.push(HeldMessage { until, message });
    }

    /// How many messages wait.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Forgets the messages whose time is over; true if there were some.
    pub(super) fn expire_messages(&mut self, now: Timestamp) -> bool {
        let before = self.messages.len();
        self.messages.retain(|held| held.until > now);
        self.messages.len() < before
    }

    /// All that wait, in order.
    pub(super) fn take_messages(&mut self) -> impl Iterator<Item = Box<[u8]>> + use<> {
        std::mem::take(&mut self.messages).into_iter().map(|held| held.message)
    }
}

impl HeldBack {
    /// When something is over.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let events = self.events.iter().map(|event| event.until);
        events.chain(self.messages.iter().map(|held| held.until)).min()
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let event = |held: &HeldEvent| size_of_val(held) + held.subject.name().len() + held.message.len();
        let message = |held: &HeldMessage| size_of_val(held) + held.message.len();
        self.events.iter().map(event).sum::<usize>() + self.messages.iter().map(message).sum::<usize>()
    }

    /// The length of all messages that wait, in bytes.
    #[cfg(test)]
    pub(super) fn message_bytes(&self) -> usize {
        self.messages.iter().map(|held| held.message.len()).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn text(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn events_come_back_in_order_each_at_its_time() {
        let (mut held, stream, room) =
            (HeldBack::default(), Subject::Stream("a".into()), Subject::Room("a".into()));
        held.hold(stream.clone(), at(300), text("one"));
        held.hold(room.clone(), at(200), text("two"));
        held.hold(stream.clone(), at(400), text("three"));
        assert_eq!(held.deadline(), Some(at(200)));
        assert!(held.take_due(at(199)).is_none());
        assert_eq!(held.take_due(at(300)).unwrap().message, text("one"), "the oldest first");
        assert_eq!(held.take_due(at(300)).unwrap().subject, room);
        assert!(held.holds_of_stream("a") && !held.holds(&room));
        assert_eq!(held.take(&stream).unwrap().message, text("three"));
        assert!(!held.forget(&stream), "nothing is left");
        assert_eq!((held.deadline(), held.bytes()), (None, 0));
    }

    #[test]
    fn messages_are_bounded_by_number_length_and_time() {
        let bounds = HoldSettings { count_max: 2, bytes_max: 10, ..HoldSettings::default() };
        let mut held = HeldBack::default();
        assert_eq!(held.full(11, &bounds), Some("hold.bytes_max"));
        assert_eq!(held.full(10, &bounds), None);
        held.hold_message(at(10), text("12345"));
        assert_eq!(held.full(6, &bounds), Some("hold.bytes_max"));
        held.hold_message(at(20), text("67890"));
        assert_eq!(held.full(0, &bounds), Some("hold.count_max"));
        assert!(!held.expire_messages(at(9)));
        assert!(held.expire_messages(at(10)));
        assert_eq!(held.take_messages().collect::<Vec<_>>(), [text("67890")]);
        assert_eq!(held.messages(), 0);
    }

    #[test]
    fn a_dead_epoch_takes_its_events_and_leaves_the_clients_messages() {
        let mut held = HeldBack::default();
        held.hold(Subject::Call("c".into()), at(300), text("end"));
        held.hold_message(at(400), text("words"));
        held.drop_events();
        assert_eq!((held.events(), held.messages()), (0, 1));
    }
}
