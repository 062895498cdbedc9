//! Sessions: `connection`, resume by token, refusal, loss, linger and end (protocol S2.1, S7, S12).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::counters::{ViolationKind, count};
use super::dispatch::{Argument, flag, text};
use super::settings::{ResumeMode, VersionOrder};
use super::world::{ConnectionId, Outgoing, Progress, Role, Session, SessionNumber, World};

impl World {
    /// The first message of a signaling socket.
    pub(super) fn connect(&mut self, connection: ConnectionId, argument: Argument) {
        self.counters.connect_rate.add(Instant::now());
        if let Some((info, close)) = self.connect_refusal(&argument) {
            self.refuse_connect(connection, &info, close);
            return;
        }
        // An explicit `false` comes back to a kept session and takes the wish to be kept back.
        if self.settings.sessions.resume != ResumeMode::Off
            && argument.contains_key("keepAlive")
            && let Some(token) = text(&argument, "authToken").map(str::to_owned)
        {
            let keep_alive = flag(&argument, "keepAlive", false);
            if let Some(session) = self.tokens.get(&token).copied() {
                self.resume(connection, session, keep_alive);
                return;
            }
            if keep_alive && let Some(info) = self.settings.sessions.stale_token_info.clone() {
                self.refuse_connect(connection, &info, false);
                return;
            }
        }
        self.begin_session(connection, argument);
    }

    fn connect_refusal(&mut self, argument: &Argument) -> Option<(String, bool)> {
        let settings = self.settings.clone();
        let refusal = settings.sessions.refuse.as_ref()?;
        let applies = refusal.token.as_deref().is_none_or(|token| text(argument, "authToken") == Some(token))
            && refusal.app_key.as_deref().is_none_or(|key| text(argument, "appKey") == Some(key))
            && refusal
                .custom
                .as_ref()
                .is_none_or(|wanted| argument.get("custom").is_some_and(|custom| contains(custom, wanted)));
        if !applies || refusal.times.is_some_and(|times| self.spent.connects >= times) {
            return None;
        }
        self.spent.connects += 1;
        Some((refusal.info.clone(), refusal.close))
    }

    fn refuse_connect(&mut self, connection: ConnectionId, info: &str, close: bool) {
        self.note(None, "connection refused", "", "", info);
        self.send_on(
            connection,
            "fail",
            &json!([{"status": "FAILED", "info": info, "apiMethod": "ConnectionStatusEvent"}]),
        );
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.role = Role::Spent;
        }
        if close {
            self.close(connection, None, "");
        }
    }

    fn begin_session(&mut self, connection: ConnectionId, argument: Argument) {
        let number = self.number();
        let Some(socket) = self.connections.get_mut(&connection) else { return };
        socket.role = Role::Session(number);
        let random = uuid::Uuid::new_v4().simple().to_string();
        let id = format!("/{}/{}", socket.peer, random.get(..16).unwrap_or_default());
        let token = format!("/{}/{}-{random}", socket.peer, socket.local);
        let session = Session {
            number,
            id,
            token: token.clone(),
            app_key: text(&argument, "appKey").unwrap_or("defaultApp").to_owned(),
            connection: argument,
            attached: Some(connection),
            created: Instant::now(),
            streams: BTreeSet::new(),
            ended_streams: VecDeque::new(),
            asked: BTreeMap::new(),
            rooms: BTreeSet::new(),
            calls: BTreeSet::new(),
            media_sockets: Vec::new(),
            registered: false,
            resumed: 0,
            losses: 0,
        };
        self.sessions.insert(number, session);
        self.tokens.insert(token, number);
        self.note(Some(number), "session", "", "", "");
        self.greet(number);
        self.register(number);
    }

    fn resume(&mut self, connection: ConnectionId, number: SessionNumber, keep_alive: bool) {
        let new_token = self.settings.sessions.resume == ResumeMode::NewToken;
        let Some(socket) = self.connections.get_mut(&connection) else { return };
        socket.role = Role::Session(number);
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let old_socket = session.attached.replace(connection);
        session.resumed += 1;
        session.losses += 1;
        session.connection.insert("keepAlive".to_owned(), json!(keep_alive));
        if new_token {
            let token = format!("{}-resumed-{}", session.token, uuid::Uuid::new_v4().simple());
            self.tokens.remove(&session.token);
            session.token.clone_from(&token);
            self.tokens.insert(token, number);
        }
        self.counters.resumed += 1;
        self.note(Some(number), "session resumed", "", "", "");
        if let Some(old_socket) = old_socket {
            if let Some(old) = self.connections.get_mut(&old_socket) {
                old.role = Role::Spent;
            }
            self.close(old_socket, Some(1000), "resumed elsewhere");
        }
        self.greet(number);
        if self.sessions.get(&number).is_some_and(|session| session.registered) {
            self.send(number, "registered", &json!([{"status": "REGISTERED"}]));
        }
        if self.settings.sessions.status_after_resume {
            self.repeat_statuses(number);
        }
    }

    /// Sends `getUserData` and `getVersion`.
    fn greet(&mut self, number: SessionNumber) {
        let delay = self.settings.sessions.user_data_delay;
        self.after(delay, move |world| {
            let settings = world.settings.clone();
            let Some(session) = world.sessions.get(&number) else { return };
            let mut user_data = session.connection.clone();
            let own = [
                ("authToken", json!(session.token)),
                ("status", json!("ESTABLISHED")),
                ("useWsTunnel", json!(false)),
                ("useWsTunnelPacketization2", json!(false)),
                ("useBase64BinaryEncoding", json!(false)),
            ];
            user_data.extend(own.map(|(key, value)| (key.to_owned(), value)));
            if let Some(description) = &settings.sessions.metrics_description {
                user_data.insert("webRTCMetricsServerDescription".to_owned(), description.clone());
            }
            let version = json!([settings.server_version]);
            if settings.sessions.version_order == VersionOrder::Before {
                world.send(number, "getVersion", &version);
            }
            world.send(number, "getUserData", &json!([user_data]));
            if settings.sessions.version_order == VersionOrder::After {
                world.send(number, "getVersion", &version);
            }
        });
    }

    /// The interval passed: sends a ping, or ends a session whose client is silent. False ends the
    /// connection.
    pub(super) fn ping(&mut self, connection: ConnectionId) -> bool {
        let settings = self.settings.clone();
        if settings.pings.stalled || settings.pings.interval.is_zero() {
            return true;
        }
        let Some(socket) = self.connections.get_mut(&connection) else { return false };
        let media = match socket.role {
            Role::Session(_) => false,
            Role::Media(_) => true,
            Role::New | Role::Spent => return true,
        };
        if settings.pings.missed_max > 0 && socket.pongs_missed >= settings.pings.missed_max {
            let role = socket.role;
            socket.ended_by_us = true;
            count(&mut self.counters.ends, "missed pongs", settings.limits.keys_max);
            if let Role::Session(number) = role {
                self.end_session(number, "missed pongs");
            }
            return false;
        }
        socket.pings_open = socket.pings_open.saturating_add(1);
        socket.pongs_missed = socket.pongs_missed.saturating_add(1);
        let outbox = socket.outbox.clone();
        if settings.pings.websocket_pings {
            outbox.push(Outgoing::Ping);
        }
        let data = if media { json!([]) } else { self.empty_data() };
        self.send_on(connection, "ping", &data);
        true
    }

    pub(super) fn pong(&mut self, connection: ConnectionId) {
        let Some(socket) = self.connections.get_mut(&connection) else { return };
        socket.pongs_missed = 0;
        match socket.pings_open.checked_sub(1) {
            Some(rest) => socket.pings_open = rest,
            None => self.violation(connection, ViolationKind::PongWithoutPing, String::new()),
        }
    }

    /// A connection is gone. `clean` when the client said goodbye.
    pub(super) fn connection_ended(&mut self, connection: ConnectionId, clean: bool) {
        let Some(socket) = self.connections.remove(&connection) else { return };
        match socket.role {
            Role::Session(number) => {
                if self.sessions.get(&number).is_some_and(|session| session.attached == Some(connection)) {
                    self.session_lost(number, clean);
                }
            }
            Role::Media(number) => self.media_socket_ended(connection, number),
            Role::New | Role::Spent => {}
        }
    }

    fn session_lost(&mut self, number: SessionNumber, clean: bool) {
        let settings = self.settings.clone();
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.attached = None;
        session.losses += 1;
        let losses = session.losses;
        let keeps = settings.sessions.resume != ResumeMode::Off && session.wants_keep_alive();
        let mut linger = if clean && !settings.sessions.linger_after_close {
            Duration::ZERO
        } else {
            settings.sessions.linger
        };
        if keeps {
            linger = linger.max(settings.sessions.keep_alive_linger);
        }
        self.note(Some(number), "session lost", "", "", if clean { "closed" } else { "broken" });
        if linger.is_zero() {
            self.end_session(number, "Stopped by session disconnect");
            return;
        }
        if !settings.sessions.streams_survive_loss {
            self.hold_streams(number);
        }
        self.later(linger, move |world| {
            if world.sessions.get(&number).is_some_and(|s| s.attached.is_none() && s.losses == losses) {
                world.end_session(number, "linger over");
            }
        });
    }

    /// Ends a session and all that hangs on it. Its socket is left to the caller.
    pub(super) fn end_session(&mut self, number: SessionNumber, why: &str) {
        let Some(session) = self.sessions.get(&number) else { return };
        let (streams, rooms, calls) = (session.streams.clone(), session.rooms.clone(), session.calls.clone());
        let (sockets, token) = (session.media_sockets.clone(), session.token.clone());
        let attached = session.attached;
        for id in streams {
            self.end_stream(&id, None);
        }
        for room in rooms {
            self.leave_room(number, &room);
        }
        for call in calls {
            self.calls.remove(&call);
        }
        for socket in sockets {
            self.close(socket, None, "");
        }
        if let Some(socket) = attached.and_then(|attached| self.connections.get_mut(&attached)) {
            socket.role = Role::Spent;
        }
        self.tokens.remove(&token);
        self.sessions.remove(&number);
        self.note(Some(number), "session ended", "", "", why);
    }

    /// Tells a resumed session how its streams are.
    fn repeat_statuses(&mut self, number: SessionNumber) {
        let ids = self.sessions.get(&number).map(|session| session.streams.clone()).unwrap_or_default();
        for id in ids {
            match self.streams.get(&id).map(|stream| stream.progress) {
                Some(Progress::Live) => self.tell_status(&id, None, None),
                Some(Progress::Held) => {
                    self.end_stream(&id, Some(("FAILED", "Stopped by session disconnect")))
                }
                Some(Progress::Pending) | None => {}
            }
        }
    }
}

/// Whether all of `wanted` is found in `value`.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => contains_all(value, wanted),
        (value, wanted) => value == wanted,
    }
}

fn contains_all(value: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| contains(value, wanted)))
}
