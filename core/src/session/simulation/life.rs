//! What goes on in a model server by itself: answers that fall due, ends, rooms, incidents.

use serde_json::{Value, json};

use super::{
    kit::message,
    serve::status_of,
    server::{Guest, ServerStream},
    world::{Happening, Task, World},
};

/// What running streams fail with.
const FAILURES: &[&str] =
    &["Failed by ICE timeout", "Stream failed", "Stopped by rest /terminate", "Failed by error"];

impl World {
    pub(super) fn server_does(&mut self, conn: usize, task: Task) {
        let node = self.conns[conn].node;
        if self.nodes[node].frozen {
            return self.later(100, Happening::Does(conn, task));
        }
        let Some(id) = self.conns[conn].kept else { return };
        if !self.nodes[node].kept.contains_key(&id) {
            return;
        }
        match task {
            Task::UserData => self.greet(conn, id),
            Task::Say(value) => self.say(conn, value, 0),
            Task::Answer(media) => {
                if self.kept(conn, id).streams.contains_key(&media) {
                    self.say(conn, json!({"message": "setRemoteSDP", "data": [media, "answer", true]}), 0);
                }
            }
            Task::Run(media) => self.run_stream(conn, id, &media),
            Task::Status(media) => {
                if let Some(stream) = self.kept(conn, id).streams.get(&media) {
                    let running = if stream.publish { "PUBLISHING" } else { "PLAYING" };
                    let status = status_of(&media, stream, running, None);
                    self.say(conn, status, 0);
                }
            }
            Task::Refuse(media, info) => self.refuse_stream(conn, id, &media, info),
        }
    }

    fn greet(&mut self, conn: usize, id: u64) {
        let kept = self.kept(conn, id);
        kept.established = true;
        let (token, sip) = (kept.token.clone(), kept.sip && !kept.registered);
        kept.registered |= sip;
        self.say(
            conn,
            message(
                "getUserData",
                json!({"authToken": token, "status": "ESTABLISHED", "appKey": "defaultApp"}),
            ),
            0,
        );
        self.say(conn, message("getVersion", json!("5.2")), 0);
        if sip {
            let delay = self.dice.between(0, 500);
            self.say(conn, message("registered", Value::Null), delay);
        }
    }

    fn run_stream(&mut self, conn: usize, id: u64, media: &str) {
        let Some(stream) = self.kept(conn, id).streams.get_mut(media) else { return };
        stream.running = true;
        let (publish, name, socket) = (stream.publish, stream.name.clone(), stream.socket);
        let intent = stream.intent.clone();
        let running = if publish { "PUBLISHING" } else { "PLAYING" };
        let status = status_of(media, stream, running, None);
        self.say(conn, status, 0);
        if publish {
            self.room_stream(conn, id, &name, true);
        } else if socket && (self.healing || self.dice.percent(90)) {
            // The media socket of a stream says so once per epoch.
            if self.flowed.insert((conn, intent)) {
                let delay = self.dice.between(50, 500);
                self.later(delay, Happening::MediaFlows(conn));
            }
        }
    }

    fn refuse_stream(&mut self, conn: usize, id: u64, media: &str, info: &str) {
        let node = self.conns[conn].node;
        if !self.kept(conn, id).streams.contains_key(media) {
            return;
        }
        let stream = self.end_stream(node, id, media);
        let refusal = if self.dice.percent(80) {
            status_of(media, &stream, "FAILED", Some(info))
        } else {
            message(
                "fail",
                json!({"status": "FAILED", "info": info, "apiMethod": "StreamStatusEvent", "id": media}),
            )
        };
        self.say(conn, refusal, 0);
    }

    /// Takes a stream down; players of a publish are told.
    pub(super) fn end_stream(&mut self, node: usize, id: u64, media: &str) -> ServerStream {
        let kept = self.nodes[node].kept.get_mut(&id).expect("a session");
        let stream = kept.streams.remove(media).expect("a stream");
        kept.past.insert(media.to_owned());
        let key = self.name_key(node, &stream.name);
        let held = self.publishers.get(&key);
        if stream.publish && held.is_some_and(|publisher| publisher.media == media) {
            self.publishers.remove(&key);
            self.players_lose(&key);
            let login = self.nodes[node].kept[&id].login.clone();
            self.room_stream_of(node, &login, &stream.name, false);
        }
        stream
    }

    /// Where a name is published: the same for all nodes only where they share names.
    pub(super) fn name_key(&self, node: usize, name: &str) -> String {
        if self.is_farm { name.to_owned() } else { format!("{name} at {node}") }
    }

    pub(super) fn players_lose(&mut self, key: &str) {
        let mut players = Vec::new();
        for (node, state) in self.nodes.iter().enumerate() {
            for (id, kept) in &state.kept {
                let is_lost =
                    |s: &ServerStream| !s.publish && !s.doomed && self.name_key(node, &s.name) == key;
                let plays = kept.streams.iter().filter(|(_, s)| is_lost(s));
                players.extend(plays.map(|(media, _)| (node, *id, kept.conn, media.clone())));
            }
        }
        for (node, id, conn, media) in players {
            let stream = self.end_stream(node, id, &media);
            if let Some(conn) = conn {
                self.say(conn, status_of(&media, &stream, "FAILED", Some("Stopped by publisher stop")), 10);
            }
        }
    }

    /// The session ends with everything it has.
    pub(super) fn end_kept(&mut self, node: usize, id: u64) {
        let Some(kept) = self.nodes[node].kept.get(&id) else { return };
        let (streams, rooms): (Vec<_>, Vec<_>) =
            (kept.streams.keys().cloned().collect(), kept.rooms.iter().cloned().collect());
        for media in streams {
            if self.nodes[node].kept[&id].streams.contains_key(&media) {
                self.end_stream(node, id, &media);
            }
        }
        for room in rooms {
            self.leave(node, id, &room);
        }
        self.nodes[node].kept.remove(&id);
    }

    pub(super) fn serve_join(&mut self, conn: usize, id: u64, room: &str) {
        let node = self.conns[conn].node;
        let login = self.nodes[node].kept[&id].login.clone();
        self.kept(conn, id).rooms.insert(room.to_owned());
        let guests = self.nodes[node].rooms.entry(room.to_owned()).or_default();
        let mut state = Vec::new();
        for (other, guest) in guests.iter().filter(|(other, _)| **other != login) {
            if guest.streams.is_empty() {
                state.push(json!(other));
            }
            state.extend(guest.streams.iter().map(|stream| json!({"login": other, "name": stream})));
        }
        let fresh = !guests.contains_key(&login);
        guests.entry(login.clone()).or_default().kept = id;
        self.say(conn, room_event(room, "STATE", json!(state)), 20);
        if fresh {
            self.tell_room(node, room, &login, "JOINED", &json!(login));
        }
    }

    pub(super) fn leave(&mut self, node: usize, id: u64, room: &str) {
        let kept = self.nodes[node].kept.get_mut(&id).expect("a session");
        kept.rooms.remove(room);
        let login = kept.login.clone();
        let Some(guests) = self.nodes[node].rooms.get_mut(room) else { return };
        if guests.get(&login).is_some_and(|guest| guest.kept == id) {
            guests.remove(&login);
            self.tell_room(node, room, &login, "LEFT", &json!(login));
        }
    }

    fn tell_room(&mut self, node: usize, room: &str, except: &str, name: &str, info: &Value) {
        let guests = self.nodes[node].rooms.get(room).into_iter().flatten();
        let others: Vec<u64> =
            guests.filter(|(login, _)| *login != except).map(|(_, guest)| guest.kept).collect();
        for id in others {
            if let Some(conn) = self.nodes[node].kept.get(&id).and_then(|kept| kept.conn) {
                self.say(conn, room_event(room, name, info.clone()), 20);
            }
        }
    }

    fn room_stream(&mut self, conn: usize, id: u64, name: &str, on: bool) {
        let node = self.conns[conn].node;
        let login = self.nodes[node].kept[&id].login.clone();
        self.room_stream_of(node, &login, name, on);
    }

    fn room_stream_of(&mut self, node: usize, login: &str, name: &str, on: bool) {
        let Some((room, _)) = name.split_once('-') else { return };
        let guest = self.nodes[node].rooms.get_mut(room).and_then(|guests| guests.get_mut(login));
        let Some(guest) = guest else { return };
        let changed = if on { guest.streams.insert(name.to_owned()) } else { guest.streams.remove(name) };
        if changed {
            let event = if on { "PUBLISHED" } else { "UNPUBLISHED" };
            self.tell_room(node, room, login, event, &json!({"login": login, "name": name}));
        }
    }

    /// Somebody who is no client of ours comes, goes, publishes.
    pub(super) fn bot_acts(&mut self, node: usize) {
        let room = format!("room{}", self.dice.between(0, 1));
        let bot = format!("bot{}", self.dice.between(0, 2));
        let guests = self.nodes[node].rooms.entry(room.clone()).or_default();
        if !guests.contains_key(&bot) {
            guests.insert(bot.clone(), Guest::default());
            self.tell_room(node, &room, &bot, "JOINED", &json!(bot));
        } else if self.dice.percent(30) {
            guests.remove(&bot);
            self.tell_room(node, &room, &bot, "LEFT", &json!(bot));
        } else {
            let stream = format!("{room}-{bot}");
            let on = !guests[&bot].streams.contains(&stream);
            self.room_stream_of(node, &bot, &stream, on);
        }
    }

    /// Something happens to a session that is well.
    pub(super) fn incident(&mut self, node: usize) {
        let kept = &self.nodes[node].kept;
        let well: Vec<(u64, usize)> =
            kept.iter().filter(|(_, k)| k.established).filter_map(|(id, k)| Some((*id, k.conn?))).collect();
        if well.is_empty() {
            return;
        }
        let (id, conn) = self.dice.pick(&well);
        let running = self.nodes[node].kept[&id].streams.iter().filter(|(_, stream)| stream.running);
        let running: Vec<String> = running.map(|(media, _)| media.clone()).collect();
        match self.dice.between(0, 5) {
            0 | 1 if !running.is_empty() => {
                let media = self.dice.pick(&running);
                let info = self.dice.pick(FAILURES);
                let stream = self.end_stream(node, id, &media);
                self.say(conn, status_of(&media, &stream, "FAILED", Some(info)), 10);
            }
            2 if !running.is_empty() => {
                let media = self.dice.pick(&running);
                self.say(
                    conn,
                    message("inboundVideoRate", json!({"mediaSessionId": media, "videoRate": 9})),
                    10,
                );
            }
            3 if !running.is_empty() => {
                let media = self.dice.pick(&running);
                self.say(
                    conn,
                    message("notifyStreamEvent", json!({"mediaSessionId": media, "type": "resize"})),
                    10,
                );
            }
            4 => {
                let call = format!("call-in-{}", self.fresh_number());
                self.kept(conn, id).calls.insert(call.clone());
                self.say(conn, json!({"message": "setRemoteSDP", "data": [call, "offer", false]}), 10);
                self.say(conn, message("notifyIncomingCall", json!({"callId": call, "status": "RING"})), 10);
            }
            _ => {
                if let Some(call) = self.kept(conn, id).calls.pop_first() {
                    self.say(conn, message("finish", json!({"callId": call, "status": "FINISH"})), 10);
                } else {
                    self.say(conn, message("somethingNew", json!({"x": 1})), 10);
                }
            }
        }
    }
}

pub(super) fn room_event(room: &str, name: &str, info: Value) -> Value {
    message("OnDataEvent", json!({"payload": {"roomName": room, "name": name, "info": info}}))
}
