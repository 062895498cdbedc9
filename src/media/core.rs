//! All that a worker decides, for all its streams: whose a datagram is, what becomes of it, who may
//! connect, and when something is due.
//!
//! Touches no socket, no clock and no name server: what comes in is told by its methods together with
//! the time, what is to be done is in its outputs. A step of a stream that panics ends that stream.

mod dispatch;
mod orders;
#[cfg(test)]
mod sizes;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use crate::telemetry::Told;

use super::{
    Client, Fact, Fault, MediaCommand, MediaSettings, Order, StreamKey,
    certificate::Identity,
    connections::{Connections, Heard, Limits, Places},
    counters::Tally,
    engine::Engines,
    guard::{Panicked, caught, discard},
    output::{ConnectionId, NotConnecting, Output, SocketId, WaysOut},
    resolve::Names,
    routes::{ClientRoutes, Origin, UpstreamRoutes},
    stream::{Asker, Context, Opening, Reporter, Stream},
    transport::TransportEvent,
};
use dispatch::{Streams, client_datagram, step, upstream_datagram};

/// Timers are looked at no more often than this.
const TICK: Duration = Duration::from_millis(5);

/// Longest time between two looks at the timers: bounds the delay of what no event announces.
pub(crate) const SLEEP_MAX: Duration = Duration::from_millis(50);

/// Places of breaks that are told per minute.
const BREAKS_TOLD_MAX: usize = 16;

/// The number of the socket that upstream legs share; others, and connections to upstreams, count up.
pub(crate) const FIRST_UPSTREAM: usize = 3;

/// The number of the first connection of a client; those of upstreams never get this far.
const FIRST_CONNECTION: usize = usize::MAX / 2;

/// What outlives the rest if a worker breaks.
pub(crate) struct Kept {
    pub(crate) settings: Arc<MediaSettings>,
    pub(crate) identity: Identity,
    /// Streams of all workers.
    pub(crate) streams: Arc<AtomicUsize>,
    /// Unchecked TCP connections of all workers.
    pub(crate) places: Places,
    pub(crate) tally: Tally,
    /// What streams that broke still have to say; at most one per stream.
    pub(crate) last_words: Vec<Reporter>,
}

impl Kept {
    /// The stream is gone without having said so itself.
    fn lament(&mut self, mut reporter: Reporter, reason: String) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
        self.tally.streams_broken += 1;
        reporter.say(Fact::Broken { reason });
        if reporter.waits() {
            self.last_words.push(reporter);
        }
    }
}

/// What the core is told of where it runs.
pub(crate) struct Surroundings {
    /// Our end of the socket that all client legs share; nominal if it is bound to a wildcard.
    pub(crate) client_local: SocketAddr,
    /// Which address of ours leads where.
    pub(crate) ways_out: Box<dyn WaysOut + Send>,
    /// What lies under transports.
    pub(crate) engines: Box<dyn Engines + Send>,
    /// Where numbers and secrets come from.
    pub(crate) random: StdRng,
}

/// The deciding part of a worker.
pub(crate) struct Core {
    kept: Kept,
    surroundings: Surroundings,
    tables: Tables,
    /// In the order of their keys, so that a simulation replays.
    streams: BTreeMap<StreamKey, Stream>,
    /// Streams that broke in a step and are to be taken out.
    broken: Vec<(StreamKey, Panicked)>,
    /// Which breaks were told of late, by their place.
    told: Told<String>,
    /// Streams with something to flush after a batch.
    touched: Vec<StreamKey>,
    next_tick: Instant,
}

/// What streams work on.
struct Tables {
    tcp: Option<Connections>,
    clients: ClientRoutes,
    upstreams: UpstreamRoutes,
    names: Names<Asker>,
    events: Vec<(usize, TransportEvent)>,
    outputs: Vec<Output>,
}

impl Core {
    /// Without streams.
    pub(crate) fn new(kept: Kept, surroundings: Surroundings, now: Instant) -> Self {
        let settings = &kept.settings;
        let limits = Limits {
            connections_max: settings.tcp_connections_max,
            output_bytes_max: settings.tcp_output_bytes_max,
            unchecked_max: settings.tcp_unchecked_max,
            unchecked_bytes_max: settings.tcp_unchecked_bytes_max,
            unchecked_connections_max: settings.tcp_unchecked_connections_max,
            unchecked_per_address_max: settings.tcp_unchecked_per_address_max,
        };
        let tcp = || Connections::new(FIRST_CONNECTION, limits, kept.places.clone(), now);
        let (sockets_max, bytes) = (settings.upstream_sockets_max, settings.socket_buffer_bytes);
        let tables = Tables {
            tcp: settings.tcp.then(tcp),
            clients: ClientRoutes::default(),
            upstreams: UpstreamRoutes::new(FIRST_UPSTREAM, sockets_max, bytes, now),
            names: Names::default(),
            events: Vec::new(),
            outputs: Vec::new(),
        };
        Self {
            kept,
            surroundings,
            tables,
            streams: BTreeMap::new(),
            broken: Vec::new(),
            told: Told::new(BREAKS_TOLD_MAX),
            touched: Vec::new(),
            next_tick: now,
        }
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) const fn deadline(&self) -> Instant {
        self.next_tick
    }

    /// What was counted.
    pub(crate) const fn tally(&mut self) -> &mut Tally {
        &mut self.kept.tally
    }

    /// Exchanges what is to be done for an empty list.
    pub(crate) const fn swap_outputs(&mut self, done: &mut Vec<Output>) {
        std::mem::swap(&mut self.tables.outputs, done);
    }

    /// Gives up everything but what a new core starts from: all streams are told.
    pub(crate) fn wreck(self) -> Kept {
        let Self { mut kept, tables, streams, .. } = self;
        for (_, stream) in streams {
            let (reporter, rest) = stream.dissolve();
            kept.lament(reporter, "the media worker ended".to_owned());
            discard(rest);
        }
        discard(tables);
        kept
    }

    fn context(&mut self, now: Instant) -> (Streams<'_>, Context<'_>) {
        self.tables.upstreams.now = now;
        let context = Context {
            settings: &self.kept.settings,
            identity: &self.kept.identity,
            engines: &mut *self.surroundings.engines,
            client_local: self.surroundings.client_local,
            client_tcp: self.tables.tcp.as_mut(),
            client_routes: &mut self.tables.clients,
            upstream_routes: &mut self.tables.upstreams,
            names: &mut self.tables.names,
            ways_out: &*self.surroundings.ways_out,
            random: &mut self.surroundings.random,
            tally: &mut self.kept.tally,
            events: &mut self.tables.events,
            outputs: &mut self.tables.outputs,
            now,
        };
        (Streams { by_key: &mut self.streams, broken: &mut self.broken }, context)
    }

    /// A datagram came to the socket of client legs, or over the connection of a client. `local`: the
    /// address of ours that was hit, if the system says.
    pub(crate) fn client_datagram(
        &mut self,
        source: Origin,
        local: Option<IpAddr>,
        bytes: &[u8],
        now: Instant,
    ) {
        let (mut streams, mut context) = self.context(now);
        context.tally.datagrams_received += 1;
        match client_datagram(&mut streams, source, local, bytes, &mut context) {
            Some(stream) => touch(&mut self.touched, stream),
            None => context.tally.datagrams_foreign += 1,
        }
    }

    /// A datagram came to a socket of upstream legs.
    pub(crate) fn upstream_datagram(
        &mut self,
        socket: SocketId,
        source: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) {
        let (mut streams, mut context) = self.context(now);
        context.tally.datagrams_received += 1;
        match upstream_datagram(&mut streams, socket, source, bytes, &mut context) {
            Some(stream) => touch(&mut self.touched, stream),
            None => context.tally.datagrams_foreign_upstream += 1,
        }
    }

    /// The system opened a socket, or could not.
    pub(crate) fn socket_opened(&mut self, socket: SocketId, is_open: bool, now: Instant) {
        for route in self.tables.upstreams.opened(socket, is_open) {
            self.with(route.stream, now, |s, ctx| s.socket_opened(route, socket, is_open, ctx));
            touch(&mut self.touched, route.stream);
        }
    }

    /// A client connected. None: there is no place for it, it is to be closed.
    pub(crate) fn accepted(
        &mut self,
        peer: SocketAddr,
        local: Option<IpAddr>,
        now: Instant,
    ) -> Option<ConnectionId> {
        self.tables.tcp.as_mut()?.accepted(peer, local, now, &mut self.tables.outputs)
    }

    /// The system connects to an upstream, from this end of ours; or it cannot.
    pub(crate) fn connecting(
        &mut self,
        connection: ConnectionId,
        local: Result<SocketAddr, NotConnecting>,
        now: Instant,
    ) {
        let Some(route) = self.tables.upstreams.connection(connection) else { return };
        self.with(route.stream, now, |s, ctx| s.connecting(route, connection, local, ctx));
        touch(&mut self.touched, route.stream);
    }

    /// The connections of clients, if this is one of them.
    fn clients_of(&mut self, connection: ConnectionId) -> Option<&mut Connections> {
        self.tables.tcp.as_mut().filter(|tcp| tcp.owns(connection))
    }

    /// How many bytes may be read of a connection now.
    pub(crate) fn may_read(&mut self, connection: ConnectionId) -> usize {
        let tcp = self.tables.tcp.as_mut().filter(|tcp| tcp.owns(connection));
        tcp.map_or(usize::MAX, |tcp| tcp.may_read(connection, &mut self.tables.outputs))
    }

    /// These bytes were read of a connection.
    pub(crate) fn bytes(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        if let Some(tcp) = self.clients_of(connection) {
            let Some(Heard { source, local, datagrams }) = tcp.bytes(connection, bytes) else { return };
            for bytes in datagrams {
                self.client_datagram(Origin::tcp(source), local, &bytes, now);
            }
        } else if let Some(route) = self.tables.upstreams.connection(connection) {
            self.with(route.stream, now, |s, ctx| s.upstream_bytes(route, connection, bytes, ctx));
            touch(&mut self.touched, route.stream);
        }
    }

    /// What waits to be written to a connection.
    pub(crate) fn unwritten(&mut self, connection: ConnectionId) -> &[u8] {
        if self.clients_of(connection).is_some() {
            return self.clients_of(connection).map(|tcp| tcp.unwritten(connection)).unwrap_or_default();
        }
        let route = self.tables.upstreams.connection(connection);
        let stream = route.and_then(|route| Some((self.streams.get_mut(&route.stream)?, route)));
        stream.map(|(stream, route)| stream.unwritten(route, connection)).unwrap_or_default()
    }

    /// So many bytes of that were written.
    pub(crate) fn wrote(&mut self, connection: ConnectionId, count: usize) {
        if let Some(tcp) = self.clients_of(connection) {
            tcp.wrote(connection, count);
        } else if let Some(route) = self.tables.upstreams.connection(connection)
            && let Some(stream) = self.streams.get_mut(&route.stream)
        {
            stream.wrote(route, connection, count);
        }
    }

    /// A connection has ended.
    pub(crate) fn closed(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(tcp) = self.clients_of(connection) {
            tcp.closed(connection);
        } else if let Some(route) = self.tables.upstreams.connection(connection) {
            self.with(route.stream, now, |s, ctx| s.upstream_closed(route, connection, ctx));
            touch(&mut self.touched, route.stream);
        }
    }

    /// The addresses of a name were looked up; none if it has none.
    pub(crate) fn looked_up(&mut self, name: Arc<str>, addresses: Vec<IpAddr>, now: Instant) {
        let outputs = &mut self.tables.outputs;
        let (askers, addresses) = self.tables.names.looked_up(name, addresses, now, outputs);
        for asker in askers {
            let stream = asker.route.stream;
            self.with(stream, now, |s, ctx| s.name_known(&asker, &addresses, ctx));
            touch(&mut self.touched, stream);
        }
    }

    /// Lets the legs send what a batch left in them.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        let (mut streams, mut context) = self.context(now);
        let mut earliest = None;
        for key in touched.drain(..) {
            let deadline = streams.step(key, &mut context, |stream, ctx| {
                stream.drive_all(ctx);
                stream.deadline()
            });
            earliest = earliest.into_iter().chain(deadline).min();
        }
        self.touched = touched;
        self.bury(now);
        if let Some(earliest) = earliest {
            self.next_tick = self.next_tick.min(earliest.max(now + TICK));
        }
    }

    /// Does what is due. False: nothing was. Calls before the deadline are harmless.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        if now < self.next_tick {
            return false;
        }
        let (Streams { by_key, broken }, mut context) = self.context(now);
        let mut next = now + SLEEP_MAX;
        let mut closed = Vec::new();
        for (key, stream) in by_key.iter_mut() {
            if stream.deadline() <= now {
                step(*key, stream, broken, &mut context, Stream::tick);
            }
            if stream.is_closed() {
                closed.push(*key);
            } else {
                next = next.min(stream.deadline());
            }
        }
        self.bury(now);
        for key in closed {
            self.remove(key);
        }
        self.next_tick = next.max(now + TICK);
        self.kept.last_words.retain_mut(|reporter| reporter.flush() && reporter.waits());
        if let Some(tcp) = &mut self.tables.tcp {
            tcp.sweep(now, &mut self.tables.outputs);
        }
        self.count();
        true
    }

    /// Takes out the streams that broke. Nothing of theirs is used any more but their voice.
    fn bury(&mut self, now: Instant) {
        for (key, panicked) in std::mem::take(&mut self.broken) {
            let Some(stream) = self.streams.remove(&key) else { continue };
            self.told(key, &panicked, now);
            let (reporter, rest) = stream.dissolve();
            self.kept.lament(reporter, panicked.to_string());
            discard(rest);
            self.tables.clients.forget(key);
            self.tables.upstreams.forget(key, &mut self.tables.outputs);
        }
    }

    fn told(&mut self, stream: StreamKey, panicked: &Panicked, now: Instant) {
        let Some(withheld) = self.told.may_tell(panicked.to_string(), now) else { return };
        tracing::error!(
            event = "media_stream_broke", %stream, cause = %panicked, broken = self.kept.tally.streams_broken,
            withheld,
            "a media stream broke and is closed, the others go on"
        );
    }

    /// Counts what there is now.
    fn count(&mut self) {
        let tally = &mut self.kept.tally;
        if let Some(tcp) = &self.tables.tcp {
            tally.tcp_connections = tcp.len() as u64;
            tally.tcp_refused = tcp.refused();
        }
        tally.streams = self.streams.len() as u64;
        tally.upstream_sockets = self.tables.upstreams.len() as u64;
        tally.upstream_addresses = self.tables.upstreams.peers() as u64;
    }

    fn remove(&mut self, key: StreamKey) {
        if self.streams.remove(&key).is_some() {
            self.kept.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Closes everything: peers hear a goodbye.
    pub(crate) fn end(&mut self, now: Instant) {
        for key in self.streams.keys().copied().collect::<Vec<_>>() {
            self.close(key, now);
        }
        debug_assert!(self.tables.clients.is_empty(), "closed streams left routes behind");
        debug_assert!(self.tables.upstreams.is_empty(), "closed streams left upstream routes behind");
        self.count();
    }
}

fn touch(touched: &mut Vec<StreamKey>, stream: StreamKey) {
    if touched.last() != Some(&stream) && !touched.contains(&stream) {
        touched.push(stream);
    }
}
