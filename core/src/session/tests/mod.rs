//! The core under a scripted client and server, in simulated time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod anchor;
mod basics;
mod bytes;
mod corners;
mod dialling;
mod evidence;
mod first;
mod lifecycle;
mod limits;
mod locality;
mod media_verdicts;
mod meeting;
mod moving;
mod moving_streams;
mod outage;
mod refusals;
mod reunion;
mod rooms;
mod takeover;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{registry::Registry, settings::SessionSettings};

use super::{
    Close, DialError, Epoch, Event, Input, LossCause, Mail, MediaCommand, Mode, MoveOutcome, NodeId, Outcome,
    Output, Session, SessionId, StreamKey, Timestamp,
};

/// A session with everything it said, sorted by addressee.
pub(super) struct Bed {
    pub(super) session: Session,
    pub(super) registry: Arc<Registry>,
    pub(super) now: Timestamp,
    pub(super) to_client: Vec<Value>,
    pub(super) to_upstream: Vec<Value>,
    pub(super) dials: Vec<Epoch>,
    /// Where they were to go.
    pub(super) toward: Vec<Option<NodeId>>,
    /// Dials beside the connection that leads.
    pub(super) beside: Vec<(Epoch, NodeId)>,
    /// Which connection leads, where it was said.
    pub(super) leads: Epoch,
    /// What was said on the connection beside it.
    pub(super) to_left: Vec<Value>,
    /// Outcomes of moves.
    pub(super) moved: Vec<MoveOutcome>,
    pub(super) events: Vec<Event>,
    pub(super) posts: Vec<(SessionId, Mail)>,
    pub(super) client_close: Option<Close>,
    pub(super) upstream_close: Vec<(Epoch, Close)>,
    pub(super) passthrough: bool,
    pub(super) media: Vec<MediaCommand>,
    /// Client tokens with which media sockets belong here.
    pub(super) tokens: BTreeSet<Box<str>>,
    /// Pings that went upstream.
    pub(super) asked: usize,
    /// Epochs that did not answer them in time.
    pub(super) doubts: Vec<Epoch>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut SessionSettings)) -> Self {
        Self::member(1, &Arc::new(Registry::default()), change)
    }

    /// A session of a process with others in it.
    pub(super) fn member(
        id: u64,
        registry: &Arc<Registry>,
        change: impl FnOnce(&mut SessionSettings),
    ) -> Self {
        let mut settings = SessionSettings::default();
        change(&mut settings);
        let now = Timestamp::from_ms(1_000);
        let session = Session::new(SessionId(id), Arc::new(settings), id, now);
        Self {
            session,
            registry: Arc::clone(registry),
            now,
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            dials: Vec::new(),
            toward: Vec::new(),
            beside: Vec::new(),
            leads: Epoch(0),
            to_left: Vec::new(),
            moved: Vec::new(),
            events: Vec::new(),
            posts: Vec::new(),
            client_close: None,
            upstream_close: Vec::new(),
            passthrough: false,
            media: Vec::new(),
            tokens: BTreeSet::new(),
            asked: 0,
            doubts: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, input: Input<'_>) {
        let text = match &input {
            Input::ClientText(text) | Input::UpstreamText(_, text) => Some(text.to_vec()),
            _ => None,
        };
        self.session.handle(input, self.now, &mut &*self.registry);
        for output in self.session.take_outputs() {
            let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
            match output {
                Output::ForwardToUpstream => self.to_upstream.push(parse(&text.clone().unwrap_or_default())),
                Output::ForwardToClient => self.to_client.push(parse(&text.clone().unwrap_or_default())),
                Output::SendToClient(message) => self.to_client.push(parse(&message)),
                Output::SendToUpstream(message) => self.to_upstream.push(parse(&message)),
                Output::Dial { epoch, toward, .. } => {
                    self.dials.push(epoch);
                    self.toward.push(toward);
                    self.leads = epoch;
                }
                Output::DialBeside { epoch, node } => self.beside.push((epoch, node)),
                Output::Lead(epoch) => self.leads = epoch,
                Output::SendLeft(message) => self.to_left.push(parse(&message)),
                Output::Moved(outcome) => self.moved.push(outcome),
                Output::CloseClient(close) => self.client_close = Some(close),
                Output::CloseUpstream(epoch, close) => self.upstream_close.push((epoch, close)),
                Output::Post(to, mail) => self.posts.push((to, mail)),
                Output::Event(event) => self.events.push(event),
                Output::Mode(mode) => self.passthrough |= mode == Mode::PassedThrough,
                Output::Media(command) => self.media.push(command),
                Output::RouteMediaSockets { token, .. } => drop(self.tokens.insert(token)),
                Output::ForgetMediaSockets { token } => drop(self.tokens.remove(&token)),
                Output::PingUpstream => self.asked += 1,
                Output::UpstreamDoubtful(epoch) => self.doubts.push(epoch),
                Output::PingClient => {}
            }
        }
    }

    pub(super) fn client(&mut self, name: &str, argument: Value) {
        let text = json!({"message": name, "data": [argument]}).to_string();
        self.feed(Input::ClientText(text.as_bytes()));
    }

    pub(super) fn server(&mut self, name: &str, argument: Value) {
        self.server_all(name, json!([argument]));
    }

    pub(super) fn server_all(&mut self, name: &str, data: Value) {
        self.says_on(self.leads, name, data);
    }

    /// A message of the server on the connection of this epoch.
    pub(super) fn says_on(&mut self, epoch: Epoch, name: &str, data: Value) {
        let text = json!({"message": name, "data": data}).to_string();
        self.feed(Input::UpstreamText(epoch, text.as_bytes()));
    }

    /// Lets time pass, with every timer in it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = Timestamp::from_ms(self.now.as_ms() + ms);
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now || self.session.next_timeout().is_some());
            let before = self.now;
            self.now = at.max(self.now);
            self.feed(Input::Timeout);
            let next = self.session.next_timeout();
            assert!(
                next.is_none_or(|next| next > self.now) || self.now > before,
                "a timer that does not move: {next:?} at {}",
                self.now
            );
        }
        self.now = end;
    }

    /// Lets time pass with both sides answering pings.
    pub(super) fn pass_in_health(&mut self, ms: u64) {
        for _ in 0..ms / 1_000 {
            self.server("ping", Value::Null);
            self.client("pong", Value::Null);
            self.pass(1_000);
        }
    }

    /// Connected and established, nothing to look at yet.
    pub(super) fn established(mut self) -> Self {
        self.client("connection", connection());
        self.server(
            "getUserData",
            json!({"authToken": "T0", "status": "ESTABLISHED", "appKey": "defaultApp"}),
        );
        self.clear();
        self
    }

    pub(super) fn publishing(mut self, id: &str, name: &str) -> Self {
        self.client("publishStream", publish(id, name));
        self.server_all("setRemoteSDP", json!([id, "answer", true]));
        self.server("notifyStreamStatusEvent", status(id, name, "PUBLISHING", None));
        self.clear();
        self
    }

    pub(super) fn unpublish(&mut self, id: &str, name: &str) {
        self.client("unPublishStream", json!({"mediaSessionId": id, "name": name, "published": true}));
    }

    pub(super) fn playing_mse(mut self, id: &str, name: &str) -> Self {
        self.client(
            "playStream",
            json!({"mediaSessionId": id, "name": name, "mediaProvider": "MSE", "sdp": "o"}),
        );
        self.server_all("setRemoteSDP", json!([id, "answer", true]));
        self.server("notifyStreamStatusEvent", status(id, name, "PLAYING", None));
        self.clear();
        self
    }

    pub(super) fn clear(&mut self) {
        self.to_client.clear();
        self.to_upstream.clear();
        self.events.clear();
        self.posts.clear();
    }

    pub(super) fn lose(&mut self) {
        self.feed(Input::UpstreamLost(self.leads, LossCause::EndOfFile));
    }

    pub(super) fn dial_fails(&mut self) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::DialFailed(epoch, DialError::Unreachable("refused".to_owned())));
    }

    /// The dial succeeds and the server establishes the session under a new token.
    pub(super) fn reconnect(&mut self) {
        let epoch = *self.dials.last().expect("a dial");
        self.feed(Input::UpstreamOpened(epoch, NodeId(0)));
        let sent = self.to_upstream.last().unwrap();
        assert_eq!(sent["message"], "connection");
        // A server that knows a token resumes its session, and keeps it.
        if let Some(token) = sent["data"][0].get("authToken").cloned() {
            return self.server("getUserData", json!({"authToken": token, "status": "ESTABLISHED"}));
        }
        self.server("getUserData", json!({"authToken": format!("T{}", epoch.0), "status": "ESTABLISHED"}));
    }

    pub(super) fn client_got(&self, name: &str) -> Vec<&Value> {
        self.to_client.iter().filter(|message| message["message"] == name).collect()
    }

    pub(super) fn upstream_got(&self, name: &str) -> Vec<&Value> {
        self.to_upstream.iter().filter(|message| message["message"] == name).collect()
    }

    /// Statuses the client was told, as `id STATUS info`.
    pub(super) fn statuses(&self) -> Vec<String> {
        let words = |status: &Value| {
            let text = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text("mediaSessionId"), text("status"), text("info"))
        };
        self.client_got("notifyStreamStatusEvent").iter().map(|message| words(&message["data"][0])).collect()
    }

    /// Limits that the log was told of.
    pub(super) fn limits(&self) -> Vec<&'static str> {
        let limit =
            |event: &Event| if let Event::LimitReached { limit } = event { Some(*limit) } else { None };
        self.events.iter().filter_map(limit).collect()
    }

    /// Streams that were restored.
    pub(super) fn restored(&self) -> usize {
        let restored =
            |event: &&Event| matches!(event, Event::StreamOutcome { outcome: Outcome::Restored, .. });
        self.events.iter().filter(restored).count()
    }

    /// The id under which the upstream was last asked for a stream.
    pub(super) fn last_upstream_id(&self, verb: &str) -> String {
        self.upstream_got(verb).last().unwrap()["data"][0]["mediaSessionId"].as_str().unwrap().to_owned()
    }
}

pub(super) fn connection() -> Value {
    json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "clientVersion": "2.0", "custom": {"token": "secret"}})
}

pub(super) fn publish(id: &str, name: &str) -> Value {
    let sdp =
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 102\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n";
    json!({"mediaSessionId": id, "name": name, "published": true, "mediaProvider": "WebRTC", "sdp": sdp})
}

pub(super) fn status(id: &str, name: &str, status: &str, info: Option<&str>) -> Value {
    let mut value = json!({"mediaSessionId": id, "name": name, "published": true, "status": status});
    if let Some(info) = info {
        value["info"] = json!(info);
    }
    value
}
