//! What all tasks of the network side share.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{DEFAULT_POOL, LimitSettings, NetSettings, SessionSettings},
    ids::NodeId,
    limits::Files,
    media::MediaHandle,
    milliseconds::ms,
    registry::{Member, Registry},
    session::{Identity, Session, SessionId, Timestamp},
    telemetry::{
        counts::Counts,
        events,
        outages::{OutageOver, Outages},
        past::Past,
    },
    upstream::Pool,
};

use super::{
    addresses::Addresses,
    admission::RefusalLog,
    census::Register,
    certificates::Certificates,
    health::Heart,
    http::HttpSide,
    leaving::Leaving,
    listeners::Listeners,
    live::Live,
    media_socket::MediaRoutes,
    memory::Memory,
    mover::Movers,
    recordings::{Beginning, Recordings},
    reload::Reloads,
    route::Routes,
    tls::ClientTls,
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
        Timestamp::from_ms(ms(self.start.elapsed()))
    }

    /// The moment for a timer that must not ring before `at`.
    pub(crate) fn instant(self, at: Timestamp) -> Instant {
        let far = Duration::from_secs(365 * 24 * 3600);
        let offset = Duration::from_millis(at.as_ms());
        self.start.checked_add(offset).unwrap_or_else(|| self.start + far)
    }
}

/// Completes when none of these is left. More may come meanwhile.
pub(crate) async fn empty(tracker: &TaskTracker) {
    // Else it would wait for the announcement that no more will come.
    tracker.close();
    tracker.wait().await;
}

/// One for the whole proxy.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What holds now; whoever needs several that belong together loads once.
    pub(crate) settings: ArcSwap<NetSettings>,
    /// Those among them that a session keeps as they were when it began: none is closed by a lower one.
    pub(crate) limits: ArcSwap<LimitSettings>,
    /// What new sessions go by; each keeps what it began with.
    pub(crate) session_settings: ArcSwap<SessionSettings>,
    /// What sessions of the pool `default` know of each other, and those of other pools: their servers share no
    /// names.
    pub(crate) registry: Arc<Registry>,
    pub(crate) registries: DashMap<Box<str>, Arc<Registry>>,
    /// What requests that are passed on share.
    pub(crate) http: HttpSide,
    /// What becomes of requests.
    pub(crate) routes: ArcSwap<Routes>,
    /// Where media sockets belong.
    pub(crate) media_routes: MediaRoutes,
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
    pub(crate) refusing: TaskTracker,
    pub(crate) clock: Clock,
    /// Connections whose close frame is on its way.
    pub(crate) closings: TaskTracker,
    /// Connections before their 101.
    pub(crate) handshakes: TaskTracker,
    /// Most of them.
    pub(crate) handshakes_max: AtomicUsize,
    /// Handshakes that are held (rule R13).
    pub(crate) held: TaskTracker,
    /// The end of the process, once it was ordered.
    pub(crate) leaving: Leaving,
    /// Cancelled once whoever is left has to go.
    pub(crate) stopping: CancellationToken,
    /// Who lost which node.
    pub(crate) outages: Outages,
    /// The last of them that are over.
    pub(crate) past: Past,
    /// What happened, in numbers.
    pub(crate) counts: Counts,
    /// What all sessions have, for scrapes.
    pub(crate) census: Register,
    /// What TLS listeners speak with.
    pub(crate) certificates: Arc<Certificates>,
    /// Where clients come in.
    pub(crate) listeners: Listeners,
    /// How servers are spoken to by TLS.
    pub(crate) client_tls: Mutex<ClientTls>,
    /// What became of new configurations.
    pub(crate) reloads: Reloads,
    /// Sessions that are taken off nodes.
    pub(crate) movers: Movers,
    /// What is written down of sessions for operators.
    pub(crate) recordings: Recordings,
    /// Shows that the runtime lives.
    pub(crate) heart: Heart,
}

impl Shared {
    /// The core of a new session.
    pub(crate) fn new_session(
        &self,
        id: SessionId,
        (identity, pool): (Identity, &str),
        (node, client): (NodeId, IpAddr),
        now: Timestamp,
    ) -> Member {
        let settings = self.session_settings.load_full();
        let (seed, with_media) = (rand::random(), self.media.is_some());
        let session =
            Session::new(id, Arc::clone(&settings), seed, now).with_identity(identity).with_node(node);
        let session = if with_media { session.with_media() } else { session };
        let mut member = Member::new(session, self.registry_of(pool));
        if self.recordings.are_going_on() {
            let settings = &settings;
            let beginning = Beginning { id, seed, node, with_media, settings, now, client };
            self.recordings.attach(&mut member, beginning);
        }
        member
    }

    /// What sessions of this pool know of each other.
    fn registry_of(&self, pool: &str) -> Arc<Registry> {
        if pool == DEFAULT_POOL {
            return Arc::clone(&self.registry);
        }
        if let Some(known) = self.registries.get(pool) {
            return Arc::clone(&known);
        }
        let new = self.registries.entry(pool.into()).or_insert_with(|| Arc::new(self.registry.beside()));
        Arc::clone(&new)
    }

    /// Tells what came of outages.
    pub(crate) fn sum_up(&self, over: Vec<OutageOver>) {
        let now = self.clock.now();
        for OutageOver { node, began, summary } in over {
            self.counts.outage_over(&summary);
            let node = self.pool.node_name(node);
            events::outage_summary(&node, &summary);
            self.past.add(node, summary, now.since(began));
        }
    }
}
