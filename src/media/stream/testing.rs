//! What a stream works on, for tests of its parts.

use std::net::{Ipv4Addr, Ipv6Addr};

use rand::SeedableRng as _;

use super::*;

/// The tables of a worker without a stream.
pub(super) struct Bed {
    settings: MediaSettings,
    identity: Identity,
    engines: Identity,
    clients: ClientRoutes,
    pub(super) routes: UpstreamRoutes,
    names: Names<Asker>,
    random: StdRng,
    pub(super) tally: Tally,
    events: Vec<(usize, TransportEvent)>,
    pub(super) outputs: Vec<Output>,
    now: Instant,
}

/// The loopback addresses have a route, others have none.
struct Loopback;

impl WaysOut for Loopback {
    fn towards(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let ip: IpAddr = if peer.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        peer.ip().is_loopback().then(|| SocketAddr::new(ip, 20_000))
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let identity = Identity::generate().expect("an identity");
        Self {
            settings: MediaSettings::default(),
            engines: identity.clone(),
            identity,
            clients: ClientRoutes::default(),
            routes: UpstreamRoutes::new(1, 100, 65_536, now),
            names: Names::default(),
            random: StdRng::seed_from_u64(1),
            tally: Tally::default(),
            events: Vec::new(),
            outputs: Vec::new(),
            now,
        }
    }

    pub(super) fn context(&mut self) -> Context<'_> {
        Context {
            settings: &self.settings,
            identity: &self.identity,
            engines: &mut self.engines,
            client_local: SocketAddr::from((Ipv4Addr::LOCALHOST, 1_935)),
            client_tcp: None,
            client_routes: &mut self.clients,
            upstream_routes: &mut self.routes,
            names: &mut self.names,
            ways_out: &Loopback,
            random: &mut self.random,
            tally: &mut self.tally,
            events: &mut self.events,
            outputs: &mut self.outputs,
            now: self.now,
        }
    }

    /// The connections that were asked for.
    pub(super) fn connects(&self) -> Vec<ConnectionId> {
        let connection = |o: &Output| match o {
            Output::Connect { connection, .. } => Some(*connection),
            _ => None,
        };
        self.outputs.iter().filter_map(connection).collect()
    }
}

impl Stream {
    /// Names, sizes and bounds of all that grows with what peers do.
    pub(crate) fn sizes(&self, promised: &MediaSettings, sizes: &mut Vec<(&'static str, usize, usize)>) {
        let rtx_packets = offer::rtx_packets(promised);
        for transport in Side::ALL.into_iter().filter_map(|side| self.legs.of(side)) {
            for transport in &transport.all {
                transport.sizes(promised.addresses_per_transport_max, rtx_packets, sizes);
            }
        }
        if let Some(client) = &self.legs.client {
            let given = client.credentials.iter().map(Vec::len).max().unwrap_or_default();
            sizes.push(("credentials", given, promised.client_revive_tries_max as usize + 1));
        }
        sizes.push(("gaps", self.stats.gaps_ms.len(), 16));
    }
}
