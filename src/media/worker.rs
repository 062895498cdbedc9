//! A worker: a thread that owns sockets and a clock, and a [`Core`] that decides.
//!
//! It waits for datagrams, orders and deadlines, tells the core and carries out what the core says.
//! No packet leaves the thread. Whatever ends the worker is the supervisor's case.

mod ports;
mod sockets;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Token};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use super::{
    Order,
    core::{Core, FIRST_UPSTREAM, Kept, SLEEP_MAX, Surroundings},
    counters::Published,
    guard::discard,
    output::SocketId,
    routes::Origin,
    socket::{Arrival, Buffers},
    supervisor::Post,
};
use ports::{CLIENTS, CLIENTS_TCP, ORDERS, WaysOut};
use sockets::Sockets;

pub(crate) use ports::Bound;

/// Batches read from one socket before others have their turn.
const BATCHES_MAX: usize = 8;

/// Orders carried out before packets have their turn.
const ORDERS_AT_ONCE_MAX: usize = 64;

/// What a worker is made of, and what outlives it if it breaks.
pub(crate) struct Parts {
    pub(crate) orders: Receiver<Order>,
    pub(crate) published: Arc<Published>,
    pub(crate) kept: Kept,
}

impl Parts {
    pub(crate) fn has_no_orders(&self) -> bool {
        self.orders.is_closed() && self.orders.is_empty()
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
    orders: Receiver<Order>,
    published: Arc<Published>,
    sockets: Sockets,
    core: Core,
    /// A socket still had datagrams when its turn was over.
    unread: Vec<Token>,
    /// More orders are waiting.
    more_orders: bool,
}

impl Worker {
    pub(crate) fn new(bound: Bound, parts: Parts) -> Self {
        let Bound { poll, clients, listener, upstream, probe } = bound;
        let Parts { orders, published, kept } = parts;
        let surroundings = Surroundings {
            client_local: clients.local(),
            ways_out: Box::new(WaysOut { probe, port: upstream.local().port() }),
            engines: Box::new(kept.identity.clone()),
            random: StdRng::from_rng(&mut rand::rng()),
        };
        Self {
            orders,
            published,
            sockets: Sockets::new(poll, clients, listener, (SocketId(FIRST_UPSTREAM), upstream)),
            core: Core::new(kept, surroundings, Instant::now()),
            unread: Vec::new(),
            more_orders: false,
        }
    }

    /// Works until the last sender of orders is gone.
    pub(crate) fn run(&mut self, post: &Post) -> End {
        let mut events = Events::with_capacity(1024);
        let mut buffers = Buffers::new();
        loop {
            if let Err(error) = self.sockets.wait(&mut events, self.sleep())
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
                self.core.end(Instant::now());
                self.sockets.carry_out(&mut self.core, Instant::now());
                self.core.tally().publish(&self.published);
                return End::NoOrders;
            }
            self.sockets.take_names(&mut self.core, Instant::now());
            self.settle();
            let now = Instant::now();
            if self.core.tick(now) {
                self.sockets.accept_again(&mut self.core, now);
                self.sockets.carry_out(&mut self.core, now);
                post.seen(now);
                self.core.tally().publish(&self.published);
            }
        }
    }

    fn sleep(&self) -> Duration {
        if !self.unread.is_empty() || self.more_orders {
            return Duration::ZERO;
        }
        self.core.deadline().saturating_duration_since(Instant::now()).min(SLEEP_MAX)
    }

    pub(crate) fn streams(&self) -> usize {
        self.core.streams()
    }

    /// Gives up everything but what a new worker starts from: all streams are told.
    pub(crate) fn wreck(self) -> Parts {
        let Self { orders, published, sockets, core, .. } = self;
        let kept = core.wreck();
        discard(sockets);
        Parts { orders, published, kept }
    }

    /// The end of a batch: the legs send what it left in them.
    fn settle(&mut self) {
        let now = Instant::now();
        self.core.flush(now);
        self.sockets.carry_out(&mut self.core, now);
    }

    fn read(&mut self, token: Token, buffers: &mut Buffers) {
        let more = match token {
            CLIENTS => self.read_clients(buffers),
            CLIENTS_TCP => self.sockets.accept(&mut self.core, Instant::now()),
            Token(number) if self.sockets.is_socket(SocketId(number)) => {
                self.read_upstream(SocketId(number), buffers)
            }
            token => self.sockets.read(token, &mut self.core, Instant::now()),
        };
        if more {
            self.unread.push(token);
        }
        self.settle();
    }

    /// True: there may be more to read.
    fn read_clients(&mut self, buffers: &mut Buffers) -> bool {
        let socket = self.sockets.clients();
        for _ in 0..BATCHES_MAX {
            let now = Instant::now();
            let more = socket.receive(buffers, |Arrival { source, local, bytes }| {
                self.core.client_datagram(Origin::udp(source), local, bytes, now);
                self.sockets.carry_out(&mut self.core, now);
            });
            if !more {
                return false;
            }
            self.settle();
        }
        true
    }

    fn read_upstream(&mut self, id: SocketId, buffers: &mut Buffers) -> bool {
        let Some(socket) = self.sockets.upstream(id) else { return false };
        for _ in 0..BATCHES_MAX {
            let now = Instant::now();
            let more = socket.receive(buffers, |Arrival { source, bytes, .. }| {
                self.core.upstream_datagram(id, source, bytes, now);
                self.sockets.carry_out(&mut self.core, now);
            });
            if !more {
                return false;
            }
            self.settle();
        }
        true
    }

    /// False: nobody can send orders any more.
    fn take_orders(&mut self) -> bool {
        self.more_orders = false;
        for _ in 0..ORDERS_AT_ONCE_MAX {
            match self.orders.try_recv() {
                Ok(order) => {
                    let now = Instant::now();
                    self.core.order(order, now);
                    self.sockets.carry_out(&mut self.core, now);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        // Come back without sleeping.
        self.more_orders = true;
        true
    }
}
