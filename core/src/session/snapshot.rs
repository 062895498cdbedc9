//! What a session is at one moment, for people who look. Holds names and ids, no secrets.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    media::StreamStats,
    signaling::{peek, redact::without_credentials, view::Connection},
};

use super::{
    Epoch, Identity, Kind, NodeId, Output, SessionId, StreamKey,
    core::Session,
    directory::RoomKey,
    leg::ClientLeg,
    link::{Link, Stage},
    stream::{Standing, Stream, Transport},
};

/// Characters shown of a name or id.
const TEXT_CHARS_MAX: usize = 128;

/// A session at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSnapshot {
    /// Its place in the order of their coming.
    #[serde(skip)]
    pub number: u64,
    /// Its id, as in the log.
    pub id: String,
    /// What its client says it is of.
    pub app_key: Option<String>,
    /// `first`, `up`, `moving`, `waiting`, `dialing`, `connecting`, `joining`, `passed through` or `ended`.
    pub state: Cow<'static, str>,
    /// How long the present outage has lasted, in milliseconds.
    pub outage_ms: Option<u64>,
    /// Dials made in the present outage.
    pub tries: u32,
    /// Restore mode, as it is spelled in the settings.
    pub mode: Cow<'static, str>,
    /// Rooms joined.
    pub rooms: usize,
    /// Calls not over.
    pub calls: usize,
    /// Its publishes and plays.
    pub streams: Vec<StreamSnapshot>,
}

/// What whoever stands beside a session sees of it, to write it down.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What was said since the outputs were last taken. It stays to be taken.
    pub outputs: &'a [Output],
    /// Who the client seems to be.
    pub identity: Identity,
}

impl<'a> Seen<'a> {
    /// Of this session, now.
    #[must_use]
    pub fn of(session: &'a Session) -> Self {
        Self { outputs: session.out.outputs(), identity: session.client.identity }
    }
}

/// A stream at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamSnapshot {
    /// Its name.
    pub name: String,
    /// The client's id of it.
    pub id: String,
    /// `publish` or `play`.
    pub kind: Cow<'static, str>,
    /// `direct`, `anchored` or `socket`.
    pub media: Cow<'static, str>,
    /// Outages it was restored from.
    pub restored: u32,
    /// How long the last of them was, in milliseconds, until the proof.
    pub last_outage_ms: Option<u64>,
    /// What the media workers counted, a few seconds old at most; anchored streams only.
    pub numbers: Option<StreamStats>,
    /// `requested`, `live`, `held`, `lost`, `replayed`, `retry` and so on.
    pub state: Cow<'static, str>,
    /// Its client has muted its sound.
    pub audio_muted: bool,
    /// Its client has muted its picture.
    pub video_muted: bool,
}

/// What a session has, for whoever plans moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    /// The session.
    pub session: SessionId,
    /// Where it is; in an outage, where it was.
    pub node: NodeId,
    /// Names it publishes.
    pub publishes: Vec<Box<str>>,
    /// Names it plays.
    pub plays: Vec<Box<str>>,
    /// Rooms it is in.
    pub rooms: Vec<RoomKey>,
    /// Why it cannot move unseen now.
    pub bound_by: Option<&'static str>,
}

/// An anchored stream, for whoever judges its node by what goes through its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which way its media goes.
    pub kind: Kind,
    /// The server says that it runs: silence is none that was announced.
    pub is_expected: bool,
}

impl<'a> Expected<'a> {
    /// What is to be expected of a leg of this session, by its key, in this epoch; none if that is not of now.
    #[must_use]
    pub fn of(session: &'a Session, key: StreamKey, epoch: Epoch) -> Option<Self> {
        let streams = &session.streams.table;
        let stream = streams.iter().find(|stream| stream.opened_key() == Some(key))?;
        let is_paused = stream.leg().is_some_and(ClientLeg::is_paused);
        let runs = matches!(stream.standing(), Standing::Live | Standing::Replayed);
        let is_expected = session.link.is_up() && runs && !is_paused;
        let expected = Self { name: stream.name(), kind: stream.kind(), is_expected };
        (epoch == session.upstream.epoch).then_some(expected)
    }
}

impl SessionSnapshot {
    /// The rooms that a session has joined or asks to join.
    #[must_use]
    pub fn room_names(session: &Session) -> Vec<String> {
        session.rooms.names().map(|name| cut(&without_credentials(name))).collect()
    }
}

impl Belongings {
    /// Whether an outage that is begun on purpose costs a session nothing it has: all its media ends at our
    /// workers, and it has no call.
    #[must_use]
    pub fn are_restorable(session: &Session) -> bool {
        session.calls.len() == 0 && session.streams.table.iter().all(|stream| stream.leg().is_some())
    }
}

impl Session {
    /// What it has, and whether it can move. Costs a copy of its names.
    #[must_use]
    pub fn belongings(&self) -> Belongings {
        let names = |publishes: bool| {
            let streams = self.streams.table.iter();
            let named = streams.filter(|stream| stream.kind().is_publish() == publishes);
            named.map(|stream| stream.name().into()).collect()
        };
        Belongings {
            session: self.id,
            node: self.upstream.node,
            publishes: names(true),
            plays: names(false),
            rooms: self.rooms.keys().collect(),
            bound_by: if self.moving.is_idle() { self.bound_by() } else { Some("moving") },
        }
    }

    /// What it is now. Costs a copy of its names; nothing is kept for it.
    #[must_use]
    pub fn describe(&self) -> SessionSnapshot {
        let outage = self.link.outage().filter(|_| !self.moving.is_under_way());
        let since = outage.map(|outage| self.now.since(outage.since));
        SessionSnapshot {
            number: self.id.0,
            id: self.id.to_string(),
            app_key: app_key(self),
            state: if self.moving.is_under_way() { "moving" } else { link_word(self.link) }.into(),
            outage_ms: since
                .as_ref()
                .map(Duration::as_millis)
                .map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            tries: self.attempts.tries_of(self.link),
            mode: self.client.mode.word().into(),
            rooms: self.rooms.len(),
            calls: self.calls.len(),
            streams: self.streams.table.iter().map(stream_snapshot).collect(),
        }
    }
}

/// What the client said in its `connection`.
fn app_key(session: &Session) -> Option<String> {
    let text = session.client.connection.as_ref()?.unpack();
    let peek = peek(&text).ok()?;
    let key = Connection::of(&peek).app_key()?;
    Some(cut(&key))
}

const fn link_word(link: Link) -> &'static str {
    match link {
        Link::First => "first",
        Link::Up => "up",
        Link::Down(outage) => match outage.stage {
            Stage::Waiting { .. } => "waiting",
            Stage::Dialing => "dialing",
            Stage::Resuming { .. } | Stage::Connecting { .. } | Stage::Registering { .. } => "connecting",
            Stage::Joining { .. } => "joining",
        },
        Link::PassedThrough => "passed through",
        Link::Ended => "ended",
    }
}

/// A name or id, short enough for thousands of them in one answer.
fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn stream_snapshot(stream: &Stream) -> StreamSnapshot {
    let mutes = stream.mutes().unwrap_or_default();
    StreamSnapshot {
        // The name may be the URL of a camera, with a password in it.
        name: cut(&without_credentials(stream.name())),
        id: cut(&without_credentials(stream.client_id())),
        kind: if stream.kind().is_publish() { "publish" } else { "play" }.into(),
        media: match stream.transport() {
            Transport::Direct => "direct",
            Transport::Anchored(_) => "anchored",
            Transport::Socket => "socket",
        }
        .into(),
        restored: stream.outages().0,
        last_outage_ms: stream.outages().1,
        numbers: stream.numbers().cloned(),
        state: match stream.standing() {
            Standing::Requested => "requested",
            Standing::Live => "live",
            Standing::Held => "held",
            Standing::Lost => "lost",
            Standing::Probation => "on probation",
            Standing::Offering => "offering",
            Standing::Replayed => "replayed",
            Standing::Retry => "retry",
            Standing::AwaitsPublisher => "awaits its publisher",
            Standing::AwaitsProof => "awaits a sign of life",
            Standing::Stopping => "stopping",
        }
        .into(),
        audio_muted: mutes.audio,
        video_muted: mutes.video,
    }
}
