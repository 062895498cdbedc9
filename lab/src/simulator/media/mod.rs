//! The media half of the WCS stand-in: real ICE, DTLS and SRTP, so that browsers publish to it and
//! play from it as they do with a Web Call Server.
//!
//! It takes offers and gives answers in the shapes of protocol S8.3, forwards RTP from a publisher
//! to the players of its name, and feeds MSE players from published H264. It knows nothing of
//! signaling: who may publish or play is decided by its caller.

mod answer;
pub(crate) mod certificate;
mod channels;
mod codec;
mod counters;
pub(crate) mod engine;
mod forward;
mod framed_tcp;
mod h264;
mod leg;
mod mse;
mod network;
pub(crate) mod retransmit;
pub mod sdp;
mod settings;
pub(crate) mod transport;
pub(crate) mod watch;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use bytes::Bytes;
use mio::Waker;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use answer::{MediaRefusal, mse_answer};
pub use codec::starts_key_frame;
pub use counters::{MediaCounters, StreamCounters, Totals, TrackCounters};
pub use network::NetworkConditions;
pub use settings::{AnswerOptions, AnswerShape, CodecRules, DtlsRole, MediaSettings, VideoCodec};
pub use watch::{CertificateKey, PeerFacts};

use engine::Engine;
use leg::Identity;
use worker::{Command, Worker};

/// Commands waiting for the media thread; a caller beyond that waits for a moment.
const COMMANDS_MAX: usize = 1024;

/// Handle of a running media server. When the last clone is dropped the media thread ends and all
/// sockets close without a goodbye, like those of a killed server.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
    settings: Arc<MediaSettings>,
}

struct Inner {
    /// `None` only while the handle is being dropped.
    commands: Option<SyncSender<Command>>,
    waker: Arc<Waker>,
    counters: Arc<Mutex<MediaCounters>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread sees the closed queue when it wakes.
        self.commands = None;
        let _ = self.waker.wake();
    }
}

impl Inner {
    fn send(&self, command: Command) -> bool {
        let sent = self.commands.as_ref().is_some_and(|queue| queue.send(command).is_ok());
        sent && self.waker.wake().is_ok()
    }
}

impl Media {
    /// Starts the media thread with a new certificate.
    ///
    /// # Errors
    /// When the certificate, the poller or the thread cannot be made.
    pub fn start(settings: MediaSettings) -> io::Result<Self> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = certificate::create(&provider, settings.rsa_certificate)?;
        let identity = Identity { provider, certificate };
        let engine = Engine::new(settings.network, settings.seed)?;
        let waker = engine.waker();
        let counters = Arc::new(Mutex::new(MediaCounters::default()));
        let (commands, queue) = sync_channel(COMMANDS_MAX);
        let worker = Worker::new(engine, identity, settings.clone(), queue, Arc::clone(&counters));
        std::thread::Builder::new().name("simulated-media".to_owned()).spawn(|| worker.run())?;
        let inner = Inner { commands: Some(commands), waker, counters };
        Ok(Self { inner: Arc::new(inner), settings: Arc::new(settings) })
    }

    /// Answers a publish offer and starts to receive. `id` is the `mediaSessionId`.
    ///
    /// # Errors
    /// See [`MediaRefusal`]; nothing stays open then.
    pub async fn publish(
        &self,
        id: &str,
        name: &str,
        offer: &str,
        answer: AnswerOptions,
    ) -> Result<String, MediaRefusal> {
        self.open(id, name, offer, answer, true).await
    }

    /// Answers a play offer. Packets follow as soon as the name is published and a key frame came;
    /// a name that nobody publishes yet is accepted.
    ///
    /// # Errors
    /// See [`MediaRefusal`]; nothing stays open then.
    pub async fn play(
        &self,
        id: &str,
        name: &str,
        offer: &str,
        answer: AnswerOptions,
    ) -> Result<String, MediaRefusal> {
        self.open(id, name, offer, answer, false).await
    }

    async fn open(
        &self,
        id: &str,
        name: &str,
        offer: &str,
        options: AnswerOptions,
        publish: bool,
    ) -> Result<String, MediaRefusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Open {
            id: id.to_owned(),
            name: name.to_owned(),
            offer: offer.to_owned(),
            options: Box::new(options),
            publish,
            reply,
        };
        let gone = || MediaRefusal::Failed("the media thread has ended".to_owned());
        if !self.inner.send(command) {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Ends a publish, a play or an MSE play. Unknown ids are ignored.
    pub fn close(&self, id: &str) {
        self.inner.send(Command::Close { id: id.to_owned() });
    }

    /// Feeds an MSE player: each item is one binary WebSocket message (protocol S2.9). The first
    /// record is the codec configuration, the first frame a key frame. [`Media::close`] ends it;
    /// the receiver then yields `None`. Answer the offer with [`mse_answer`].
    pub fn play_mse(&self, id: &str, name: &str) -> mpsc::Receiver<Bytes> {
        let (records, receiver) = mpsc::channel(self.settings.mse_records_max.max(1));
        self.inner.send(Command::PlayMse { id: id.to_owned(), name: name.to_owned(), records });
        receiver
    }

    /// Changes loss, jitter or silence of the simulated network from now on.
    pub fn set_network(&self, conditions: NetworkConditions) {
        self.inner.send(Command::SetNetwork(conditions));
    }

    /// Sends a play no packets of its publisher, or goes on. Unknown ids are ignored.
    pub fn withhold(&self, id: &str, withheld: bool) {
        self.inner.send(Command::Withhold { id: id.to_owned(), withheld });
    }

    /// Asks the publisher of a name for a key frame.
    pub fn request_key_frame(&self, name: &str) {
        self.inner.send(Command::RequestKeyFrame { name: name.to_owned() });
    }

    /// Tells the publisher of a name (REMB) how many bits per second its video may take.
    pub fn request_bitrate(&self, name: &str, bits_per_second: u64) {
        self.inner.send(Command::RequestBitrate { name: name.to_owned(), bits_per_second });
    }

    /// Gives a publish or play new ICE credentials under the same DTLS and SRTP state, as a server
    /// that lets a silent client come back would; `None` for unknown ids. The description returned
    /// can be sent as another `setRemoteSDP`.
    pub async fn renew_ice(&self, id: &str) -> Option<String> {
        let (reply, renewed) = oneshot::channel();
        self.inner.send(Command::RenewIce { id: id.to_owned(), reply });
        renewed.await.ok().flatten()
    }

    /// What was counted so far.
    pub fn counters(&self) -> MediaCounters {
        self.inner.counters.lock().clone().at(Instant::now())
    }
}
