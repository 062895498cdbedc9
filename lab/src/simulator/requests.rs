//! What clients ask of streams besides publish, play and stop: availability, snapshots, events
//! (protocol S2.3, S2.4).

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::counters::ViolationKind;
use super::dispatch::{Argument, text};
use super::settings::{SnapshotMode, StreamVerb};
use super::world::{ConnectionId, Progress, SessionNumber, World};

/// A 1×1 PNG.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

impl World {
    fn is_published(&self, name: &str) -> bool {
        self.names
            .get(name)
            .and_then(|id| self.streams.get(id))
            .is_some_and(|stream| stream.progress == Progress::Live)
    }

    pub(super) fn available(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        argument: &Argument,
    ) {
        let (Some(id), Some(name)) = (text(argument, "mediaSessionId"), text(argument, "name")) else {
            self.violation(connection, ViolationKind::MalformedMessage, "availableStream".to_owned());
            return;
        };
        let answer = if self.is_published(name) {
            json!([{"id": id, "status": "true", "info": ""}])
        } else {
            json!([{"id": id, "status": "false", "info": "Stream not found"}])
        };
        self.send(session, "availableStream", &answer);
    }

    pub(super) fn snapshot(&mut self, connection: ConnectionId, session: SessionNumber, argument: &Argument) {
        let (Some(id), Some(name)) = (text(argument, "mediaSessionId"), text(argument, "name")) else {
            self.violation(connection, ViolationKind::MalformedMessage, "snapshot".to_owned());
            return;
        };
        let mode = self.settings.streams.snapshot;
        let failure = if mode == SnapshotMode::Fail {
            Some("Failed by error")
        } else if self.is_published(name) {
            None
        } else {
            Some("Stream not found")
        };
        let event =
            |kind: &str, payload: Value| json!([{"mediaSessionId": id, "type": kind, "payload": payload}]);
        match (mode, failure) {
            (SnapshotMode::Silent, _) => {}
            (SnapshotMode::Status, None) => {
                let data = json!([{
                    "mediaSessionId": id, "name": name, "status": "SNAPSHOT_COMPLETE", "info": self.snapshot_text(),
                }]);
                self.send(session, "notifyStreamStatusEvent", &data);
            }
            (SnapshotMode::Status, Some(info)) => {
                let data = json!([{"mediaSessionId": id, "name": name, "status": "FAILED", "info": info}]);
                self.send(session, "notifyStreamStatusEvent", &data);
            }
            (_, None) => {
                let data = event("snapshotCompleted", json!({"snapshot": self.snapshot_text()}));
                self.send(session, "notifyStreamEvent", &data);
            }
            (_, Some(info)) => {
                let data = event("snapshotFailed", json!({"info": info}));
                self.send(session, "notifyStreamEvent", &data);
            }
        }
    }

    fn snapshot_text(&self) -> String {
        match self.settings.streams.snapshot_bytes {
            0 => PIXEL.to_owned(),
            bytes => base64::engine::general_purpose::STANDARD.encode(vec![0_u8; bytes / 4 * 3]),
        }
    }

    /// Passes an event on to the players, each under its own id, and remembers mute states.
    pub(super) fn stream_event(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        argument: &Argument,
    ) {
        let (Some(id), Some(kind)) = (text(argument, "mediaSessionId"), text(argument, "type")) else {
            self.violation(connection, ViolationKind::MalformedMessage, "sendStreamEvent".to_owned());
            return;
        };
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.session == session) else {
            return;
        };
        match kind {
            "audioMuted" => stream.audio_muted = true,
            "audioUnmuted" => stream.audio_muted = false,
            "videoMuted" => stream.video_muted = true,
            "videoUnmuted" => stream.video_muted = false,
            _ => {}
        }
        if stream.verb != StreamVerb::Publish {
            return;
        }
        let name = stream.name.clone();
        for player in self.players.get(&name).cloned().unwrap_or_default() {
            let Some(listener) = self.streams.get(&player).map(|stream| stream.session) else { continue };
            let mut event = json!({"mediaSessionId": player, "type": kind});
            if let (Value::Object(event), Some(payload)) = (&mut event, argument.get("payload")) {
                event.insert("payload".to_owned(), payload.clone());
            }
            self.send(listener, "notifyStreamEvent", &json!([event]));
        }
    }

    /// Sends the quality messages of a stream for as long as it lives, if they are wanted.
    pub(super) fn send_rates(&self, id: &str, serial: u64) {
        let interval: Duration = self.settings.streams.rate_interval;
        if interval.is_zero() {
            return;
        }
        let id = id.to_owned();
        self.later(interval, move |world| {
            let Some(stream) = world.stream_of(&id, serial) else { return };
            let session = stream.session;
            let name =
                if stream.verb == StreamVerb::Publish { "inboundVideoRate" } else { "outboundVideoRate" };
            world.send(session, name, &json!([{"mediaSessionId": id, "videoRate": 500_000}]));
            world.send_rates(&id, serial);
        });
    }
}
