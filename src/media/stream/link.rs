//! How a transport of the upstream leg reaches its peer: by a UDP socket that it shares with
//! others, by connections to TCP candidates (RFC 6544; the server listens, we connect), or by
//! both until ICE has chosen.

use std::{io, net::SocketAddr, sync::Arc};

use mio::{Token, net::TcpStream};
use str0m::{
    Candidate,
    net::{Protocol, Transmit},
};

use crate::media::{
    framing::{Framed, Reading, Sent},
    routes::{UpstreamRoute, UpstreamRoutes},
    socket::{Outbox, Socket},
    transport::Dialed,
};

/// Most TCP candidates of a transport that are connected to.
const CONNECTIONS_MAX: usize = 4;

/// Most addresses beside those of the answer that an upstream proves to have in the life of a leg.
const LEARNED_MAX: usize = 16;

/// The way of one transport.
#[derive(Debug)]
pub(super) struct Link {
    route: UpstreamRoute,
    /// Our user name fragment: checks are found by it.
    ufrag: String,
    udp: Option<(Arc<Socket>, Token)>,
    /// Whom datagrams on that socket are taken from: the addresses of the answer, and those that
    /// passed a check.
    peers: Vec<SocketAddr>,
    learned: usize,
    connections: Vec<Connection>,
    output_bytes_max: usize,
    /// Names of candidates that are being looked up.
    pub(super) lookups: usize,
}

/// A connection to a TCP candidate, made or in the making.
#[derive(Debug)]
struct Connection {
    framed: Framed,
    token: Token,
    ends: Dialed,
}

/// What candidates come to: those that lead somewhere, our end of the way to those in UDP (one
/// per address family), and the connections to those in TCP.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) candidates: Vec<Candidate>,
    pub(super) local: Vec<SocketAddr>,
    pub(super) dialing: Vec<(TcpStream, Dialed)>,
    /// A connection was not made for want of a descriptor.
    pub(super) starved: bool,
}

impl Ways {
    /// Finds them, and starts to connect; does not wait. Candidates without a route are left out.
    pub(super) fn find(candidates: Vec<Candidate>, routes: &UpstreamRoutes) -> Self {
        let mut ways = Self::default();
        for candidate in candidates {
            let remote = candidate.addr();
            let leads = if candidate.proto() == Protocol::Tcp {
                ways.dialing.len() < CONNECTIONS_MAX && ways.dial(remote, routes)
            } else {
                routes.local_towards(remote).is_some_and(|local| {
                    if ways.local.iter().all(|known| known.is_ipv4() != local.is_ipv4()) {
                        ways.local.push(local);
                    }
                    true
                })
            };
            if leads {
                ways.candidates.push(candidate);
            }
        }
        ways
    }

    /// False: nothing came of it.
    fn dial(&mut self, remote: SocketAddr, routes: &UpstreamRoutes) -> bool {
        if !routes.has_room(self.dialing.len()) {
            self.starved = true;
            return false;
        }
        let connect = || {
            let stream = TcpStream::connect(remote)?;
            let local = stream.local_addr()?;
            io::Result::Ok((stream, Dialed { local, remote }))
        };
        match connect() {
            Ok(dialing) => self.dialing.push(dialing),
            Err(error) => {
                let out = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|e| e.raw_os_error());
                self.starved |= error.raw_os_error().is_some_and(|code| out.contains(&code));
                return false;
            }
        }
        true
    }

    pub(super) fn dialed(&self) -> Vec<Dialed> {
        self.dialing.iter().map(|(_, ends)| *ends).collect()
    }

    fn peers(&self) -> Vec<SocketAddr> {
        let udp = self.candidates.iter().filter(|c| c.proto() == Protocol::Udp);
        udp.map(Candidate::addr).collect()
    }
}

impl Link {
    pub(super) fn new(
        route: UpstreamRoute,
        ufrag: &str,
        output_bytes_max: usize,
        routes: &mut UpstreamRoutes,
    ) -> Self {
        routes.add_name(ufrag.to_owned(), route);
        Self {
            route,
            ufrag: ufrag.to_owned(),
            udp: None,
            peers: Vec::new(),
            learned: 0,
            connections: Vec::new(),
            output_bytes_max,
            lookups: 0,
        }
    }

    /// Takes ways into use.
    ///
    /// # Errors
    ///
    /// If the system or our bounds leave no socket for them. Release the link then.
    pub(super) fn add(&mut self, ways: Ways, routes: &mut UpstreamRoutes) -> io::Result<()> {
        for peer in ways.peers() {
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
        self.attach(routes)?;
        for (mut stream, ends) in ways.dialing {
            let token = routes.add_connection(&mut stream, self.route)?;
            let framed = Framed::new(stream, self.output_bytes_max);
            self.connections.push(Connection { framed, token, ends });
        }
        Ok(())
    }

    /// Sees to it that all peers are heard on one socket, on which nobody else has any of them.
    fn attach(&mut self, routes: &mut UpstreamRoutes) -> io::Result<()> {
        if self.peers.is_empty() {
            return Ok(());
        }
        if let Some((_, token)) = &self.udp
            && routes.claim(*token, &self.peers, self.route)
        {
            return Ok(());
        }
        let (socket, token) = routes.attach(&self.peers, self.route)?;
        if let Some((_, before)) = self.udp.replace((socket, token)) {
            routes.release(before, &self.peers, self.route);
        }
        Ok(())
    }

    /// A peer proved by a check that it has this address as well. If somebody else has it on our
    /// socket we move to another: the next check of ours tells the peer. False: datagrams from
    /// there are not to be taken.
    pub(super) fn learn(&mut self, peer: SocketAddr, routes: &mut UpstreamRoutes) -> bool {
        if self.peers.contains(&peer) {
            return true;
        }
        if self.learned >= LEARNED_MAX {
            return false;
        }
        self.learned += 1;
        self.peers.push(peer);
        if self.attach(routes).is_err() {
            self.peers.pop();
            return false;
        }
        true
    }

    /// Is this the socket we are on?
    pub(super) fn is_on(&self, token: Token) -> bool {
        self.udp.as_ref().is_some_and(|(_, ours)| *ours == token)
    }

    /// Sends a datagram; flush afterwards. A connection that has ended is noticed when the system
    /// announces it for reading.
    pub(super) fn send(&mut self, outbox: &mut Outbox, transmit: &Transmit) {
        if transmit.proto == Protocol::Tcp {
            let ends = Dialed { local: transmit.source, remote: transmit.destination };
            let connection = self.connections.iter_mut().find(|c| c.ends == ends);
            let sent = connection.is_some_and(|c| c.framed.send(&transmit.contents) == Sent::Taken);
            outbox.sent += u64::from(sent);
        } else if let Some((socket, _)) = &self.udp {
            socket.send(outbox, transmit.destination, None, &transmit.contents);
        }
    }

    /// Sends what waits in the outbox.
    pub(super) fn flush(&self, outbox: &mut Outbox) {
        if let Some((socket, _)) = &self.udp {
            socket.flush(outbox);
        }
    }

    /// Reads a turn of a connection. A connection that has ended is forgotten.
    pub(super) fn read(
        &mut self,
        token: Token,
        frames: &mut Vec<Vec<u8>>,
        routes: &mut UpstreamRoutes,
    ) -> Option<(SocketAddr, Reading)> {
        let index = self.connections.iter().position(|c| c.token == token)?;
        let connection = self.connections.get_mut(index)?;
        let remote = connection.ends.remote;
        let reading = connection.framed.read(frames);
        if reading == Reading::Ended {
            routes.remove_connection(token);
            self.connections.swap_remove(index);
        }
        Some((remote, reading))
    }

    /// Nothing is left to send by, and nothing will come.
    pub(super) const fn is_dead(&self) -> bool {
        self.peers.is_empty() && self.connections.is_empty() && self.lookups == 0
    }

    /// Ends all of it.
    pub(super) fn release(self, routes: &mut UpstreamRoutes) {
        routes.remove_name(&self.ufrag);
        for connection in &self.connections {
            routes.remove_connection(connection.token);
        }
        if let Some((_, token)) = self.udp {
            routes.release(token, &self.peers, self.route);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::media::StreamKey;

    fn routes() -> (mio::Poll, UpstreamRoutes) {
        let poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        (poll, UpstreamRoutes::new(registry, 1, 100, 65_536).unwrap())
    }

    fn link(stream: u64, peer: &str, routes: &mut UpstreamRoutes) -> Link {
        let route = UpstreamRoute { stream: StreamKey(stream), generation: 1, transport: 0 };
        let mut link = Link::new(route, &stream.to_string(), 65_536, routes);
        let candidate = Candidate::host(peer.parse().unwrap(), Protocol::Udp).unwrap();
        link.add(Ways::find(vec![candidate], routes), routes).unwrap();
        link
    }

    #[test]
    fn an_address_that_somebody_has_moves_whoever_learns_it() {
        let (_poll, mut routes) = routes();
        let mut one = link(1, "127.0.0.1:1", &mut routes);
        let mut two = link(2, "127.0.0.1:2", &mut routes);
        let shared = one.udp.as_ref().unwrap().1;
        assert!(two.is_on(shared));
        let common = "127.0.0.1:3".parse().unwrap();
        assert!(one.learn(common, &mut routes) && one.is_on(shared));
        assert!(two.learn(common, &mut routes) && !two.is_on(shared));
        let moved = two.udp.as_ref().unwrap().1;
        for peer in two.peers.clone() {
            assert_eq!(routes.peer(moved, peer), Some(two.route));
            assert_ne!(routes.peer(shared, peer), Some(two.route));
        }
        one.release(&mut routes);
        two.release(&mut routes);
        assert!(routes.is_empty());
    }

    #[test]
    fn the_addresses_that_are_learned_are_bounded() {
        let (_poll, mut routes) = routes();
        let mut link = link(1, "127.0.0.1:1", &mut routes);
        let learned =
            (2..1_000).filter(|port| link.learn(([127, 0, 0, 1], *port).into(), &mut routes)).count();
        assert!(learned == LEARNED_MAX && routes.peers() == LEARNED_MAX + 1);
        assert!(link.learn("127.0.0.1:2".parse().unwrap(), &mut routes), "known ones stay");
        link.release(&mut routes);
        assert!(routes.is_empty());
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let (_poll, routes) = routes();
        let listeners: Vec<_> = (0..6).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let candidates = listeners.iter().map(|l| {
            let line = format!(
                "candidate:1 1 tcp 1 127.0.0.1 {} typ host tcptype passive",
                l.local_addr().unwrap().port()
            );
            Candidate::from_sdp_string(&line).unwrap()
        });
        let ways = Ways::find(candidates.collect(), &routes);
        assert_eq!((ways.dialing.len(), ways.candidates.len()), (CONNECTIONS_MAX, CONNECTIONS_MAX));
        assert!(ways.dialing.iter().all(|(stream, ends)| stream.local_addr().unwrap() == ends.local));
    }

    #[test]
    fn each_family_has_an_end_of_its_own_and_what_has_no_route_is_left_out() {
        let (_poll, routes) = routes();
        let at = |ip: &str| Candidate::host(SocketAddr::new(ip.parse().unwrap(), 9), Protocol::Udp).unwrap();
        let ways = Ways::find(vec![at("fe80::1"), at("::1"), at("127.0.0.1"), at("127.0.0.2")], &routes);
        assert_eq!(ways.local.iter().map(|l| l.ip().to_string()).collect::<Vec<_>>(), ["::1", "127.0.0.1"]);
        assert_eq!(ways.candidates.len(), 3);
    }
}
