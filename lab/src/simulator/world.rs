//! Everything one simulated server knows, behind one lock: connections, sessions, streams, rooms,
//! calls and what was counted. Sending never waits, so that the lock is never held across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::backend::Backend;
use super::byte_stream::{Breaker, Cut};
use super::counters::{Counters, Handshake, Journal, Violations};
use super::rooms::Room;
use super::settings::{EmptyData, SimulatorSettings, StreamVerb};
use super::shared::Shared;
use super::sip::Call;

/// Number of a connection, unique in the process.
pub(super) type ConnectionId = u64;
/// Number of a session, unique in the process.
pub(super) type SessionNumber = u64;

/// What a connection task is asked to write.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(bytes::Bytes),
    /// A WebSocket ping.
    Ping,
    /// A close frame, after which nothing is written.
    Close { code: Option<u16>, reason: String },
    /// The end of the connection, after what was queued before it.
    Cut(Cut),
}

/// The way to one connection's task.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    pub(super) queue: mpsc::Sender<Outgoing>,
    pub(super) breaker: Arc<Breaker>,
}

impl Outbox {
    /// Queues a message; a client that does not read is reset when its queue is full. False then.
    pub(super) fn push(&self, message: Outgoing) -> bool {
        match self.queue.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.breaker.cut(Cut::Reset);
                false
            }
        }
    }
}

/// What a connection turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing was said yet.
    New,
    /// It carries a session's signaling.
    Session(SessionNumber),
    /// It carries a session's MSE or WSPlayer media.
    Media(SessionNumber),
    /// It was refused or replaced; what it says has no effect.
    Spent,
}

/// One WebSocket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) outbox: Outbox,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) role: Role,
    pub(super) handshake: Handshake,
    pub(super) opened: Instant,
    /// Pings whose pong did not come yet.
    pub(super) pings_open: u32,
    /// Pings sent since the last pong.
    pub(super) pongs_missed: u32,
    /// The simulator itself ended it; how it ends says nothing about the client.
    pub(super) ended_by_us: bool,
}

/// One WCS session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) id: String,
    pub(super) token: String,
    pub(super) app_key: String,
    /// What the client sent.
    pub(super) connection: Map<String, Value>,
    /// The socket, none while the session lingers.
    pub(super) attached: Option<ConnectionId>,
    pub(super) created: Instant,
    pub(super) streams: BTreeSet<String>,
    /// Ids of streams that ended lately; a late stop of one of them is no violation.
    pub(super) ended_streams: VecDeque<(String, Instant)>,
    pub(super) asked: BTreeMap<String, u64>,
    pub(super) rooms: BTreeSet<String>,
    pub(super) calls: BTreeSet<String>,
    pub(super) media_sockets: Vec<ConnectionId>,
    pub(super) registered: bool,
    pub(super) resumed: u32,
    /// Counts losses, so that an old linger timer does not end a resumed session.
    pub(super) losses: u32,
}

impl Session {
    /// The login under which a room application knows the client.
    pub(super) fn login(&self) -> Option<String> {
        self.connection.get("custom")?.get("login")?.as_str().map(str::to_owned)
    }

    pub(super) fn wants_keep_alive(&self) -> bool {
        self.connection.get("keepAlive").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Asked for, not answered.
    Pending,
    /// PUBLISHING or PLAYING.
    Live,
    /// Stopped, but a lingering session still holds its name and id.
    Held,
}

/// One publish or play.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) verb: StreamVerb,
    pub(super) session: SessionNumber,
    /// Tells two streams of the same id apart.
    pub(super) serial: u64,
    pub(super) progress: Progress,
    pub(super) provider: String,
    pub(super) transport_tcp: bool,
    pub(super) has_video: bool,
    pub(super) has_audio: bool,
    pub(super) record: bool,
    pub(super) custom: Option<Value>,
    pub(super) room: Option<String>,
    pub(super) offered_codecs: Vec<String>,
    pub(super) audio_muted: bool,
    pub(super) video_muted: bool,
    pub(super) created: Instant,
    pub(super) created_ms: u64,
    /// The media socket that plays it, and the task that feeds it.
    pub(super) media_socket: Option<ConnectionId>,
    pub(super) feed: Option<AbortHandle>,
}

/// How often a limited refusal was used.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) handshakes: u32,
    pub(super) connects: u32,
    pub(super) streams: BTreeMap<usize, u32>,
}

/// The server.
#[derive(Debug)]
pub(super) struct World {
    pub(super) shared: Weak<Shared>,
    pub(super) settings: Arc<SimulatorSettings>,
    pub(super) backend: Backend,
    /// Grows with each simulated restart.
    pub(super) epoch: u64,
    pub(super) start_id: String,
    pub(super) started: Instant,
    next_number: u64,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) sessions: HashMap<SessionNumber, Session>,
    pub(super) tokens: HashMap<String, SessionNumber>,
    pub(super) streams: HashMap<String, Stream>,
    /// Published names, with the id of the publish.
    pub(super) names: HashMap<String, String>,
    /// Ids of the plays of each name.
    pub(super) players: HashMap<String, BTreeSet<String>>,
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) calls: HashMap<String, Call>,
    pub(super) used_ids: HashSet<String>,
    pub(super) spent: Spent,
    pub(super) counters: Counters,
    pub(super) past: VecDeque<Value>,
    pub(super) violations: Violations,
    pub(super) journal: Journal,
    pub(super) handshakes: VecDeque<Handshake>,
    /// Silent connections whose session is over; their clients must not learn it yet.
    pub(super) limbo: Vec<Arc<Breaker>>,
}

impl World {
    pub(super) fn new(shared: Weak<Shared>, settings: SimulatorSettings, backend: Backend) -> Self {
        Self {
            shared,
            settings: Arc::new(settings),
            backend,
            epoch: 1,
            start_id: uuid::Uuid::new_v4().to_string(),
            started: Instant::now(),
            next_number: 0,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            tokens: HashMap::new(),
            streams: HashMap::new(),
            names: HashMap::new(),
            players: HashMap::new(),
            rooms: BTreeMap::new(),
            calls: HashMap::new(),
            used_ids: HashSet::new(),
            spent: Spent::default(),
            counters: Counters::default(),
            past: VecDeque::new(),
            violations: Violations::default(),
            journal: Journal::default(),
            handshakes: VecDeque::new(),
            limbo: Vec::new(),
        }
    }

    /// A number never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Forgets everything a real server forgets when its process ends.
    pub(super) fn begin_epoch(&mut self, backend: Backend) {
        const PAST_MAX: usize = 100;
        for stream in self.streams.values() {
            if let Some(feed) = &stream.feed {
                feed.abort();
            }
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        let summary = self.counters.state();
        self.past.push_back(json!({"epoch": self.epoch, "counters": summary}));
        self.epoch += 1;
        self.start_id = uuid::Uuid::new_v4().to_string();
        self.started = Instant::now();
        self.backend = backend;
        self.connections.clear();
        self.sessions.clear();
        self.tokens.clear();
        self.streams.clear();
        self.names.clear();
        self.players.clear();
        self.rooms.clear();
        self.calls.clear();
        self.used_ids.clear();
        self.counters = Counters::default();
    }

    /// Runs `action` after `delay`, unless the server was restarted in between. A frozen server
    /// does it when it is thawed.
    pub(super) fn later(&self, delay: Duration, action: impl FnOnce(&mut Self) + Send + 'static) {
        let Some(shared) = self.shared.upgrade() else { return };
        let epoch = self.epoch;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            shared.thawed().await;
            let mut world = shared.world();
            if world.epoch == epoch {
                action(&mut world);
            }
        });
    }

    /// As [`later`](Self::later), but at once when there is no delay.
    pub(super) fn after(&mut self, delay: Duration, action: impl FnOnce(&mut Self) + Send + 'static) {
        if delay.is_zero() {
            action(self);
        } else {
            self.later(delay, action);
        }
    }

    /// Sends a message to a session; one without a socket misses it.
    pub(super) fn send(&mut self, session: SessionNumber, name: &str, data: &Value) {
        if let Some(connection) = self.sessions.get(&session).and_then(|session| session.attached) {
            self.send_on(connection, name, data);
        }
    }

    /// Sends a message on a connection, unless it is withheld, and late if it is delayed.
    pub(super) fn send_on(&mut self, connection: ConnectionId, name: &str, data: &Value) {
        let Some(outbox) = self.connections.get(&connection).map(|connection| connection.outbox.clone())
        else {
            return;
        };
        if self.settings.withhold.contains(name) {
            self.counters.withheld(name);
            return;
        }
        self.counters.sent(name, self.settings.limits.keys_max);
        // The name comes first, as on a real server; a map would sort the keys.
        let text = format!("{{\"message\":{},\"data\":{data}}}", Value::from(name));
        match self.settings.delay_ms.get(name) {
            Some(delay) if *delay > 0 => {
                self.later(Duration::from_millis(*delay), move |world| world.push(&outbox, text));
            }
            _ => self.push(&outbox, text),
        }
    }

    fn push(&mut self, outbox: &Outbox, text: String) {
        if !outbox.push(Outgoing::Text(text)) {
            self.counters.queue_overflows += 1;
        }
    }

    /// The `data` of a message without payload.
    pub(super) fn empty_data(&self) -> Value {
        match self.settings.sessions.empty_data {
            EmptyData::Null => json!([null]),
            EmptyData::Empty => json!([]),
        }
    }

    /// Closes a connection with a close frame, after what is queued for it.
    pub(super) fn close(&mut self, connection: ConnectionId, code: Option<u16>, reason: &str) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.ended_by_us = true;
            if !connection.outbox.push(Outgoing::Close { code, reason: reason.to_owned() }) {
                self.counters.queue_overflows += 1;
            }
        }
    }

    /// Ends a connection at once, without a close frame.
    pub(super) fn cut(&mut self, connection: ConnectionId, cut: Cut) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.ended_by_us = true;
            connection.outbox.breaker.cut(cut);
        }
    }
}
