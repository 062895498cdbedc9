//! The participants of a room, as the messages of the room API tell of them (protocol S2.7).

use crate::signaling::{Span, elements, field, fields, string};

use super::ledger::{Participant, Room};

/// Participants remembered per room.
const PARTICIPANTS_MAX: usize = 1_000;
/// Streams remembered per participant.
pub(super) const STREAMS_MAX: usize = 64;
/// Elements of a STATE that are looked at: no more could be remembered.
const ELEMENTS_MAX: usize = 16_384;

pub(super) fn fresh_copy(participant: &Participant) -> Participant {
    Participant {
        login: participant.login.clone(),
        streams: participant.streams.clone(),
        ..Participant::default()
    }
}

/// Remembers a participant of a room whose participants may take this many bytes.
pub(super) fn merge(room: &mut Room, fresh: Participant, bytes_max: usize) {
    let bytes = room.participants_bytes.saturating_add(fresh.bytes());
    if bytes <= bytes_max {
        room.participants_bytes = bytes;
        merge_into(&mut room.participants, fresh);
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

/// Command and room name of a `sendData` payload of the room API.
pub(super) fn room_command(text: &[u8], payload: Span) -> Option<(String, String)> {
    let [command, options] = fields(text, payload, ["command", "options"]);
    let command = string(text, command?)?.into_owned();
    let name = string(text, field(text, options?, "name")?)?.into_owned();
    Some((command, name))
}

/// The participants of a STATE: logins, or objects of login and stream name.
///
/// Names too long to be kept are left out.
pub(super) fn participants(text: &[u8], info: Span, is_short: impl Fn(&str) -> bool) -> Vec<Participant> {
    let mut all = Vec::new();
    for span in elements(text, info).take(ELEMENTS_MAX) {
        if let Some(login) = string(text, span).filter(|login| is_short(login)) {
            merge_into(&mut all, Participant { login: login.as_ref().into(), ..Participant::default() });
        } else if let Some((login, stream)) = login_and_stream(text, span)
            && is_short(&login)
            && is_short(&stream)
        {
            merge_into(&mut all, Participant { login, streams: vec![stream], ..Participant::default() });
        }
    }
    all
}

pub(super) fn login_and_stream(text: &[u8], object: Span) -> Option<(Box<str>, Box<str>)> {
    let [login, name] = fields(text, object, ["login", "name"]);
    Some((string(text, login?)?.as_ref().into(), string(text, name?)?.as_ref().into()))
}
