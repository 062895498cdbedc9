//! The way into the media workers for the rest of the process.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
// Unlike that of std it takes memory for what waits, not for all that may wait.
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

use crate::telemetry::Told;

use super::{
    Client, Fault, MediaCommand, MediaSettings, Order, StreamKey,
    certificate::Identity,
    connections::Places,
    core::Kept,
    counters::{Published, Tally},
    drops::kernel_drops,
    supervisor::{Post, supervise},
    worker::{Bound, Parts, Worker},
};

/// Orders that may wait per worker: some for each of thousands of streams that are restored at
/// once. A worker that lets more pile up does not run any more.
const ORDERS_WAITING_MAX: usize = 65_536;

/// Pause between two looks at what the kernel dropped.
const DROPS_PACE: Duration = Duration::from_secs(2);

/// Starts and steers the media workers. Clones share them; with the last one they end.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    workers: Vec<Lane>,
    counters: Vec<Arc<Published>>,
    streams: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    told: Mutex<Told<&'static str>>,
    /// What the kernel dropped, and when that was looked up: it takes more than a moment.
    drops: Mutex<Option<(Instant, Option<u64>)>>,
}

/// The way to one worker.
#[derive(Debug)]
struct Lane {
    orders: Option<Sender<Order>>,
    post: Arc<Post>,
}

/// Do the workers work? For health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaHealth {
    /// Workers that there should be.
    pub workers: usize,
    /// Workers that turned within the last seconds.
    pub workers_alive: usize,
    /// Workers that ended and were started again, since the start of the process.
    pub worker_restarts: u64,
}

/// The media workers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaStatus {
    /// Do they work?
    #[serde(flatten)]
    pub health: MediaHealth,
    /// What they counted, all of them together.
    #[serde(flatten)]
    pub counted: Tally,
    /// Datagrams that the kernel dropped on our sockets, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_drops: Option<u64>,
}

impl MediaHealth {
    /// All workers are alive.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.workers_alive == self.workers
    }
}

impl MediaHandle {
    /// Binds the ports and starts the workers.
    ///
    /// # Errors
    ///
    /// If a port is taken or the address is not one of this machine, with the address in the
    /// message; or if the system is out of threads or descriptors.
    pub fn start(settings: MediaSettings) -> io::Result<Self> {
        let identity = Identity::generate()?;
        let settings = Arc::new(settings);
        let streams = Arc::new(AtomicUsize::new(0));
        let places = Places::default();
        let mut workers = Vec::new();
        let mut counters = Vec::new();
        let mut threads = Vec::new();
        for number in 0..settings.workers.max(1) {
            let address = worker_address(settings.listen, number)?;
            let (sender, orders) = channel(ORDERS_WAITING_MAX);
            let published = Arc::new(Published::default());
            let kept = Kept {
                settings: settings.clone(),
                identity: identity.clone(),
                streams: streams.clone(),
                places: places.clone(),
                tally: Tally::default(),
                last_words: Vec::new(),
            };
            let parts = Parts { orders, published: published.clone(), kept };
            let (bound, waker) = Bound::new(address, &parts)
                .map_err(|e| io::Error::new(e.kind(), format!("media port {address}: {e}")))?;
            let post = Arc::new(Post::new(bound.address(), waker));
            let (worker, its_post) = (Worker::new(bound, parts), post.clone());
            threads.push(
                std::thread::Builder::new()
                    .name(format!("media-{number}"))
                    .spawn(move || supervise(worker, &its_post))?,
            );
            workers.push(Lane { orders: Some(sender), post });
            counters.push(published);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                workers,
                counters,
                streams,
                threads: Mutex::new(threads),
                told: Mutex::new(Told::new(4)),
                drops: Mutex::default(),
            }),
        })
    }

    /// Has a command carried out, soon and in the order given per stream. Never blocks.
    pub fn order(&self, command: MediaCommand<Client>) {
        self.send(Order::Command(command));
    }

    /// Has a stream or its worker fail.
    #[doc(hidden)]
    pub fn break_on_purpose(&self, key: StreamKey, fault: Fault) {
        self.send(Order::Break(key, fault));
    }

    /// The way to the worker that has this stream. Sessions with one stream each are spread over the workers,
    /// and so are the streams of one session.
    fn lane(&self, key: StreamKey) -> Option<&Lane> {
        let workers = &self.shared.workers;
        let number = key.session.0.wrapping_add(u64::from(key.number)) % (workers.len() as u64).max(1);
        workers.get(usize::try_from(number).ok()?)
    }

    fn send(&self, order: Order) {
        let stream = order.key();
        let Some(lane) = self.lane(stream) else { return };
        match lane.orders.as_ref().map(|orders| orders.try_send(order)) {
            Some(Ok(())) => {
                if let Err(error) = lane.post.wake() {
                    tracing::error!(%error, "a media worker cannot be woken");
                }
            }
            Some(Err(TrySendError::Full(_))) => self.lost(stream, "a media worker does not take orders"),
            Some(Err(TrySendError::Closed(_))) => self.lost(stream, "a media worker has ended"),
            None => {}
        }
    }

    fn lost(&self, stream: StreamKey, cause: &'static str) {
        if let Some(withheld) = self.shared.told.lock().may_tell(cause, Instant::now()) {
            tracing::error!(event = "media_order_lost", %stream, cause, withheld, "an order for a stream is lost");
        }
    }

    /// Streams that are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// Workers that are at work: neither ended nor stuck.
    #[must_use]
    pub fn workers_live(&self) -> usize {
        self.health().workers_alive
    }

    /// The UDP address of each worker.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.workers.iter().map(|lane| lane.post.address).collect()
    }

    /// Do the workers work?
    #[must_use]
    pub fn health(&self) -> MediaHealth {
        let posts = || self.shared.workers.iter().map(|lane| &lane.post);
        MediaHealth {
            workers: posts().count(),
            workers_alive: posts().filter(|post| post.is_alive()).count(),
            worker_restarts: posts().map(|post| post.restarts()).sum(),
        }
    }

    /// What the workers are and counted, at most a moment old.
    #[must_use]
    pub fn status(&self) -> MediaStatus {
        MediaStatus {
            health: self.health(),
            counted: Tally::sum(&self.shared.counters),
            kernel_drops: self.kernel_drops(),
        }
    }

    /// The numbers of [`MediaHandle::status`] by name.
    #[must_use]
    pub fn counters(&self) -> serde_json::Value {
        serde_json::to_value(self.status()).unwrap_or_default()
    }

    fn kernel_drops(&self) -> Option<u64> {
        let mut known = self.shared.drops.lock();
        match *known {
            Some((at, drops)) if at.elapsed() < DROPS_PACE => drops,
            _ => {
                let drops = kernel_drops();
                *known = Some((Instant::now(), drops));
                drops
            }
        }
    }
}

fn worker_address(listen: SocketAddr, number: usize) -> io::Result<SocketAddr> {
    let port = if listen.port() == 0 {
        Some(0)
    } else {
        u16::try_from(number).ok().and_then(|number| listen.port().checked_add(number))
    };
    let port = port.ok_or_else(|| {
        io::Error::other(format!("no port is left for media worker {number} above {listen}"))
    })?;
    Ok(SocketAddr::new(listen.ip(), port))
}

impl Drop for Shared {
    fn drop(&mut self) {
        for lane in &mut self.workers {
            lane.orders = None;
            let _ = lane.post.wake();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media worker ended by a panic");
            }
        }
    }
}
