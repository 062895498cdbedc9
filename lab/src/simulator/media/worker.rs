//! The media thread: takes commands, forwards RTP from publishers to players, asks for key frames.
//! Owns all media state; nothing here is shared but the counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use str0m::bwe::BweKind;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::RtpPacket;
use str0m::{Event, IceConnectionState, IceCreds};
use tokio::sync::{mpsc, oneshot};

use super::answer::MediaRefusal;
use super::channels::{Channel, Channels, KEY_FRAME_RETRY};
use super::codec::starts_key_frame;
use super::counters::{MediaCounters, StreamCounters};
use super::engine::{Engine, EngineEvent, TransportId};
use super::forward::Unsent;
use super::leg::{self, Identity, Line, Request};
use super::network::NetworkConditions;
use super::settings::{AnswerOptions, MediaSettings};

/// The longest a turn waits when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// What the handle asks of the thread.
pub(crate) enum Command {
    Open {
        id: String,
        name: String,
        offer: String,
        options: Box<AnswerOptions>,
        publish: bool,
        reply: oneshot::Sender<Result<String, MediaRefusal>>,
    },
    PlayMse {
        id: String,
        name: String,
        records: mpsc::Sender<Bytes>,
    },
    Close {
        id: String,
    },
    Withhold {
        id: String,
        withheld: bool,
    },
    SetNetwork(NetworkConditions),
    RequestKeyFrame {
        name: String,
    },
    RequestBitrate {
        name: String,
        bits_per_second: u64,
    },
    RenewIce {
        id: String,
        reply: oneshot::Sender<Option<String>>,
    },
}

struct Leg {
    name: String,
    publish: bool,
    lines: Vec<Line>,
    transports: Vec<TransportId>,
    answer: String,
    connected: usize,
    /// ICE state per transport.
    ice: HashMap<TransportId, IceConnectionState>,
    /// It is sent no packets.
    withheld: bool,
}

/// State of the media thread.
pub(crate) struct Worker {
    engine: Engine,
    identity: Identity,
    settings: MediaSettings,
    random: SmallRng,
    commands: Receiver<Command>,
    legs: HashMap<String, Leg>,
    channels: Channels,
    by_transport: HashMap<TransportId, Arc<str>>,
    counters: Arc<Mutex<MediaCounters>>,
}

impl Worker {
    pub(crate) fn new(
        engine: Engine,
        identity: Identity,
        settings: MediaSettings,
        commands: Receiver<Command>,
        counters: Arc<Mutex<MediaCounters>>,
    ) -> Self {
        let random = SmallRng::seed_from_u64(settings.seed.wrapping_add(1));
        Self {
            engine,
            identity,
            settings,
            random,
            commands,
            legs: HashMap::new(),
            channels: Channels::default(),
            by_transport: HashMap::new(),
            counters,
        }
    }

    /// Runs until the last handle is gone.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.command(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let waiting = self.retry_key_frames();
            let wait = if waiting { KEY_FRAME_RETRY } else { IDLE_WAIT };
            self.engine.turn(wait, &mut events);
            if !events.is_empty() {
                let shared = Arc::clone(&self.counters);
                let mut counters = shared.lock();
                for event in events.drain(..) {
                    self.event(&mut counters, event);
                }
            }
        }
    }

    // === Commands ===

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { id, name, offer, options, publish, reply } => {
                let request = Request { id: &id, offer: &offer, options: &options, publish };
                let result = self.open(&request, &name);
                let mut counters = self.counters.lock();
                match (&result, publish) {
                    (Ok(_), true) => counters.totals.publishes += 1,
                    (Ok(_), false) => counters.totals.plays += 1,
                    (Err(_), _) => counters.totals.refused += 1,
                }
                drop(counters);
                if reply.send(result).is_err() {
                    // Nobody waits for the answer any more, so nobody will ever close it.
                    self.close(&id);
                }
            }
            Command::PlayMse { id, name, records } => {
                self.counters.lock().totals.mse_plays += 1;
                self.channels.play_mse(&name, id, records);
                self.request_key_frame(&name);
            }
            Command::Close { id } => self.close(&id),
            Command::Withhold { id, withheld } => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.withheld = withheld;
                }
            }
            Command::SetNetwork(conditions) => self.engine.set_network(conditions),
            Command::RequestKeyFrame { name } => self.request_key_frame(&name),
            Command::RequestBitrate { name, bits_per_second } => {
                self.request_bitrate(&name, bits_per_second);
            }
            Command::RenewIce { id, reply } => {
                let _ = reply.send(self.renew_ice(&id));
            }
        }
    }

    fn open(&mut self, request: &Request<'_>, name: &str) -> Result<String, MediaRefusal> {
        if self.legs.contains_key(request.id) {
            return Err(MediaRefusal::IdInUse);
        }
        if self.legs.len() >= self.settings.streams_max {
            return Err(MediaRefusal::TooManyStreams);
        }
        if request.publish && self.channels.is_published(name) {
            return Err(MediaRefusal::NameInUse);
        }
        let settings = &self.settings;
        let open = leg::open(&mut self.engine, &self.identity, settings, &mut self.random, request)?;
        let id = request.id.to_owned();
        let shared: Arc<str> = id.as_str().into();
        for transport in &open.transports {
            self.by_transport.insert(*transport, Arc::clone(&shared));
        }
        let counters = StreamCounters::new(name, request.publish);
        self.counters.lock().streams.insert(id.clone(), counters);
        if request.publish {
            self.channels.publish(name, &id);
        } else {
            self.channels.play(name, &id);
        }
        let leg = Leg {
            name: name.to_owned(),
            publish: request.publish,
            lines: open.lines,
            transports: open.transports,
            answer: open.answer.clone(),
            connected: 0,
            ice: HashMap::new(),
            withheld: false,
        };
        self.legs.insert(id, leg);
        Ok(open.answer)
    }

    fn close(&mut self, id: &str) {
        self.channels.leave(id);
        let Some(leg) = self.legs.remove(id) else {
            return;
        };
        for transport in leg.transports {
            self.engine.remove(transport);
            self.by_transport.remove(&transport);
        }
        self.counters.lock().streams.remove(id);
        if leg.publish {
            for player in self.channels.get(&leg.name).into_iter().flat_map(Channel::players) {
                let lines = self.legs.get_mut(player).map(|leg| &mut leg.lines);
                for outgoing in lines.into_iter().flatten().filter_map(|line| line.outgoing.as_mut()) {
                    outgoing.detach();
                }
            }
        }
    }

    /// New ICE credentials for a leg whose DTLS and SRTP go on; returns the description with them.
    fn renew_ice(&mut self, id: &str) -> Option<String> {
        let leg = self.legs.get_mut(id)?;
        for transport in &leg.transports {
            let mut api = self.engine.rtc(*transport)?.direct_api();
            let (old, new) = (api.local_ice_credentials(), IceCreds::new());
            leg.answer = leg
                .answer
                .replace(&format!("a=ice-ufrag:{}\r\n", old.ufrag), &format!("a=ice-ufrag:{}\r\n", new.ufrag))
                .replace(&format!("a=ice-pwd:{}\r\n", old.pass), &format!("a=ice-pwd:{}\r\n", new.pass));
            api.set_local_ice_credentials(new);
        }
        Some(leg.answer.clone())
    }

    // === Events ===

    fn event(&mut self, counters: &mut MediaCounters, event: EngineEvent) {
        match event {
            EngineEvent::Rtc(transport, event) => {
                let Some(id) = self.by_transport.get(&transport).cloned() else {
                    return;
                };
                self.rtc_event(counters, transport, &id, *event);
            }
            // Nothing is watched here.
            EngineEvent::Seen(..) => {}
            EngineEvent::Failed(transport) => {
                if let Some(id) = self.by_transport.remove(&transport)
                    && let Some(stream) = counters.streams.get_mut(&*id)
                {
                    stream.dtls = "failed";
                }
            }
        }
    }

    fn rtc_event(&mut self, counters: &mut MediaCounters, transport: TransportId, id: &str, event: Event) {
        match event {
            Event::RtpPacket(packet) => self.packet(counters, transport, id, &packet),
            Event::KeyframeRequest(request) => self.key_frame_wanted(counters, id, request.mid),
            Event::Connected => {
                let Some(leg) = self.legs.get_mut(id) else {
                    return;
                };
                leg.connected += 1;
                if let Some(stream) = counters.streams.get_mut(id)
                    && leg.connected >= leg.transports.len()
                {
                    stream.dtls = "connected";
                }
            }
            Event::IceConnectionStateChange(state) => {
                let Some(leg) = self.legs.get_mut(id) else { return };
                leg.ice.insert(transport, state);
                if let Some(stream) = counters.streams.get_mut(id) {
                    stream.ice = leg.worst_ice();
                }
            }
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, mid }) => {
                self.with_track(counters, id, mid, |track| track.estimate_bps = Some(estimate.as_u64()));
            }
            Event::MediaIngressStats(stats) => {
                self.with_track(counters, id, stats.mid, |track| track.nacks = stats.nacks);
            }
            Event::MediaEgressStats(stats) => {
                self.with_track(counters, id, stats.mid, |track| track.nacks = stats.nacks);
            }
            _ => {}
        }
    }

    fn with_track(
        &self,
        counters: &mut MediaCounters,
        id: &str,
        mid: Mid,
        change: impl FnOnce(&mut super::counters::TrackCounters),
    ) {
        let line = self.legs.get(id).and_then(|leg| leg.lines.iter().find(|l| l.mid == mid));
        if let (Some(line), Some(stream)) = (line, counters.streams.get_mut(id)) {
            change(stream.track(line.audio));
        }
    }

    fn key_frame_wanted(&mut self, counters: &mut MediaCounters, player: &str, mid: Mid) {
        counters.totals.key_frame_requests_received += 1;
        self.with_track(counters, player, mid, |track| track.key_frame_requests += 1);
        if let Some(name) = self.legs.get(player).map(|leg| leg.name.clone())
            && let Some(publisher) = self.send_key_frame_request(&name)
        {
            count_request(counters, &publisher);
        }
    }

    fn request_key_frame(&mut self, name: &str) {
        if let Some(publisher) = self.send_key_frame_request(name) {
            count_request(&mut self.counters.lock(), &publisher);
        }
    }

    /// Asks the publisher of a name for a key frame; returns its id if the request went out.
    fn send_key_frame_request(&mut self, name: &str) -> Option<String> {
        if !self.settings.asks_key_frames {
            return None;
        }
        let now = Instant::now();
        let channel = self.channels.get_mut(name)?;
        let publisher = channel.may_be_asked(now)?.to_owned();
        let line = self.legs.get(&publisher)?.lines.iter().find(|line| !line.audio)?;
        let ssrc = line.ssrc?.into();
        let rtc = self.engine.rtc(line.transport)?;
        let mut direct = rtc.direct_api();
        direct.stream_rx(&ssrc)?.request_keyframe(KeyframeRequestKind::Pli);
        channel.note_asked(now);
        Some(publisher)
    }

    /// Tells the publisher of a name by REMB how much its video may take.
    fn request_bitrate(&mut self, name: &str, bits_per_second: u64) {
        let publisher = self.channels.get(name).and_then(Channel::publisher);
        let line = publisher.and_then(|id| self.legs.get(id)?.lines.iter().find(|line| !line.audio));
        let Some((transport, Some(ssrc))) = line.map(|line| (line.transport, line.ssrc)) else { return };
        if let Some(rtc) = self.engine.rtc(transport)
            && let Some(stream) = rtc.direct_api().stream_rx(&ssrc.into())
        {
            stream.request_remb(bits_per_second.into());
        }
    }

    /// Asks again for players that still wait; true if any does.
    fn retry_key_frames(&mut self) -> bool {
        let waits = |players: &[String]| self.any_waits(players);
        let waiting = self.channels.waiting(Instant::now(), self.settings.mse_key_frame, waits);
        for (name, _) in waiting.iter().filter(|(_, ask)| *ask) {
            self.request_key_frame(name);
        }
        !waiting.is_empty()
    }

    fn any_waits(&self, players: &[String]) -> bool {
        players.iter().filter_map(|id| self.legs.get(id)).any(|leg| {
            leg.connected >= leg.transports.len()
                && leg
                    .lines
                    .iter()
                    .any(|line| !line.audio && line.outgoing.as_ref().is_some_and(|o| !o.started))
        })
    }

    // === Forwarding ===

    fn packet(&mut self, counters: &mut MediaCounters, transport: TransportId, id: &str, packet: &RtpPacket) {
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        let payload_type = packet.header.payload_type;
        let Some((line, params)) = leg.lines.iter_mut().find_map(|line| {
            let params = line.payloads.iter().find(|params| params.pt() == payload_type)?;
            let params = *params;
            (line.transport == transport).then_some((line, params))
        }) else {
            return;
        };
        line.ssrc = Some(*packet.header.ssrc);
        let (audio, codec) = (line.audio, params.spec().codec);
        let key_frame = !audio && starts_key_frame(codec, &packet.payload);
        // A key frame may start with several packets that qualify (parameter sets, then slices).
        let new_key_frame = key_frame
            && line.last_key_timestamp.replace(packet.header.timestamp) != Some(packet.header.timestamp);
        let bytes = packet.payload.len() as u64;
        counters.totals.packets_received += 1;
        counters.totals.bytes_received += bytes;
        counters.totals.key_frames += u64::from(new_key_frame);
        if let Some(stream) = counters.streams.get_mut(id) {
            stream.packets_received += 1;
            stream.bytes_received += bytes;
            note_packet(stream, packet, audio, (*payload_type, codec), new_key_frame);
        }
        let Some(channel) = self.channels.get_mut(&leg.name) else {
            return;
        };
        if !audio {
            let sent = channel.mse.packet(codec, packet);
            counters.totals.mse_records += sent.records;
            counters.totals.mse_records_dropped += sent.dropped;
        }
        for player in channel.players() {
            let leg = self.legs.get_mut(player).filter(|leg| !leg.withheld);
            let outgoing = leg
                .map(|leg| &mut leg.lines)
                .into_iter()
                .flatten()
                .filter(|line| line.audio == audio)
                .find_map(|line| line.outgoing.as_mut());
            let (Some(outgoing), Some(stream)) = (outgoing, counters.streams.get_mut(player)) else {
                continue;
            };
            match outgoing.translate(packet, &params, key_frame) {
                Ok(write) => {
                    let ssrc = outgoing.ssrc;
                    if self.engine.write(outgoing.transport, ssrc, write) {
                        counters.totals.packets_sent += 1;
                        counters.totals.bytes_sent += bytes;
                        stream.packets_sent += 1;
                        stream.bytes_sent += bytes;
                        note_packet(stream, packet, audio, (*payload_type, codec), new_key_frame);
                        stream.track(audio).ssrc = Some(ssrc);
                    }
                }
                Err(Unsent::NoPayloadType) => stream.track(audio).unsendable += 1,
                Err(Unsent::NotYet) => {}
            }
        }
    }
}

fn note_packet(
    stream: &mut StreamCounters,
    packet: &RtpPacket,
    audio: bool,
    (payload_type, codec): (u8, str0m::format::Codec),
    key_frame: bool,
) {
    stream.last_packet = Some(packet.timestamp);
    stream.key_frames += u64::from(key_frame);
    let track = stream.track(audio);
    track.packets += 1;
    track.bytes += packet.payload.len() as u64;
    track.payload_type = Some(payload_type);
    track.ssrc = Some(*packet.header.ssrc);
    let name = codec.to_string();
    if track.codec.as_deref() != Some(name.as_str()) {
        track.codec = Some(name);
    }
}

fn count_request(counters: &mut MediaCounters, publisher: &str) {
    counters.totals.key_frame_requests_sent += 1;
    if let Some(stream) = counters.streams.get_mut(publisher) {
        stream.video.key_frame_requests += 1;
    }
}

impl Leg {
    /// The state of the transport that is worst off, by name.
    fn worst_ice(&self) -> &'static str {
        let states = || {
            let new = IceConnectionState::New;
            self.transports.iter().map(move |transport| self.ice.get(transport).copied().unwrap_or(new))
        };
        [
            (IceConnectionState::Disconnected, "disconnected"),
            (IceConnectionState::New, "new"),
            (IceConnectionState::Checking, "checking"),
            (IceConnectionState::Connected, "connected"),
        ]
        .into_iter()
        .find(|(state, _)| states().any(|other| other == *state))
        .map_or("completed", |(_, name)| name)
    }
}
