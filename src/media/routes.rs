//! Where a datagram of a client belongs: the tables of one worker. Those of the upstream side are in
//! [`upstream`].

mod upstream;

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{Candidate, net::Protocol};

use super::StreamKey;

pub(crate) use upstream::{NoSocketLeft, UpstreamRoute, UpstreamRoutes};

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
