//! How things are written, the same way by who records and by who replays. Who records has a redactor; who replays
//! has none, for what it reads is redacted.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    media::MediaCommand,
    session::{Close, DialError, Event, Identity, Mail, Mode, MoveOutcome, Output, RoomKey},
    signaling::redactor::Redactor,
};

use super::line::Message;

/// Writes for one session. Rooms and publishers, which are digests of what is secret, have numbers in the order in
/// which they come.
#[derive(Debug, Default)]
pub(super) struct Words {
    redactor: Option<Redactor>,
    /// What the core tells people is left out: it may have a name in it, among words of its own.
    hides_texts: bool,
    rooms: BTreeMap<RoomKey, u32>,
    publishers: BTreeMap<Identity, u32>,
}

impl Words {
    pub(super) fn redacted(redactor: Redactor) -> Self {
        Self { hides_texts: redactor.is_anonymous(), redactor: Some(redactor), ..Self::default() }
    }

    /// For a replay of what was written so.
    pub(super) fn replaying(is_anonymous: bool) -> Self {
        Self { hides_texts: is_anonymous, ..Self::default() }
    }

    pub(super) fn message(&self, text: &[u8]) -> Message {
        let Some(redactor) = &self.redactor else {
            return Message::Text(String::from_utf8_lossy(text).into_owned());
        };
        let redacted = redactor.message(text);
        if redacted.is_readable { Message::Text(redacted.text) } else { Message::Unreadable(redacted.text) }
    }

    fn text(&self, text: &[u8]) -> String {
        match self.message(text) {
            Message::Text(text) | Message::Unreadable(text) => text,
            Message::Binary(bytes) => format!("{bytes} bytes"),
        }
    }

    pub(super) fn name(&self, name: &str) -> String {
        self.through(name, Redactor::name)
    }

    pub(super) fn words(&self, text: &str) -> String {
        self.through(text, Redactor::words)
    }

    /// A text that the core tells.
    fn told(&self, text: &str) -> String {
        if self.hides_texts { "…".to_owned() } else { self.words(text) }
    }

    pub(super) fn word(&self, word: &str) -> String {
        self.through(word, Redactor::word)
    }

    fn secret(&self, secret: &str) -> String {
        self.through(secret, Redactor::secret)
    }

    fn sdp(&self, sdp: &str) -> String {
        self.through(sdp, Redactor::sdp)
    }

    fn through(&self, text: &str, how: impl Fn(&Redactor, &str) -> String) -> String {
        self.redactor.as_ref().map_or_else(|| text.to_owned(), |redactor| how(redactor, text))
    }

    /// The number of this room.
    pub(super) fn room(&mut self, room: RoomKey) -> u32 {
        number(&mut self.rooms, room)
    }

    /// The room of this number, if there is one.
    pub(super) fn room_of(&self, number: u32) -> Option<RoomKey> {
        self.rooms.iter().find(|(_, known)| **known == number).map(|(room, _)| *room)
    }

    /// The number of this publisher.
    pub(super) fn publisher(&mut self, publisher: Identity) -> u32 {
        number(&mut self.publishers, publisher)
    }

    /// The texts of a fact or an error, by the names of their fields; one that is all there is names what happened.
    pub(super) fn value(&self, value: Value, field: &str) -> Value {
        match value {
            Value::String(text) => Value::String(match field {
                "sdp" => self.sdp(&text),
                "" | "codec" | "video_codec" | "audio_codec" | "kind" => text,
                _ => self.words(&text),
            }),
            Value::Array(all) => Value::Array(all.into_iter().map(|one| self.value(one, field)).collect()),
            Value::Object(all) => Value::Object(
                all.into_iter().map(|(key, one)| (key.clone(), self.value(one, &key))).collect(),
            ),
            other => other,
        }
    }

    /// What kind of decision, and what.
    pub(super) fn output(&mut self, output: &Output) -> (&'static str, String) {
        match output {
            Output::ForwardToUpstream => ("forward_to_upstream", String::new()),
            Output::ForwardToClient => ("forward_to_client", String::new()),
            Output::SendToClient(text) => ("send_to_client", self.text(text)),
            Output::SendToUpstream(text) => ("send_to_upstream", self.text(text)),
            Output::SendLeft(text) => ("send_to_left", self.text(text)),
            Output::PingClient => ("ping_client", String::new()),
            Output::PingUpstream => ("ping_upstream", String::new()),
            Output::Dial { epoch, priority, toward } => {
                let toward = toward.map(|node| format!(" toward node {}", node.0)).unwrap_or_default();
                ("dial", format!("epoch {} {priority:?}{toward}", epoch.0))
            }
            Output::DialBeside { epoch, node } => {
                ("dial_beside", format!("epoch {} node {}", epoch.0, node.0))
            }
            Output::Lead(epoch) => ("lead", format!("epoch {}", epoch.0)),
            Output::UpstreamDoubtful(epoch) => ("doubt", format!("epoch {}", epoch.0)),
            Output::Moved(outcome) => ("moved", self.outcome(outcome)),
            Output::CloseUpstream(epoch, close) => {
                ("close_upstream", format!("epoch {} {}", epoch.0, closing(*close)))
            }
            Output::CloseClient(close) => ("close_client", closing(*close)),
            Output::Post(to, mail) => ("post", format!("{to} {}", self.mail(mail))),
            Output::Media(command) => ("media", self.order(command)),
            Output::RouteMediaSockets { token, epoch, upstream_token } => {
                let upstream = upstream_token.as_deref().map(|token| self.secret(token));
                let upstream = upstream.as_deref().unwrap_or("nowhere");
                ("route_media_sockets", format!("{} epoch {} {upstream}", self.secret(token), epoch.0))
            }
            Output::ForgetMediaSockets { token } => ("forget_media_sockets", self.secret(token)),
            Output::Event(event) => ("event", format!("{:?}", self.event(event))),
            Output::Mode(Mode::Session) => ("mode", "session".to_owned()),
            Output::Mode(Mode::PassedThrough) => ("mode", "passed through".to_owned()),
            Output::Mode(Mode::MediaSocket) => ("mode", "media socket".to_owned()),
        }
    }

    fn outcome(&self, outcome: &MoveOutcome) -> String {
        match outcome {
            MoveOutcome::Done => "done".to_owned(),
            MoveOutcome::Refused(reason) => format!("refused: {reason}"),
            MoveOutcome::Returned(reason) => format!("returned: {}", self.told(reason)),
        }
    }

    fn mail(&mut self, mail: &Mail) -> String {
        match mail {
            Mail::NameSettled(name) => format!("name settled: {}", self.name(name)),
            Mail::RoomSettled(room) => format!("room settled: {}", self.room(*room)),
            // Who asks is the session itself.
            Mail::ProveAlive { name, asker, identity: _ } => {
                format!("prove alive to {asker}: {}", self.name(name))
            }
            Mail::MediaSocketFlows(epoch) => format!("media socket flows: epoch {}", epoch.0),
            Mail::Proven { name, alive } => format!("alive {alive}: {}", self.name(name)),
        }
    }

    fn order(&self, command: &MediaCommand) -> String {
        match command {
            MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client: () } => {
                let offer = self.sdp(client_offer);
                format!("open {key} {kind:?} epoch {} refuse_h264 {refuse_h264} {offer}", epoch.0)
            }
            MediaCommand::UpstreamAnswer { key, epoch, sdp } => {
                format!("answer {key} epoch {} {}", epoch.0, self.sdp(sdp))
            }
            MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside } => {
                format!(
                    "attach {key} epoch {} narrow {narrow} refuse_h264 {refuse_h264} beside {beside}",
                    epoch.0
                )
            }
            MediaCommand::LetGo { key } => format!("let go {key}"),
            MediaCommand::Return { key } => format!("return {key}"),
            MediaCommand::Detach { key } => format!("detach {key}"),
            MediaCommand::Muted { key, video } => format!("muted {key} video {video}"),
            MediaCommand::Revive { key } => format!("revive {key}"),
            MediaCommand::Close { key } => format!("close {key}"),
        }
    }

    /// The event with names and texts as they are shown.
    fn event(&self, event: &Event) -> Event {
        let mut event = event.clone();
        match &mut event {
            Event::SessionUp { app_key, .. } => *app_key = self.word(app_key),
            Event::AttemptFailed {
                error: DialError::Unreachable(text) | DialError::Local(text) | DialError::BadHandshake(text),
                ..
            }
            | Event::ReplayRefused { info: text, .. } => *text = self.told(text),
            Event::Moved { outcome: MoveOutcome::Returned(reason), .. } | Event::GaveUp { reason, .. } => {
                *reason = self.told(reason);
            }
            Event::StreamOutcome { name, stream, .. } => {
                *name = self.name(name);
                *stream = self.word(stream);
            }
            Event::StreamRetry { name, info: text, .. }
            | Event::Unanchorable { name, reason: text }
            | Event::MediaLost { name, reason: text }
            | Event::RoomLost { room: name, info: text } => {
                *name = self.name(name);
                *text = self.told(text);
            }
            Event::StreamElsewhere { name, .. }
            | Event::RoomElsewhere { room: name, .. }
            | Event::RetriedWithoutH264 { name }
            | Event::ClientLegRevived { name, .. }
            | Event::CodecChanged { name, .. }
            | Event::NoVideo { name, .. }
            | Event::VideoBack { name }
            | Event::MediaGap { name, .. }
            | Event::MediaSummary { name, .. } => *name = self.name(name),
            Event::PassedThrough { .. }
            | Event::AttemptFailed { .. }
            | Event::UpstreamLost { .. }
            | Event::SessionRestored { .. }
            | Event::Moved { .. }
            | Event::ClientDead { .. }
            | Event::LimitReached { .. } => {}
        }
        event
    }
}

fn number<K: Ord>(known: &mut BTreeMap<K, u32>, key: K) -> u32 {
    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
    *known.entry(key).or_insert(next)
}

fn closing(close: Close) -> String {
    match close {
        Close::Code(code) => code.to_string(),
        Close::NoCode => "no code".to_owned(),
        Close::Abort => "abort".to_owned(),
    }
}
