//! Where servers say they are: addresses in UDP and TCP, and names that are looked up, lead there, lead
//! elsewhere as well, or have no address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rand::RngExt as _;

use super::{
    peer::{Peer, Place},
    sabotage::Sabotage,
    world::{Happening, World},
};

/// Many servers are behind this name and address.
const COMMON: (&str, [u8; 4]) = ("media.example", [10, 200, 0, 1]);

/// What a name leads to.
#[derive(Debug)]
pub(super) struct Name {
    addresses: Vec<IpAddr>,
    /// The server that alone has it, and which of its transports.
    of: Option<(usize, usize)>,
}

/// A line of a candidate.
fn candidate(tcp: bool, host: &str, port: u16) -> String {
    let (protocol, kind) = if tcp { ("tcp", " tcptype passive") } else { ("udp", "") };
    format!("a=candidate:1 1 {protocol} 2130706431 {host} {port} typ host{kind}\r\n")
}

impl World {
    /// Where a transport of a server is, which is the one of these numbers.
    pub(super) fn place(&mut self, peer: Peer, of: (usize, usize)) -> Place {
        let at = self.fresh_address();
        let (host, port) = (at.ip().to_string(), at.port());
        let common = SocketAddr::from((COMMON.1, 7_000 + of.1 as u16));
        let (udp, tcp) = (candidate(false, &host, port), candidate(true, &host, port));
        let dead = self.fresh_address();
        let (at, udp, candidates) = match self.dice.random_range(0..20) {
            // Some servers answer all streams with one address.
            0..=3 => (common, true, candidate(false, &common.ip().to_string(), common.port())),
            4..=6 => (at, false, tcp),
            7 => (at, true, udp + &tcp),
            8 => (at, false, candidate(false, &dead.ip().to_string(), dead.port()) + &tcp),
            9 => (at, true, self.named(vec![at.ip()], false, port, of)),
            10 => (at, true, self.named(vec![dead.ip(), at.ip()], false, port, of)),
            11 => (at, false, self.named(vec![at.ip()], true, port, of)),
            12 => {
                let name = Name { addresses: vec![common.ip()], of: None };
                self.names.insert(COMMON.0.into(), name);
                (common, true, candidate(false, COMMON.0, common.port()))
            }
            13 | 14 => (at, true, self.named(Vec::new(), false, port, of) + &udp),
            15 => (at, false, self.named(Vec::new(), true, port, of) + &tcp),
            16 if !self.healing => (at, false, self.named(Vec::new(), false, port, of)),
            _ => (at, true, udp),
        };
        // What a name leads to is sent to on the port that stands beside it.
        self.watch.upstream.extend([at, dead, SocketAddr::new(dead.ip(), port)]);
        let ways_left = candidates.lines().count();
        Place { peer, at, udp, candidates, way: None, ways_left, nowhere_since: None }
    }

    /// A candidate with a name that nobody else has.
    fn named(&mut self, addresses: Vec<IpAddr>, tcp: bool, port: u16, of: (usize, usize)) -> String {
        let name = format!("n{}.example", self.fresh());
        let line = candidate(tcp, &name, port);
        self.names.insert(name.into(), Name { addresses, of: Some(of) });
        line
    }

    pub(super) fn looks_up(&mut self, name: Arc<str>) {
        let wait = match self.dice.random_range(0..10) {
            _ if self.healing => 5,
            0 => self.dice.random_range(1_000..6_000),
            _ => self.dice.random_range(1..300),
        };
        self.later(wait, Happening::LookedUp { name });
    }

    pub(super) fn looked_up(&mut self, name: Arc<str>) {
        let known = &self.names[&name];
        let (of, addresses) = (known.of, known.addresses.clone());
        let is_nothing = addresses.is_empty();
        self.note(|| format!("{name} is {addresses:?}"));
        self.count(if is_nothing { "name without an address" } else { "name found" });
        if let Some((server, transport)) = of {
            if self.servers[server].lost.is_some() {
                self.count("name found too late");
            }
            let ways = addresses.len();
            self.ways_end(server, transport, |left| left + ways - 1);
        }
        if is_nothing && self.sabotage == Some(Sabotage::HideThatNothingIsFound) {
            return;
        }
        let now = self.time();
        self.core.looked_up(name, addresses, now);
    }

    /// Some way to a transport of a server is there or gone.
    pub(super) fn ways_end(&mut self, server: usize, transport: usize, left: impl FnOnce(usize) -> usize) {
        let now = self.now;
        let place = &mut self.servers[server].transports[transport];
        place.ways_left = left(place.ways_left);
        place.nowhere_since = (place.ways_left == 0).then_some(now);
    }
}
