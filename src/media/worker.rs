//! A worker: a thread that owns the sockets and the streams pinned to it.
//!
//! It waits for datagrams, orders and deadlines, and hands each to the stream it belongs to.
//! No packet leaves the thread.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use super::{
    MediaSettings, Order, StreamKey,
    certificate::Identity,
    connections::{Connections, Frame, Limits, Places},
    counters::{Published, Tally},
    demux::{Datagram, classify},
    routes::{ClientRoute, ClientRoutes, Origin, UpstreamRoutes},
    socket::{Arrival, Buffers, Outbox, Socket},
    stream::{CheckTarget, Context, Opening, Stream},
    transport::TransportEvent,
};

const CLIENTS: Token = Token(0);
const ORDERS: Token = Token(1);
const CLIENTS_TCP: Token = Token(2);
const FIRST_UPSTREAM: usize = 3;
/// Tokens of TCP connections; upstream sockets never get this far.
const FIRST_CONNECTION: usize = usize::MAX / 2;

/// Ports tried until one is free in UDP and TCP, if the system may choose.
const PORT_TRIES_MAX: usize = 16;

/// Timers are looked at no more often than this.
const TICK: Duration = Duration::from_millis(5);

/// Longest sleep: bounds the delay of what no event announces.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// Batches read from one socket before others have their turn.
const BATCHES_MAX: usize = 8;

/// Orders carried out before packets have their turn.
const ORDERS_AT_ONCE_MAX: usize = 64;

/// What a worker is made of; built by the starter so that errors surface there.
pub(crate) struct Parts {
    pub(crate) settings: Arc<MediaSettings>,
    pub(crate) identity: Identity,
    pub(crate) orders: Receiver<Order>,
    pub(crate) published: Arc<Published>,
    /// Streams of all workers.
    pub(crate) streams: Arc<AtomicUsize>,
    /// Unchecked TCP connections of all workers.
    pub(crate) places: Places,
}

pub(crate) struct Worker {
    poll: Poll,
    parts: Parts,
    socket: Socket,
    tables: Tables,
    streams: HashMap<StreamKey, Stream>,
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
    tally: Tally,
    events: Vec<(usize, TransportEvent)>,
    outbox: Outbox,
}

impl Worker {
    /// Binds the socket of the client legs.
    ///
    /// # Errors
    ///
    /// If the address is not ours, the port is taken, or the system is out of something.
    pub(crate) fn new(address: SocketAddr, parts: Parts) -> io::Result<(Self, Waker, SocketAddr)> {
        let poll = Poll::new()?;
        let (mut socket, tcp) = bind(address, &parts, &poll)?;
        poll.registry().register(socket.source(), CLIENTS, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), ORDERS)?;
        let upstreams = UpstreamRoutes::new(poll.registry().try_clone()?, FIRST_UPSTREAM);
        let local = socket.local();
        let worker = Self {
            poll,
            parts,
            socket,
            tables: Tables {
                tcp,
                clients: ClientRoutes::default(),
                upstreams,
                tally: Tally::default(),
                events: Vec::new(),
                outbox: Outbox::default(),
            },
            streams: HashMap::new(),
            touched: Vec::new(),
            next_tick: Instant::now(),
            unread: Vec::new(),
        };
        Ok((worker, waker, local))
    }

    /// Works until the last sender of orders is gone.
    pub(crate) fn run(mut self) {
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
                tracing::error!(%error, "a media worker cannot wait for events and ends");
                return;
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
                return;
            }
            self.flush();
            self.tick();
        }
    }

    fn context(&mut self, now: Instant) -> (&mut HashMap<StreamKey, Stream>, Context<'_>) {
        let context = Context {
            settings: &self.parts.settings,
            identity: &self.parts.identity,
            client_socket: &self.socket,
            client_tcp: self.tables.tcp.as_mut(),
            client_routes: &mut self.tables.clients,
            upstream_routes: &mut self.tables.upstreams,
            tally: &mut self.tables.tally,
            events: &mut self.tables.events,
            outbox: &mut self.tables.outbox,
            now,
        };
        (&mut self.streams, context)
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
            let now = Instant::now();
            let Self { parts, socket, tables, streams, touched, .. } = self;
            let Tables { tcp, clients, upstreams, tally, events, outbox } = tables;
            let more = socket.receive(buffers, |arrival| {
                tally.datagrams_received += 1;
                let mut context = Context {
                    settings: &parts.settings,
                    identity: &parts.identity,
                    client_socket: socket,
                    client_tcp: tcp.as_mut(),
                    client_routes: clients,
                    upstream_routes: upstreams,
                    tally,
                    events,
                    outbox,
                    now,
                };
                match client_datagram(
                    streams,
                    Origin::udp(arrival.source),
                    arrival.local,
                    arrival.bytes,
                    &mut context,
                ) {
                    Some(stream) => touch(touched, stream),
                    None => tally.datagrams_foreign += 1,
                }
            });
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
            let (streams, mut context) = self.context(now);
            context.tally.datagrams_received += 1;
            match client_datagram(streams, Origin::tcp(source), local, &bytes, &mut context) {
                Some(stream) => touch(&mut self.touched, stream),
                None => context.tally.datagrams_foreign += 1,
            }
        }
        more
    }

    fn read_upstream(&mut self, token: Token, buffers: &mut Buffers) -> bool {
        let Some(route) = self.tables.upstreams.find(token) else { return false };
        if route.tcp {
            let (streams, mut context) = self.context(Instant::now());
            let Some(stream) = streams.get_mut(&route.stream) else { return false };
            let more = stream.read_upstream_connection(route, token, &mut context);
            touch(&mut self.touched, route.stream);
            return more;
        }
        for _ in 0..BATCHES_MAX {
            let now = Instant::now();
            let (streams, mut context) = self.context(now);
            let Some(stream) = streams.get_mut(&route.stream) else { return false };
            let Some(socket) = stream.upstream_socket(route.generation, route.transport) else {
                return false;
            };
            let more = socket.receive(buffers, |arrival| {
                context.tally.datagrams_received += 1;
                let Arrival { source, bytes, .. } = arrival;
                stream.upstream_datagram(
                    route.generation,
                    route.transport,
                    Origin::udp(source),
                    bytes,
                    &mut context,
                );
            });
            touch(&mut self.touched, route.stream);
            if !more {
                return false;
            }
            self.flush();
        }
        true
    }

    /// Lets the legs send what a batch left in them.
    fn flush(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        let now = Instant::now();
        let (streams, mut context) = self.context(now);
        let mut earliest = None;
        for key in touched.drain(..) {
            if let Some(stream) = streams.get_mut(&key) {
                stream.drive_all(&mut context);
                let deadline = stream.deadline();
                earliest = Some(earliest.map_or(deadline, |e: Instant| e.min(deadline)));
            }
        }
        self.touched = touched;
        if let Some(earliest) = earliest {
            self.next_tick = self.next_tick.min(earliest.max(now + TICK));
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        let (streams, mut context) = self.context(now);
        let mut next = now + SLEEP_MAX;
        let mut closed = Vec::new();
        for (key, stream) in streams.iter_mut() {
            if stream.deadline() <= now {
                stream.tick(&mut context);
            }
            if stream.is_closed() {
                closed.push(*key);
            } else {
                next = next.min(stream.deadline());
            }
        }
        for key in closed {
            self.remove(key);
        }
        self.next_tick = next.max(now + TICK);
        self.publish();
    }

    fn publish(&mut self) {
        if let Some(tcp) = &mut self.tables.tcp {
            tcp.sweep(Instant::now());
            self.tables.tally.tcp_connections = tcp.len() as u64;
            self.tables.tally.tcp_refused = tcp.refused();
        }
        self.tables.tally.streams = self.streams.len() as u64;
        self.tables.tally.upstream_sockets = self.tables.upstreams.len() as u64;
        self.tables.tally.publish(&self.parts.published);
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
        self.tables.tally.orders += 1;
        let now = Instant::now();
        let key = match order {
            Order::Open { stream, kind, epoch, client_offer, local_ip, refuse_h264, facts } => {
                self.open(Opening { stream, kind, epoch, client_offer, local_ip, refuse_h264, facts }, now);
                stream
            }
            Order::Attach { stream, epoch, narrow, refuse_h264 } => {
                self.with(stream, now, |s, ctx| s.attach(epoch, narrow, refuse_h264, ctx));
                stream
            }
            Order::UpstreamAnswer { stream, epoch, sdp } => {
                self.with(stream, now, |s, ctx| s.upstream_answer(epoch, &sdp, ctx));
                stream
            }
            Order::Detach { stream } => {
                self.with(stream, now, Stream::detach);
                stream
            }
            Order::Muted { stream, video } => {
                self.with(stream, now, |s, ctx| s.mute(video, ctx.now));
                stream
            }
            Order::Revive { stream } => {
                self.with(stream, now, Stream::revive);
                stream
            }
            Order::Close { stream } => {
                self.with(stream, now, Stream::close);
                self.remove(stream);
                stream
            }
        };
        touch(&mut self.touched, key);
    }

    fn with(&mut self, key: StreamKey, now: Instant, act: impl FnOnce(&mut Stream, &mut Context<'_>)) {
        let (streams, mut context) = self.context(now);
        if let Some(stream) = streams.get_mut(&key) {
            act(stream, &mut context);
        }
    }

    fn open(&mut self, opening: Opening, now: Instant) {
        let key = opening.stream;
        if self.streams.contains_key(&key) {
            return;
        }
        let has_room = self.parts.streams.fetch_add(1, Ordering::Relaxed) < self.parts.settings.streams_max;
        let (streams, context) = self.context(now);
        match Stream::open(opening, has_room, &context) {
            Some(stream) => {
                context.tally.streams_opened += 1;
                streams.insert(key, stream);
            }
            None => {
                self.parts.streams.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Closes everything: peers hear a goodbye.
    fn end(&mut self) {
        for key in self.streams.keys().copied().collect::<Vec<_>>() {
            self.with(key, Instant::now(), Stream::close);
            self.remove(key);
        }
        debug_assert!(self.tables.clients.is_empty(), "closed streams left routes behind");
        self.publish();
    }
}

/// Binds the port in UDP, and in TCP if that is on. The IPv6 wildcard takes IPv4 as well, and
/// nothing else on a system without IPv6.
fn bind(address: SocketAddr, parts: &Parts, poll: &Poll) -> io::Result<(Socket, Option<Connections>)> {
    let unknown = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    let wildcard = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind_one(address, parts, poll) {
        Err(error)
            if wildcard
                && (error.raw_os_error() == unknown || error.kind() == io::ErrorKind::AddrNotAvailable) =>
        {
            bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), parts, poll)
        }
        bound => bound,
    }
}

fn bind_one(address: SocketAddr, parts: &Parts, poll: &Poll) -> io::Result<(Socket, Option<Connections>)> {
    let settings = &parts.settings;
    for tries in 1.. {
        let socket = Socket::bind(address)?;
        if !settings.tcp {
            return Ok((socket, None));
        }
        let registry = poll.registry().try_clone()?;
        let limits = Limits {
            connections_max: settings.tcp_connections_max,
            output_bytes_max: settings.tcp_output_bytes_max,
            unchecked_max: settings.tcp_unchecked_max,
            unchecked_bytes_max: settings.tcp_unchecked_bytes_max,
            unchecked_connections_max: settings.tcp_unchecked_connections_max,
            unchecked_per_address_max: settings.tcp_unchecked_per_address_max,
        };
        let (local, places) = (socket.local(), parts.places.clone());
        match Connections::listen(local, registry, CLIENTS_TCP, FIRST_CONNECTION, limits, places) {
            Ok(connections) => return Ok((socket, Some(connections))),
            // The system chose a port that somebody has in TCP.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && address.port() == 0
                    && tries < PORT_TRIES_MAX => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn touch(touched: &mut Vec<StreamKey>, stream: StreamKey) {
    if touched.last() != Some(&stream) && !touched.contains(&stream) {
        touched.push(stream);
    }
}

/// Hands a datagram to the client leg it belongs to; None: to none.
fn client_datagram(
    streams: &mut HashMap<StreamKey, Stream>,
    source: Origin,
    local: Option<IpAddr>,
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Option<StreamKey> {
    match classify(bytes) {
        Datagram::Unknown => None,
        Datagram::StunRequest { ufrag } => {
            let (ClientRoute { stream, transport }, credentials) = context.client_routes.name(ufrag)?;
            let target = CheckTarget { transport, credentials };
            let accepted = streams.get_mut(&stream)?.client_check(target, source, local, bytes, context);
            if let (true, true, Some(connections)) = (accepted, source.tcp, context.client_tcp.as_deref_mut())
            {
                connections.checked(source.address, context.now);
            }
            accepted.then_some(stream)
        }
        // Only from addresses that passed a check.
        Datagram::StunOther | Datagram::Dtls | Datagram::Rtp { .. } | Datagram::Rtcp => {
            let ClientRoute { stream, transport } = context.client_routes.address(source)?;
            streams.get_mut(&stream)?.client_datagram(transport, source, bytes, context);
            Some(stream)
        }
    }
}
