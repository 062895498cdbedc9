//! The participants of a room as the client knows them, and what it has to hear of them (protocol S2.7,
//! S10.8): after a repeated join the STATE becomes the differences that the client has not seen, and who
//! does not come back has left. Knows no session: what it needs of one is lent to it.

use std::time::Duration;

use std::borrow::Cow;

use crate::signaling::{
    synthetic,
    synthetic::RoomEvent,
    view::{self, RoomEventKind},
};

use super::{Timestamp, kept::texts};

/// How long participants may take to come back after a repeated join: they fell with the same
/// server and are joining again themselves.
const MISSING_GRACE: Duration = Duration::from_secs(5);
/// Participants remembered per room.
const PARTICIPANTS_MAX: usize = 1_000;
/// Streams remembered per participant.
const STREAMS_MAX: usize = 64;
/// Elements of a STATE that are looked at: no more could be remembered.
const ELEMENTS_MAX: usize = 16_384;

/// One other participant of a room.
#[derive(Debug, Default)]
struct Participant {
    login: Box<str>,
    /// Names of the streams the client knows of this participant.
    streams: Vec<Box<str>>,
    /// Not seen since the last replay of the join.
    missing: bool,
    /// Streams it had before it came back, and has not published again.
    unproven: Vec<Box<str>>,
}

impl Participant {
    fn new(login: &str) -> Self {
        Self { login: login.into(), ..Self::default() }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.login.len() + texts(&self.streams) + texts(&self.unproven)
    }
}

/// What a room is lent of its session while it hears an event.
pub(super) struct Lent<'a> {
    /// The name of the room.
    pub(super) room: &'a str,
    pub(super) now: Timestamp,
    /// Bytes that the participants of this room may take.
    pub(super) bytes_max: usize,
    /// Bytes that may be kept of what is needed in any case.
    pub(super) needed_bytes_max: usize,
    /// Longest name that is kept.
    pub(super) id_bytes_max: usize,
    /// The join was repeated once.
    pub(super) repeated: bool,
    /// Whether the client plays this stream and has not been, or is not about to be, told its end.
    pub(super) plays: &'a dyn Fn(&str) -> bool,
}

/// What an event of a room led to.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The client is not to hear the event itself.
    pub(super) swallowed: bool,
    /// What it is to hear instead, or before.
    pub(super) words: Vec<Vec<u8>>,
    /// Bytes that were kept beyond what is allowed for mere wishes.
    pub(super) needed_bytes: usize,
}

impl Heard {
    fn say(&mut self, room: &str, event: RoomEvent<'_>) {
        self.words.push(synthetic::room_event(room, event));
    }
}

/// The participants of one room.
#[derive(Debug, Default)]
pub(super) struct Participants {
    known: Vec<Participant>,
    /// What they take, in bytes.
    bytes: usize,
    /// After a repeated join the next STATE becomes differences.
    awaits_state: bool,
    /// Participants not seen since the replay; they have until then to come back.
    missing_until: Option<Timestamp>,
}

impl Participants {
    /// The join is repeated. `known` is false if the client never had a STATE of it.
    pub(super) const fn join_again(&mut self, known: bool) {
        self.awaits_state = known;
    }

    /// What they take, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// When those that did not come back have left.
    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        self.missing_until
    }

    /// An event of the room.
    pub(super) fn hear(&mut self, event: &view::RoomEvent<'_>, lent: &Lent<'_>) -> Heard {
        let mut heard = Heard::default();
        heard.swallowed = match event.kind {
            RoomEventKind::State => self.state(event, lent, &mut heard),
            RoomEventKind::Joined => self.joined(login(event).as_deref(), lent, &mut heard),
            RoomEventKind::Left => self.left(login(event).as_deref()),
            RoomEventKind::Published => self.published(event, lent),
            RoomEventKind::Unpublished | RoomEventKind::Failed => self.unpublished(event),
            RoomEventKind::Other => false,
        };
        self.count();
        heard
    }

    /// Those that did not come back have left, and the streams of all that were not published again are
    /// gone. What the client hears of it.
    pub(super) fn run_timer(&mut self, now: Timestamp, room: &str) -> Vec<Vec<u8>> {
        let mut heard = Heard::default();
        if self.missing_until.is_none_or(|until| until > now) {
            return heard.words;
        }
        self.missing_until = None;
        for gone in self.known.iter().filter(|participant| participant.missing) {
            heard.say(room, RoomEvent::Left(&gone.login));
        }
        self.known.retain(|participant| !participant.missing);
        for back in &mut self.known {
            for stream in std::mem::take(&mut back.unproven) {
                heard.say(room, RoomEvent::Unpublished { login: &back.login, stream: &stream });
                back.streams.retain(|name| *name != stream);
            }
        }
        self.count();
        heard.words
    }

    fn count(&mut self) {
        self.bytes = self.known.iter().map(Participant::bytes).sum();
    }

    /// What they take, counted anew.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        self.known.iter().map(Participant::bytes).sum()
    }

    fn find(&mut self, login: &str) -> Option<&mut Participant> {
        self.known.iter_mut().find(|known| *known.login == *login)
    }

    /// True if the STATE was turned into differences.
    fn state(&mut self, event: &view::RoomEvent<'_>, lent: &Lent<'_>, heard: &mut Heard) -> bool {
        let fresh = participants(event, |name| name.len() <= lent.id_bytes_max);
        if !std::mem::take(&mut self.awaits_state) {
            for participant in fresh {
                self.merge(participant, lent.bytes_max);
            }
            return false;
        }
        for known in &mut self.known {
            known.missing = !fresh.iter().any(|other| other.login == known.login);
        }
        if self.known.iter().any(|participant| participant.missing) {
            self.missing_until = Some(lent.now + MISSING_GRACE);
        }
        for participant in fresh {
            self.difference(participant, lent, heard);
        }
        true
    }

    /// Tells the client what changed about one participant while it did not look.
    fn difference(&mut self, fresh: Participant, lent: &Lent<'_>, heard: &mut Heard) {
        let Participant { login, streams, .. } = fresh;
        let bytes_max = lent.bytes_max;
        let mut bytes = self.bytes;
        let (gone, published) = match self.find(&login) {
            Some(known) => {
                let of = |all: &[Box<str>], others: &[Box<str>]| -> Vec<Box<str>> {
                    all.iter().filter(|stream| !others.contains(stream)).cloned().collect()
                };
                let (gone, new) = (of(&known.streams, &streams), of(&streams, &known.streams));
                for stream in &new {
                    let more = texts([stream]);
                    if known.streams.len() < STREAMS_MAX && bytes + more <= bytes_max {
                        bytes += more;
                        known.streams.push(stream.clone());
                    }
                }
                (gone, new)
            }
            None => {
                let participant = Participant { streams: streams.clone(), ..Participant::new(&login) };
                self.merge(participant, bytes_max);
                bytes = self.bytes;
                heard.say(lent.room, RoomEvent::Joined(&login));
                (Vec::new(), streams)
            }
        };
        self.bytes = bytes;
        if !gone.is_empty() {
            self.doubt(&login, &gone, lent, heard);
        }
        for stream in &published {
            heard.say(lent.room, RoomEvent::Published { login: &login, stream });
        }
    }

    /// Streams a participant published before the outage and has not published again. What the
    /// client plays may be about to come back; the rest is withdrawn at once, or a page would
    /// play the dead one when the participant publishes anew.
    fn doubt(&mut self, login: &str, streams: &[Box<str>], lent: &Lent<'_>, heard: &mut Heard) {
        let bytes = texts(streams);
        let fits = heard.needed_bytes.saturating_add(bytes) <= lent.needed_bytes_max;
        heard.needed_bytes = heard.needed_bytes.saturating_add(bytes);
        let (doubted, gone): (Vec<_>, Vec<_>) =
            streams.iter().cloned().partition(|name| fits && (lent.plays)(name));
        let until = lent.now + MISSING_GRACE;
        let mut waits = false;
        if let Some(known) = self.find(login) {
            known.streams.retain(|stream| !gone.contains(stream));
            waits = !doubted.is_empty();
            known.unproven = doubted;
        }
        if waits {
            self.missing_until.get_or_insert(until);
        }
        for stream in &gone {
            heard.say(lent.room, RoomEvent::Unpublished { login, stream });
        }
    }

    /// JOINED of a participant the client knows would wipe its streams (protocol S10.8).
    fn joined(&mut self, login: Option<&str>, lent: &Lent<'_>, heard: &mut Heard) -> bool {
        let Some(login) = login.filter(|login| login.len() <= lent.id_bytes_max) else { return false };
        // Before the STATE of a repeated join it is the return of somebody the client never missed.
        let returns = self.awaits_state;
        if let Some(known) = self.find(login).filter(|known| known.missing || returns) {
            if std::mem::take(&mut known.missing) {
                let streams = known.streams.clone();
                self.doubt(login, &streams, lent, heard);
            }
            return true;
        }
        self.known.retain(|known| *known.login != *login);
        self.merge(Participant::new(login), lent.bytes_max);
        false
    }

    fn left(&mut self, login: Option<&str>) -> bool {
        if let Some(login) = login {
            self.known.retain(|known| *known.login != *login);
        }
        false
    }

    /// PUBLISHED of a stream the client knows and still plays is a repetition.
    fn published(&mut self, event: &view::RoomEvent<'_>, lent: &Lent<'_>) -> bool {
        let known = event.participant().and_then(login_and_stream);
        let is_short = |name: &str| name.len() <= lent.id_bytes_max;
        let Some((login, stream)) = known.filter(|(login, stream)| is_short(login) && is_short(stream))
        else {
            return false;
        };
        let has_room = self.bytes + texts([&stream]) <= lent.bytes_max;
        let Some(known) = self.find(&login) else {
            // Before the STATE of a repeated join, which says it in time: the SDK throws at a login it
            // does not know (protocol S10.8).
            return lent.repeated;
        };
        known.unproven.retain(|name| *name != stream);
        if known.streams.contains(&stream) {
            return (lent.plays)(&stream);
        }
        if has_room && known.streams.len() < STREAMS_MAX {
            known.streams.push(stream);
        }
        false
    }

    fn unpublished(&mut self, event: &view::RoomEvent<'_>) -> bool {
        if let Some((login, stream)) = event.participant().and_then(login_and_stream)
            && let Some(known) = self.find(&login)
        {
            known.streams.retain(|name| *name != stream);
            known.unproven.retain(|name| *name != stream);
        }
        false
    }

    /// Remembers a participant, if all may take so many bytes.
    fn merge(&mut self, fresh: Participant, bytes_max: usize) {
        let bytes = self.bytes.saturating_add(fresh.bytes());
        if bytes <= bytes_max {
            self.bytes = bytes;
            merge_into(&mut self.known, fresh);
        }
    }
}

fn merge_into(participants: &mut Vec<Participant>, fresh: Participant) {
    let full = participants.len() >= PARTICIPANTS_MAX;
    if let Some(known) = participants.iter_mut().find(|known| known.login == fresh.login) {
        for stream in fresh.streams {
            if known.streams.len() < STREAMS_MAX && !known.streams.contains(&stream) {
                known.streams.push(stream);
            }
        }
    } else if !full {
        participants.push(fresh);
    }
}

/// The participants of a STATE: logins, or objects of login and stream name.
///
/// Names too long to be kept are left out.
fn participants(event: &view::RoomEvent<'_>, is_short: impl Fn(&str) -> bool) -> Vec<Participant> {
    let mut all = Vec::new();
    for view::Participant { login, stream } in event.participants(ELEMENTS_MAX) {
        if is_short(&login) && stream.as_deref().is_none_or(&is_short) {
            let streams = stream.iter().map(|stream| stream.as_ref().into()).collect();
            merge_into(&mut all, Participant { streams, ..Participant::new(&login) });
        }
    }
    all
}

/// The login of an event that is about a participant alone.
fn login<'a>(event: &view::RoomEvent<'a>) -> Option<Cow<'a, str>> {
    event.participant().filter(|about| about.stream.is_none()).map(|about| about.login)
}

fn login_and_stream(about: view::Participant<'_>) -> Option<(Box<str>, Box<str>)> {
    Some((about.login.as_ref().into(), about.stream?.as_ref().into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signaling::peek;

    /// A room that hears an event in which the client plays these streams; the names of what the client
    /// hears instead, or `None` if it hears the event itself.
    fn hear(room: &mut Participants, event: &str, info: &Value, plays: &[&str]) -> Option<Vec<String>> {
        let payload = json!({"roomName": "room", "name": event, "info": info});
        let text = json!({"message": "OnDataEvent", "data": [{"payload": payload}]}).to_string();
        let lent = Lent {
            room: "room",
            now: Timestamp::from_ms(1_000),
            bytes_max: 100_000,
            needed_bytes_max: 100_000,
            id_bytes_max: 64,
            repeated: true,
            plays: &|name| plays.contains(&name),
        };
        let peek = peek(text.as_bytes()).unwrap();
        let heard = room.hear(&view::DataEvent::of(&peek).room_event().unwrap(), &lent);
        assert_eq!(room.bytes(), room.counted_bytes());
        heard.swallowed.then(|| names(&heard.words))
    }

    fn names(words: &[Vec<u8>]) -> Vec<String> {
        let name = |word: &Vec<u8>| {
            let value: Value = serde_json::from_slice(word).unwrap();
            value["data"][0]["payload"]["name"].as_str().unwrap().to_owned()
        };
        words.iter().map(name).collect()
    }

    fn ann_publishes() -> Participants {
        let mut room = Participants::default();
        assert_eq!(hear(&mut room, "STATE", &json!([{"login": "ann", "name": "a"}]), &[]), None);
        room
    }

    #[test]
    fn the_state_of_a_repeated_join_becomes_what_changed() {
        let mut room = ann_publishes();
        room.join_again(true);
        let state = json!([{"login": "ann", "name": "b"}, "bob"]);
        let heard = hear(&mut room, "STATE", &state, &[]).unwrap();
        assert_eq!(heard, ["UNPUBLISHED", "PUBLISHED", "JOINED"]);
        assert_eq!(room.deadline(), None, "nobody is missing");
    }

    #[test]
    fn who_does_not_come_back_has_left_after_a_while() {
        let mut room = ann_publishes();
        room.join_again(true);
        assert_eq!(hear(&mut room, "STATE", &json!([]), &[]).unwrap(), [""; 0]);
        let until = room.deadline().unwrap();
        assert!(room.run_timer(Timestamp::from_ms(until.as_ms() - 1), "room").is_empty());
        assert_eq!(names(&room.run_timer(until, "room")), ["LEFT"]);
        assert_eq!((room.bytes(), room.deadline()), (0, None));
    }

    #[test]
    fn a_stream_that_is_played_may_come_back() {
        let mut room = ann_publishes();
        room.join_again(true);
        assert_eq!(hear(&mut room, "STATE", &json!(["ann"]), &["a"]).unwrap(), [""; 0]);
        let published = json!({"login": "ann", "name": "a"});
        assert_eq!(hear(&mut room, "PUBLISHED", &published, &["a"]).unwrap(), [""; 0], "a repetition");
        let until = room.deadline().unwrap();
        assert!(room.run_timer(until, "room").is_empty(), "it was published again");
    }

    #[test]
    fn a_played_stream_that_does_not_come_back_is_withdrawn() {
        let mut room = ann_publishes();
        room.join_again(true);
        hear(&mut room, "STATE", &json!(["ann"]), &["a"]);
        let until = room.deadline().unwrap();
        assert_eq!(names(&room.run_timer(until, "room")), ["UNPUBLISHED"]);
    }

    #[test]
    fn somebody_unknown_publishes_only_after_the_state() {
        let mut room = ann_publishes();
        let published = json!({"login": "bob", "name": "b"});
        assert_eq!(hear(&mut room, "PUBLISHED", &published, &[]).unwrap(), [""; 0]);
        assert_eq!(hear(&mut room, "JOINED", &json!("bob"), &[]), None);
        assert_eq!(hear(&mut room, "PUBLISHED", &published, &[]), None);
    }
}
