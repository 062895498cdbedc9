//! Deliberate faults, one for each rule: what a broken core or driver would do. They show that
//! each rule bites; the core itself knows nothing of them.

use serde_json::{Value, json};

use crate::settings::SessionSettings;

use super::{
    super::{Input, stream::Standing},
    client::Phase,
    kit::{message, word},
    rules::Rule,
    world::World,
};

/// A way to break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    AnswerTwice,
    LeakUserData,
    LoseRegistered,
    StartTwice,
    TellEarly,
    TakeOldEpochForNew,
    ShowUpstreamIds,
    ReuseIds,
    StopOldIds,
    PublishNameTwice,
    RequestTwice,
    ConnectTwice,
    ReplayAnswered,
    RepeatData,
    LoseReports,
    FailTwice,
    LoseMutes,
    ReplayStopped,
    LoseStops,
    TalkAfterEnd,
    LoseData,
    SettleTwice,
    LosePings,
    FakeLife,
    LooseBounds,
    StuckTimer,
    DialTwice,
    EndlessTries,
    Restless,
    Hammer,
    PlayEarly,
    RepeatState,
    SpeakToNobody,
    TellOfMoves,
    KeepLeft,
    LeaveSilently,
    LoseOnReturn,
    PartSilently,
    LeakToken,
}

/// Every fault and the rule that must catch it.
pub(super) const ALL: &[(Sabotage, Rule)] = &[
    (Sabotage::AnswerTwice, Rule::AnswerOnce),
    (Sabotage::LeakUserData, Rule::EstablishedOnce),
    (Sabotage::LoseRegistered, Rule::RegisteredKept),
    (Sabotage::StartTwice, Rule::StartOnce),
    (Sabotage::TellEarly, Rule::RunsConnected),
    (Sabotage::TakeOldEpochForNew, Rule::OldEpochSilent),
    (Sabotage::ShowUpstreamIds, Rule::KnownIds),
    (Sabotage::ReuseIds, Rule::FreshIds),
    (Sabotage::StopOldIds, Rule::OwnStreams),
    (Sabotage::PublishNameTwice, Rule::NameOnce),
    (Sabotage::RequestTwice, Rule::IntentOnce),
    (Sabotage::ConnectTwice, Rule::OneConnection),
    (Sabotage::ReplayAnswered, Rule::AnsweredStays),
    (Sabotage::RepeatData, Rule::NoReplayOfRequests),
    (Sabotage::LoseReports, Rule::Verdict),
    (Sabotage::FailTwice, Rule::ReportedOnce),
    (Sabotage::LoseMutes, Rule::Agreement),
    (Sabotage::ReplayStopped, Rule::WordWins),
    (Sabotage::LoseStops, Rule::StopAnswered),
    (Sabotage::TalkAfterEnd, Rule::SilentAfterEnd),
    (Sabotage::LoseData, Rule::Settles),
    (Sabotage::SettleTwice, Rule::SettlesOnce),
    (Sabotage::LosePings, Rule::PingsFlow),
    (Sabotage::FakeLife, Rule::DeadEnd),
    (Sabotage::LooseBounds, Rule::Bounds),
    (Sabotage::StuckTimer, Rule::TimersMove),
    (Sabotage::DialTwice, Rule::OneDial),
    (Sabotage::EndlessTries, Rule::TriesBounded),
    (Sabotage::Restless, Rule::Paced),
    (Sabotage::Hammer, Rule::NotHammered),
    (Sabotage::PlayEarly, Rule::PublisherFirst),
    (Sabotage::RepeatState, Rule::RoomDifferences),
    (Sabotage::SpeakToNobody, Rule::Addressed),
    (Sabotage::TellOfMoves, Rule::MoveUnseen),
    (Sabotage::KeepLeft, Rule::HalfMoved),
    (Sabotage::LeaveSilently, Rule::PublishedOnce),
    (Sabotage::LoseOnReturn, Rule::BackAsBefore),
    (Sabotage::PartSilently, Rule::RoomsMeet),
    (Sabotage::LeakToken, Rule::RegistryClean),
];

impl Sabotage {
    /// Settings that differ from the promised ones.
    pub(super) fn unsettle(self, promised: &mut SessionSettings) -> SessionSettings {
        match self {
            Self::LooseBounds => promised.bounds.streams_max = 1,
            Self::EndlessTries => promised.restore.tries_max = 3,
            Self::Restless => {
                let mut real = promised.clone();
                real.restore.backoff_max = std::time::Duration::from_millis(1);
                real.restore.tries_max = 0;
                promised.restore.tries_max = 0;
                return real;
            }
            _ => return promised.clone(),
        }
        SessionSettings { bounds: Default::default(), restore: Default::default(), ..promised.clone() }
    }

    /// What the client gets instead of this message.
    fn distort(self, value: Value) -> Vec<Value> {
        let name = value["message"].as_str().unwrap_or_default();
        let status = value["data"][0]["status"].as_str().unwrap_or_default();
        let copies = match (self, name, status) {
            (Self::AnswerTwice, "setRemoteSDP", _)
            | (Self::StartTwice, _, "PUBLISHING" | "PLAYING")
            | (Self::FailTwice, "notifyStreamStatusEvent", "FAILED")
            | (Self::SettleTwice, "DataStatusEvent", _) => 2,
            (Self::LoseRegistered, "registered", _)
            | (Self::LoseReports, "notifyStreamStatusEvent", "FAILED")
            | (Self::LoseStops, _, "UNPUBLISHED" | "STOPPED")
            | (Self::LoseData, "DataStatusEvent", _)
            | (Self::LosePings, "ping", _) => 0,
            _ => 1,
        };
        vec![value; copies]
    }
}

impl World {
    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// What really reaches the client.
    pub(super) fn tamper_client(&self, slot: usize, text: &[u8]) -> Vec<Value> {
        let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return Vec::new() };
        let Some(sabotage) = self.sabotage else { return vec![value] };
        if self.is(Sabotage::ShowUpstreamIds) {
            let id = word(&value["data"][0], "mediaSessionId");
            let streams = self.slots[slot].iter().flat_map(|member| member.session.streams.table.iter());
            let upstream = streams.filter(|s| s.client_id() == id).find_map(|s| s.other_id());
            let upstream = upstream.map(str::to_owned);
            if let Some(upstream) = upstream {
                value["data"][0]["mediaSessionId"] = json!(upstream);
            }
        }
        sabotage.distort(value)
    }

    /// What really goes upstream.
    pub(super) fn tamper_upstream(&mut self, slot: usize, text: Vec<u8>, forwarded: bool) -> Vec<Vec<u8>> {
        let Some(sabotage) = self.sabotage else { return vec![text] };
        let Ok(mut value) = serde_json::from_slice::<Value>(&text) else { return vec![text] };
        let name = value["message"].as_str().unwrap_or_default().to_owned();
        let request = name == "publishStream" || name == "playStream";
        if request && self.dice.percent(50) {
            self.memory = Some((slot, value.clone()));
        }
        let mut copy = value.clone();
        copy["data"][0]["mediaSessionId"] = json!(format!("again-{}", self.fresh_number()));
        let bytes = |value: &Value| value.to_string().into_bytes();
        match sabotage {
            Sabotage::ReuseIds if request && !forwarded => {
                value["data"][0]["mediaSessionId"] = value["data"][0]["custom"]["intent"].clone();
                vec![bytes(&value)]
            }
            Sabotage::StopOldIds if request && !forwarded => {
                let id = value["data"][0]["custom"]["intent"].clone();
                vec![bytes(&message("stopStream", json!({"mediaSessionId": id}))), text]
            }
            Sabotage::PublishNameTwice if name == "publishStream" => {
                copy["data"][0]["custom"]["intent"] = json!("nobody's");
                vec![text, bytes(&copy)]
            }
            Sabotage::RequestTwice if request => vec![text, bytes(&copy)],
            Sabotage::ConnectTwice if name == "connection" => vec![text.clone(), text],
            Sabotage::RepeatData if name == "sendData" => vec![text.clone(), text],
            Sabotage::LoseMutes if name == "sendStreamEvent" => Vec::new(),
            Sabotage::ReplayAnswered | Sabotage::ReplayStopped if !request => {
                let mut all = vec![text];
                all.extend(self.remembered(slot, sabotage).map(|mut again| {
                    again["data"][0]["mediaSessionId"] = copy["data"][0]["mediaSessionId"].clone();
                    bytes(&again)
                }));
                all
            }
            _ => vec![text],
        }
    }

    /// A request sent before, when its time has come to be sent wrongly.
    fn remembered(&self, slot: usize, sabotage: Sabotage) -> Option<Value> {
        let (owner, request) = self.memory.as_ref().filter(|(owner, _)| *owner == slot)?;
        let member = self.slots[*owner].as_ref()?;
        let intent = word(&request["data"][0]["custom"], "intent");
        let stream = member.client.streams.get(&intent)?;
        let ripe = match sabotage {
            Sabotage::ReplayAnswered => stream.phase == Phase::Running && !stream.socket && !member.anchored,
            _ => member.stopped.contains(&intent),
        };
        ripe.then(|| request.clone())
    }

    /// What the proxy really hears of the server's word.
    pub(super) fn tamper_server(&self, text: &[u8]) -> Vec<u8> {
        if !self.is(Sabotage::Hammer) {
            return text.to_vec();
        }
        String::from_utf8_lossy(text).replace("Forbidden", "Bad Gateway").into_bytes()
    }

    /// What leaks past the core to the client.
    pub(super) fn leak(&mut self, slot: usize, text: &[u8]) {
        let leaks = match self.sabotage {
            Some(Sabotage::LeakUserData) => "\"getUserData\"",
            Some(Sabotage::RepeatState) => "\"STATE\"",
            _ => return,
        };
        if String::from_utf8_lossy(text).contains(leaks) {
            self.tell_client(slot, text);
        }
    }

    pub(super) fn tamper_epoch(&self, epoch: u32, current: u32) -> u32 {
        if self.is(Sabotage::TakeOldEpochForNew) { current } else { epoch }
    }

    /// A broken core tells the client that its session has another server.
    pub(super) fn tells_of_moves(&self) -> bool {
        self.is(Sabotage::TellOfMoves)
    }

    /// A broken driver does not close what is left.
    pub(super) fn keeps_left(&self, slot: usize) -> bool {
        let publishes =
            self.slots[slot].iter().any(|member| !member.session.belongings().publishes.is_empty());
        self.is(Sabotage::KeepLeft) && self.healing && !publishes
    }

    /// The log is told that a session is not where the others of its room are.
    pub(super) fn is_apart(&mut self, slot: usize, room: &str) {
        let is_told = !self.is(Sabotage::PartSilently);
        if let Some(member) = self.slots[slot].as_mut().filter(|_| is_told) {
            member.apart.insert(room.to_owned());
        }
    }

    /// A broken driver drops what is left without a close: the node believes it alive.
    pub(super) fn leaves_silently(&self) -> bool {
        self.is(Sabotage::LeaveSilently)
    }

    /// A broken core has taken a stream back from the node that it was to leave.
    pub(super) fn loses_on_return(&mut self, slot: usize) {
        if !self.is(Sabotage::LoseOnReturn) {
            return;
        }
        let moved = self.slots[slot].as_ref().filter(|member| {
            let stayed = member.conn.is_some() && member.conn == member.set_out_from;
            let mut live = member.session.streams.table.iter().filter(|stream| stream.is(Standing::Live));
            stayed && live.any(|stream| member.before.iter().any(|(id, _)| id == stream.client_id()))
        });
        let Some(conn) = moved.and_then(|member| member.conn) else { return };
        let (node, kept) = (self.conns[conn].node, self.conns[conn].kept);
        if let Some(kept) = kept.and_then(|kept| self.nodes[node].kept.get_mut(&kept)) {
            kept.streams.clear();
        }
    }

    /// Who is not told that a stream is over would ask about it in vain.
    pub(super) fn asks_nothing(&self) -> bool {
        self.is(Sabotage::LoseReports)
    }

    pub(super) fn dials_again(&self) -> bool {
        self.is(Sabotage::DialTwice)
    }

    pub(super) fn after_loss(&mut self, slot: usize) {
        if self.is(Sabotage::SpeakToNobody) && self.slots[slot].as_ref().is_some_and(|m| m.conn.is_none()) {
            self.ask_upstream(slot, b"{\"message\":\"pong\",\"data\":[null]}".to_vec(), false);
        }
    }

    pub(super) fn while_up(&mut self, slot: usize) {
        if !self.is(Sabotage::PlayEarly) {
            return;
        }
        let Some(member) = self.slots[slot].as_ref() else { return };
        let waiting = |standing| standing == Standing::AwaitsPublisher;
        let stream = member.session.streams.table.iter().find(|stream| waiting(stream.standing()));
        if let Some(stream) = stream {
            let fields = json!({"mediaSessionId": "early", "name": stream.name(), "custom": {"intent": stream.client_id()}});
            let play = message("playStream", fields).to_string().into_bytes();
            self.ask_upstream(slot, play, false);
        }
    }

    /// What is kept too long is gone with the session.
    pub(super) fn before_burial(&mut self, slot: usize) {
        if self.is(Sabotage::KeepLeft)
            && let Some(conn) = self.slots[slot].as_mut().and_then(|member| member.beside.take())
        {
            self.conns[conn].proxy_open = false;
            self.haunt(conn);
        }
    }

    pub(super) fn at_burial(&mut self, slot: usize) {
        let id = self.slots[slot].as_ref().map(|member| member.id);
        match (self.sabotage, id) {
            (Some(Sabotage::TalkAfterEnd), Some(_)) => {
                self.tell_client(slot, b"{\"message\":\"ping\",\"data\":[null]}")
            }
            (Some(Sabotage::LeakToken), Some(id)) => drop(self.routes.insert("leaked".into(), id)),
            _ => {}
        }
    }

    /// Dead clients look alive.
    pub(super) fn fake_life(&mut self) {
        if !self.is(Sabotage::FakeLife) {
            return;
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].as_ref().is_some_and(|member| member.client.vanished.is_some()) {
                self.feed(slot, Input::ClientActivity);
            }
        }
    }
}
