//! A worker: a thread that owns the sockets and the streams pinned to it.
//!
//! It waits for datagrams, orders and deadlines, and hands each to the stream it belongs to.
//! No packet leaves the thread. A step of a stream that panics ends that stream; whatever else
//! ends the worker is the supervisor's case.

mod dispatch;
mod ports;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use crate::telemetry::Told;

use super::{
    Fact, Fault, MediaSettings, Order, StreamKey,
    certificate::Identity,
    connections::{Connections, Frame, Places},
    counters::{Published, Tally},
    guard::{Panicked, caught, discard},
    resolve::Resolver,
    routes::{ClientRoutes, Origin, UpstreamRoute, UpstreamRoutes, Watched},
    socket::{Arrival, Buffers, Outbox, Socket},
    stream::{Asker, Context, Opening, Reporter, Stream},
    supervisor::Post,
    transport::TransportEvent,
};
use dispatch::{Streams, client_datagram, step, upstream_datagram};
use ports::{CLIENTS, CLIENTS_TCP, ORDERS};

pub(crate) use ports::Bound;

/// Timers are looked at no more often than this.
const TICK: Duration = Duration::from_millis(5);

/// Longest sleep: bounds the delay of what no event announces.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// Batches read from one socket before others have their turn.
const BATCHES_MAX: usize = 8;

/// Places of breaks that are told per minute.
const BREAKS_TOLD_MAX: usize = 16;

/// Orders carried out before packets have their turn.
const ORDERS_AT_ONCE_MAX: usize = 64;

/// What a worker is made of, and what outlives it if it breaks.
pub(crate) struct Parts {
    pub(crate) settings: Arc<MediaSettings>,
    pub(crate) identity: Identity,
    pub(crate) orders: Receiver<Order>,
    pub(crate) published: Arc<Published>,
    /// Streams of all workers.
    pub(crate) streams: Arc<AtomicUsize>,
    /// Unchecked TCP connections of all workers.
    pub(crate) places: Places,
    pub(crate) tally: Tally,
    /// What streams that broke still have to say; at most one per stream.
    pub(crate) last_words: Vec<Reporter>,
}

impl Parts {
    pub(crate) fn has_no_orders(&self) -> bool {
        self.orders.is_closed() && self.orders.is_empty()
    }

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

/// Why a worker stopped without a panic.
pub(crate) enum End {
    /// Nobody can send orders any more: everything is closed.
    NoOrders,
    /// The system cannot wait for events.
    Poll(io::Error),
}

pub(crate) struct Worker {
    poll: Poll,
    parts: Parts,
    socket: Socket,
    tables: Tables,
    streams: HashMap<StreamKey, Stream>,
    /// Streams that broke in a step and are to be taken out.
    broken: Vec<(StreamKey, Panicked)>,
    /// Which breaks were told of late, by their place.
    told: Told<String>,
    /// Streams with something to flush after a batch.
    touched: Vec<StreamKey>,
    next_tick: Instant,
    /// A socket still had datagrams when its turn was over.
    unread: Vec<Token>,
}

/// What streams work on.
struct Tables {
    tcp: Option<Connections>,
    clients: ClientRoutes,
    upstreams: UpstreamRoutes,
    names: Resolver<Asker>,
    events: Vec<(usize, TransportEvent)>,
    outbox: Outbox,
}

impl Worker {
    pub(crate) fn new(bound: Bound, parts: Parts) -> Self {
        let Bound { poll, socket, tcp, upstreams } = bound;
        let (clients, names) = (ClientRoutes::default(), Resolver::default());
        let (events, outbox) = (Vec::new(), Outbox::default());
        Self {
            poll,
            parts,
            socket,
            tables: Tables { tcp, clients, upstreams, names, events, outbox },
            streams: HashMap::new(),
            broken: Vec::new(),
            told: Told::new(BREAKS_TOLD_MAX),
            touched: Vec::new(),
            next_tick: Instant::now(),
            unread: Vec::new(),
        }
    }

    /// Works until the last sender of orders is gone.
    pub(crate) fn run(&mut self, post: &Post) -> End {
        let mut events = Events::with_capacity(1024);
        let mut buffers = Buffers::new();
        loop {
            let sleep = if self.unread.is_empty() {
                self.next_tick.saturating_duration_since(Instant::now()).min(SLEEP_MAX)
            } else {
                Duration::ZERO
            };
            if let Err(error) = self.poll.poll(&mut events, Some(sleep))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return End::Poll(error);
            }
            let mut ready = std::mem::take(&mut self.unread);
            ready.extend(
                events
                    .iter()
                    .map(|e| e.token())
                    .filter(|t| *t != ORDERS && !ready.contains(t))
                    .collect::<Vec<_>>(),
            );
            for token in ready {
                self.read(token, &mut buffers);
            }
            if !self.take_orders() {
                self.end();
                return End::NoOrders;
            }
            self.take_names();
            self.flush();
            self.tick(post);
        }
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Gives up everything but what a new worker starts from: all streams are told.
    pub(crate) fn wreck(self) -> Parts {
        let Self { poll, mut parts, socket, tables, streams, .. } = self;
        for (_, stream) in streams {
            let (reporter, rest) = stream.dissolve();
            parts.lament(reporter, "the media worker ended".to_owned());
            discard(rest);
        }
        discard((tables, socket, poll));
        parts
    }

    fn context(&mut self, now: Instant) -> (Streams<'_>, Context<'_>) {
        self.tables.upstreams.now = now;
        let context = Context {
            settings: &self.parts.settings,
            identity: &self.parts.identity,
            client_socket: &self.socket,
            client_tcp: self.tables.tcp.as_mut(),
            client_routes: &mut self.tables.clients,
            upstream_routes: &mut self.tables.upstreams,
            names: &mut self.tables.names,
            tally: &mut self.parts.tally,
            events: &mut self.tables.events,
            outbox: &mut self.tables.outbox,
            now,
        };
        (Streams { by_key: &mut self.streams, broken: &mut self.broken }, context)
    }

    fn read(&mut self, token: Token, buffers: &mut Buffers) {
        let more = match token {
            CLIENTS => self.read_clients(buffers),
            CLIENTS_TCP => self.tables.tcp.as_mut().is_some_and(|tcp| tcp.accept(Instant::now())),
            token if self.tables.tcp.as_ref().is_some_and(|tcp| tcp.owns(token)) => {
                self.read_connection(token)
            }
            token => self.read_upstream(token, buffers),
        };
        if more {
            self.unread.push(token);
        }
        self.flush();
    }

    /// True: there may be more to read.
    fn read_clients(&mut self, buffers: &mut Buffers) -> bool {
        for _ in 0..BATCHES_MAX {
            let mut touched = std::mem::take(&mut self.touched);
            let (mut streams, mut context) = self.context(Instant::now());
            let more = context.client_socket.receive(buffers, |Arrival { source, local, bytes }| {
                context.tally.datagrams_received += 1;
                match client_datagram(&mut streams, Origin::udp(source), local, bytes, &mut context) {
                    Some(stream) => touch(&mut touched, stream),
                    None => context.tally.datagrams_foreign += 1,
                }
            });
            self.touched = touched;
            if !more {
                return false;
            }
            self.flush();
        }
        true
    }

    fn read_connection(&mut self, token: Token) -> bool {
        let now = Instant::now();
        let (frames, more) = self.tables.tcp.as_mut().map(|tcp| tcp.read(token)).unwrap_or_default();
        for Frame { source, local, bytes } in frames {
            let (mut streams, mut context) = self.context(now);
            context.tally.datagrams_received += 1;
            match client_datagram(&mut streams, Origin::tcp(source), local, &bytes, &mut context) {
                Some(stream) => touch(&mut self.touched, stream),
                None => context.tally.datagrams_foreign += 1,
            }
        }
        more
    }

    fn read_upstream(&mut self, token: Token, buffers: &mut Buffers) -> bool {
        let socket = match self.tables.upstreams.find(token) {
            None => return false,
            Some(Watched::Connection(route)) => return self.read_upstream_connection(route, token),
            Some(Watched::Shared(socket)) => socket,
        };
        for _ in 0..BATCHES_MAX {
            let mut touched = std::mem::take(&mut self.touched);
            let (mut streams, mut context) = self.context(Instant::now());
            let more = socket.receive(buffers, |Arrival { source, bytes, .. }| {
                context.tally.datagrams_received += 1;
                match upstream_datagram(&mut streams, token, source, bytes, &mut context) {
                    Some(stream) => touch(&mut touched, stream),
                    None => context.tally.datagrams_foreign_upstream += 1,
                }
            });
            self.touched = touched;
            if !more {
                return false;
            }
            self.flush();
        }
        true
    }

    fn read_upstream_connection(&mut self, route: UpstreamRoute, token: Token) -> bool {
        let (mut streams, mut context) = self.context(Instant::now());
        let read = |s: &mut Stream, ctx: &mut Context<'_>| s.read_upstream_connection(route, token, ctx);
        let Some(more) = streams.step(route.stream, &mut context, read) else { return false };
        touch(&mut self.touched, route.stream);
        more
    }

    /// Tells streams the addresses of names that were looked up.
    fn take_names(&mut self) {
        let now = Instant::now();
        for (asker, addresses) in self.tables.names.poll(now) {
            let stream = asker.route.stream;
            self.with(stream, now, |s, ctx| s.name_known(&asker, &addresses, ctx));
            touch(&mut self.touched, stream);
        }
    }

    /// Lets the legs send what a batch left in them.
    fn flush(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        let now = Instant::now();
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
        self.bury();
        if let Some(earliest) = earliest {
            self.next_tick = self.next_tick.min(earliest.max(now + TICK));
        }
    }

    fn tick(&mut self, post: &Post) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
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
        self.bury();
        for key in closed {
            self.remove(key);
        }
        self.next_tick = next.max(now + TICK);
        self.parts.last_words.retain_mut(|reporter| reporter.flush() && reporter.waits());
        post.seen(now);
        self.publish();
    }

    /// Takes out the streams that broke. Nothing of theirs is used any more but their voice.
    fn bury(&mut self) {
        for (key, panicked) in std::mem::take(&mut self.broken) {
            let Some(stream) = self.streams.remove(&key) else { continue };
            self.told(key, &panicked);
            let (reporter, rest) = stream.dissolve();
            self.parts.lament(reporter, panicked.to_string());
            discard(rest);
            self.tables.clients.forget(key);
            self.tables.upstreams.forget(key);
        }
    }

    fn told(&mut self, stream: StreamKey, panicked: &Panicked) {
        let Some(withheld) = self.told.may_tell(panicked.to_string(), Instant::now()) else { return };
        tracing::error!(
            event = "media_stream_broke", %stream, cause = %panicked, broken = self.parts.tally.streams_broken,
            withheld,
            "a media stream broke and is closed, the others go on"
        );
    }

    fn publish(&mut self) {
        if let Some(tcp) = &mut self.tables.tcp {
            tcp.sweep(Instant::now());
            self.parts.tally.tcp_connections = tcp.len() as u64;
            self.parts.tally.tcp_refused = tcp.refused();
        }
        self.parts.tally.streams = self.streams.len() as u64;
        self.parts.tally.upstream_sockets = self.tables.upstreams.len() as u64;
        self.parts.tally.upstream_addresses = self.tables.upstreams.peers() as u64;
        self.parts.tally.publish(&self.parts.published);
    }

    fn remove(&mut self, key: StreamKey) {
        if self.streams.remove(&key).is_some() {
            self.parts.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// False: nobody can send orders any more.
    fn take_orders(&mut self) -> bool {
        for _ in 0..ORDERS_AT_ONCE_MAX {
            match self.parts.orders.try_recv() {
                Ok(order) => self.carry_out(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        // More are waiting: come back without sleeping.
        self.next_tick = Instant::now();
        true
    }

    fn carry_out(&mut self, order: Order) {
        self.parts.tally.orders += 1;
        let (key, now) = (order.stream(), Instant::now());
        match order {
            Order::Open { stream, kind, epoch, client_offer, local_ip, refuse_h264, facts } => {
                self.open(Opening { stream, kind, epoch, client_offer, local_ip, refuse_h264, facts }, now);
            }
            Order::Attach { epoch, narrow, refuse_h264, .. } => {
                self.with(key, now, |s, ctx| s.attach(epoch, narrow, refuse_h264, ctx));
            }
            Order::UpstreamAnswer { epoch, sdp, .. } => {
                self.with(key, now, |s, ctx| s.upstream_answer(epoch, &sdp, ctx));
            }
            Order::Detach { .. } => self.with(key, now, Stream::detach),
            Order::Muted { video, .. } => self.with(key, now, |s, ctx| s.mute(video, ctx.now)),
            Order::Revive { .. } => self.with(key, now, Stream::revive),
            Order::Close { .. } => {
                self.with(key, now, Stream::close);
                self.bury();
                self.remove(key);
            }
            Order::Break { fault: Fault::Step, .. } => {
                self.with(key, now, |_, _| std::panic::resume_unwind(Box::new(Fault::Step)));
            }
            Order::Break { fault: Fault::Worker, .. } => {
                std::panic::resume_unwind(Box::new(Fault::Worker));
            }
        }
        touch(&mut self.touched, key);
    }

    fn with(&mut self, key: StreamKey, now: Instant, act: impl FnOnce(&mut Stream, &mut Context<'_>)) {
        let (mut streams, mut context) = self.context(now);
        streams.step(key, &mut context, act);
    }

    fn open(&mut self, opening: Opening, now: Instant) {
        let key = opening.stream;
        if self.streams.contains_key(&key) {
            return;
        }
        let has_room = self.parts.streams.fetch_add(1, Ordering::Relaxed) < self.parts.settings.streams_max;
        let facts = opening.facts.clone();
        let (streams, context) = self.context(now);
        match caught(|| Stream::open(opening, has_room, &context)) {
            Ok(Some(stream)) => {
                context.tally.streams_opened += 1;
                streams.by_key.insert(key, stream);
            }
            Ok(None) => {
                self.parts.streams.fetch_sub(1, Ordering::Relaxed);
            }
            Err(panicked) => {
                self.told(key, &panicked);
                self.parts.lament(Reporter::new(key, facts), panicked.to_string());
            }
        }
    }

    /// Closes everything: peers hear a goodbye.
    fn end(&mut self) {
        for key in self.streams.keys().copied().collect::<Vec<_>>() {
            self.with(key, Instant::now(), Stream::close);
            self.bury();
            self.remove(key);
        }
        debug_assert!(self.tables.clients.is_empty(), "closed streams left routes behind");
        debug_assert!(self.tables.upstreams.is_empty(), "closed streams left upstream routes behind");
        self.publish();
    }
}

fn touch(touched: &mut Vec<StreamKey>, stream: StreamKey) {
    if touched.last() != Some(&stream) && !touched.contains(&stream) {
        touched.push(stream);
    }
}
