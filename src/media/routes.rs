//! Where a datagram or a readiness event belongs: the tables of one worker.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token, event::Source};
use str0m::{Candidate, net::Protocol};

use super::StreamKey;

/// Where a datagram came from: an address means another peer in TCP than in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: bool,
}

impl Origin {
    pub(crate) const fn udp(address: SocketAddr) -> Self {
        Self { address, tcp: false }
    }

    pub(crate) const fn tcp(address: SocketAddr) -> Self {
        Self { address, tcp: true }
    }

    /// Where a candidate is heard from.
    pub(crate) fn of(candidate: &Candidate) -> Self {
        Self { address: candidate.addr(), tcp: candidate.proto() == Protocol::Tcp }
    }

    pub(crate) const fn protocol(self) -> Protocol {
        if self.tcp { Protocol::Tcp } else { Protocol::Udp }
    }
}

/// An address belongs to the leg that was last checked from there for so long; browsers check
/// every 2.5 to 6 s.
const HOLD: Duration = Duration::from_secs(10);

/// A transport of a client leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientRoute {
    pub(crate) stream: StreamKey,
    pub(crate) transport: usize,
}

/// All client legs share a socket: a leg is found by the user name of a check, then by the
/// address that passed it.
#[derive(Debug, Default)]
pub(crate) struct ClientRoutes {
    /// By our user name fragment, with the number of the credentials it belongs to.
    by_name: HashMap<String, (ClientRoute, usize)>,
    /// With the time of the last check that passed.
    by_address: HashMap<Origin, (ClientRoute, Instant)>,
}

impl ClientRoutes {
    pub(crate) fn add_name(&mut self, ufrag: String, route: ClientRoute, credentials: usize) {
        self.by_name.insert(ufrag, (route, credentials));
    }

    pub(crate) fn remove_name(&mut self, ufrag: &str) {
        self.by_name.remove(ufrag);
    }

    pub(crate) fn name(&self, ufrag: &str) -> Option<(ClientRoute, usize)> {
        self.by_name.get(ufrag).copied()
    }

    /// May a check that passed for this leg route the address to it? Not while another leg is
    /// checked from there: a source is easily forged.
    pub(crate) fn is_free(&self, address: Origin, route: ClientRoute, now: Instant) -> bool {
        self.by_address.get(&address).is_none_or(|(holder, checked)| {
            *holder == route || now.saturating_duration_since(*checked) >= HOLD
        })
    }

    pub(crate) fn add_address(&mut self, address: Origin, route: ClientRoute, now: Instant) {
        self.by_address.insert(address, (route, now));
    }

    /// Forgets an address. False: another leg took it over.
    pub(crate) fn remove_address(&mut self, address: Origin, route: ClientRoute) -> bool {
        let is_ours = self.address(address) == Some(route);
        if is_ours {
            self.by_address.remove(&address);
        }
        is_ours
    }

    /// Forgets a stream that cannot give back its routes itself.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.by_name.retain(|_, (route, _)| route.stream != stream);
        self.by_address.retain(|_, (route, _)| route.stream != stream);
    }

    pub(crate) fn address(&self, address: Origin) -> Option<ClientRoute> {
        self.by_address.get(&address).map(|(route, _)| *route)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_address.is_empty()
    }
}

/// A transport of an upstream leg; each has a socket of its own, as in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamRoute {
    pub(crate) stream: StreamKey,
    /// Tells the legs of a stream apart.
    pub(crate) generation: u32,
    pub(crate) transport: usize,
    /// A connection in TCP, not a UDP socket.
    pub(crate) tcp: bool,
}

/// The sockets of upstream legs.
#[derive(Debug)]
pub(crate) struct UpstreamRoutes {
    registry: Registry,
    by_token: HashMap<usize, UpstreamRoute>,
    next: usize,
}

impl UpstreamRoutes {
    /// Tokens are given out from `first`.
    pub(crate) fn new(registry: Registry, first: usize) -> Self {
        Self { registry, by_token: HashMap::new(), next: first }
    }

    /// Watches a socket or connection.
    ///
    /// # Errors
    ///
    /// If the system cannot.
    pub(crate) fn add(&mut self, source: &mut impl Source, route: UpstreamRoute) -> io::Result<Token> {
        let token = Token(self.next);
        self.next += 1;
        let interest = if route.tcp { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.registry.register(source, token, interest)?;
        self.by_token.insert(token.0, route);
        Ok(token)
    }

    /// Forgets a socket; its watch ends with its descriptor.
    pub(crate) fn remove(&mut self, token: Token) {
        self.by_token.remove(&token.0);
    }

    /// Forgets a stream that cannot give back its sockets itself.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.by_token.retain(|_, route| route.stream != stream);
    }

    pub(crate) fn find(&self, token: Token) -> Option<UpstreamRoute> {
        self.by_token.get(&token.0).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }
}
