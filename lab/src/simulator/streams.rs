//! Publishes and plays: asked for, answered, stopped, ended (protocol S2.3, S2.4, S12.2 to S12.4).

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::backend::{AnswerRequest, codec_name};
use super::counters::{ViolationKind, count, unix_ms};
use super::dispatch::{Argument, flag, text};
use super::fake;
use super::refusal::Refusal;
use super::settings::StreamVerb;
use super::world::{ConnectionId, Progress, SessionNumber, Stream, World};

/// Ended streams remembered per session.
const ENDED_STREAMS_MAX: usize = 200;

impl StreamVerb {
    const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

impl World {
    pub(super) fn publish(&mut self, connection: ConnectionId, session: SessionNumber, argument: &Argument) {
        self.begin_stream(connection, session, StreamVerb::Publish, argument);
    }

    pub(super) fn play(&mut self, connection: ConnectionId, session: SessionNumber, argument: &Argument) {
        self.begin_stream(connection, session, StreamVerb::Play, argument);
    }

    fn begin_stream(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: StreamVerb,
        argument: &Argument,
    ) {
        let (Some(name), Some(sdp)) = (text(argument, "name"), text(argument, "sdp")) else {
            self.violation(
                connection,
                ViolationKind::MalformedMessage,
                format!("{}: name or sdp", verb.word()),
            );
            return;
        };
        let Some(id) = text(argument, "mediaSessionId") else {
            self.violation(connection, ViolationKind::MalformedMessage, format!("{}: no id", verb.word()));
            self.refuse_stream(session, verb, argument, "MediaSessionId is null", false);
            return;
        };
        let settings = self.settings.clone();
        let counts = match verb {
            StreamVerb::Publish => &mut self.counters.publishes,
            StreamVerb::Play => &mut self.counters.plays,
        };
        count(counts, name, settings.limits.keys_max);
        self.note(Some(session), verb.word(), name, id, "");
        let fresh = self.streams_use_id(id);
        if !fresh {
            self.violation(connection, ViolationKind::ReusedMediaSessionId, format!("{name} {id}"));
        }
        if let Some((info, by_fail)) = self.stream_refusal(connection, session, verb, id, name, sdp) {
            self.refuse_stream(session, verb, argument, &info, by_fail);
            return;
        }
        let number = self.number();
        let stream = new_stream(argument, id, name, sdp, verb, session, number);
        self.link_stream(stream);
        if settings.streams.pending_first {
            self.tell_status(id, Some("PENDING"), None);
        }
        let delay = match verb {
            StreamVerb::Publish => settings.streams.publish_delay,
            StreamVerb::Play => settings.streams.play_delay,
        };
        let request = AnswerRequest {
            id: id.to_owned(),
            name: name.to_owned(),
            published: verb == StreamVerb::Publish,
            offer: sdp.to_owned(),
            transport_tcp: text(argument, "transport") == Some("TCP"),
        };
        self.after(delay, move |world| world.answer_stream(request, number));
    }

    /// Notes an id as used; false when it was before. Past the bound nothing is remembered.
    fn streams_use_id(&mut self, id: &str) -> bool {
        if self.used_ids.contains(id) {
            return false;
        }
        if self.used_ids.len() < self.settings.limits.ids_max {
            self.used_ids.insert(id.to_owned());
        }
        true
    }

    /// Why a stream is refused, and whether by `fail`.
    fn stream_refusal(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: StreamVerb,
        id: &str,
        name: &str,
        sdp: &str,
    ) -> Option<(String, bool)> {
        let settings = self.settings.clone();
        for (index, refusal) in settings.streams.refuse.iter().enumerate() {
            let applies = refusal.verb.is_none_or(|wanted| wanted == verb)
                && refusal.name.as_deref().is_none_or(|wanted| wanted == name);
            let used = self.spent.streams.entry(index).or_default();
            if applies && refusal.times.is_none_or(|times| *used < times) {
                *used += 1;
                return Some((refusal.info.clone(), refusal.by_fail));
            }
        }
        if self.streams.contains_key(id) {
            return Some(("MediaSessionId is already in use".to_owned(), false));
        }
        let holder = self.names.get(name).and_then(|id| self.streams.get(id));
        if verb == StreamVerb::Publish {
            if let Some(holder) = holder {
                if holder.session == session {
                    self.violation(connection, ViolationKind::DuplicatePublish, format!("{name} {id}"));
                }
                return Some(("Stream name is already in use".to_owned(), false));
            }
        } else if !holder.is_some_and(|holder| holder.progress == Progress::Live) && !pulled(name) {
            return Some(("Stream not found".to_owned(), false));
        }
        let refused = match verb {
            StreamVerb::Publish => &settings.streams.refuse_publish_codecs,
            StreamVerb::Play => &settings.streams.refuse_play_codecs,
        };
        let offered = fake::offered_codecs(sdp);
        let hit = refused
            .iter()
            .any(|codec| offered.iter().any(|name| name.eq_ignore_ascii_case(codec_name(*codec))));
        hit.then(|| ("No common codecs".to_owned(), false))
    }

    fn refuse_stream(
        &mut self,
        session: SessionNumber,
        verb: StreamVerb,
        argument: &Argument,
        info: &str,
        by_fail: bool,
    ) {
        let id = text(argument, "mediaSessionId").unwrap_or_default();
        let name = text(argument, "name").unwrap_or_default();
        let outcome = format!("{}: {info}", verb.word());
        count(&mut self.counters.outcomes, &outcome, self.settings.limits.keys_max);
        self.note(Some(session), "refused", name, id, &outcome);
        if let Some(session) = self.sessions.get_mut(&session) {
            remember_ended(session, id);
        }
        if by_fail {
            let data =
                json!([{"status": "FAILED", "info": info, "apiMethod": "StreamStatusEvent", "id": id}]);
            self.send(session, "fail", &data);
        } else {
            let mut data = Map::new();
            for key in ["mediaSessionId", "name", "hasVideo", "hasAudio", "record", "mediaProvider"] {
                if let Some(value) = argument.get(key) {
                    data.insert(key.to_owned(), value.clone());
                }
            }
            data.insert("published".to_owned(), json!(verb == StreamVerb::Publish));
            data.insert("status".to_owned(), json!("FAILED"));
            data.insert("info".to_owned(), json!(info));
            self.send(session, "notifyStreamStatusEvent", &json!([data]));
        }
    }

    fn link_stream(&mut self, stream: Stream) {
        let (id, name) = (stream.id.clone(), stream.name.clone());
        match stream.verb {
            StreamVerb::Publish => {
                self.names.insert(name, id.clone());
            }
            StreamVerb::Play => {
                self.players.entry(name).or_default().insert(id.clone());
            }
        }
        if let Some(session) = self.sessions.get_mut(&stream.session) {
            session.streams.insert(id.clone());
        }
        self.streams.insert(id, stream);
    }

    /// Asks for an answer, unless the stream ended meanwhile.
    fn answer_stream(&mut self, request: AnswerRequest, serial: u64) {
        let Some(stream) = self.stream_of(&request.id, serial) else { return };
        if stream.verb == StreamVerb::Play && stream.provider != "WebRTC" {
            let answer = if stream.provider == "MSE" {
                self.backend.mse_answer(&request.offer)
            } else {
                Ok(fake::fixed_player_answer(&request.offer))
            };
            self.stream_answered(&request.id, serial, answer);
            return;
        }
        if let Some(answer) = self.backend.answer_at_once(&self.settings, &request) {
            self.stream_answered(&request.id, serial, answer);
            return;
        }
        let (backend, settings, epoch) = (self.backend.clone(), self.settings.clone(), self.epoch);
        let Some(shared) = self.shared.upgrade() else { return };
        tokio::spawn(async move {
            let answer = backend.answer(&settings, &request).await;
            shared.thawed().await;
            let mut world = shared.world();
            if world.epoch == epoch {
                world.stream_answered(&request.id, serial, answer);
            } else {
                backend.close(&request.id);
            }
        });
    }

    fn stream_answered(&mut self, id: &str, serial: u64, answer: Result<String, Refusal>) {
        let Some(stream) = self.stream_of(id, serial) else {
            // Stopped while the answer was made.
            if !self.streams.contains_key(id) {
                self.backend.close(id);
            }
            return;
        };
        let (session, verb, name) = (stream.session, stream.verb, stream.name.clone());
        let sdp = match answer {
            Ok(sdp) => sdp,
            Err(refusal) => {
                let info = refusal.to_string();
                let outcome = format!("{}: {info}", verb.word());
                count(&mut self.counters.outcomes, &outcome, self.settings.limits.keys_max);
                self.end_stream(id, Some(("FAILED", &info)));
                return;
            }
        };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.progress = Progress::Live;
        }
        let outcome = format!("{}: accepted", verb.word());
        count(&mut self.counters.outcomes, &outcome, self.settings.limits.keys_max);
        self.note(Some(session), "accepted", &name, id, verb.word());
        let remote =
            if self.settings.streams.third_sdp_argument { json!([id, sdp, true]) } else { json!([id, sdp]) };
        if self.settings.streams.status_before_sdp {
            self.tell_status(id, None, None);
            self.send(session, "setRemoteSDP", &remote);
        } else {
            self.send(session, "setRemoteSDP", &remote);
            self.tell_status(id, None, None);
        }
        match verb {
            StreamVerb::Publish => self.room_stream_started(id),
            StreamVerb::Play => self.pair_media_sockets(session),
        }
        self.send_rates(id, serial);
        if verb == StreamVerb::Publish {
            self.watch_rtp_activity(id, serial);
        }
    }

    /// Fails a publish of which no packet came in time, if that is wanted.
    fn watch_rtp_activity(&self, id: &str, serial: u64) {
        let Some(limit) = self.settings.streams.rtp_activity else { return };
        let id = id.to_owned();
        self.later(limit, move |world| {
            let idle = world.backend.packets_received(&id) == Some(0);
            if idle && world.stream_of(&id, serial).is_some() {
                world.end_stream(&id, Some(("FAILED", "Failed by RTP activity")));
            }
        });
    }

    pub(super) fn stream_of(&self, id: &str, serial: u64) -> Option<&Stream> {
        self.streams.get(id).filter(|stream| stream.serial == serial)
    }

    /// Sends a stream's status to its session; without one given, the status that it has.
    pub(super) fn tell_status(&mut self, id: &str, status: Option<&str>, info: Option<&str>) {
        let Some(stream) = self.streams.get(id) else { return };
        let publish = stream.verb == StreamVerb::Publish;
        let status = status.unwrap_or(if publish { "PUBLISHING" } else { "PLAYING" });
        let (audio_muted, video_muted) = self.mute_states(stream);
        let mut data = json!({
            "mediaSessionId": stream.id,
            "name": stream.name,
            "published": publish,
            "hasVideo": stream.has_video,
            "hasAudio": stream.has_audio,
            "status": status,
            "record": stream.record,
            "width": 0, "height": 0, "bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "quality": 0,
            "history": false, "gop": 0, "fps": 0, "audioBitrate": 0, "codecImpl": "",
            "transport": if stream.transport_tcp { "TCP" } else { "UDP" },
            "cvoExtension": false,
            "createDate": stream.created_ms,
            "mediaType": stream.verb.word(),
            "audioState": {"muted": audio_muted},
            "videoState": {"muted": video_muted},
            "mediaProvider": stream.provider,
        });
        if let Value::Object(fields) = &mut data {
            if let Some(info) = info {
                fields.insert("info".to_owned(), json!(info));
            }
            if let Some(custom) = &stream.custom {
                fields.insert("custom".to_owned(), custom.clone());
            }
            if stream.record && publish {
                fields.insert("recordName".to_owned(), json!(format!("stream-{}.mp4", stream.id)));
            }
        }
        let session = stream.session;
        self.send(session, "notifyStreamStatusEvent", &json!([data]));
    }

    /// A player learns the mute states of its publisher.
    fn mute_states(&self, stream: &Stream) -> (bool, bool) {
        let source = match stream.verb {
            StreamVerb::Publish => Some(stream),
            StreamVerb::Play => self.names.get(&stream.name).and_then(|id| self.streams.get(id)),
        };
        source.map_or((false, false), |source| (source.audio_muted, source.video_muted))
    }

    pub(super) fn stop(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: &str,
        argument: &Argument,
    ) {
        let id = text(argument, "mediaSessionId").unwrap_or_default();
        let name = text(argument, "name").unwrap_or_default();
        self.note(Some(session), "stop", name, id, verb);
        let Some(stream) = self.streams.get(id) else {
            let window = self.settings.limits.late_stop_max;
            let late = self.sessions.get(&session).is_some_and(|session| {
                session.ended_streams.iter().any(|(ended, at)| ended == id && at.elapsed() < window)
            });
            if late {
                self.counters.late_stops += 1;
            } else {
                self.violation(connection, ViolationKind::StopOfNothing, format!("{verb} {name} {id}"));
            }
            return;
        };
        if stream.session != session {
            self.violation(connection, ViolationKind::StopOfForeignStream, format!("{verb} {name} {id}"));
            return;
        }
        let serial = stream.serial;
        let status = match stream.verb {
            StreamVerb::Publish => "UNPUBLISHED",
            StreamVerb::Play => "STOPPED",
        };
        if (verb == "unPublishStream") != (stream.verb == StreamVerb::Publish) {
            self.violation(connection, ViolationKind::StopOfWrongKind, format!("{verb} {name} {id}"));
        }
        let id = id.to_owned();
        let delay = self.settings.streams.stop_delay;
        self.after(delay, move |world| {
            if world.stream_of(&id, serial).is_some() {
                world.end_stream(&id, Some((status, "Stopped by user")));
            }
        });
    }

    /// Ends a stream; its session hears `told` (status and info), the players of a publish hear
    /// that it stopped.
    pub(super) fn end_stream(&mut self, id: &str, told: Option<(&str, &str)>) {
        if let Some((status, info)) = told {
            self.tell_status(id, Some(status), Some(info));
        }
        let Some(stream) = self.streams.remove(id) else { return };
        if let Some(feed) = &stream.feed {
            feed.abort();
        }
        if let Some(session) = self.sessions.get_mut(&stream.session) {
            session.streams.remove(id);
            remember_ended(session, id);
        }
        if stream.progress != Progress::Held {
            self.backend.close(id);
        }
        let (status, info) = told.unwrap_or(("ended", ""));
        self.note(Some(stream.session), "stream ended", &stream.name, id, &format!("{status} {info}"));
        match stream.verb {
            StreamVerb::Publish => {
                self.names.remove(&stream.name);
                self.room_stream_ended(&stream);
                if stream.progress != Progress::Held {
                    self.end_players(&stream.name);
                }
            }
            StreamVerb::Play => {
                if let Some(players) = self.players.get_mut(&stream.name) {
                    players.remove(id);
                    if players.is_empty() {
                        self.players.remove(&stream.name);
                    }
                }
            }
        }
    }

    fn end_players(&mut self, name: &str) {
        if !self.settings.streams.players_told {
            return;
        }
        for player in self.players.get(name).cloned().unwrap_or_default() {
            self.end_stream(&player, Some(("FAILED", "Stopped by publisher stop")));
        }
    }

    /// The streams of a lost session stop, but their names and ids stay held.
    pub(super) fn hold_streams(&mut self, session: SessionNumber) {
        let ids = self.sessions.get(&session).map(|session| session.streams.clone()).unwrap_or_default();
        for id in ids {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.progress = Progress::Held;
            if let Some(feed) = stream.feed.take() {
                feed.abort();
            }
            let (verb, name) = (stream.verb, stream.name.clone());
            self.backend.close(&id);
            if verb == StreamVerb::Publish {
                self.end_players(&name);
            }
        }
    }
}

/// Names that the server fetches from elsewhere need no publisher.
fn pulled(name: &str) -> bool {
    ["rtsp://", "rtmp://", "vod://"].iter().any(|scheme| name.starts_with(scheme))
}

fn remember_ended(session: &mut super::world::Session, id: &str) {
    if session.ended_streams.len() == ENDED_STREAMS_MAX {
        session.ended_streams.pop_front();
    }
    session.ended_streams.push_back((id.to_owned(), Instant::now()));
}

fn new_stream(
    argument: &Argument,
    id: &str,
    name: &str,
    sdp: &str,
    verb: StreamVerb,
    session: SessionNumber,
    serial: u64,
) -> Stream {
    let custom = argument.get("custom").cloned();
    let room =
        custom.as_ref().and_then(|custom| custom.get("name")).and_then(Value::as_str).map(str::to_owned);
    Stream {
        id: id.to_owned(),
        name: name.to_owned(),
        verb,
        session,
        serial,
        progress: Progress::Pending,
        provider: text(argument, "mediaProvider").unwrap_or("WebRTC").to_owned(),
        transport_tcp: text(argument, "transport") == Some("TCP"),
        has_video: flag(argument, "hasVideo", true),
        has_audio: flag(argument, "hasAudio", true),
        record: flag(argument, "record", false),
        custom,
        room,
        offered_codecs: fake::offered_codecs(sdp),
        audio_muted: false,
        video_muted: false,
        created: Instant::now(),
        created_ms: unix_ms(),
        media_socket: None,
        feed: None,
    }
}
