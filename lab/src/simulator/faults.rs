//! The faults that can be ordered, and how they are committed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::backend::Backend;
use super::byte_stream::Cut;
use super::choice::{ConnectionChoice, StreamChoice};
use super::counters::{Counters, Violations};
use super::shared::{Doors, Shared};
use super::world::{Outgoing, World};

/// A fault or event, as `POST /fault` takes it: `{"fault": "drop", "how": "fin"}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Connections end at once without a close frame. Their sessions linger as the settings say.
    Drop {
        /// In which way.
        #[serde(default)]
        how: Cut,
        /// Which ones.
        #[serde(default)]
        whom: ConnectionChoice,
    },
    /// Sessions end, their streams with them, and their connections are cut.
    KillSessions {
        /// In which way the connections end.
        #[serde(default)]
        how: Cut,
        /// Which ones.
        #[serde(default)]
        whom: ConnectionChoice,
    },
    /// Connections are closed with a close frame.
    Close {
        /// The close code; none sends an empty close frame.
        code: Option<u16>,
        /// The reason.
        #[serde(default)]
        reason: String,
        /// Which ones.
        #[serde(default)]
        whom: ConnectionChoice,
        /// Their sessions linger as the settings say instead of ending.
        #[serde(default)]
        keep_sessions: bool,
    },
    /// Connections go silent in both directions and stay open.
    BlackHole {
        /// Which ones.
        #[serde(default)]
        whom: ConnectionChoice,
        /// What new connections find meanwhile.
        #[serde(default)]
        newcomers: Newcomers,
        /// Media packets do not pass either.
        #[serde(default)]
        media: bool,
    },
    /// Ends all black holes: what was held back goes on its way.
    Heal,
    /// The whole process stands still: no reads, no writes, no accepts, no timers.
    Freeze {
        /// Thaw by itself after this long.
        for_ms: Option<u64>,
    },
    /// Ends a freeze.
    Thaw,
    /// Closes the listening sockets; connections go on.
    StopListening {
        /// Listen again by itself after this long.
        for_ms: Option<u64>,
    },
    /// Listens again, on the same addresses.
    Listen,
    /// The process ends and comes back with everything forgotten.
    Restart {
        /// How the connections end.
        #[serde(default)]
        how: Cut,
        /// Close with this code instead, as an orderly shutdown does.
        close_code: Option<u16>,
        /// How long nobody listens.
        #[serde(default)]
        down_ms: u64,
        /// Before the end every stream fails with this info.
        burst_info: Option<String>,
        /// How long after the burst the end comes.
        #[serde(default)]
        burst_gap_ms: u64,
    },
    /// Streams end with a status.
    FailStream {
        /// Which ones.
        #[serde(default)]
        streams: StreamChoice,
        /// Default: FAILED.
        status: Option<String>,
        /// The info text.
        info: String,
    },
    /// Players are sent no media, or are again: their transports stand and all else goes on.
    Withhold {
        /// Which ones; only plays that are there.
        #[serde(default)]
        streams: StreamChoice,
        /// Nothing is sent.
        withheld: bool,
    },
    /// Sends a message.
    Send {
        /// To whom.
        #[serde(default)]
        whom: ConnectionChoice,
        /// Its name.
        message: String,
        /// Its `data`.
        #[serde(default)]
        data: Value,
    },
    /// Sends a text as it stands.
    SendRaw {
        /// To whom.
        #[serde(default)]
        whom: ConnectionChoice,
        /// The text.
        text: String,
    },
    /// A phone call comes in.
    IncomingCall {
        /// For whom; the first session that fits.
        #[serde(default)]
        whom: ConnectionChoice,
        /// Who calls.
        caller: String,
        /// The call's id; default: a new one.
        id: Option<String>,
    },
    /// The other side hangs up.
    EndCall {
        /// The call's id; default: all.
        id: Option<String>,
    },
    /// Everybody in a room gets an event.
    RoomEvent {
        /// The room.
        room: String,
        /// For example MESSAGE.
        name: String,
        /// Its info.
        #[serde(default)]
        info: Value,
    },
    /// Pings stop or go on.
    PingStall {
        /// Stop.
        stalled: bool,
    },
    /// Forgets counters, violations and the journal.
    ResetCounters,
}

/// What new connections find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newcomers {
    /// A working server.
    #[default]
    Served,
    /// A connection on which nothing comes back.
    Silent,
    /// Nobody who listens.
    Refused,
}

/// Why a fault was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No session or room fits.
    #[error("nobody fits")]
    Nobody,
    /// The media server did not start again.
    #[error("media did not start again: {0}")]
    Media(String),
}

impl Shared {
    /// Commits a fault; the answer says how many it struck.
    ///
    /// # Errors
    /// See [`FaultError`].
    pub(super) fn fault(self: &Arc<Self>, fault: Fault) -> Result<Value, FaultError> {
        tracing::info!(?fault, "fault ordered");
        let struck = match fault {
            Fault::Freeze { for_ms } => {
                self.set_frozen(true);
                self.undo_after(for_ms, |shared| shared.set_frozen(false));
                1
            }
            Fault::Thaw => {
                self.set_frozen(false);
                1
            }
            Fault::StopListening { for_ms } => {
                self.doors.send_replace(Doors::Shut);
                self.undo_after(for_ms, |shared| shared.open_doors());
                1
            }
            Fault::Listen => {
                self.open_doors();
                1
            }
            Fault::BlackHole { whom, newcomers, media } => {
                if media {
                    let world = self.world();
                    world.backend.set_network(&world.settings, true);
                }
                self.black_hole(&whom, newcomers)
            }
            Fault::Heal => self.heal(),
            Fault::PingStall { stalled } => {
                self.switch(&json!({"pings": {"stalled": stalled}}))
                    .map_err(|error| FaultError::Media(error.to_string()))?;
                1
            }
            Fault::Restart { how, close_code, down_ms, burst_info, burst_gap_ms } => {
                let end = close_code.map_or(Outgoing::Cut(how), |code| Outgoing::Close {
                    code: Some(code),
                    reason: "restart".to_owned(),
                });
                return self.restart(end, down_ms, burst_info.as_deref(), burst_gap_ms);
            }
            other => return self.world().fault(other).map(|struck| json!({"struck": struck})),
        };
        Ok(json!({"struck": struck}))
    }

    fn undo_after(self: &Arc<Self>, ms: Option<u64>, undo: impl FnOnce(&Self) + Send + 'static) {
        let Some(ms) = ms else { return };
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if let Some(shared) = shared.upgrade() {
                undo(&shared);
            }
        });
    }

    fn open_doors(&self) {
        self.doors.send_if_modified(|doors| {
            let change = *doors != Doors::Gone && *doors != Doors::Open;
            if change {
                *doors = Doors::Open;
            }
            change
        });
    }

    fn black_hole(&self, whom: &ConnectionChoice, newcomers: Newcomers) -> usize {
        match newcomers {
            Newcomers::Served => {}
            Newcomers::Silent => self.holes_for_newcomers.store(true, Ordering::SeqCst),
            Newcomers::Refused => {
                self.doors.send_replace(Doors::Shut);
            }
        }
        let world = self.world();
        let ids = world.connections_of(whom);
        for connection in ids.iter().filter_map(|id| world.connections.get(id)) {
            connection.outbox.breaker.set_hole(true);
        }
        ids.len()
    }

    fn heal(&self) -> usize {
        self.holes_for_newcomers.store(false, Ordering::SeqCst);
        self.open_doors();
        let world = self.world();
        world.backend.set_network(&world.settings, false);
        let mut healed = 0;
        for breaker in
            world.connections.values().map(|connection| &connection.outbox.breaker).chain(&world.limbo)
        {
            healed += usize::from(breaker.is_hole());
            breaker.set_hole(false);
        }
        healed
    }

    /// The process dies and is started again.
    fn restart(
        self: &Arc<Self>,
        end: Outgoing,
        down_ms: u64,
        burst_info: Option<&str>,
        burst_gap_ms: u64,
    ) -> Result<Value, FaultError> {
        let mut burst = 0;
        if let Some(info) = burst_info {
            let mut world = self.world();
            let ids = world.streams_of(&StreamChoice::default());
            burst = ids.len();
            for id in ids {
                world.tell_status(&id, Some("FAILED"), Some(info));
            }
        }
        if burst_gap_ms == 0 {
            let ended = self.end_process(end)?;
            self.undo_after(Some(down_ms), |shared| shared.open_doors());
            return Ok(json!({"struck": ended, "burst": burst}));
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(burst_gap_ms)).await;
            let Some(shared) = shared.upgrade() else { return };
            if let Err(error) = shared.end_process(end) {
                tracing::error!(%error, "the simulated restart failed");
            }
            shared.undo_after(Some(down_ms), |shared| shared.open_doors());
        });
        Ok(json!({"burst": burst}))
    }

    fn end_process(&self, end: Outgoing) -> Result<usize, FaultError> {
        self.set_frozen(false);
        self.doors.send_replace(Doors::Shut);
        let mut world = self.world();
        let ended = world.connections.len();
        for connection in world.connections.values() {
            let queued = match &end {
                Outgoing::Close { code, reason } => {
                    connection.outbox.push(Outgoing::Close { code: *code, reason: reason.clone() })
                }
                Outgoing::Cut(cut) => connection.outbox.push(Outgoing::Cut(*cut)),
                _ => false,
            };
            // A silent connection would never write its end, and one whose handshake is not done
            // has nobody to read the queue.
            if !queued || connection.outbox.breaker.is_hole() || connection.handshake.status == 0 {
                connection.outbox.breaker.cut(Cut::Reset);
            }
        }
        let backend =
            Backend::start(&world.settings).map_err(|error| FaultError::Media(error.to_string()))?;
        world.begin_epoch(backend);
        Ok(ended)
    }

    /// Cuts every connection.
    pub(super) fn cut_all(&self, how: Cut) {
        let world = self.world();
        for connection in world.connections.values() {
            connection.outbox.breaker.cut(how);
        }
    }

    /// Changes settings.
    ///
    /// # Errors
    /// When a key is unknown or a value has the wrong form.
    pub(super) fn switch(&self, changes: &Value) -> Result<(), serde_json::Error> {
        {
            let mut world = self.world();
            let settings = world.settings.with(changes)?;
            world.settings = Arc::new(settings);
            if changes.get("media_server").is_some() {
                world.backend.set_network(&world.settings, self.is_frozen());
            }
            let names = |section: &str, key: &str| {
                changes.get(section).is_some_and(|section| section.is_null() || section.get(key).is_some())
            };
            if names("handshake", "refuse_status") || names("handshake", "refuse_times") {
                world.spent.handshakes = 0;
            }
            if names("sessions", "refuse") {
                world.spent.connects = 0;
            }
            if names("streams", "refuse") {
                world.spent.streams.clear();
            }
        }
        self.switched.notify_waiters();
        Ok(())
    }
}

impl World {
    /// The faults that touch nothing but the world.
    fn fault(&mut self, fault: Fault) -> Result<usize, FaultError> {
        Ok(match fault {
            Fault::Drop { how, whom } => {
                let ids = self.connections_of(&whom);
                ids.iter().for_each(|id| self.cut(*id, how));
                ids.len()
            }
            Fault::KillSessions { how, whom } => {
                let numbers = self.sessions_of(&whom);
                for number in &numbers {
                    let socket = self.sessions.get(number).and_then(|session| session.attached);
                    self.end_session(*number, "killed");
                    if let Some(socket) = socket {
                        self.cut(socket, how);
                    }
                }
                numbers.len()
            }
            Fault::Close { code, reason, whom, keep_sessions } => {
                let ids = self.connections_of(&whom);
                for id in &ids {
                    self.close(*id, code, &reason);
                    if let Some(super::world::Role::Session(number)) =
                        self.connections.get(id).map(|connection| connection.role)
                        && !keep_sessions
                    {
                        self.end_session(number, "closed");
                    }
                }
                ids.len()
            }
            Fault::FailStream { streams, status, info } => {
                let ids = self.streams_of(&streams);
                let status = status.as_deref().unwrap_or("FAILED");
                ids.iter().for_each(|id| self.end_stream(id, Some((status, &info))));
                ids.len()
            }
            Fault::Withhold { streams, withheld } => {
                let ids = self.streams_of(&streams);
                ids.iter().for_each(|id| self.backend.withhold(id, withheld));
                ids.len()
            }
            Fault::Send { whom, message, data } => {
                let ids = self.connections_of(&whom);
                ids.iter().for_each(|id| self.send_on(*id, &message, &data));
                ids.len()
            }
            Fault::SendRaw { whom, text } => {
                let ids = self.connections_of(&whom);
                for connection in ids.iter().filter_map(|id| self.connections.get(id)) {
                    connection.outbox.push(Outgoing::Text(text.clone()));
                }
                ids.len()
            }
            Fault::IncomingCall { whom, caller, id } => {
                let session = self.sessions_of(&whom).first().copied().ok_or(FaultError::Nobody)?;
                self.incoming_call(session, &caller, id);
                1
            }
            Fault::EndCall { id } => {
                let ids = id.map_or_else(|| self.calls.keys().cloned().collect(), |id| vec![id]);
                ids.iter().filter(|id| self.end_call(id, "FINISH")).count()
            }
            Fault::RoomEvent { room, name, info } => {
                let members =
                    self.rooms.get(&room).map(|room| room.members.clone()).ok_or(FaultError::Nobody)?;
                let count = members.len();
                for member in members.into_values() {
                    self.send_room_event(member, &room, &name, &info);
                }
                count
            }
            Fault::ResetCounters => {
                self.counters = Counters::default();
                self.violations = Violations::default();
                self.journal.entries.clear();
                1
            }
            // Carried out before, outside of the world.
            _ => 0,
        })
    }
}
