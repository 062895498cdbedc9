//! The sockets of upstream legs, and whose a datagram on one of them is.
//!
//! The legs of a worker share one socket: a check is told by the name in it, all else by the
//! address it came from. So an address of an upstream belongs to one leg per socket. A leg whose
//! upstream has the address of another (a server that answers all streams with one port) goes to
//! a further socket, which it shares as well. An address that a leg has left stays taken for a
//! while: what a server still sends to a lost leg must not reach the next one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::media::{
    StreamKey,
    output::{ConnectionId, Output, SocketId},
};

/// How long an address that a leg has left stays taken. A server needs most of a minute to notice
/// that a session has died.
const LEFT_MAX: Duration = Duration::from_secs(60);

/// Most addresses that are kept so per socket; the oldest gives way.
const LEFT_ADDRESSES_MAX: usize = 16_384;

/// Most sockets that are looked through for one on which a leg's upstream is not known yet.
const SEARCHED_MAX: usize = 32;

/// Most bytes that the kernel may queue on a further socket: few legs share it, as a rule one.
const FURTHER_BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// A transport of an upstream leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamRoute {
    pub(crate) stream: StreamKey,
    /// Tells the legs of a stream apart.
    pub(crate) generation: u32,
    pub(crate) transport: usize,
}

/// Who has an address of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Leg(UpstreamRoute),
    /// Nobody any more, since then.
    Left(Instant),
}

/// A socket and the addresses that are heard on it.
#[derive(Debug, Default)]
struct Shared {
    /// The system has opened it.
    is_open: bool,
    holders: HashMap<SocketAddr, Holder>,
    /// Oldest first; also addresses that were taken again since.
    left: VecDeque<(SocketAddr, Instant)>,
    /// Addresses that legs have.
    live: usize,
}

impl Shared {
    fn holder(&self, peer: SocketAddr, now: Instant) -> Option<Holder> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < LEFT_MAX;
        let holder = self.holders.get(&peer).copied();
        holder.filter(|holder| !matches!(holder, Holder::Left(at) if !fresh(*at)))
    }

    /// Nobody else has any of these.
    fn has_room(&self, peers: &[SocketAddr], route: UpstreamRoute, now: Instant) -> bool {
        peers.iter().all(|p| self.holder(*p, now).is_none_or(|holder| holder == Holder::Leg(route)))
    }

    /// The same, those left aside whom nobody has any more.
    fn has_room_at_need(&self, peers: &[SocketAddr], route: UpstreamRoute) -> bool {
        let is_others = |holder: &Holder| matches!(holder, Holder::Leg(other) if *other != route);
        !peers.iter().any(|p| self.holders.get(p).is_some_and(is_others))
    }

    fn claim(&mut self, peers: &[SocketAddr], route: UpstreamRoute) {
        for peer in peers {
            let before = self.holders.insert(*peer, Holder::Leg(route));
            self.live += usize::from(!matches!(before, Some(Holder::Leg(_))));
        }
    }

    fn release(&mut self, peers: &[SocketAddr], route: UpstreamRoute, now: Instant) {
        for peer in peers {
            if let Some(holder) = self.holders.get_mut(peer).filter(|h| **h == Holder::Leg(route)) {
                *holder = Holder::Left(now);
                self.left.push_back((*peer, now));
                self.live = self.live.saturating_sub(1);
            }
        }
        while let Some((peer, at)) = self.left.front().copied()
            && (self.left.len() > LEFT_ADDRESSES_MAX || now.saturating_duration_since(at) >= LEFT_MAX)
        {
            self.left.pop_front();
            if self.holders.get(&peer) == Some(&Holder::Left(at)) {
                self.holders.remove(&peer);
            }
        }
    }
}

/// No socket is left for a leg: there are as many as allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many sockets of upstream legs as allowed")]
pub(crate) struct NoSocketLeft;

/// The upstream side of one worker's tables.
#[derive(Debug)]
pub(crate) struct UpstreamRoutes {
    /// Numbers count up. The first is there for good.
    sockets: BTreeMap<SocketId, Shared>,
    connections: HashMap<ConnectionId, UpstreamRoute>,
    /// By our user name fragment.
    by_name: HashMap<String, UpstreamRoute>,
    next: usize,
    descriptors_max: usize,
    buffer_bytes: usize,
    /// Set by the worker at each turn: no call asks the system for it.
    pub(crate) now: Instant,
}

impl UpstreamRoutes {
    /// With the socket that legs share, which is open and bears the number `first`; others count up from
    /// there. Beside it legs may have `descriptors_max` sockets and connections.
    pub(crate) fn new(first: usize, descriptors_max: usize, buffer_bytes: usize, now: Instant) -> Self {
        let shared = Shared { is_open: true, ..Shared::default() };
        Self {
            sockets: BTreeMap::from([(SocketId(first), shared)]),
            connections: HashMap::new(),
            by_name: HashMap::new(),
            next: first + 1,
            descriptors_max,
            buffer_bytes,
            now,
        }
    }

    const fn next_number(&mut self) -> usize {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Finds a socket on which a leg can have all these addresses, and gives them to it. One that has
    /// to be opened for it is named as well; see [`Self::is_open`].
    ///
    /// # Errors
    ///
    /// If that takes a further socket, and our bound leaves none.
    pub(crate) fn attach(
        &mut self,
        peers: &[SocketAddr],
        route: UpstreamRoute,
        outputs: &mut Vec<Output>,
    ) -> Result<SocketId, NoSocketLeft> {
        let now = self.now;
        let with_room = self.find_socket(|s| s.has_room(peers, route, now));
        let socket = match with_room {
            Some(socket) => socket,
            None if self.has_room() => self.open(outputs),
            // Better to hear what a lost leg is still sent than to have none.
            None => self.find_socket(|s| s.has_room_at_need(peers, route)).ok_or(NoSocketLeft)?,
        };
        self.take(socket, peers, route);
        Ok(socket)
    }

    /// The same, but without opening one.
    ///
    /// # Errors
    ///
    /// If on each socket another leg has one of these addresses.
    pub(crate) fn attach_at_need(
        &mut self,
        peers: &[SocketAddr],
        route: UpstreamRoute,
    ) -> Result<SocketId, NoSocketLeft> {
        let fits = |s: &Shared| s.is_open && s.has_room_at_need(peers, route);
        let socket = self.find_socket(fits).ok_or(NoSocketLeft)?;
        self.take(socket, peers, route);
        Ok(socket)
    }

    fn find_socket(&self, fits: impl Fn(&Shared) -> bool) -> Option<SocketId> {
        let mut sockets = self.sockets.iter().take(SEARCHED_MAX);
        sockets.find(|(_, shared)| fits(shared)).map(|(socket, _)| *socket)
    }

    fn take(&mut self, socket: SocketId, peers: &[SocketAddr], route: UpstreamRoute) {
        if let Some(shared) = self.sockets.get_mut(&socket) {
            shared.claim(peers, route);
        }
    }

    fn open(&mut self, outputs: &mut Vec<Output>) -> SocketId {
        let socket = SocketId(self.next_number());
        self.sockets.insert(socket, Shared::default());
        let buffer_bytes = self.buffer_bytes.min(FURTHER_BUFFER_BYTES_MAX);
        outputs.push(Output::OpenSocket { socket, buffer_bytes });
        socket
    }

    /// Has the system opened this socket?
    pub(crate) fn is_open(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|s| s.is_open)
    }

    /// The system opened a socket, or could not: then nobody is on it any more. Returns who was on it.
    pub(crate) fn opened(&mut self, socket: SocketId, is_open: bool) -> Vec<UpstreamRoute> {
        let Some(shared) = self.sockets.get_mut(&socket) else { return Vec::new() };
        shared.is_open = is_open;
        let mut routes = Vec::new();
        for holder in shared.holders.values() {
            if let Holder::Leg(route) = holder
                && !routes.contains(route)
            {
                routes.push(*route);
            }
        }
        if !is_open {
            self.sockets.remove(&socket);
        }
        // Not in the order of a hash: what follows from the same inputs is the same.
        routes.sort_by_key(|route| (route.stream, route.generation, route.transport));
        routes
    }

    /// May a leg open one more?
    fn has_room(&self) -> bool {
        self.len() < self.descriptors_max
    }

    /// Gives further addresses on a socket to a leg. False: somebody has one of them.
    pub(crate) fn claim(&mut self, socket: SocketId, peers: &[SocketAddr], route: UpstreamRoute) -> bool {
        let now = self.now;
        let shared = self.sockets.get_mut(&socket);
        let Some(shared) = shared.filter(|s| s.has_room(peers, route, now)) else { return false };
        shared.claim(peers, route);
        true
    }

    /// A leg leaves a socket. One that nobody has addresses on is closed, unless it is the first.
    pub(crate) fn release(
        &mut self,
        socket: SocketId,
        peers: &[SocketAddr],
        route: UpstreamRoute,
        outputs: &mut Vec<Output>,
    ) {
        let now = self.now;
        let Some(shared) = self.sockets.get_mut(&socket) else { return };
        shared.release(peers, route, now);
        let is_unused = shared.live == 0;
        let is_first = self.sockets.first_key_value().is_some_and(|(first, _)| *first == socket);
        if !is_first && is_unused {
            self.sockets.remove(&socket);
            outputs.push(Output::CloseSocket(socket));
        }
    }

    /// Forgets a stream that cannot give back itself what it had.
    pub(crate) fn forget(&mut self, stream: StreamKey, outputs: &mut Vec<Output>) {
        self.connections.retain(|connection, route| {
            let is_theirs = route.stream == stream;
            if is_theirs {
                outputs.push(Output::Close { connection: *connection, last_words: Vec::new() });
            }
            !is_theirs
        });
        self.by_name.retain(|_, route| route.stream != stream);
        let mut had = Vec::new();
        for (socket, shared) in &self.sockets {
            for (peer, holder) in &shared.holders {
                if let Holder::Leg(route) = holder
                    && route.stream == stream
                {
                    had.push((*socket, *peer, *route));
                }
            }
        }
        for (socket, peer, route) in had {
            self.release(socket, &[peer], route, outputs);
        }
    }

    /// Has the system connect for a leg. None: there are as many sockets and connections as allowed.
    pub(crate) fn connect(
        &mut self,
        remote: SocketAddr,
        route: UpstreamRoute,
        outputs: &mut Vec<Output>,
    ) -> Option<ConnectionId> {
        if !self.has_room() {
            return None;
        }
        let connection = ConnectionId(self.next_number());
        self.connections.insert(connection, route);
        outputs.push(Output::Connect { connection, remote });
        Some(connection)
    }

    /// Forgets a connection that has ended.
    pub(crate) fn remove_connection(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// The leg that a connection belongs to.
    pub(crate) fn connection(&self, connection: ConnectionId) -> Option<UpstreamRoute> {
        self.connections.get(&connection).copied()
    }

    /// The leg that has an address on a socket.
    pub(crate) fn peer(&self, socket: SocketId, peer: SocketAddr) -> Option<UpstreamRoute> {
        let shared = self.sockets.get(&socket)?;
        match shared.holders.get(&peer)? {
            Holder::Leg(route) => Some(*route),
            Holder::Left(_) => None,
        }
    }

    pub(crate) fn add_name(&mut self, ufrag: String, route: UpstreamRoute) {
        self.by_name.insert(ufrag, route);
    }

    pub(crate) fn remove_name(&mut self, ufrag: &str) {
        self.by_name.remove(ufrag);
    }

    pub(crate) fn name(&self, ufrag: &str) -> Option<UpstreamRoute> {
        self.by_name.get(ufrag).copied()
    }

    /// Sockets and connections of legs, beside the one that is there for good.
    pub(crate) fn len(&self) -> usize {
        self.connections.len() + self.sockets.len().saturating_sub(1)
    }

    /// Addresses that legs have on all sockets.
    pub(crate) fn peers(&self) -> usize {
        self.sockets.values().map(|s| s.live).sum()
    }

    /// Nothing of any leg is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.peers() == 0 && self.by_name.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn routes(descriptors_max: usize) -> (UpstreamRoutes, Vec<Output>) {
        (UpstreamRoutes::new(1, descriptors_max, 65_536, Instant::now()), Vec::new())
    }

    fn route(stream: u64) -> UpstreamRoute {
        UpstreamRoute {
            stream: StreamKey { session: crate::session::SessionId(stream), number: 1 },
            generation: 1,
            transport: 0,
        }
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn legs_share_a_socket_unless_they_share_an_address() {
        let (mut routes, mut outputs) = routes(10);
        let first = routes.attach(&[at(1), at(2)], route(1), &mut outputs).unwrap();
        assert_eq!(routes.attach(&[at(3)], route(2), &mut outputs).unwrap(), first);
        let further = routes.attach(&[at(4), at(2)], route(3), &mut outputs).unwrap();
        assert!(further != first && routes.len() == 1);
        assert_eq!(routes.attach(&[at(1)], route(4), &mut outputs).unwrap(), further, "it is shared as well");
        let found =
            [(first, 2), (further, 2), (further, 1), (further, 3)].map(|(t, p)| routes.peer(t, at(p)));
        assert_eq!(found, [Some(route(1)), Some(route(3)), Some(route(4)), None]);
        // A claim is for what is free, or one's own already.
        assert!(routes.claim(first, &[at(1), at(9)], route(1)) && !routes.claim(first, &[at(9)], route(2)));
        routes.release(further, &[at(4), at(2)], route(3), &mut outputs);
        routes.release(further, &[at(1)], route(4), &mut outputs);
        assert!(
            matches!(outputs.as_slice(), [Output::OpenSocket { socket, .. }, Output::CloseSocket(closed)]
            if *socket == further && *closed == further),
            "nobody is on it any more: {outputs:?}"
        );
        routes.release(first, &[at(1), at(2), at(9)], route(1), &mut outputs);
        routes.release(first, &[at(3)], route(2), &mut outputs);
        assert!(routes.is_empty() && outputs.len() == 2, "the first is there for good");
    }

    #[test]
    fn an_address_that_was_left_is_not_given_to_the_next_leg_for_a_while() {
        let (mut routes, mut outputs) = routes(1);
        let first = routes.attach(&[at(1)], route(1), &mut outputs).unwrap();
        routes.release(first, &[at(1)], route(1), &mut outputs);
        assert_eq!(routes.peer(first, at(1)), None, "what still comes is nobody's");
        let further = routes.attach(&[at(1)], route(2), &mut outputs).unwrap();
        assert_ne!(further, first);
        // None is left: better the old one than none, unless a leg has it.
        assert_eq!(routes.attach(&[at(1)], route(3), &mut outputs).unwrap(), first);
        assert!(routes.attach(&[at(1)], route(4), &mut outputs).is_err());
        routes.release(first, &[at(1)], route(3), &mut outputs);
        routes.release(further, &[at(1)], route(2), &mut outputs);
        routes.now += LEFT_MAX;
        assert_eq!(routes.attach(&[at(1)], route(5), &mut outputs).unwrap(), first, "it is long ago");
    }

    #[test]
    fn what_is_left_is_bounded() {
        let (mut routes, mut outputs) = routes(0);
        let socket = *routes.sockets.first_key_value().unwrap().0;
        for n in 0..LEFT_ADDRESSES_MAX + 100 {
            let peer = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
            routes.attach(&[peer], route(1), &mut outputs).unwrap();
            routes.release(socket, &[peer], route(1), &mut outputs);
        }
        let shared = &routes.sockets[&socket];
        assert!(shared.left.len() <= LEFT_ADDRESSES_MAX && shared.holders.len() <= LEFT_ADDRESSES_MAX);
        // Time forgets them as well.
        routes.now += LEFT_MAX;
        routes.attach(&[at(1)], route(1), &mut outputs).unwrap();
        routes.release(socket, &[at(1)], route(1), &mut outputs);
        assert_eq!(routes.sockets[&socket].holders.len(), 1);
    }

    #[test]
    fn a_stream_that_broke_leaves_nothing() {
        let (mut routes, mut outputs) = routes(10);
        routes.attach(&[at(1)], route(1), &mut outputs).unwrap();
        routes.attach(&[at(1), at(2)], route(2), &mut outputs).unwrap();
        routes.add_name("a".to_owned(), route(2));
        routes.forget(route(2).stream, &mut outputs);
        assert_eq!((routes.len(), routes.name("a"), routes.peers()), (0, None, 1));
        routes.forget(route(1).stream, &mut outputs);
        assert!(routes.is_empty());
    }

    #[test]
    fn a_socket_that_the_system_does_not_open_is_nobodys() {
        let (mut routes, mut outputs) = routes(10);
        let first = routes.attach(&[at(1)], route(1), &mut outputs).unwrap();
        let further = routes.attach(&[at(1), at(2)], route(2), &mut outputs).unwrap();
        assert!(routes.is_open(first) && !routes.is_open(further));
        assert_eq!(routes.opened(further, false), [route(2)]);
        assert_eq!((routes.peer(further, at(2)), routes.len()), (None, 0));
        assert!(routes.attach_at_need(&[at(1)], route(2)).is_err(), "another leg has it there");
        assert_eq!(routes.attach_at_need(&[at(2)], route(2)), Ok(first));
        let again = routes.attach(&[at(1)], route(3), &mut outputs).unwrap();
        assert!(routes.opened(again, true) == [route(3)] && routes.is_open(again));
    }
}
