//! The thread behind the synthetic clients.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::Waker;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::CodecConfig;
use str0m::media::KeyframeRequestKind;
use str0m::net::Protocol;
use str0m::rtp::StreamRx;
use str0m::{IceCreds, Rtc, RtcConfig};
use tokio::sync::oneshot;

use super::client::{Client, Track, declare, local_candidate, remote_candidates, remote_credentials};
use super::offer::{self, Parameters, Sources};
use super::stats::ClientStats;
use super::{ClientError, ClientOptions, PoolSettings};
use crate::simulator::media::certificate::fingerprints;
use crate::simulator::media::engine::{Engine, EngineEvent, TransportId};
use crate::simulator::media::sdp::{Description, MediaSection, extension_map};
use crate::simulator::media::transport::{LateBinding, Link};
use crate::simulator::media::{NetworkConditions, VideoCodec};

/// Opus packets come every 20 ms.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const AUDIO_TICKS: u32 = 960;
const VIDEO_CLOCK_HZ: u32 = 90_000;
const IDLE_WAIT: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Make {
        options: Box<ClientOptions>,
        stats: Arc<Mutex<ClientStats>>,
        reply: oneshot::Sender<(u64, String)>,
    },
    Answer {
        id: u64,
        answer: String,
        reply: oneshot::Sender<Result<(), ClientError>>,
    },
    RequestKeyFrame(u64),
    RequestBitrate(u64, u64),
    SetSending {
        id: u64,
        audio: bool,
        video: bool,
    },
    SetCodec {
        id: u64,
        codec: VideoCodec,
    },
    SetSilent(u64, bool),
    SetNetwork(NetworkConditions),
    Close(u64),
}

pub(super) struct Worker {
    engine: Engine,
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
    settings: PoolSettings,
    random: SmallRng,
    commands: Receiver<Command>,
    clients: HashMap<u64, Client>,
    by_transport: HashMap<TransportId, u64>,
    next_id: u64,
    /// When which client sends audio (true) or video next.
    due: BinaryHeap<Reverse<(Instant, u64, bool)>>,
}

impl Worker {
    pub(super) fn new(settings: PoolSettings, commands: Receiver<Command>) -> io::Result<Self> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| io::Error::other("no DTLS certificate could be made"))?;
        Ok(Self {
            engine: Engine::new(settings.network, settings.seed)?,
            provider,
            certificate,
            random: SmallRng::seed_from_u64(settings.seed.wrapping_add(2)),
            settings,
            commands,
            clients: HashMap::new(),
            by_transport: HashMap::new(),
            next_id: 1,
            due: BinaryHeap::new(),
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.engine.waker()
    }

    pub(super) fn run(mut self) {
        let mut events = Vec::new();
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.command(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.send_due();
            let now = Instant::now();
            let wait = self
                .due
                .peek()
                .map_or(IDLE_WAIT, |Reverse((at, _, _))| at.saturating_duration_since(now).min(IDLE_WAIT));
            self.engine.turn(wait, &mut events);
            for event in events.drain(..) {
                self.event(event);
            }
        }
    }

    // === Commands ===

    fn command(&mut self, command: Command) {
        match command {
            Command::Make { options, stats, reply } => self.make(*options, stats, reply),
            Command::Answer { id, answer, reply } => {
                let result = self.answer(id, &answer);
                let _ = reply.send(result);
            }
            Command::RequestKeyFrame(id) => self.request_key_frame(id),
            Command::RequestBitrate(id, bits_per_second) => {
                self.with_video_source(id, |stream| stream.request_remb(bits_per_second.into()));
            }
            Command::SetSending { id, audio, video } => {
                for track in self.clients.get_mut(&id).into_iter().flat_map(|c| &mut c.tracks) {
                    track.sending = if track.audio { audio } else { video };
                }
            }
            Command::SetCodec { id, codec } => {
                for track in self.clients.get_mut(&id).into_iter().flat_map(|c| &mut c.tracks) {
                    track.set_codec(codec.codec());
                }
            }
            Command::SetSilent(id, silent) => {
                for transport in self.clients.get(&id).into_iter().flat_map(|c| &c.transports) {
                    self.engine.set_silent(*transport, silent);
                }
            }
            Command::SetNetwork(conditions) => self.engine.set_network(conditions),
            Command::Close(id) => {
                for transport in self.clients.remove(&id).into_iter().flat_map(|client| client.transports) {
                    self.engine.remove(transport);
                    self.by_transport.remove(&transport);
                }
            }
        }
    }

    fn make(
        &mut self,
        options: ClientOptions,
        stats: Arc<Mutex<ClientStats>>,
        reply: oneshot::Sender<(u64, String)>,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let credentials = IceCreds::new();
        let video = self.random.random_range(1..u32::MAX - 2);
        let sources = Sources { audio: self.random.random(), video, video_repair: video + 1 };
        let offer = offer::write(&Parameters {
            options: &options,
            ufrag: &credentials.ufrag,
            pwd: &credentials.pass,
            fingerprints: &fingerprints(&self.certificate, &options.fingerprints),
            sources,
        });
        let client = Client {
            options,
            stats,
            credentials,
            sources,
            transports: Vec::new(),
            connected: 0,
            tracks: Vec::new(),
            scheduled: false,
        };
        self.clients.insert(id, client);
        if reply.send((id, offer)).is_err() {
            self.clients.remove(&id);
        }
    }

    fn answer(&mut self, id: u64, text: &str) -> Result<(), ClientError> {
        let answer = Description::parse(text);
        let Some(client) = self.clients.get(&id) else { return Err(ClientError::Ended) };
        let accepted: Vec<(usize, &MediaSection)> = answer
            .media
            .iter()
            .enumerate()
            .filter(|(_, section)| section.port != 0 && section.direction != "inactive")
            .filter(|(_, section)| section.media_kind().is_some())
            .collect();
        let bundled = accepted
            .iter()
            .all(|(_, section)| section.mid.as_ref().is_some_and(|mid| answer.bundle.contains(mid)));
        let groups: Vec<&[(usize, &MediaSection)]> =
            if bundled { vec![accepted.as_slice()] } else { accepted.chunks(1).collect() };
        if accepted.is_empty() {
            return Err(ClientError::Answer("nothing is accepted".to_owned()));
        }
        let again = client.transports.clone();
        if !again.is_empty() {
            return self.move_ice(&again, &groups);
        }
        for group in groups {
            self.connect(id, group)?;
        }
        Ok(())
    }

    /// A second description: new ICE parameters under the same DTLS state.
    fn move_ice(
        &mut self,
        transports: &[TransportId],
        groups: &[&[(usize, &MediaSection)]],
    ) -> Result<(), ClientError> {
        for (transport, group) in transports.iter().zip(groups) {
            let Some((_, section)) = group.first() else { continue };
            let candidates = remote_candidates(section);
            let Some(rtc) = self.engine.rtc(*transport) else { continue };
            rtc.direct_api().set_remote_ice_credentials(remote_credentials(section)?);
            for candidate in candidates {
                rtc.add_remote_candidate(candidate);
            }
        }
        Ok(())
    }

    fn connect(&mut self, id: u64, group: &[(usize, &MediaSection)]) -> Result<(), ClientError> {
        let Some((_, first)) = group.first() else { return Ok(()) };
        let Some(client) = self.clients.get(&id) else { return Err(ClientError::Ended) };
        let resends = !client.options.repair;
        let socket = |error: io::Error| ClientError::Socket(error.to_string());
        let candidates = remote_candidates(first);
        let remote = candidates.first().ok_or_else(|| ClientError::Answer("no candidate".to_owned()))?;
        let tcp = remote.proto() == Protocol::Tcp;
        let link = if tcp { Link::tcp_active(remote.addr()) } else { Link::udp(self.settings.bind_ip) };
        let link = link.map_err(socket)?;
        let local = link.local_addr().map_err(socket)?;

        let mut rtc = self.configure(client, group, first)?;
        rtc.add_local_candidate(local_candidate(local, tcp)?);
        for candidate in candidates {
            rtc.add_remote_candidate(candidate);
        }
        let mut binding = LateBinding::default();
        let mut tracks: Vec<Track> = group
            .iter()
            .map(|(index, section)| declare(&mut rtc, &mut binding, client, *index, section))
            .collect();
        let transport = self.engine.add(rtc, link, local, binding, resends).map_err(socket)?;
        self.by_transport.insert(transport, id);
        if self.clients.get(&id).is_some_and(|client| client.options.watches_peer) {
            self.engine.watch(transport);
        }
        if let Some(client) = self.clients.get_mut(&id) {
            for track in &mut tracks {
                track.transport = transport;
                track.sequence = self.random.random_range(1..30_000);
                track.timestamp = self.random.random();
            }
            client.transports.push(transport);
            client.tracks.append(&mut tracks);
        }
        Ok(())
    }

    fn configure(
        &self,
        client: &Client,
        group: &[(usize, &MediaSection)],
        first: &MediaSection,
    ) -> Result<Rtc, ClientError> {
        let unusable = |text: &str| ClientError::Answer(text.to_owned());
        let params = group.iter().flat_map(|(_, section)| section.payload_params(true)).collect();
        let extensions = group.iter().flat_map(|(_, section)| section.extmaps.iter());
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(Arc::clone(&self.provider))
            .set_dtls_cert(self.certificate.clone())
            .set_local_ice_credentials(client.credentials.clone())
            .set_extension_map(extension_map(extensions))
            .set_stats_interval(None)
            .enable_raw_packets(!client.options.repair || client.options.watches_peer);
        *config.codec_config() = CodecConfig::new_from_payload_params(params);
        let mut rtc = config.build(Instant::now());
        let mut api = rtc.direct_api();
        // The offerer controls, and certainly so towards an ICE-lite peer.
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(remote_credentials(first)?);
        let fingerprint = first.fingerprint.clone().ok_or_else(|| unusable("no fingerprint"))?;
        api.set_remote_fingerprint(fingerprint);
        // Without a=setup the answerer is the active side (RFC 4145).
        let active = first.setup.as_deref() == Some("passive");
        api.start_dtls(active).map_err(|error| unusable(&error.to_string()))?;
        api.enable_twcc_feedback();
        Ok(rtc)
    }

    fn request_key_frame(&mut self, id: u64) {
        self.with_video_source(id, |stream| stream.request_keyframe(KeyframeRequestKind::Pli));
    }

    fn with_video_source(&mut self, id: u64, act: impl FnOnce(&mut StreamRx)) {
        let Some(client) = self.clients.get(&id) else { return };
        let Some(track) = client.tracks.iter().find(|track| !track.audio) else { return };
        let (Some(ssrc), transport) = (track.ssrc, track.transport) else { return };
        if let Some(rtc) = self.engine.rtc(transport)
            && let Some(stream) = rtc.direct_api().stream_rx(&ssrc.into())
        {
            act(stream);
        }
    }

    // === Events ===

    fn event(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Failed(transport) => {
                if let Some(client) = self.by_transport.get(&transport).and_then(|id| self.clients.get(id)) {
                    client.stats.lock().failed = true;
                }
            }
            EngineEvent::Seen(transport, facts) => {
                if let Some(client) = self.by_transport.get(&transport).and_then(|id| self.clients.get(id)) {
                    client.stats.lock().peer = facts;
                }
            }
            EngineEvent::Rtc(transport, event) => {
                let Some(id) = self.by_transport.get(&transport).copied() else { return };
                let Some(client) = self.clients.get_mut(&id) else { return };
                if client.event(transport, *event) && client.options.publish && !client.scheduled {
                    client.scheduled = true;
                    self.schedule_first(id);
                }
            }
        }
    }

    /// Spreads the clients over their intervals.
    fn schedule_first(&mut self, id: u64) {
        let now = Instant::now();
        for audio in [true, false] {
            let offset = Duration::from_micros(self.random.random_range(0..20_000));
            self.due.push(Reverse((now + offset, id, audio)));
        }
    }

    // === Sending ===

    fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id, audio))) = self.due.peek().copied() {
            if at > now {
                return;
            }
            self.due.pop();
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let Some(track) = client.tracks.iter_mut().find(|track| track.audio == audio) else {
                continue;
            };
            let interval = if audio {
                AUDIO_INTERVAL
            } else {
                Duration::from_secs(1) / client.options.frames_per_second.max(1)
            };
            if track.sending {
                let mut stats = client.stats.lock();
                track.send(&mut self.engine, &client.options, &mut stats, now);
            }
            track.timestamp = track.timestamp.wrapping_add(if audio {
                AUDIO_TICKS
            } else {
                VIDEO_CLOCK_HZ / client.options.frames_per_second.max(1)
            });
            self.due.push(Reverse((next_turn(at, interval, now), id, audio)));
        }
    }
}

/// When a sender whose turn was due at `at` is due again. Lost time is not made up for in a burst, and
/// senders keep their distance from each other: set to one moment they would stay in step for good.
fn next_turn(at: Instant, interval: Duration, now: Instant) -> Instant {
    let next = at + interval;
    let late = now.saturating_duration_since(next).as_nanos().checked_div(interval.as_nanos());
    next + interval * u32::try_from(late.unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn lost_turns_are_skipped_and_the_distance_stays() {
        let (at, interval) = (Instant::now(), Duration::from_millis(20));
        let next = |late_ms| next_turn(at, interval, at + Duration::from_millis(late_ms)) - at;
        assert_eq!(next(0), interval);
        assert_eq!(next(25), interval, "late, but none is lost");
        assert_eq!(next(39), interval);
        assert_eq!(next(95), interval * 4);
    }
}
