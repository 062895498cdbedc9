//! How a model server answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    kit::{message, word},
    rules::Rule,
    server::{Kept, Publisher, Resume, ServerStream, Welcome},
    world::{Happening, Task, World},
};

impl World {
    /// A message arrives at the server.
    pub(super) fn server_hears(&mut self, conn: usize, text: Vec<u8>) {
        let at = &self.conns[conn];
        let (node, kept) = (at.node, at.kept);
        if !at.server_open || at.black {
            return;
        }
        if self.nodes[node].frozen {
            self.nodes[node].backlog.push((conn, Some(text)));
            return;
        }
        let Ok(value) = serde_json::from_slice::<Value>(&text) else { return };
        let name = value["message"].as_str().unwrap_or_default().to_owned();
        let argument = value["data"][0].clone();
        if name == "connection" {
            return self.serve_connection(conn, &argument);
        }
        if !self.conns[conn].greeted {
            return self.breach(Rule::OneConnection, format!("{name} before `connection`"));
        }
        let Some(kept) = kept else { return };
        match &*name {
            "publishStream" | "playStream" => self.serve_request(conn, kept, &argument),
            "unPublishStream" | "stopStream" => self.serve_stop(conn, kept, &argument),
            "sendData" => self.serve_data(conn, kept, &argument),
            "availableStream" | "snapshot" => self.serve_question(conn, kept, &name, &argument),
            "sendStreamEvent" => self.serve_event(conn, kept, &argument),
            "webRTCMetricsClientDescription" => {
                let id = word(&argument, "mediaSessionId");
                self.own_stream(conn, kept, &id, &name);
            }
            "call" => {
                let id = word(&argument, "callId");
                self.kept(conn, kept).calls.insert(id.clone());
                for (delay, verb, status) in
                    [(20, "notifyTryingResponse", "TRYING"), (200, "talk", "ESTABLISHED")]
                {
                    self.say(conn, message(verb, json!({"callId": id, "status": status})), delay);
                }
            }
            "hangup" => {
                let id = word(&argument, "callId");
                if self.kept(conn, kept).calls.remove(&id) {
                    self.say(conn, message("finish", json!({"callId": id, "status": "FINISH"})), 50);
                }
            }
            _ => {}
        }
    }

    pub(super) fn kept(&mut self, conn: usize, kept: u64) -> &mut Kept {
        let node = self.conns[conn].node;
        self.nodes[node].kept.get_mut(&kept).expect("a session")
    }

    fn serve_connection(&mut self, conn: usize, argument: &Value) {
        if std::mem::replace(&mut self.conns[conn].greeted, true) {
            return self.breach(Rule::OneConnection, "a second `connection` on one socket".to_owned());
        }
        let node = self.conns[conn].node;
        match self.nodes[node].welcome {
            Welcome::Silent => return,
            Welcome::Transient => return self.refuse_session(conn, "Bad Gateway"),
            Welcome::Permanent => {
                let (slot, session) = (self.conns[conn].slot, self.conns[conn].session);
                // A refused token is followed by the client's own words (R8).
                let own = !argument["authToken"].is_string();
                if let Some(member) = self.member(slot, session) {
                    // A move that is refused leaves the session where it is welcome.
                    member.refused |= own && !member.under_way;
                }
                return self.refuse_session(conn, "Forbidden");
            }
            Welcome::Friendly => {}
        }
        let token = word(argument, "authToken");
        self.conns[conn].resuming = !token.is_empty();
        let resumed = self.nodes[node].kept.iter().find(|(_, kept)| kept.keep_alive && kept.token == token);
        let resumed = resumed.map(|(id, _)| *id);
        match (resumed, self.nodes[node].resume) {
            (Some(id), Resume::Works) => return self.resume_session(conn, id),
            (_, Resume::Silent) if !token.is_empty() => return,
            (_, Resume::Fails) if !token.is_empty() => return self.refuse_session(conn, "Wrong token"),
            _ => {}
        }
        let id = self.fresh_number();
        let kept = Kept {
            conn: Some(conn),
            owner: self.conns[conn].session,
            token: format!("T{id}"),
            keep_alive: argument["keepAlive"] == json!(true),
            login: word(&argument["custom"], "login"),
            sip: argument["sipLogin"].is_string(),
            established: false,
            registered: false,
            streams: BTreeMap::new(),
            past: BTreeSet::new(),
            rooms: BTreeSet::new(),
            calls: BTreeSet::new(),
        };
        self.nodes[node].kept.insert(id, kept);
        self.conns[conn].kept = Some(id);
        let delay = self.pace(node);
        self.later(delay, Happening::Does(conn, Task::UserData));
    }

    fn refuse_session(&mut self, conn: usize, info: &str) {
        let fail = json!({"status": "FAILED", "info": info, "apiMethod": "ConnectionStatusEvent"});
        self.say(conn, message("fail", fail), 30);
    }

    /// The kept session gets its new socket; what it says of its streams is anybody's guess.
    fn resume_session(&mut self, conn: usize, id: u64) {
        let node = self.conns[conn].node;
        let kept = self.nodes[node].kept.get_mut(&id).expect("a session");
        if let Some(old) = kept.conn.replace(conn) {
            self.conns[old].kept = None;
            self.conns[old].server_open = false;
        }
        self.conns[conn].kept = Some(id);
        self.later(20, Happening::Does(conn, Task::UserData));
        let running = self.nodes[node].kept[&id].streams.iter().filter(|(_, stream)| stream.running);
        let running: Vec<String> = running.map(|(id, _)| id.clone()).collect();
        for stream in running {
            if self.dice.percent(70) {
                self.later(100, Happening::Does(conn, Task::Status(stream)));
            }
        }
    }

    fn serve_request(&mut self, conn: usize, id: u64, argument: &Value) {
        let node = self.conns[conn].node;
        let media = word(argument, "mediaSessionId");
        let name = word(argument, "name");
        let publish = argument["published"] == json!(true);
        let intent = word(&argument["custom"], "intent");
        let owner = self.conns[conn].session;
        if self.ids.insert(media.clone(), owner).is_some() {
            return self.breach(Rule::FreshIds, format!("the upstream has seen {media} before"));
        }
        let streams = &self.nodes[node].kept[&id].streams;
        if streams.values().any(|stream| stream.intent == intent) {
            return self.breach(Rule::IntentOnce, format!("{intent} is asked for while it is"));
        }
        let key = self.name_key(node, &name);
        let holder = self.publishers.get(&key).map(|publisher| publisher.kept);
        if publish && holder == Some(id) {
            return self.breach(Rule::NameOnce, format!("{name} is published twice by one session"));
        }
        let trouble = if self.dice.percent(40) { self.nodes[node].trouble } else { None };
        let codecs = self.nodes[node].refuses_h264 && word(argument, "sdp").contains("H264");
        let refusal = match (publish, holder) {
            (true, Some(_)) => Some("Stream name is already in use"),
            (false, None) => Some("Stream not found"),
            (true, None) if codecs => Some("No common codecs"),
            _ => trouble,
        };
        if publish && refusal.is_none() {
            self.publishers.insert(key, Publisher { node, kept: id, media: media.clone() });
        }
        let socket = argument["mediaProvider"] == "MSE";
        let doomed = refusal.is_some();
        let stream =
            ServerStream { name, publish, socket, intent, running: false, doomed, audio_muted: false };
        self.kept(conn, id).streams.insert(media.clone(), stream);
        let delay = self.pace(node);
        match refusal {
            Some(info) => self.later(delay, Happening::Does(conn, Task::Refuse(media, info))),
            None => {
                self.later(delay, Happening::Does(conn, Task::Answer(media.clone())));
                let more = self.pace(node);
                self.later(delay + more, Happening::Does(conn, Task::Run(media)));
            }
        }
    }

    /// The session must have, or have had, this stream; false if it has not.
    fn own_stream(&mut self, conn: usize, id: u64, media: &str, verb: &str) -> bool {
        let kept = self.kept(conn, id);
        if kept.streams.contains_key(media) {
            return true;
        }
        let past = kept.past.contains(media);
        let owner = self.ids.get(media).copied();
        let (asker, resuming) = (self.conns[conn].session, self.conns[conn].resuming);
        // Words that cross an end hurt nobody, and whoever resumes may stop what it had.
        let own = owner == Some(asker) && (resuming || verb != "stop");
        if !past && owner.is_some() && !own {
            self.breach(Rule::OwnStreams, format!("{verb} of {media}, a stream of another session"));
        }
        false
    }

    fn serve_stop(&mut self, conn: usize, id: u64, argument: &Value) {
        let media = word(argument, "mediaSessionId");
        let known = self.own_stream(conn, id, &media, "stop");
        if !known {
            let past = self.kept(conn, id).past.contains(&media);
            let resuming = self.conns[conn].resuming;
            if !past && !resuming && !self.ids.contains_key(&media) {
                self.breach(Rule::OwnStreams, format!("stop of {media}, which was never asked for"));
            }
            // The end crossed the stop: it was said already.
            return;
        }
        let node = self.conns[conn].node;
        let stream = self.end_stream(node, id, &media);
        let status = if stream.publish { "UNPUBLISHED" } else { "STOPPED" };
        let delay = self.pace(node).min(1_000);
        self.say(conn, status_of(&media, &stream, status, Some("Stopped by user")), delay);
    }

    fn serve_question(&mut self, conn: usize, id: u64, verb: &str, argument: &Value) {
        let media = word(argument, "mediaSessionId");
        self.own_stream(conn, id, &media, verb);
        let node = self.conns[conn].node;
        let delay = self.pace(node);
        let answer = if verb == "snapshot" {
            let payload = json!({"snapshot": "aaaa"});
            message(
                "notifyStreamEvent",
                json!({"mediaSessionId": media, "type": "snapshotCompleted", "payload": payload}),
            )
        } else {
            message("availableStream", json!({"id": media, "status": "true", "info": ""}))
        };
        self.later(delay, Happening::Does(conn, Task::Say(answer)));
    }

    fn serve_event(&mut self, conn: usize, id: u64, argument: &Value) {
        let media = word(argument, "mediaSessionId");
        if self.own_stream(conn, id, &media, "an event") {
            let stream = self.kept(conn, id).streams.get_mut(&media).expect("a stream");
            match argument["type"].as_str() {
                Some("audioMuted") => stream.audio_muted = true,
                Some("audioUnmuted") => stream.audio_muted = false,
                _ => {}
            }
        }
    }

    fn serve_data(&mut self, conn: usize, id: u64, argument: &Value) {
        let operation = word(argument, "operationId");
        if !self.operations.insert(operation.clone()) {
            return self.breach(Rule::NoReplayOfRequests, format!("operation {operation} again"));
        }
        let room = word(&argument["payload"]["options"], "name");
        let answer = message("DataStatusEvent", json!({"operationId": operation, "status": "ACCEPTED"}));
        match argument["payload"]["command"].as_str() {
            Some("join") => {
                let first = self.dice.percent(50);
                if first {
                    self.say(conn, answer.clone(), 20);
                }
                self.serve_join(conn, id, &room);
                if !first {
                    self.say(conn, answer, 20);
                }
            }
            Some("leave") => {
                let node = self.conns[conn].node;
                self.leave(node, id, &room);
                self.say(conn, answer, 20);
            }
            _ => {
                let node = self.conns[conn].node;
                let delay = self.pace(node);
                self.later(delay, Happening::Does(conn, Task::Say(answer)));
            }
        }
    }
}

/// A `notifyStreamStatusEvent`.
pub(super) fn status_of(media: &str, stream: &ServerStream, status: &str, info: Option<&str>) -> Value {
    let mut fields =
        json!({"mediaSessionId": media, "name": stream.name, "published": stream.publish, "status": status});
    if let Some(info) = info {
        fields["info"] = json!(info);
    }
    message("notifyStreamStatusEvent", fields)
}
