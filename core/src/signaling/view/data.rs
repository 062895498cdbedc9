//! Views of the data messages and of the room protocol inside them (S2.7).

use std::borrow::Cow;

use super::Reader;
use crate::signaling::peek::Peek;
use crate::signaling::scan::Span;
use crate::signaling::value::elements;

/// `sendData`: application data or a room command.
#[derive(Clone, Debug)]
pub struct SendData<'a> {
    /// Settled by a `DataStatusEvent` with the same id.
    pub operation_id: Option<Cow<'a, str>>,
    /// Where the payload stands, of whatever type.
    pub payload: Option<Span>,
    /// `payload.command`: `join`, `leave`, `sendMessage`.
    pub command: Option<Cow<'a, str>>,
    /// The room: `payload.options.name`, for `sendMessage` `payload.options.roomConfig.name`.
    pub room: Option<Cow<'a, str>>,
    /// `payload.options.record`, in a join.
    pub record: Option<bool>,
}

impl<'a> SendData<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [operation, payload] = message.fields(["operationId", "payload"]);
        let [command, options] = reader.fields(payload, ["command", "options"]);
        let [name, record, config] = reader.fields(options, ["name", "record", "roomConfig"]);
        let [config_name] = reader.fields(config, ["name"]);
        Self {
            operation_id: reader.string(operation),
            payload,
            command: reader.string(command),
            room: reader.string(name).or_else(|| reader.string(config_name)),
            record: reader.boolean(record),
        }
    }
}

/// `DataStatusEvent`.
#[derive(Clone, Debug)]
pub struct DataStatus<'a> {
    /// The operation it settles.
    pub operation_id: Option<Cow<'a, str>>,
    /// `ACCEPTED` or `FAILED`.
    pub status: Option<Cow<'a, str>>,
    /// Why not.
    pub info: Option<Cow<'a, str>>,
}

impl<'a> DataStatus<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [operation, status, info] = message.fields(["operationId", "status", "info"]);
        Self {
            operation_id: reader.string(operation),
            status: reader.string(status),
            info: reader.string(info),
        }
    }
}

/// `OnDataEvent`: application data or a room event.
#[derive(Clone, Debug)]
pub struct DataEvent<'a> {
    text: &'a [u8],
    /// The event's id, if the server wants an answer.
    pub operation_id: Option<Cow<'a, str>>,
    /// The room, if this is a room event.
    pub room_name: Option<Cow<'a, str>>,
    /// `STATE`, `JOINED`, `LEFT`, `PUBLISHED`, `UNPUBLISHED`, `FAILED`, `MESSAGE`.
    pub name: Option<Cow<'a, str>>,
    /// Where the event's `info` stands.
    pub info: Option<Span>,
}

/// Someone in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant<'a> {
    /// The user name.
    pub login: Cow<'a, str>,
    /// The name of the stream that this entry is about.
    pub stream: Option<Cow<'a, str>>,
}

impl<'a> DataEvent<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [operation, payload] = message.fields(["operationId", "payload"]);
        let [room, name, info] = reader.fields(payload, ["roomName", "name", "info"]);
        Self {
            text: reader.text,
            operation_id: reader.string(operation),
            room_name: reader.string(room),
            name: reader.string(name),
            info,
        }
    }

    /// Whom the event is about: one for JOINED, LEFT, PUBLISHED, UNPUBLISHED; all in the room
    /// for STATE, where someone with several streams occurs once for each. Entries that are
    /// neither a login nor an object with one are left out.
    #[must_use]
    pub fn participants(&self) -> Vec<Participant<'a>> {
        let Some(info) = self.info else {
            return Vec::new();
        };
        if info.of(self.text).starts_with(b"[") {
            elements(self.text, info).filter_map(|entry| self.participant(entry)).collect()
        } else {
            self.participant(info).into_iter().collect()
        }
    }

    fn participant(&self, entry: Span) -> Option<Participant<'a>> {
        let reader = Reader { text: self.text };
        if let Some(login) = reader.string(Some(entry)) {
            return Some(Participant { login, stream: None });
        }
        let [login, name] = reader.fields(Some(entry), ["login", "name"]);
        Some(Participant { login: reader.string(login)?, stream: reader.string(name) })
    }
}
