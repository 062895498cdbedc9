//! Views of data messages and of the room protocol inside them (protocol S2.7).

use std::borrow::Cow;

use super::{Field, key, views};
use crate::signaling::{
    scan::Span,
    value::{elements, field, fields, string},
};

views! {
    /// `sendData`: data of the application, or a room command.
    SendData;
    /// `DataStatusEvent`: what became of a `sendData`.
    DataStatus;
    /// `OnDataEvent`: data of the application, or a room event.
    DataEvent;
}

/// A room command that is more than data: what it asks for, and the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomCommand<'a> {
    /// To be in the room from now on.
    Join(Cow<'a, str>),
    /// To be in it no longer.
    Leave(Cow<'a, str>),
}

impl<'a> SendData<'a> {
    /// The operation that a `DataStatusEvent` settles.
    #[must_use]
    pub fn operation_id(self) -> Option<Field<'a>> {
        self.0.place(key::OPERATION_ID)
    }

    /// `None` if it is anything but a join or a leave with the name of a room.
    #[must_use]
    pub fn room_command(self) -> Option<RoomCommand<'a>> {
        let text = self.text();
        let [command, options] = fields(text, self.0.field(key::PAYLOAD)?, ["command", "options"]);
        let room = string(text, field(text, options?, key::NAME)?)?;
        match &*string(text, command?)? {
            "join" => Some(RoomCommand::Join(room)),
            "leave" => Some(RoomCommand::Leave(room)),
            _ => None,
        }
    }
}

impl<'a> DataStatus<'a> {
    /// The operation it settles.
    #[must_use]
    pub fn operation_id(self) -> Option<Field<'a>> {
        self.0.place(key::OPERATION_ID)
    }

    /// Whether the server did what it was asked for.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        self.0.says(key::STATUS, "ACCEPTED")
    }

    /// Why not.
    #[must_use]
    pub fn info(self) -> Option<Cow<'a, str>> {
        self.0.string(key::INFO)
    }
}

impl<'a> DataEvent<'a> {
    /// What it says of a room; `None` if it is anything else.
    #[must_use]
    pub fn room_event(self) -> Option<RoomEvent<'a>> {
        let text = self.text();
        let payload = self.0.field(key::PAYLOAD)?;
        let [room, kind, info] = fields(text, payload, ["roomName", key::NAME, key::INFO]);
        let (room, kind) = (string(text, room?)?, RoomEventKind::of(&string(text, kind?)?));
        Some(RoomEvent { room, kind, text, info: info? })
    }
}

/// What happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomEventKind {
    /// Who is there, and what they publish: the answer to a join.
    State,
    /// Somebody came.
    Joined,
    /// Somebody left.
    Left,
    /// Somebody publishes a stream.
    Published,
    /// A stream is over.
    Unpublished,
    /// A stream came to nothing.
    Failed,
    /// Anything else, as a message of one participant to others.
    Other,
}

impl RoomEventKind {
    fn of(name: &str) -> Self {
        match name {
            "STATE" => Self::State,
            "JOINED" => Self::Joined,
            "LEFT" => Self::Left,
            "PUBLISHED" => Self::Published,
            "UNPUBLISHED" => Self::Unpublished,
            "FAILED" => Self::Failed,
            _ => Self::Other,
        }
    }

    /// Whether it is the end of somebody's presence or of a stream.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Left | Self::Unpublished | Self::Failed)
    }
}

/// A room event.
#[derive(Clone)]
pub struct RoomEvent<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// What happened there.
    pub kind: RoomEventKind,
    text: &'a [u8],
    info: Span,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant<'a> {
    /// The user name.
    pub login: Cow<'a, str>,
    /// The stream that this is about; `None` if it is about the participant alone.
    pub stream: Option<Cow<'a, str>>,
}

impl<'a> RoomEvent<'a> {
    /// Whom the event is about, if it is one: for a STATE that is nobody.
    #[must_use]
    pub fn participant(&self) -> Option<Participant<'a>> {
        self.entry(self.info)
    }

    /// Those in the room, of a STATE: somebody with several streams occurs once for each. Of so many
    /// entries those are left out that name nobody.
    pub fn participants(&self, entries_max: usize) -> impl Iterator<Item = Participant<'a>> + '_ {
        elements(self.text, self.info).take(entries_max).filter_map(|entry| self.entry(entry))
    }

    /// A login, or an object of a login and a stream.
    fn entry(&self, entry: Span) -> Option<Participant<'a>> {
        if let Some(login) = string(self.text, entry) {
            return Some(Participant { login, stream: None });
        }
        let [login, stream] = fields(self.text, entry, ["login", key::NAME]);
        Some(Participant { login: string(self.text, login?)?, stream: Some(string(self.text, stream?)?) })
    }
}
