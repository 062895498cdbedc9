//! Synthetic WebRTC clients: they offer, connect, send and receive as a browser does, without a
//! browser. Many of them share one thread.
//!
//! Media is real RTP over ICE, DTLS and SRTP; only the pictures are invented. What the clients do
//! with the answers' shapes follows what browsers were seen to do (protocol S8.3).

mod client;
mod offer;
mod stats;
mod synthetic;
mod worker;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use mio::Waker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::simulator::media::{NetworkConditions, VideoCodec};

pub use stats::{ClientStats, Delays, PICTURE_STILL, PictureMoments, TrackStats};

use worker::{Command, Worker};

/// Commands waiting for the thread; a caller beyond that waits for a moment.
const COMMANDS_MAX: usize = 1024;
/// How often [`WebRtcClient::wait_for`] looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What one client offers and sends.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// True to publish (sendonly), false to play (recvonly).
    pub publish: bool,
    /// Offer audio.
    pub audio: bool,
    /// Video codecs in the order of the offer; empty for audio only.
    pub video: Vec<VideoCodec>,
    /// Video frames per second. Default: 30.
    pub frames_per_second: u32,
    /// Video bits per second. Default: 500,000.
    pub bitrate_bps: u32,
    /// A key frame at least every so many frames, besides those asked for. Default: 3000.
    pub key_frame_interval: u64,
    /// Send a key frame when one is asked for; some cameras do not. Default: true.
    pub answers_key_frame_requests: bool,
    /// Send video as soon as the transport stands, or when told to
    /// ([`WebRtcClient::set_sending_of`]), as cameras that warm up. Default: true.
    pub video_from_start: bool,
    /// Offer RTX. Without it lost packets are sent again on their own SSRC. Default: true.
    pub repair: bool,
    /// Look at what the server sends besides media ([`ClientStats::peer`]). Default: false.
    pub watches_peer: bool,
    /// The hashes of the fingerprints in the offer, as `sha-512`. Empty, the default: SHA-256
    /// alone.
    pub fingerprints: Vec<String>,
}

impl ClientOptions {
    /// A publisher of opus and VP8 (H264 as second choice).
    pub fn publish() -> Self {
        Self {
            publish: true,
            audio: true,
            video: vec![VideoCodec::Vp8, VideoCodec::H264],
            frames_per_second: 30,
            bitrate_bps: 500_000,
            key_frame_interval: 3000,
            answers_key_frame_requests: true,
            video_from_start: true,
            repair: true,
            watches_peer: false,
            fingerprints: Vec::new(),
        }
    }

    /// A player of opus, VP8 and H264.
    pub fn play() -> Self {
        Self { publish: false, ..Self::publish() }
    }
}

/// Why a client could not go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The answer rejects everything or misses ICE or DTLS parameters or candidates.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    /// A socket could not be opened.
    #[error("no socket: {0}")]
    Socket(String),
    /// The thread of the pool has ended.
    #[error("the client pool has ended")]
    Ended,
}

/// How a pool of clients is set up.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Local address of the clients' sockets. Default: 127.0.0.1.
    pub bind_ip: IpAddr,
    /// Loss and jitter between the clients and the world.
    pub network: NetworkConditions,
    /// Seed for the network conditions and the clients' numbers.
    pub seed: u64,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), network: NetworkConditions::default(), seed: 0 }
    }
}

/// Many clients on one thread. Dropping the last handle (clients count) ends the thread.
#[derive(Clone)]
pub struct ClientPool {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` only while the handle is being dropped.
    commands: Option<SyncSender<Command>>,
    waker: Arc<Waker>,
}

impl Inner {
    fn send(&self, command: Command) -> bool {
        let sent = self.commands.as_ref().is_some_and(|queue| queue.send(command).is_ok());
        sent && self.waker.wake().is_ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.waker.wake();
    }
}

impl ClientPool {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the poller, the certificate or the thread cannot be made.
    pub fn start(settings: PoolSettings) -> io::Result<Self> {
        let (commands, queue) = sync_channel(COMMANDS_MAX);
        let worker = Worker::new(settings, queue)?;
        let waker = worker.waker();
        std::thread::Builder::new().name("webrtc-clients".to_owned()).spawn(|| worker.run())?;
        Ok(Self { inner: Arc::new(Inner { commands: Some(commands), waker }) })
    }

    /// Makes a client with its offer.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn client(&self, options: ClientOptions) -> Result<WebRtcClient, ClientError> {
        let (reply, made) = oneshot::channel();
        let stats = Arc::new(Mutex::new(ClientStats::default()));
        let command = Command::Make { options: Box::new(options), stats: Arc::clone(&stats), reply };
        if !self.inner.send(command) {
            return Err(ClientError::Ended);
        }
        let (id, offer) = made.await.map_err(|_| ClientError::Ended)?;
        Ok(WebRtcClient { id, offer, stats, pool: self.clone() })
    }

    /// Changes loss, jitter or silence for all clients.
    pub fn set_network(&self, conditions: NetworkConditions) {
        self.inner.send(Command::SetNetwork(conditions));
    }
}

/// One client. Dropping it closes its sockets without a goodbye.
pub struct WebRtcClient {
    id: u64,
    offer: String,
    stats: Arc<Mutex<ClientStats>>,
    pool: ClientPool,
}

impl WebRtcClient {
    /// The offer to put into `publishStream` or `playStream`.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Applies the server's answer and starts to connect. A client that already has an answer
    /// takes new ICE credentials and addresses from this one and keeps its DTLS state, as Chromium
    /// does with a second `setRemoteSDP`.
    ///
    /// # Errors
    /// When the answer cannot be used or no socket can be opened.
    pub async fn apply_answer(&self, answer: &str) -> Result<(), ClientError> {
        let (reply, done) = oneshot::channel();
        let command = Command::Answer { id: self.id, answer: answer.to_owned(), reply };
        if !self.pool.inner.send(command) {
            return Err(ClientError::Ended);
        }
        done.await.unwrap_or(Err(ClientError::Ended))
    }

    /// What was counted so far.
    pub fn stats(&self) -> ClientStats {
        self.stats.lock().clone()
    }

    /// When its picture moved, without a copy of all numbers.
    pub fn picture(&self) -> PictureMoments {
        let stats = self.stats.lock();
        PictureMoments { resumed: stats.video.resumed, last: stats.video.last_packet }
    }

    /// Waits until the numbers satisfy `condition`.
    ///
    /// # Errors
    /// The numbers as they are when `limit` has passed.
    pub async fn wait_for(
        &self,
        limit: Duration,
        condition: impl Fn(&ClientStats) -> bool,
    ) -> Result<ClientStats, Box<ClientStats>> {
        let deadline = Instant::now() + limit;
        loop {
            let stats = self.stats();
            if condition(&stats) {
                return Ok(stats);
            }
            if Instant::now() >= deadline {
                return Err(Box::new(stats));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Asks the server for a key frame (player).
    pub fn request_key_frame(&self) {
        self.pool.inner.send(Command::RequestKeyFrame(self.id));
    }

    /// Tells the server by REMB how many bits per second of video may come (player).
    pub fn request_bitrate(&self, bits_per_second: u64) {
        self.pool.inner.send(Command::RequestBitrate(self.id, bits_per_second));
    }

    /// Stops or resumes sending media; the transport stays up.
    pub fn set_sending(&self, sending: bool) {
        self.set_sending_of(sending, sending);
    }

    /// Stops or resumes sending audio and video separately; the transport stays up.
    pub fn set_sending_of(&self, audio: bool, video: bool) {
        self.pool.inner.send(Command::SetSending { id: self.id, audio, video });
    }

    /// Goes on with another video codec of the answer on the same SSRC, as a browser does when its
    /// encoder fails. Without effect when the answer has no such codec.
    pub fn set_codec(&self, codec: VideoCodec) {
        self.pool.inner.send(Command::SetCodec { id: self.id, codec });
    }

    /// Cuts this client's network, or joins it again: nothing passes either way.
    pub fn set_silent(&self, silent: bool) {
        self.pool.inner.send(Command::SetSilent(self.id, silent));
    }
}

impl Drop for WebRtcClient {
    fn drop(&mut self) {
        self.pool.inner.send(Command::Close(self.id));
    }
}
