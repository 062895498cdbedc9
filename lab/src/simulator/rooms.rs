//! `sendData` and the room application behind it (protocol S2.7).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::counters::ViolationKind;
use super::dispatch::{Argument, text};
use super::refusal::Refusal;
use super::settings::StreamVerb;
use super::world::{ConnectionId, Progress, SessionNumber, Stream, World};

/// The participants of a room: session by login.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: BTreeMap<String, SessionNumber>,
}

impl World {
    pub(super) fn send_data(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        argument: &Argument,
    ) {
        let Some(operation) = text(argument, "operationId").map(str::to_owned) else {
            self.violation(
                connection,
                ViolationKind::MalformedMessage,
                "sendData: no operationId".to_owned(),
            );
            return;
        };
        let settings = self.settings.clone();
        let payload = argument.get("payload").cloned().unwrap_or(Value::Null);
        let rooms_understood = self
            .sessions
            .get(&session)
            .is_some_and(|session| settings.data.room_app_keys.contains(&session.app_key));
        let command = payload.get("command").and_then(Value::as_str).map(str::to_owned);
        let verdict = if let Some(info) = settings.data.fail_info.clone() {
            Err(Refusal::Ordered(info))
        } else if let (true, Some(command)) = (rooms_understood, command) {
            let options = payload.get("options").cloned().unwrap_or(Value::Null);
            self.room_command(session, &command, &options)
        } else {
            Ok(())
        };
        let answer = match &verdict {
            Ok(()) => json!([{"operationId": operation, "status": "ACCEPTED"}]),
            Err(refusal) => {
                json!([{"operationId": operation, "status": "FAILED", "info": refusal.to_string()}])
            }
        };
        self.after(settings.data.delay, move |world| {
            world.send(session, "DataStatusEvent", &answer);
            if world.settings.data.echo {
                let echo = json!([{"operationId": operation, "payload": payload}]);
                world.send(session, "OnDataEvent", &echo);
            }
        });
    }

    fn room_command(
        &mut self,
        session: SessionNumber,
        command: &str,
        options: &Value,
    ) -> Result<(), Refusal> {
        let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
        let login =
            self.sessions.get(&session).and_then(super::world::Session::login).ok_or(Refusal::NoLogin)?;
        self.note(Some(session), "room command", &name(options).unwrap_or_default(), "", command);
        match command {
            // The vendor's own tests log in under these names to see a command fail.
            "join" if login == "throw_join_exception" => Err(Refusal::JoinRefused),
            "sendMessage" if login == "throw_message_exception" => Err(Refusal::MessageRefused),
            "join" => {
                let room = name(options).ok_or(Refusal::NoRoomName)?;
                self.join_room(session, &login, &room)
            }
            "leave" => {
                let room = name(options).ok_or(Refusal::NoRoomName)?;
                if self.leave_room(session, &room) { Ok(()) } else { Err(Refusal::NotInRoom) }
            }
            "sendMessage" => {
                let room = options.get("roomConfig").and_then(name).ok_or(Refusal::NoRoomName)?;
                self.room_message(&room, &login, options)
            }
            _ => Err(Refusal::UnknownCommand),
        }
    }

    fn join_room(&mut self, session: SessionNumber, login: &str, name: &str) -> Result<(), Refusal> {
        let refuse_second = self.settings.data.refuse_second_login;
        let room = self.rooms.entry(name.to_owned()).or_default();
        if let Some(holder) = room.members.get(login).copied()
            && holder != session
        {
            if refuse_second {
                return Err(Refusal::LoginInRoom);
            }
            self.leave_room(holder, name);
        }
        let others = self.rooms.entry(name.to_owned()).or_default();
        others.members.remove(login);
        let others = others.members.clone();
        let state: Vec<Value> = others
            .iter()
            .map(|(login, session)| match self.room_stream(*session, name) {
                Some(stream) => json!({"login": login, "name": stream}),
                None => json!(login),
            })
            .collect();
        for member in others.into_values() {
            self.send_room_event(member, name, "JOINED", &json!(login));
        }
        self.rooms.entry(name.to_owned()).or_default().members.insert(login.to_owned(), session);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.rooms.insert(name.to_owned());
        }
        self.send_room_event(session, name, "STATE", &json!(state));
        Ok(())
    }

    /// The stream that a session publishes in a room.
    fn room_stream(&self, session: SessionNumber, room: &str) -> Option<String> {
        let session = self.sessions.get(&session)?;
        let streams = session.streams.iter().filter_map(|id| self.streams.get(id));
        streams
            .filter(|stream| stream.verb == StreamVerb::Publish && stream.progress == Progress::Live)
            .find(|stream| stream.room.as_deref() == Some(room))
            .map(|stream| stream.name.clone())
    }

    /// Takes a session out of a room. False when it was not in it.
    pub(super) fn leave_room(&mut self, session: SessionNumber, name: &str) -> bool {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.rooms.remove(name);
        }
        let Some(room) = self.rooms.get_mut(name) else { return false };
        let Some(login) =
            room.members.iter().find(|(_, member)| **member == session).map(|(login, _)| login.clone())
        else {
            return false;
        };
        room.members.remove(&login);
        let rest = room.members.clone();
        if rest.is_empty() {
            self.rooms.remove(name);
        }
        for member in rest.into_values() {
            self.send_room_event(member, name, "LEFT", &json!(login));
        }
        true
    }

    fn room_message(&mut self, room: &str, from: &str, options: &Value) -> Result<(), Refusal> {
        let members = self.rooms.get(room).map(|room| room.members.clone()).ok_or(Refusal::NoRoom)?;
        let text = options.get("text").cloned().unwrap_or(Value::Null);
        let event = json!({"from": from, "text": text});
        match options.get("to").and_then(Value::as_str).filter(|to| !to.is_empty()) {
            Some(to) => {
                let member = members.get(to).copied().ok_or(Refusal::NoParticipant)?;
                self.send_room_event(member, room, "MESSAGE", &event);
            }
            None => {
                for (_, member) in members.into_iter().filter(|(login, _)| login != from) {
                    self.send_room_event(member, room, "MESSAGE", &event);
                }
            }
        }
        Ok(())
    }

    pub(super) fn send_room_event(&mut self, member: SessionNumber, room: &str, name: &str, info: &Value) {
        let event = json!([{"payload": {"roomName": room, "name": name, "info": info}}]);
        self.send(member, "OnDataEvent", &event);
    }

    /// Tells a room that one of its members publishes.
    pub(super) fn room_stream_started(&mut self, id: &str) {
        let Some(stream) = self.streams.get(id) else { return };
        let (room, session, name) = (stream.room.clone(), stream.session, stream.name.clone());
        self.tell_room_of_stream(room, session, &name, "PUBLISHED");
    }

    /// Tells a room that one of its members stopped publishing.
    pub(super) fn room_stream_ended(&mut self, stream: &Stream) {
        if stream.progress == Progress::Live {
            self.tell_room_of_stream(stream.room.clone(), stream.session, &stream.name, "UNPUBLISHED");
        }
    }

    fn tell_room_of_stream(
        &mut self,
        room: Option<String>,
        session: SessionNumber,
        stream: &str,
        event: &str,
    ) {
        let Some(room) = room else { return };
        let Some(members) = self.rooms.get(&room).map(|room| room.members.clone()) else { return };
        let Some(login) =
            members.iter().find(|(_, member)| **member == session).map(|(login, _)| login.clone())
        else {
            return;
        };
        let info = json!({"login": login, "name": stream});
        for member in members.into_values().filter(|member| *member != session) {
            self.send_room_event(member, &room, event, &info);
        }
    }
}
