//! What the control port and in-process tests see of the server, as JSON.

use serde_json::{Value, json};

use super::durations::as_millis;
use super::shared::Shared;
use super::world::{Connection, Progress, Role, Session, Stream, World};

impl Shared {
    /// Everything.
    pub(super) fn state(&self) -> Value {
        let mut state = self.summary();
        let world = self.world();
        let mut connections: Vec<_> = world.connections.iter().collect();
        connections.sort_unstable_by_key(|(id, _)| **id);
        let connections: Vec<Value> =
            connections.into_iter().map(|(id, connection)| connection_state(*id, connection)).collect();
        let mut sessions: Vec<&Session> = world.sessions.values().collect();
        sessions.sort_unstable_by_key(|session| session.number);
        let sessions: Vec<Value> = sessions.into_iter().map(|session| world.session_state(session)).collect();
        let mut streams: Vec<&Stream> = world.streams.values().collect();
        streams.sort_unstable_by_key(|stream| stream.serial);
        let streams: Vec<Value> = streams.into_iter().map(stream_state).collect();
        if let Value::Object(fields) = &mut state {
            let more = json!({
                "connections": connections,
                "sessions": sessions,
                "streams": streams,
                "rooms": world.rooms.iter().map(|(name, room)| (name.clone(), json!(room.members))).collect::<serde_json::Map<_, _>>(),
                "calls": world.calls.values().map(|call| json!({
                    "id": call.id, "session": call.session, "incoming": call.incoming, "status": call.status,
                })).collect::<Vec<_>>(),
                "handshakes": world.handshakes,
                "past": world.past,
            });
            if let Value::Object(more) = more {
                fields.extend(more);
            }
        }
        state
    }

    /// The counters alone.
    pub(super) fn summary(&self) -> Value {
        let frozen = self.is_frozen();
        let doors = format!("{:?}", *self.doors.borrow()).to_lowercase();
        let world = self.world();
        let live = |progress| world.streams.values().filter(|stream| stream.progress == progress).count();
        json!({
            "process": {
                "pid": std::process::id(),
                "start_id": world.start_id,
                "epoch": world.epoch,
                "uptime_ms": as_millis(world.started.elapsed()),
                "frozen": frozen,
                "doors": doors,
            },
            "now": {
                "connections": world.connections.len(),
                "sessions": world.sessions.len(),
                "lingering": world.sessions.values().filter(|session| session.attached.is_none()).count(),
                "publishes": world.names.len(),
                "plays": world.players.values().map(std::collections::BTreeSet::len).sum::<usize>(),
                "streams_live": live(Progress::Live),
                "streams_pending": live(Progress::Pending),
                "streams_held": live(Progress::Held),
            },
            "counters": world.counters.state(),
            "media": world.backend.counters(),
            "violations": world.violations.state(),
            "journal": {"kept": world.journal.entries.len(), "dropped": world.journal.dropped},
        })
    }
}

impl World {
    fn session_state(&self, session: &Session) -> Value {
        let pongs_missed = session
            .attached
            .and_then(|id| self.connections.get(&id))
            .map(|connection| connection.pongs_missed);
        // What the client said of itself, without what opens doors.
        let mut connection = session.connection.clone();
        for secret in ["sipPassword", "authToken"] {
            if connection.contains_key(secret) {
                connection.insert(secret.to_owned(), json!("…"));
            }
        }
        json!({
            "number": session.number,
            "id": session.id,
            "authToken": session.token,
            "appKey": session.app_key,
            "connection": connection,
            "attached": session.attached,
            "age_ms": as_millis(session.created.elapsed()),
            "registered": session.registered,
            "resumed": session.resumed,
            "asked": session.asked,
            "streams": session.streams,
            "rooms": session.rooms,
            "calls": session.calls,
            "media_sockets": session.media_sockets,
            "pongs_missed": pongs_missed,
        })
    }
}

fn connection_state(id: u64, connection: &Connection) -> Value {
    let (role, session) = match connection.role {
        Role::New => ("new", None),
        Role::Session(session) => ("signaling", Some(session)),
        Role::Media(session) => ("media", Some(session)),
        Role::Spent => ("spent", None),
    };
    json!({
        "id": id,
        "peer": connection.peer.to_string(),
        "role": role,
        "session": session,
        "silent": connection.outbox.breaker.is_hole(),
        "age_ms": as_millis(connection.opened.elapsed()),
        "handshake": connection.handshake,
    })
}

fn stream_state(stream: &Stream) -> Value {
    json!({
        "mediaSessionId": stream.id,
        "name": stream.name,
        "verb": stream.verb,
        "session": stream.session,
        "progress": match stream.progress {
            Progress::Pending => "pending",
            Progress::Live => "live",
            Progress::Held => "held",
        },
        "mediaProvider": stream.provider,
        "room": stream.room,
        "offered_codecs": stream.offered_codecs,
        "audio_muted": stream.audio_muted,
        "video_muted": stream.video_muted,
        "media_socket": stream.media_socket,
        "age_ms": as_millis(stream.created.elapsed()),
    })
}
