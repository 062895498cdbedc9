//! What all tasks of the network side share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    config::{NetSettings, SessionSettings},
    limits::Files,
    media::MediaHandle,
    registry::Registry,
    session::{Identity, Session, SessionId, Timestamp},
    telemetry::events,
    upstream::Pool,
};

use super::{
    addresses::Addresses,
    admission::RefusalLog,
    health::Heart,
    live::Live,
    memory::Memory,
    outages::{OutageSummary, Outages},
};

/// Turns the clock of tokio into the time of the session core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The current time.
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::from_ms(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment for a timer that must not ring before `at`.
    pub(crate) fn instant(self, at: Timestamp) -> Instant {
        let far = Duration::from_secs(365 * 24 * 3600);
        let offset = Duration::from_millis(at.as_ms());
        self.start.checked_add(offset).unwrap_or_else(|| self.start + far)
    }
}

/// Counts tasks that are on their way out.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    count: AtomicUsize,
    left: Notify,
}

impl Tracker {
    /// Counts one more until the result is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Tracked {
        self.count.fetch_add(1, Ordering::AcqRel);
        Tracked(Arc::clone(self))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Completes when there is none.
    pub(crate) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One that is counted by a [`Tracker`].
#[derive(Debug)]
pub(crate) struct Tracked(Arc<Tracker>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_waiters();
    }
}

/// One for the whole proxy.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: NetSettings,
    pub(crate) session_settings: Arc<SessionSettings>,
    pub(crate) registry: Arc<Registry>,
    /// The media workers, if WebRTC streams are anchored.
    pub(crate) media: Option<MediaHandle>,
    /// A balancer on this machine is still to be told of: clients would get its address for their media.
    pub(crate) balancer_unnoticed: AtomicBool,
    pub(crate) pool: Arc<Pool>,
    pub(crate) live: Arc<Live>,
    pub(crate) memory: Arc<Memory>,
    /// The budget of file descriptors.
    pub(crate) files: Arc<Files>,
    /// What each client address has.
    pub(crate) addresses: Addresses,
    /// Refusals that were told.
    pub(crate) refusals: RefusalLog,
    /// Connections that are being told that there is no room.
    pub(crate) refusing: Arc<Tracker>,
    pub(crate) clock: Clock,
    /// Connections whose close frame is on its way.
    pub(crate) closings: Arc<Tracker>,
    /// Connections before their 101.
    pub(crate) handshakes: Arc<Tracker>,
    /// Most of them.
    pub(crate) handshakes_max: usize,
    /// Handshakes that are held (rule R13).
    pub(crate) held: Arc<Tracker>,
    /// True once the proxy shuts down.
    pub(crate) stopping: watch::Sender<bool>,
    /// Who lost which node.
    pub(crate) outages: Outages,
    /// Shows that the runtime lives.
    pub(crate) heart: Heart,
}

impl Shared {
    /// The core of a new session.
    pub(crate) fn new_session(&self, id: SessionId, identity: Identity, now: Timestamp) -> Session {
        let (settings, registry) = (Arc::clone(&self.session_settings), Arc::clone(&self.registry));
        let session = Session::new(id, settings, registry, rand::random(), now).with_identity(identity);
        if self.media.is_some() { session.with_media() } else { session }
    }

    /// Tells what came of outages.
    pub(crate) fn sum_up(&self, over: Vec<(usize, OutageSummary)>) {
        for (node, sum) in over {
            events::outage_summary(&self.pool.node_name(node), &sum);
        }
    }

    /// Whether the proxy shuts down.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Completes when the proxy shuts down.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`: there is no error.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}
