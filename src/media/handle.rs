//! The way into the media workers for the rest of the process.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use mio::Waker;
use parking_lot::Mutex;
// Unlike that of std it takes memory for what waits, not for all that may wait.
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

use super::{
    MediaSettings, Order, StreamKey,
    certificate::Identity,
    connections::Places,
    counters::{Published, Tally},
    worker::{Parts, Worker},
};

/// Orders that may wait per worker: some for each of thousands of streams that are restored at
/// once. A worker that lets more pile up does not run any more.
const ORDERS_WAITING_MAX: usize = 65_536;

/// Starts and steers the media workers. Clones share them; with the last one they end.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    workers: Vec<Lane>,
    counters: Vec<Arc<Published>>,
    streams: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The way to one worker.
#[derive(Debug)]
struct Lane {
    orders: Option<Sender<Order>>,
    waker: Waker,
    address: SocketAddr,
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
            let parts = Parts {
                settings: settings.clone(),
                identity: identity.clone(),
                orders,
                published: published.clone(),
                streams: streams.clone(),
                places: places.clone(),
            };
            let (worker, waker, address) = Worker::new(address, parts)
                .map_err(|e| io::Error::new(e.kind(), format!("media port {address}: {e}")))?;
            threads.push(
                std::thread::Builder::new().name(format!("media-{number}")).spawn(move || worker.run())?,
            );
            workers.push(Lane { orders: Some(sender), waker, address });
            counters.push(published);
        }
        let next = AtomicU64::new(1);
        Ok(Self {
            shared: Arc::new(Shared { next, workers, counters, streams, threads: Mutex::new(threads) }),
        })
    }

    /// A name for a stream that is about to be opened.
    #[must_use]
    pub fn new_stream(&self) -> StreamKey {
        StreamKey(self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Has an order carried out, soon and in the order given per stream. Never blocks.
    pub fn order(&self, order: Order) {
        let stream = match &order {
            Order::Open { stream, .. }
            | Order::Attach { stream, .. }
            | Order::UpstreamAnswer { stream, .. }
            | Order::Detach { stream }
            | Order::Muted { stream, .. }
            | Order::Revive { stream }
            | Order::Close { stream } => *stream,
        };
        let count = self.shared.workers.len() as u64;
        let lane = usize::try_from(stream.0 % count.max(1)).ok().and_then(|n| self.shared.workers.get(n));
        let Some(lane) = lane else { return };
        match lane.orders.as_ref().map(|orders| orders.try_send(order)) {
            Some(Ok(())) => {
                if let Err(error) = lane.waker.wake() {
                    tracing::error!(%error, "a media worker cannot be woken");
                }
            }
            Some(Err(TrySendError::Full(_))) => {
                tracing::error!(%stream, "a media worker does not take orders: one is lost")
            }
            Some(Err(TrySendError::Closed(_))) => {
                tracing::error!(%stream, "a media worker has ended: an order is lost")
            }
            None => {}
        }
    }

    /// Streams that are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// The UDP address of each worker.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.workers.iter().map(|lane| lane.address).collect()
    }

    /// What the workers counted, at most a moment old: plain numbers by name.
    #[must_use]
    pub fn counters(&self) -> serde_json::Value {
        Tally::sum(&self.shared.counters).json()
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
            let _ = lane.waker.wake();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media worker ended by a panic");
            }
        }
    }
}
