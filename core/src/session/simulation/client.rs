//! A client as the SDK behaves (protocol S3): what it knows, and what a message does to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    kit::{Dice, message, word},
    rules::Rule,
};

/// Where a stream stands for the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    /// Stopped by the page; the server's word is awaited since then.
    Stopping(u64),
    /// FAILED, STOPPED or UNPUBLISHED: final for this id.
    Over,
}

#[derive(Debug)]
pub(super) struct ClientStream {
    pub(super) name: String,
    pub(super) publish: bool,
    pub(super) socket: bool,
    pub(super) phase: Phase,
    pub(super) answers: u32,
    pub(super) stop_when_running: bool,
    pub(super) audio_muted: bool,
    /// Since when an outage owes it a verdict; set by the world.
    pub(super) unsettled_since: Option<u64>,
    /// It had its answer when that began.
    pub(super) was_answered: bool,
}

impl ClientStream {
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// From now on a verdict is owed.
    pub(super) fn unsettle(&mut self, now: u64) {
        if !self.is_over() && self.unsettled_since.is_none() {
            self.unsettled_since = Some(now);
            self.was_answered = self.answers > 0;
        }
    }
}

/// A `sendData` whose promise is pending.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) since: u64,
    pub(super) join: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct ClientRoom {
    pub(super) states: u32,
    pub(super) participants: BTreeMap<String, BTreeSet<String>>,
}

/// What a message made the client do.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) says: Vec<(u64, Value)>,
    pub(super) breaches: Vec<(Rule, String)>,
    pub(super) ended_streams: Vec<String>,
    pub(super) started: Vec<String>,
    /// Publish this name again.
    pub(super) restart: Vec<String>,
    /// ESTABLISHED fired.
    pub(super) established: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) login: String,
    pub(super) keep_alive: bool,
    pub(super) sip: bool,
    /// Publishes again when a publish of its own FAILED.
    pub(super) restarts: bool,
    /// Publishes in its ESTABLISHED handler.
    pub(super) starts: bool,
    pub(super) streams: BTreeMap<String, ClientStream>,
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) settled: BTreeSet<String>,
    pub(super) questions: BTreeMap<String, Vec<u64>>,
    /// Questions asked and not answered one by one: one answer settles all of an id (S2.4).
    pub(super) asked: BTreeMap<String, u32>,
    pub(super) snapshots: BTreeMap<String, Vec<u64>>,
    pub(super) calls: BTreeMap<String, Option<u64>>,
    pub(super) rooms: BTreeMap<String, ClientRoom>,
    pub(super) established: u32,
    pub(super) established_max: u32,
    pub(super) registered: bool,
    pub(super) versions: u32,
    pub(super) last_ping: u64,
    /// It answers nothing any more, and its socket was not closed.
    pub(super) vanished: Option<u64>,
    pub(super) warned: bool,
    next_id: u32,
}

impl Client {
    pub(super) fn new(login: String, now: u64, dice: &mut Dice) -> Self {
        Self {
            login,
            keep_alive: dice.percent(25),
            sip: dice.percent(20),
            restarts: dice.percent(50),
            starts: dice.percent(40),
            streams: BTreeMap::new(),
            operations: BTreeMap::new(),
            settled: BTreeSet::new(),
            questions: BTreeMap::new(),
            asked: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            calls: BTreeMap::new(),
            rooms: BTreeMap::new(),
            established: 0,
            established_max: 1,
            registered: false,
            versions: 0,
            last_ping: now,
            vanished: None,
            warned: false,
            next_id: 0,
        }
    }

    pub(super) fn connection(&self, app_key: &str) -> Value {
        let mut fields = json!({
            "appKey": app_key, "mediaProviders": ["WebRTC", "MSE"], "clientVersion": "2.0",
            "custom": {"login": self.login, "token": "secret"},
        });
        if self.keep_alive {
            fields["keepAlive"] = json!(true);
        }
        if self.sip {
            fields["sipLogin"] = json!(self.login);
            fields["sipPassword"] = json!("password");
        }
        message("connection", fields)
    }

    pub(super) fn fresh_id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        format!("{kind}-{}-{}", self.login, self.next_id)
    }

    /// A publish or play of `name`, as the SDK sends it.
    pub(super) fn request(&mut self, name: &str, publish: bool, socket: bool) -> Value {
        let id = self.fresh_id("media");
        let verb = if publish { "publishStream" } else { "playStream" };
        let stream = ClientStream {
            name: name.to_owned(),
            publish,
            socket,
            phase: Phase::Pending,
            answers: 0,
            stop_when_running: false,
            audio_muted: false,
            unsettled_since: None,
            was_answered: false,
        };
        self.streams.insert(id.clone(), stream);
        message(
            verb,
            json!({
                "mediaSessionId": id, "name": name, "published": publish, "status": "PENDING",
                "mediaProvider": if socket { "MSE" } else { "WebRTC" },
                "sdp": "m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n",
                "custom": {"intent": id},
            }),
        )
    }

    /// `stop()` of a stream that runs.
    pub(super) fn stop(&mut self, id: &str, now: u64) -> Value {
        let stream = self.streams.get_mut(id).expect("a stream");
        stream.phase = Phase::Stopping(now);
        let verb = if stream.publish { "unPublishStream" } else { "stopStream" };
        message(verb, json!({"mediaSessionId": id, "name": stream.name, "published": stream.publish}))
    }

    pub(super) fn publishes(&self, name: &str) -> bool {
        self.streams.values().any(|stream| {
            stream.publish && stream.name == name && matches!(stream.phase, Phase::Pending | Phase::Running)
        })
    }

    /// The SDK reads a message.
    pub(super) fn hear(&mut self, text: &Value, now: u64, dice: &mut Dice) -> Heard {
        let mut heard = Heard::default();
        let argument = &text["data"][0];
        match text["message"].as_str().unwrap_or_default() {
            "ping" => {
                self.last_ping = now;
                if self.vanished.is_none() {
                    heard.says.push((dice.between(0, 200), message("pong", Value::Null)));
                }
            }
            "getUserData" => self.user_data(&mut heard),
            "getVersion" => {
                self.versions += 1;
                if self.versions > 1 {
                    heard.breaches.push((Rule::StartOnce, "a second getVersion".to_owned()));
                }
            }
            "registered" => self.registered = true,
            "setRemoteSDP" => self.remote_sdp(text, &mut heard),
            "notifyStreamStatusEvent" => {
                self.status(argument, &word(argument, "mediaSessionId"), now, &mut heard)
            }
            "fail" if argument["apiMethod"] == "StreamStatusEvent" => {
                self.status(argument, &word(argument, "id"), now, &mut heard);
            }
            "fail" => self.warned = true,
            "notifyStreamEvent" => self.stream_event(argument, &mut heard),
            "inboundVideoRate" => self.known(&word(argument, "mediaSessionId"), &mut heard),
            "availableStream" => {
                let id = word(argument, "id");
                self.questions.remove(&id);
                let asked = self.asked.entry(id.clone()).or_default();
                if *asked > 0 {
                    *asked -= 1;
                } else {
                    heard
                        .breaches
                        .push((Rule::SettlesOnce, format!("nobody asked whether {id} is available")));
                }
            }
            "DataStatusEvent" => self.data_status(argument, &mut heard),
            "OnDataEvent" => self.data_event(argument, &mut heard),
            "notifyIncomingCall" => {
                self.calls.insert(word(argument, "callId"), None);
            }
            "notifyTryingResponse" | "ring" | "talk" | "finish" => {
                if matches!(argument["status"].as_str(), Some("FINISH" | "FAILED" | "BUSY")) {
                    self.calls.remove(argument["callId"].as_str().unwrap_or_default());
                }
            }
            _ => {}
        }
        heard
    }

    fn user_data(&mut self, heard: &mut Heard) {
        self.established += 1;
        heard.established = true;
        self.registered = false;
        if self.established > self.established_max {
            let what = format!("getUserData number {}, {} allowed", self.established, self.established_max);
            heard.breaches.push((Rule::EstablishedOnce, what));
        }
    }

    fn known(&self, id: &str, heard: &mut Heard) {
        if !self.streams.contains_key(id) {
            heard.breaches.push((Rule::KnownIds, format!("{id} is not the client's")));
        }
    }

    fn remote_sdp(&mut self, text: &Value, heard: &mut Heard) {
        let id = text["data"][0].as_str().unwrap_or_default().to_owned();
        if id.starts_with("call") {
            return;
        }
        self.known(&id, heard);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if text["data"][2] == json!(true) {
            stream.answers += 1;
        }
        if stream.answers > 1 && !stream.is_over() {
            heard.breaches.push((Rule::AnswerOnce, format!("{id} got answer {}", stream.answers)));
        }
    }

    fn status(&mut self, argument: &Value, id: &str, now: u64, heard: &mut Heard) {
        self.known(id, heard);
        let status = word(argument, "status");
        let restarts = self.restarts;
        let Some(stream) = self.streams.get_mut(id) else { return };
        match &*status {
            "PUBLISHING" | "PLAYING" => {
                if stream.is_over() {
                    return;
                }
                if stream.phase == Phase::Running {
                    heard.breaches.push((Rule::StartOnce, format!("{id} is {status} again")));
                }
                if stream.phase == Phase::Pending {
                    stream.phase = Phase::Running;
                }
                stream.unsettled_since = None;
                heard.started.push(id.to_owned());
                if stream.stop_when_running && stream.phase == Phase::Running {
                    stream.stop_when_running = false;
                    let stop = self.stop(id, now);
                    heard.says.push((0, stop));
                }
            }
            "FAILED" | "STOPPED" | "UNPUBLISHED" => {
                if stream.is_over() {
                    if status == "FAILED" {
                        heard.breaches.push((Rule::ReportedOnce, format!("{id} FAILED after its end")));
                    }
                    return;
                }
                if status == "FAILED" && stream.publish && restarts && matches!(stream.phase, Phase::Running)
                {
                    heard.restart.push(stream.name.clone());
                }
                stream.phase = Phase::Over;
                stream.unsettled_since = None;
                heard.ended_streams.push(id.to_owned());
            }
            _ => {}
        }
    }

    fn stream_event(&mut self, argument: &Value, heard: &mut Heard) {
        let id = word(argument, "mediaSessionId");
        if argument["type"].as_str().is_some_and(|kind| kind.starts_with("snapshot")) {
            let pending = self.snapshots.get_mut(&id);
            if pending.is_none_or(|pending| pending.pop().is_none()) {
                heard.breaches.push((Rule::SettlesOnce, format!("no snapshot of {id} was pending")));
            }
        } else {
            self.known(&id, heard);
        }
    }

    fn data_status(&mut self, argument: &Value, heard: &mut Heard) {
        let id = word(argument, "operationId");
        if let Some(operation) = self.operations.remove(&id) {
            if let Some(room) = operation.join
                && argument["status"] != "ACCEPTED"
            {
                self.rooms.remove(&room);
            }
            self.settled.insert(id);
        } else {
            let again = self.settled.contains(&id);
            let what = format!("operation {id} {}", if again { "settled again" } else { "is unknown" });
            heard.breaches.push((Rule::SettlesOnce, what));
        }
    }

    fn data_event(&mut self, argument: &Value, heard: &mut Heard) {
        let payload = &argument["payload"];
        let name = word(payload, "roomName");
        let Some(room) = self.rooms.get_mut(&name) else { return };
        let info = &payload["info"];
        let login = info.as_str().map_or_else(|| word(info, "login"), str::to_owned);
        let stream = word(info, "name");
        match payload["name"].as_str().unwrap_or_default() {
            "STATE" => {
                room.states += 1;
                if room.states > 1 {
                    heard.breaches.push((Rule::RoomDifferences, format!("STATE of {name} again")));
                }
                for item in info.as_array().into_iter().flatten() {
                    let login = item.as_str().map_or_else(|| word(item, "login"), str::to_owned);
                    let streams = room.participants.entry(login).or_default();
                    streams.extend(item["name"].as_str().map(str::to_owned));
                }
            }
            "JOINED" => {
                let known = room.participants.insert(login.clone(), BTreeSet::new());
                if known.is_some() {
                    let what = format!("JOINED of {login}, known in {name}");
                    heard.breaches.push((Rule::RoomDifferences, what));
                }
            }
            "LEFT" => {
                room.participants.remove(&login);
            }
            "PUBLISHED" => match room.participants.get_mut(&login) {
                Some(streams) => {
                    streams.insert(stream);
                }
                None => {
                    let what = format!("PUBLISHED of {login}, unknown in {name}");
                    heard.breaches.push((Rule::RoomDifferences, what));
                }
            },
            _ => {
                if let Some(streams) = room.participants.get_mut(&login) {
                    streams.remove(&stream);
                }
            }
        }
    }
}
