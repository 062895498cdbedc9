//! What clients do: at random, as pages and their users do.

use serde_json::{Value, json};

use super::{
    super::{Input, SessionId},
    client::{ClientRoom, Operation, Phase},
    kit::message,
    world::{Happening, Member, World},
};

impl World {
    /// A client does something, sooner or later something else.
    pub(super) fn client_acts(&mut self, slot: usize, id: SessionId) {
        if self.member(slot, id).is_none() {
            return;
        }
        let wait = self.dice.between(50, 2_500);
        self.later(wait, Happening::ClientActs(slot, id));
        let now = self.now;
        let unwelcome = |member: &Member| {
            member.client.established == 0 && (member.client.warned || now > member.arrived + 15_000)
        };
        if self.member(slot, id).is_some_and(|member| unwelcome(member)) {
            // Nobody waits for ever to be let in.
            return self.client_ends(slot, id, None);
        }
        let ready = |member: &Member| {
            !member.client_gone && member.client.vanished.is_none() && member.client.established > 0
        };
        if self.healing || !self.member(slot, id).is_some_and(|member| ready(member)) {
            return;
        }
        match self.dice.between(0, 99) {
            0..=17 => self.act_request(slot, true, false),
            18..=29 => self.act_request(slot, false, false),
            30..=41 => self.act_request(slot, false, true),
            42..=55 => self.act_stop(slot),
            56..=68 | 74..=84 if self.is_calm => self.act_request(slot, false, false),
            56..=63 => self.act_data(slot),
            64..=68 => self.act_question(slot),
            69..=73 => self.act_mute(slot),
            74..=79 => self.act_room(slot),
            80..=84 => self.act_call(slot),
            85..=88 => {
                let text = message("somethingOdd", json!({"x": self.fresh_number()}));
                self.client_says(slot, &text, 0);
            }
            89 => self.client_says(slot, &message("pushLogs", json!({"logs": "x"})), 0),
            90 => self.client_says(slot, &message("ping", Value::Null), 0),
            91 => self.client_says(slot, &message("sessionDebug", json!({"command": "start"})), 0),
            92 => self.act_metrics(slot),
            93 | 94 => self.act_leave(slot, id),
            _ => {}
        }
    }

    /// What a client publishes: one of its own where the same name may be on several nodes.
    pub(super) fn name_to_publish(&mut self, slot: usize) -> String {
        let any = self.dice.between(0, 3);
        format!("cam{}", if self.is_farm { any } else { slot as u64 })
    }

    fn act_request(&mut self, slot: usize, publish: bool, socket: bool) {
        let name = self.name_to_publish(slot);
        let name = if publish { name } else { format!("cam{}", self.dice.between(0, 3)) };
        let socket = socket && !self.is_calm;
        let in_room = self.dice.percent(30);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let room = member.client.rooms.keys().next().filter(|_| in_room && publish);
        let name = room.map_or(name, |room| format!("{room}-{}", member.client.login));
        let live = member.client.streams.values().filter(|stream| !stream.is_over()).count();
        if live >= 5 || (publish && member.client.publishes(&name)) {
            return;
        }
        let request = member.client.request(&name, publish, socket);
        if publish {
            self.names.insert(name);
        }
        self.client_says(slot, &request, 0);
    }

    /// A page starts again by itself.
    pub(super) fn publish_again(&mut self, slot: usize, id: SessionId, name: &str) {
        let Some(member) = self.member(slot, id) else { return };
        if member.client_gone || member.client.vanished.is_some() || member.client.publishes(name) {
            return;
        }
        let request = member.client.request(name, true, false);
        self.names.insert(name.to_owned());
        self.client_says(slot, &request, 0);
    }

    fn act_stop(&mut self, slot: usize) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        let live =
            member.client.streams.iter().filter(|(_, s)| matches!(s.phase, Phase::Running | Phase::Pending));
        let live: Vec<String> = live.map(|(id, _)| id.clone()).collect();
        if live.is_empty() {
            return;
        }
        let id = self.dice.pick(&live);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let stream = member.client.streams.get_mut(&id).expect("a stream");
        if stream.phase == Phase::Pending {
            // The SDK polls until the status changes (protocol S3.3).
            stream.stop_when_running = true;
            return;
        }
        let stop = member.client.stop(&id, now);
        self.client_says(slot, &stop, 0);
    }

    fn operation(&mut self, slot: usize, join: Option<String>, payload: &Value) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = member.client.fresh_id("operation");
        member.client.operations.insert(id.clone(), Operation { since: now, join });
        self.client_says(slot, &message("sendData", json!({"operationId": id, "payload": payload})), 0);
    }

    fn act_data(&mut self, slot: usize) {
        self.operation(slot, None, &json!({"x": 1}));
    }

    fn act_room(&mut self, slot: usize) {
        let room = format!("room{}", self.dice.between(0, 1));
        let Some(member) = self.slots[slot].as_mut() else { return };
        let options = json!({"name": room});
        if member.client.rooms.remove(&room).is_some() {
            self.operation(slot, None, &json!({"command": "leave", "options": options}));
        } else {
            self.join_room(slot, room);
        }
    }

    fn join_room(&mut self, slot: usize, room: String) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        let joining = member.client.operations.values().any(|operation| operation.join.is_some());
        if !joining {
            member.client.rooms.insert(room.clone(), ClientRoom::default());
            let options = json!({"name": room});
            self.operation(slot, Some(room), &json!({"command": "join", "options": options}));
        }
    }

    /// A session in a room has lost its node: others come into the room just then.
    pub(super) fn others_come(&mut self, slot: usize) {
        let room = self.slots[slot].as_ref().and_then(|member| member.client.rooms.keys().next().cloned());
        let Some(room) = room.filter(|_| !self.healing) else { return };
        for other in 0..self.slots.len() {
            let idle = self.slots[other].as_ref().is_some_and(|member| {
                let idle =
                    member.client.rooms.is_empty() && member.client.streams.values().all(|s| s.is_over());
                let here = !member.client_gone && member.client.vanished.is_none();
                idle && here && member.client.established > 0
            });
            if idle && other != slot && self.dice.percent(50) {
                self.join_room(other, room.clone());
            }
        }
    }

    /// A stream of the client that is not over, or `None`.
    fn some_stream(&mut self, slot: usize) -> Option<String> {
        let member = self.slots[slot].as_ref()?;
        let live = member.client.streams.iter().filter(|(_, stream)| stream.phase == Phase::Running);
        let live: Vec<String> = live.map(|(id, _)| id.clone()).collect();
        (!live.is_empty()).then(|| self.dice.pick(&live))
    }

    fn act_question(&mut self, slot: usize) {
        if self.asks_nothing() {
            return;
        }
        let now = self.now;
        let stream = self.some_stream(slot);
        let bare = self.dice.percent(50);
        let snapshot = self.dice.percent(50);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = match stream {
            Some(id) if !bare => id,
            _ => member.client.fresh_id("bare"),
        };
        if !snapshot {
            *member.client.asked.entry(id.clone()).or_default() += 1;
        }
        let pending = if snapshot { &mut member.client.snapshots } else { &mut member.client.questions };
        pending.entry(id.clone()).or_default().push(now);
        let verb = if snapshot { "snapshot" } else { "availableStream" };
        self.client_says(slot, &message(verb, json!({"mediaSessionId": id, "name": "cam0"})), 0);
    }

    fn act_mute(&mut self, slot: usize) {
        let Some(id) = self.some_stream(slot) else { return };
        let Some(member) = self.slots[slot].as_mut() else { return };
        let stream = member.client.streams.get_mut(&id).expect("a stream");
        stream.audio_muted = !stream.audio_muted;
        let kind = if stream.audio_muted { "audioMuted" } else { "audioUnmuted" };
        self.client_says(slot, &message("sendStreamEvent", json!({"mediaSessionId": id, "type": kind})), 0);
    }

    fn act_metrics(&mut self, slot: usize) {
        let Some(id) = self.some_stream(slot) else { return };
        let fields = json!({"mediaSessionId": id, "headers": "a,b", "compression": "none"});
        self.client_says(slot, &message("webRTCMetricsClientDescription", fields), 0);
    }

    fn act_call(&mut self, slot: usize) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        let talking = member.client.calls.iter().find(|(_, hung_up)| hung_up.is_none());
        if let Some(id) = talking.map(|(id, _)| id.clone()) {
            member.client.calls.insert(id.clone(), Some(now));
            self.client_says(slot, &message("hangup", json!({"callId": id})), 0);
        } else {
            let id = member.client.fresh_id("call");
            member.client.calls.insert(id.clone(), None);
            self.client_says(slot, &message("call", json!({"callId": id, "callee": "x"})), 0);
        }
    }

    /// The page is closed, or the network under it is gone.
    fn act_leave(&mut self, slot: usize, id: SessionId) {
        let now = self.now;
        let vanishes = self.dice.percent(50);
        let Some(member) = self.slots[slot].as_mut() else { return };
        if vanishes {
            member.client.vanished = Some(now);
            self.tally.count("client vanished");
            self.note(|| format!("slot {slot}: the client vanishes"));
            return;
        }
        let at = member.wire_at.max(now + 1);
        let code = self.dice.pick(&[None, Some(1_001), Some(1_000)]);
        self.later(at - now, Happening::ClientEnds(slot, id, code));
    }

    pub(super) fn client_ends(&mut self, slot: usize, id: SessionId, code: Option<u16>) {
        let Some(member) = self.member(slot, id) else { return };
        member.client_gone = true;
        self.tally.count("client left");
        self.note(|| format!("slot {slot}: the client leaves"));
        self.feed(slot, Input::ClientClosed(code));
    }

    /// The client's word reaches the proxy.
    pub(super) fn proxy_hears(&mut self, slot: usize, id: SessionId, text: &[u8]) {
        let now = self.now;
        let Some(member) = self.member(slot, id) else { return };
        if member.client_gone || member.passed_through {
            return;
        }
        let value: Value = serde_json::from_slice(text).expect("our own message");
        let argument = &value["data"][0];
        match value["message"].as_str().unwrap_or_default() {
            "connection" => {
                member.spoke = true;
                member.client.last_ping = now;
            }
            "unPublishStream" | "stopStream" => {
                member.stopped.insert(argument["mediaSessionId"].as_str().unwrap_or_default().to_owned());
            }
            "sendData" => {
                let room = argument["payload"]["options"]["name"].as_str().unwrap_or_default().to_owned();
                match argument["payload"]["command"].as_str() {
                    Some("leave") => {
                        member.left.insert(room);
                    }
                    Some("join") => {
                        member.left.remove(&room);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.note(|| format!("slot {slot}: client says {}", String::from_utf8_lossy(text)));
        self.feed(slot, Input::ClientText(text));
    }
}
