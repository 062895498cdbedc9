//! The running proxy.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, Method, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, MediaMode, NamedNode, NetSettings, SessionSettings},
    limits::{self, Division, Files, FilesUsed},
    media::{MediaHandle, MediaSettings},
    registry::{Registry, RegistryLimits},
    session::SessionSnapshot,
    telemetry::{counts::Counts, outages::Outages, past::Past},
    upstream::{NodeStatus, Pool, PoolError, Wish, WishRefused},
};

use super::{
    addresses::Addresses,
    admission::RefusalLog,
    census::Register,
    certificates::{self, Certificates},
    health::{self, Heart, Question},
    http::HttpSide,
    leaving::{LeaveCause, Leaving},
    listeners::Listeners,
    live::{self, Live, Note},
    media_health,
    media_socket::MediaRoutes,
    memory::{self, Memory},
    mover::Movers,
    recordings::Recordings,
    reload::Reloads,
    route::Routes,
    shared::{Clock, Shared},
    tls::ClientTls,
};

/// How long sessions may take to say what they are.
const DESCRIBE_TIME_MAX: Duration = Duration::from_secs(1);

/// Connections before their 101 that there may be however few places there are: whoever connects and
/// says nothing takes no place.
pub(super) const HANDSHAKES_MAX_LEAST: usize = 64;

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address to listen on cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{}: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file of a certificate or key cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The media workers do not start; the message names the port.
    #[error("{0}")]
    Media(io::Error),
    /// The upstreams cannot be used.
    #[error(transparent)]
    Upstream(#[from] PoolError),
    /// It ends, and takes nothing new.
    #[error("the proxy is shutting down")]
    Stopping,
    /// A listener is to speak TLS, but there is no certificate or no key.
    #[error("wss needs a certificate and a key")]
    NoCertificate,
}

/// What a running proxy knows of itself at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Signaling sessions and sockets that have not sent their first message.
    pub sessions: usize,
    /// Sessions of these that are in an outage.
    pub outages: usize,
    /// Places taken: sessions, media sockets, handshakes that wait for an upstream.
    pub places_taken: usize,
    /// Places there are.
    pub places: usize,
    /// Connections before their 101.
    pub handshakes: usize,
    /// Handshakes that are held because no upstream answers.
    pub held: usize,
    /// Connections whose close frame is on its way.
    pub closing: usize,
    /// File descriptors that are given out, by kind.
    pub files: FilesUsed,
}

/// How many sessions the limit on open files leaves room for, with this configuration.
#[must_use]
pub fn sessions_that_fit(config: &Config) -> usize {
    divide_files(&config.net, config.media.mode != MediaMode::Direct).sessions()
}

pub(super) fn divide_files(settings: &NetSettings, has_media: bool) -> Division {
    let open_files = limits::raise_open_files();
    let media = if has_media { limits::media_share(open_files) } else { 0 };
    let upstream = &settings.upstream;
    let one = upstream.probe_paths_max.saturating_add(2);
    let of_node = |node: &NamedNode| node.checks.len().saturating_add(one);
    let probes = settings.nodes().iter().map(of_node).fold(0, usize::saturating_add);
    Division::new(open_files, media, probes)
}

/// The media side, within its share of the descriptors.
fn media_settings(config: &Config) -> Option<MediaSettings> {
    if config.media.mode == MediaMode::Direct {
        return None;
    }
    let share = limits::media_share(limits::raise_open_files());
    Some(within(MediaSettings::from_config(config), share))
}

/// The same settings, bounded so that the media side takes no more than this many descriptors where there
/// are enough for its workers: of what these leave, one half is for clients on TCP, the other for legs
/// towards the upstream.
fn within(mut settings: MediaSettings, share: usize) -> MediaSettings {
    let left = share.saturating_sub(settings.descriptors().fixed);
    let per_worker = left / 2 / settings.workers.max(1);
    settings.tcp_connections_max = settings.tcp_connections_max.min(per_worker.max(1));
    settings.upstream_sockets_max = settings.upstream_sockets_max.min(per_worker);
    settings
}

/// The memory budget of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryFacts {
    /// What the process takes, in bytes.
    pub bytes: usize,
    /// What it may take.
    pub bytes_max: usize,
    /// What sessions have in buffers, part of `bytes`.
    pub buffered_bytes: usize,
    /// There is too little for new sessions.
    pub is_short: bool,
}

/// A proxy that listens. It runs until [`Proxy::shutdown`]; dropping it stops accepting but
/// leaves the sessions to the runtime.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts listening. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An address cannot be had, a certificate cannot be used, or there is no upstream.
    pub async fn start(settings: NetSettings, session: SessionSettings) -> Result<Self, StartError> {
        Self::start_with(settings, session, None).await
    }

    /// Starts what the whole configuration says, the media workers included.
    ///
    /// # Errors
    /// As [`Proxy::start`], and if the media port cannot be had.
    pub async fn launch(config: Config) -> Result<Self, StartError> {
        let media = match media_settings(&config) {
            None => None,
            Some(settings) => {
                let handle = MediaHandle::start(settings).map_err(StartError::Media)?;
                let addresses: Vec<String> = handle.addresses().iter().map(ToString::to_string).collect();
                tracing::info!(?addresses, "media is anchored here");
                Some(handle)
            }
        };
        let told_nothing = media.is_some() && config.media.advertise.is_empty();
        let proxy = Self::start_with(config.net, config.session, media).await?;
        proxy.shared.balancer_unnoticed.store(told_nothing, Ordering::Relaxed);
        Ok(proxy)
    }

    /// Starts listening; with media workers, WebRTC streams are anchored.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    #[allow(clippy::unused_async)] // Callers need not know that nothing waits here today.
    pub async fn start_with(
        mut settings: NetSettings,
        session: SessionSettings,
        media: Option<MediaHandle>,
    ) -> Result<Self, StartError> {
        let division = divide_files(&settings, media.is_some());
        let files = Files::new(division);
        let places = settings.limits.sessions_max.unwrap_or_else(|| division.sessions());
        settings.limits.sessions_max = Some(places);
        let handshakes_max = places.max(HANDSHAKES_MAX_LEAST);
        // However few they are: one address never has all of them.
        let addresses =
            Addresses::new(&settings.limits, &settings.http, division.sessions().min(handshakes_max) / 2);
        let client_tls = ClientTls::new(&settings.upstream, None)?;
        let pool = Pool::new(&settings, &client_tls.config, &files)?;
        let routes = Routes::new(&settings, (&files, division), None)?;
        let certificates = Arc::new(Certificates::new(&settings.listen)?);
        let listeners = Listeners::default();
        let planned = listeners.plan(settings.listen.listeners(), settings.listen.reuse_port)?;
        let memory = Memory::new(&settings.limits);
        let registry_limits = RegistryLimits {
            name_bytes_max: session.bounds.id_bytes_max,
            kept_bytes_max: memory.bytes_to_keep(settings.limits.kept_memory_percent_max),
            ..RegistryLimits::default()
        };
        let shared = Arc::new(Shared {
            limits: ArcSwap::from_pointee(settings.limits.clone()),
            settings: ArcSwap::from_pointee(settings),
            session_settings: ArcSwap::from_pointee(session),
            media,
            registry: Arc::new(Registry::new(registry_limits)),
            registries: DashMap::new(),
            http: HttpSide::default(),
            routes: ArcSwap::from_pointee(routes),
            media_routes: MediaRoutes::default(),
            memory,
            balancer_unnoticed: AtomicBool::new(false),
            pool,
            live: Live::new(places),
            files,
            addresses,
            refusals: RefusalLog::default(),
            refusing: TaskTracker::new(),
            clock: Clock::new(),
            closings: TaskTracker::new(),
            handshakes: TaskTracker::new(),
            handshakes_max: AtomicUsize::new(handshakes_max),
            held: TaskTracker::new(),
            leaving: Leaving::default(),
            stopping: CancellationToken::new(),
            outages: Outages::default(),
            past: Past::default(),
            counts: Counts::default(),
            census: Register::default(),
            certificates,
            listeners,
            client_tls: Mutex::new(client_tls),
            reloads: Reloads::default(),
            movers: Movers::default(),
            recordings: Recordings::default(),
            heart: Heart::default(),
        });
        let stopping = shared.stopping.clone();
        tokio::spawn(certificates::watch(Arc::clone(&shared.certificates), stopping));
        tokio::spawn(health::beat(Arc::downgrade(&shared)));
        if shared.media.is_some() {
            tokio::spawn(media_health::watch(Arc::downgrade(&shared)));
        }
        shared.listeners.take_in(&shared, planned);
        tokio::spawn(memory::watch(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// The first address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses().first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// All addresses it listens on, in the order of the settings.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.listeners.addresses()
    }

    /// What its tasks share.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What its sessions know of each other.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// The upstream nodes of all pools, in the order of the settings.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.shared.pool.nodes()
    }

    /// An operator wants this of the node of this name. The last node of a pool that is up is taken out of
    /// use only where that is forced.
    ///
    /// # Errors
    /// There is no such node, or it is the last one.
    pub fn wish(&self, node: &str, wish: Wish, is_forced: bool) -> Result<(), WishRefused> {
        let pool = &self.shared.pool;
        pool.wish(pool.by_name(node).ok_or(WishRefused::NoSuchNode)?, wish, is_forced)
    }

    /// What its sessions are at this moment, at most `max` of them: those in an outage first, each
    /// kind in the order of their coming. A session that does not answer within a second is left out.
    pub async fn describe(&self, max: usize) -> Vec<SessionSnapshot> {
        let some = self.live().some(max);
        let mut sessions = live::ask(some.iter(), Note::Describe, DESCRIBE_TIME_MAX).await;
        sessions.sort_by_key(|session| (session.outage_ms.is_none(), session.number));
        sessions
    }

    /// Its sessions.
    pub(super) fn live(&self) -> &Live {
        &self.shared.live
    }

    /// The media workers, if WebRTC streams are anchored.
    #[must_use]
    pub fn media(&self) -> Option<&MediaHandle> {
        self.shared.media.as_ref()
    }

    /// The memory budget and what is taken of it.
    #[must_use]
    pub fn memory(&self) -> MemoryFacts {
        let memory = &self.shared.memory;
        MemoryFacts {
            bytes: memory.bytes(),
            bytes_max: memory.bytes_max(),
            buffered_bytes: memory.buffered_bytes(),
            is_short: memory.is_short(),
        }
    }

    /// What there is at this moment.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let shared = &self.shared;
        Facts {
            sessions: shared.live.sessions(),
            outages: shared.live.outages(),
            places_taken: shared.live.taken(),
            places: shared.live.places(),
            handshakes: shared.handshakes.len(),
            held: shared.held.len(),
            closing: shared.closings.len(),
            files: shared.files.used(),
        }
    }

    /// The answer to a question for its health; the nodes are told in it.
    pub(crate) fn say_health(
        &self,
        question: Question,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        let shared = &self.shared;
        let reasons = health::reasons(shared, question);
        health::said(question, &reasons, method, headers, || shared.pool.nodes())
    }

    /// Ends as the settings say: closes clients with 1012 and upstreams cleanly, and returns when all are gone,
    /// or when the time for that is over. True if none was left.
    pub async fn shutdown(&self) -> bool {
        self.leave(self.order_to_leave(), LeaveCause::Signal("shutdown"));
        self.left().await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.leaving.closed.cancel();
        self.shared.leaving.refusing.cancel();
        self.shared.stopping.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_keeps_to_its_share_of_the_descriptors() {
        for (workers, share) in [(1, 64), (2, 100), (2, 256), (8, 5_000), (64, 262_144)] {
            let settings = within(MediaSettings { workers, ..MediaSettings::default() }, share);
            let files = settings.descriptors();
            let taken = files.fixed + files.clients + files.upstream;
            assert!(taken <= share, "{taken} of {share} with {workers} workers");
            assert!(files.clients > 0 && files.upstream > 0, "{files:?}");
        }
        let few =
            MediaSettings { tcp_connections_max: 3, upstream_sockets_max: 0, ..MediaSettings::default() };
        let few = within(few, 5_000);
        assert_eq!((few.tcp_connections_max, few.upstream_sockets_max), (3, 0), "what is set stays");
        // Fewer than the workers need: nothing is left, and nothing overflows.
        let none = within(MediaSettings::default(), 7);
        assert_eq!((none.tcp_connections_max, none.upstream_sockets_max), (1, 0));
    }
}
