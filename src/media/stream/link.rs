//! How a transport of the upstream leg reaches its peer: by a UDP socket that it shares with
//! others, by connections to TCP candidates (RFC 6544; the server listens, we connect), or by
//! both until ICE has chosen.
//!
//! A way that takes a socket or a connection is of use when the system says so; what it says of each
//! comes in by [`Link::socket_opened`] and [`Link::connecting`].

use std::net::SocketAddr;

use str0m::{
    Candidate,
    net::{Protocol, Transmit},
};

use crate::media::{
    framing::Frames,
    output::{ConnectionId, NotConnecting, Output, SocketId, Via},
    routes::{NoSocketLeft, UpstreamRoute},
    transport::{Dialed, Ways},
};

use super::Context;

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
    udp: Option<SocketId>,
    /// The socket was moved to for this address, and the system has not opened it yet.
    moved_for: Option<SocketAddr>,
    /// Whom datagrams on that socket are taken from: the addresses of the answer, and those that
    /// passed a check.
    peers: Vec<SocketAddr>,
    learned: usize,
    connections: Vec<Connection>,
    output_bytes_max: usize,
    /// Candidates that it was given.
    pub(super) candidates: usize,
    /// What the transport was not told yet.
    news: Vec<Way>,
    /// The system, or our bound, had no descriptor for one of the ways.
    pub(super) starved: bool,
    /// Names of candidates that are being looked up.
    pub(super) lookups: usize,
}

/// A candidate that may lead somewhere.
#[derive(Debug)]
struct Way {
    candidate: Candidate,
    /// Our end; None: the system has not said that it connects.
    local: Option<SocketAddr>,
    /// In TCP.
    connection: Option<ConnectionId>,
}

/// A connection to a TCP candidate, made or in the making.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    frames: Frames,
    remote: SocketAddr,
    /// Our end; None: the system has not said that it connects.
    local: Option<SocketAddr>,
}

impl Link {
    /// Leads nowhere yet. Checks with this name of ours are routed to it.
    pub(super) fn new(route: UpstreamRoute, ufrag: &str, ctx: &mut Context<'_>) -> Self {
        ctx.upstream_routes.add_name(ufrag.to_owned(), route);
        Self {
            route,
            ufrag: ufrag.to_owned(),
            udp: None,
            moved_for: None,
            peers: Vec::new(),
            learned: 0,
            connections: Vec::new(),
            output_bytes_max: ctx.settings.tcp_output_bytes_max,
            candidates: 0,
            news: Vec::new(),
            starved: false,
            lookups: 0,
        }
    }

    /// Takes candidates into use. Those without a route are left out.
    ///
    /// # Errors
    ///
    /// If our bound leaves no socket for them. Release the link then.
    pub(super) fn add(
        &mut self,
        candidates: Vec<Candidate>,
        ctx: &mut Context<'_>,
    ) -> Result<(), NoSocketLeft> {
        let mut dialing = 0;
        self.candidates += candidates.len();
        for candidate in candidates {
            let remote = candidate.addr();
            if candidate.proto() != Protocol::Tcp {
                let Some(local) = ctx.local_towards(remote) else { continue };
                if !self.peers.contains(&remote) {
                    self.peers.push(remote);
                }
                self.news.push(Way { candidate, local: Some(local), connection: None });
            } else if dialing < CONNECTIONS_MAX
                && let Some(id) = self.dial(remote, ctx)
            {
                dialing += 1;
                self.news.push(Way { candidate, local: None, connection: Some(id) });
            }
        }
        self.attach(ctx)
    }

    /// None: there are as many descriptors as allowed.
    fn dial(&mut self, remote: SocketAddr, ctx: &mut Context<'_>) -> Option<ConnectionId> {
        let id = ctx.upstream_routes.connect(remote, self.route, ctx.outputs);
        self.starved |= id.is_none();
        let id = id?;
        let frames = Frames::new(self.output_bytes_max);
        self.connections.push(Connection { id, frames, remote, local: None });
        Some(id)
    }

    /// Sees to it that all peers are heard on one socket, on which nobody else has any of them.
    fn attach(&mut self, ctx: &mut Context<'_>) -> Result<(), NoSocketLeft> {
        if self.peers.is_empty() {
            return Ok(());
        }
        if let Some(socket) = self.udp
            && ctx.upstream_routes.claim(socket, &self.peers, self.route)
        {
            return Ok(());
        }
        let socket = ctx.upstream_routes.attach(&self.peers, self.route, ctx.outputs)?;
        if let Some(before) = self.udp.replace(socket) {
            ctx.upstream_routes.release(before, &self.peers, self.route, ctx.outputs);
        }
        Ok(())
    }

    /// The system has not yet said of each socket and connection whether there is one.
    pub(super) fn is_opening(&self, ctx: &Context<'_>) -> bool {
        self.udp.is_some_and(|socket| !ctx.upstream_routes.is_open(socket))
            || self.connections.iter().any(|c| c.local.is_none())
    }

    /// The system opened the socket that we are on, or could not. Then a socket is taken that is open.
    ///
    /// # Errors
    ///
    /// If there is none. Release the link then.
    pub(super) fn socket_opened(
        &mut self,
        socket: SocketId,
        is_open: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(), NoSocketLeft> {
        let learned = self.moved_for.take();
        if is_open || self.udp != Some(socket) {
            return Ok(());
        }
        self.peers.retain(|peer| Some(*peer) != learned);
        self.udp = None;
        self.udp = Some(ctx.upstream_routes.attach_at_need(&self.peers, self.route)?);
        Ok(())
    }

    /// The system connects, from this end of ours; or it cannot.
    pub(super) fn connecting(
        &mut self,
        id: ConnectionId,
        local: Result<SocketAddr, NotConnecting>,
        ctx: &mut Context<'_>,
    ) {
        self.starved |= local == Err(NotConnecting::OutOfDescriptors);
        let local = local.ok();
        for way in self.news.iter_mut().filter(|way| way.connection == Some(id)) {
            way.local = local;
        }
        for connection in self.connections.iter_mut().filter(|c| c.id == id) {
            connection.local = local;
        }
        if local.is_none() {
            self.closed(id, ctx);
        }
    }

    /// The ways that became known since the last call.
    pub(super) fn take_ways(&mut self) -> Ways {
        let mut ways = Ways::default();
        let (ready, waiting) = std::mem::take(&mut self.news).into_iter().partition(|w| w.local.is_some());
        self.news = waiting;
        let ready: Vec<Way> = ready;
        for Way { candidate, local, connection } in ready {
            let Some(local) = local else { continue };
            if connection.is_some() {
                ways.dialed.push(Dialed { local, remote: candidate.addr() });
            } else if ways.local.iter().all(|known| known.is_ipv4() != local.is_ipv4()) {
                ways.local.push(local);
            }
            ways.candidates.push(candidate);
        }
        ways
    }

    /// A peer proved by a check that it has this address as well. If somebody else has it on our
    /// socket we move to another: the next check of ours tells the peer. False: datagrams from
    /// there are not to be taken.
    pub(super) fn learn(&mut self, peer: SocketAddr, ctx: &mut Context<'_>) -> bool {
        if self.peers.contains(&peer) {
            return true;
        }
        if self.learned >= LEARNED_MAX {
            return false;
        }
        self.learned += 1;
        self.peers.push(peer);
        if self.attach(ctx).is_err() {
            self.peers.pop();
            return false;
        }
        if self.udp.is_some_and(|socket| !ctx.upstream_routes.is_open(socket)) {
            self.moved_for = Some(peer);
        }
        true
    }

    /// Is this the socket we are on?
    pub(super) fn is_on(&self, socket: SocketId) -> bool {
        self.udp == Some(socket)
    }

    /// Sends a datagram. A connection that has ended is noticed when that is told.
    pub(super) fn send(&mut self, transmit: Transmit, ctx: &mut Context<'_>) {
        if transmit.proto == Protocol::Tcp {
            let ends = (Some(transmit.source), transmit.destination);
            let connection = self.connections.iter_mut().find(|c| (c.local, c.remote) == ends);
            if let Some(connection) = connection {
                ctx.outputs.push(Output::Write(connection.id));
                ctx.tally.datagrams_sent += u64::from(connection.frames.send(&transmit.contents));
            }
        } else if let Some(socket) = self.udp {
            let (via, to) = (Via::Upstream(socket), transmit.destination);
            ctx.outputs.push(Output::Transmit { via, to, contents: transmit.contents });
        }
    }

    /// These bytes came on a connection: from where, and the datagrams that are whole now.
    pub(super) fn read(&mut self, id: ConnectionId, bytes: &[u8]) -> Option<(SocketAddr, Vec<Vec<u8>>)> {
        let connection = self.connections.iter_mut().find(|c| c.id == id)?;
        let mut datagrams = Vec::new();
        connection.frames.take(bytes, &mut datagrams);
        Some((connection.remote, datagrams))
    }

    /// What waits to be written to a connection.
    pub(super) fn unwritten(&self, id: ConnectionId) -> &[u8] {
        let connection = self.connections.iter().find(|c| c.id == id);
        connection.map(|c| c.frames.unwritten()).unwrap_or_default()
    }

    /// So many bytes of that were written.
    pub(super) fn wrote(&mut self, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) {
            connection.frames.wrote(count);
        }
    }

    /// A connection has ended, or never came to be.
    pub(super) fn closed(&mut self, id: ConnectionId, ctx: &mut Context<'_>) {
        ctx.upstream_routes.remove_connection(id);
        self.connections.retain(|c| c.id != id);
        self.news.retain(|way| way.connection != Some(id));
    }

    /// Nothing is left to send by, and nothing will come.
    pub(super) const fn is_dead(&self) -> bool {
        self.peers.is_empty() && self.connections.is_empty() && self.lookups == 0
    }

    /// Ends all of it.
    pub(super) fn release(self, ctx: &mut Context<'_>) {
        ctx.upstream_routes.remove_name(&self.ufrag);
        for mut connection in self.connections {
            ctx.upstream_routes.remove_connection(connection.id);
            let last_words = connection.frames.take_unwritten();
            ctx.outputs.push(Output::Close { connection: connection.id, last_words });
        }
        if let Some(socket) = self.udp {
            ctx.upstream_routes.release(socket, &self.peers, self.route, ctx.outputs);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::media::{StreamKey, stream::testing::Bed};

    fn udp(address: &str) -> Candidate {
        Candidate::host(address.parse().unwrap(), Protocol::Udp).unwrap()
    }

    fn tcp(port: u16) -> Candidate {
        let line = format!("candidate:1 1 tcp 1 127.0.0.1 {port} typ host tcptype passive");
        Candidate::from_sdp_string(&line).unwrap()
    }

    fn link(stream: u64, candidates: Vec<Candidate>, bed: &mut Bed) -> Link {
        let route = UpstreamRoute {
            stream: StreamKey { session: crate::session::SessionId(stream), number: 1 },
            generation: 1,
            transport: 0,
        };
        let mut link = Link::new(route, &stream.to_string(), &mut bed.context());
        link.add(candidates, &mut bed.context()).unwrap();
        link
    }

    #[test]
    fn an_address_that_somebody_has_moves_whoever_learns_it() {
        let mut bed = Bed::new();
        let mut one = link(1, vec![udp("127.0.0.1:1")], &mut bed);
        let mut two = link(2, vec![udp("127.0.0.1:2")], &mut bed);
        let shared = one.udp.unwrap();
        assert!(two.is_on(shared) && !two.is_opening(&bed.context()));
        let common = "127.0.0.1:3".parse().unwrap();
        assert!(one.learn(common, &mut bed.context()) && one.is_on(shared));
        assert!(two.learn(common, &mut bed.context()) && !two.is_on(shared));
        let moved = two.udp.unwrap();
        for peer in two.peers.clone() {
            assert_eq!(bed.routes.peer(moved, peer), Some(two.route));
            assert_ne!(bed.routes.peer(shared, peer), Some(two.route));
        }
        one.release(&mut bed.context());
        two.release(&mut bed.context());
        assert!(bed.routes.is_empty());
    }

    #[test]
    fn whoever_moves_to_a_socket_that_is_not_opened_goes_back() {
        let mut bed = Bed::new();
        let one = link(1, vec![udp("127.0.0.1:1")], &mut bed);
        let mut two = link(2, vec![udp("127.0.0.1:2")], &mut bed);
        let shared = two.udp.unwrap();
        assert!(two.learn("127.0.0.1:1".parse().unwrap(), &mut bed.context()));
        let moved = two.udp.unwrap();
        assert!(two.is_opening(&bed.context()));
        assert_eq!(bed.routes.opened(moved, false), [two.route]);
        two.socket_opened(moved, false, &mut bed.context()).unwrap();
        assert!(two.is_on(shared), "without what it learned");
        assert_eq!(two.peers, ["127.0.0.1:2".parse().unwrap()]);
        // A leg whose only address another has is without a socket.
        let mut three = link(3, vec![udp("127.0.0.1:1")], &mut bed);
        let further = three.udp.unwrap();
        bed.routes.opened(further, false);
        assert!(three.socket_opened(further, false, &mut bed.context()).is_err());
        for link in [one, two, three] {
            link.release(&mut bed.context());
        }
        assert!(bed.routes.is_empty());
        one_is_told(&bed);
    }

    /// Each socket that was asked for was named once.
    fn one_is_told(bed: &Bed) {
        let opened = bed.outputs.iter().filter(|o| matches!(o, Output::OpenSocket { .. })).count();
        assert_eq!(opened, 2);
    }

    #[test]
    fn the_addresses_that_are_learned_are_bounded() {
        let mut bed = Bed::new();
        let mut link = link(1, vec![udp("127.0.0.1:1")], &mut bed);
        let learned =
            (2..1_000).filter(|port| link.learn(([127, 0, 0, 1], *port).into(), &mut bed.context())).count();
        assert!(learned == LEARNED_MAX && bed.routes.peers() == LEARNED_MAX + 1);
        assert!(link.learn("127.0.0.1:2".parse().unwrap(), &mut bed.context()), "known ones stay");
        link.release(&mut bed.context());
        assert!(bed.routes.is_empty());
    }

    #[test]
    fn the_number_of_connections_is_bounded_and_each_is_of_use_when_the_system_says_so() {
        let mut bed = Bed::new();
        let mut link = link(1, (1..=6).map(tcp).collect(), &mut bed);
        let asked: Vec<ConnectionId> = bed.connects();
        assert_eq!((asked.len(), link.take_ways().candidates.len()), (CONNECTIONS_MAX, 0));
        let local = "127.0.0.1:4000".parse().unwrap();
        link.connecting(asked[0], Ok(local), &mut bed.context());
        link.connecting(asked[1], Err(NotConnecting::OutOfDescriptors), &mut bed.context());
        let ways = link.take_ways();
        assert_eq!(ways.dialed, [Dialed { local, remote: "127.0.0.1:1".parse().unwrap() }]);
        assert!(ways.candidates.len() == 1 && link.starved && link.is_opening(&bed.context()));
        assert!(link.take_ways().candidates.is_empty(), "told once");
        for id in &asked[2..] {
            link.connecting(*id, Err(NotConnecting::NoWay), &mut bed.context());
        }
        assert!(!link.is_opening(&bed.context()) && !link.is_dead());
        link.closed(asked[0], &mut bed.context());
        assert!(link.is_dead());
        link.release(&mut bed.context());
        assert!(bed.routes.is_empty());
    }

    #[test]
    fn what_waits_for_a_connection_is_said_as_it_is_closed() {
        let mut bed = Bed::new();
        let mut link = link(1, vec![tcp(1)], &mut bed);
        let (id, local) = (bed.connects()[0], "127.0.0.1:4000".parse().unwrap());
        link.connecting(id, Ok(local), &mut bed.context());
        let contents = vec![7; 3].into();
        let destination = "127.0.0.1:1".parse().unwrap();
        let transmit = Transmit { proto: Protocol::Tcp, source: local, destination, contents };
        link.send(transmit, &mut bed.context());
        assert_eq!((link.unwritten(id), bed.tally.datagrams_sent), (&[0, 3, 7, 7, 7][..], 1));
        link.wrote(id, 2);
        link.release(&mut bed.context());
        let last = bed.outputs.last();
        assert!(
            matches!(last, Some(Output::Close { connection, last_words }) if *connection == id && *last_words == [7; 3]),
            "{last:?}"
        );
    }

    #[test]
    fn each_family_has_an_end_of_its_own_and_what_has_no_route_is_left_out() {
        let mut bed = Bed::new();
        let candidates = ["[fe80::1]:9", "[::1]:9", "127.0.0.1:9", "127.0.0.2:9"].map(udp).to_vec();
        let ways = link(1, candidates, &mut bed).take_ways();
        assert_eq!(ways.local.iter().map(|l| l.ip().to_string()).collect::<Vec<_>>(), ["::1", "127.0.0.1"]);
        assert_eq!(ways.candidates.len(), 3);
    }
}
