//! The sockets of upstream legs, and whose a datagram on one of them is.
//!
//! The legs of a worker share one socket: a check is told by the name in it, all else by the
//! address it came from. So an address of an upstream belongs to one leg per socket. A leg whose
//! upstream has the address of another (a server that answers all streams with one port) goes to
//! a further socket, which it shares as well. An address that a leg has left stays taken for a
//! while: what a server still sends to a lost leg must not reach the next one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token, net::TcpStream};

use crate::media::{
    StreamKey,
    socket::{Socket, SourceProbe},
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

/// What a token stands for.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// A UDP socket that legs share.
    Shared(Arc<Socket>),
    /// A connection to a TCP candidate.
    Connection(UpstreamRoute),
}

/// Who has an address of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Leg(UpstreamRoute),
    /// Nobody any more, since then.
    Left(Instant),
}

/// A socket and the addresses that are heard on it.
#[derive(Debug)]
struct Shared {
    socket: Arc<Socket>,
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

/// The upstream side of one worker's tables.
#[derive(Debug)]
pub(crate) struct UpstreamRoutes {
    registry: Registry,
    /// By token, which count up. The first is there for good.
    sockets: BTreeMap<usize, Shared>,
    connections: HashMap<usize, UpstreamRoute>,
    /// By our user name fragment.
    by_name: HashMap<String, UpstreamRoute>,
    probe: SourceProbe,
    next: usize,
    descriptors_max: usize,
    buffer_bytes: usize,
    /// Set by the worker at each turn: no call asks the system for it.
    pub(crate) now: Instant,
}

impl UpstreamRoutes {
    /// Opens the socket that legs share. Tokens are given out from `first`. Beside it legs may have
    /// `descriptors_max` sockets and connections.
    ///
    /// # Errors
    ///
    /// If the system has no socket left.
    pub(crate) fn new(
        registry: Registry,
        first: usize,
        descriptors_max: usize,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let mut routes = Self {
            registry,
            sockets: BTreeMap::new(),
            connections: HashMap::new(),
            by_name: HashMap::new(),
            probe: SourceProbe::new()?,
            next: first,
            descriptors_max,
            buffer_bytes,
            now: Instant::now(),
        };
        routes.open(buffer_bytes)?;
        Ok(routes)
    }

    fn open(&mut self, buffer_bytes: usize) -> io::Result<Token> {
        let mut socket = Socket::ephemeral(buffer_bytes)?;
        let token = self.next_token();
        self.registry.register(socket.source(), token, Interest::READABLE)?;
        let shared =
            Shared { socket: Arc::new(socket), holders: HashMap::new(), left: VecDeque::new(), live: 0 };
        self.sockets.insert(token.0, shared);
        Ok(token)
    }

    const fn next_token(&mut self) -> Token {
        let token = Token(self.next);
        self.next += 1;
        token
    }

    /// Finds a socket on which a leg can have all these addresses, and gives them to it.
    ///
    /// # Errors
    ///
    /// If that takes a further socket, and the system or our bound has none left.
    pub(crate) fn attach(
        &mut self,
        peers: &[SocketAddr],
        route: UpstreamRoute,
    ) -> io::Result<(Arc<Socket>, Token)> {
        let now = self.now;
        let with_room = |at_need: bool| {
            let fits = |s: &Shared| {
                if at_need { s.has_room_at_need(peers, route) } else { s.has_room(peers, route, now) }
            };
            let mut sockets = self.sockets.iter().take(SEARCHED_MAX);
            sockets.find(|(_, s)| fits(s)).map(|(token, _)| Token(*token))
        };
        let token = match with_room(false) {
            Some(token) => token,
            None => {
                // Better to hear what a lost leg is still sent than to have none.
                let at_need = with_room(true);
                self.open_another().or_else(|error| at_need.ok_or(error))?
            }
        };
        let shared = self.sockets.get_mut(&token.0).ok_or(io::ErrorKind::NotFound)?;
        shared.claim(peers, route);
        Ok((shared.socket.clone(), token))
    }

    fn open_another(&mut self) -> io::Result<Token> {
        if !self.has_room(0) {
            return Err(io::Error::other("as many sockets of upstream legs as allowed"));
        }
        self.open(self.buffer_bytes.min(FURTHER_BUFFER_BYTES_MAX))
    }

    /// May a leg open one more after so many that are not counted yet?
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.len() + more < self.descriptors_max
    }

    /// Gives further addresses on a socket to a leg. False: somebody has one of them.
    pub(crate) fn claim(&mut self, token: Token, peers: &[SocketAddr], route: UpstreamRoute) -> bool {
        let now = self.now;
        let shared = self.sockets.get_mut(&token.0);
        let Some(shared) = shared.filter(|s| s.has_room(peers, route, now)) else { return false };
        shared.claim(peers, route);
        true
    }

    /// A leg leaves a socket. One that nobody has addresses on is closed, unless it is the first.
    pub(crate) fn release(&mut self, token: Token, peers: &[SocketAddr], route: UpstreamRoute) {
        let now = self.now;
        let Some(shared) = self.sockets.get_mut(&token.0) else { return };
        shared.release(peers, route, now);
        let is_first = self.sockets.first_key_value().is_some_and(|(first, _)| *first == token.0);
        if !is_first && self.sockets.get(&token.0).is_some_and(|s| s.live == 0) {
            self.sockets.remove(&token.0);
        }
    }

    /// Forgets a stream that cannot give back itself what it had.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.connections.retain(|_, route| route.stream != stream);
        self.by_name.retain(|_, route| route.stream != stream);
        let mut had = Vec::new();
        for (token, shared) in &self.sockets {
            for (peer, holder) in &shared.holders {
                if let Holder::Leg(route) = holder
                    && route.stream == stream
                {
                    had.push((Token(*token), *peer, *route));
                }
            }
        }
        for (token, peer, route) in had {
            self.release(token, &[peer], route);
        }
    }

    /// Watches a connection.
    ///
    /// # Errors
    ///
    /// If the system cannot.
    pub(crate) fn add_connection(
        &mut self,
        stream: &mut TcpStream,
        route: UpstreamRoute,
    ) -> io::Result<Token> {
        let token = self.next_token();
        self.registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.connections.insert(token.0, route);
        Ok(token)
    }

    /// Forgets a connection; its watch ends with its descriptor.
    pub(crate) fn remove_connection(&mut self, token: Token) {
        self.connections.remove(&token.0);
    }

    pub(crate) fn find(&self, token: Token) -> Option<Watched> {
        if let Some(route) = self.connections.get(&token.0) {
            return Some(Watched::Connection(*route));
        }
        let shared = self.sockets.get(&token.0)?;
        Some(Watched::Shared(shared.socket.clone()))
    }

    /// The leg that has an address on a socket.
    pub(crate) fn peer(&self, token: Token, peer: SocketAddr) -> Option<UpstreamRoute> {
        let shared = self.sockets.get(&token.0)?;
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

    /// Our end of the way to an upstream, nominal in that other legs have it too. None: no route.
    pub(crate) fn local_towards(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let port = self.sockets.first_key_value()?.1.socket.local().port();
        self.probe.towards(peer).ok().map(|ip| SocketAddr::new(ip, port))
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

    fn routes(descriptors_max: usize) -> (mio::Poll, UpstreamRoutes) {
        let poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        (poll, UpstreamRoutes::new(registry, 1, descriptors_max, 65_536).unwrap())
    }

    fn route(stream: u64) -> UpstreamRoute {
        UpstreamRoute { stream: StreamKey(stream), generation: 1, transport: 0 }
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn legs_share_a_socket_unless_they_share_an_address() {
        let (_poll, mut routes) = routes(10);
        let (_, first) = routes.attach(&[at(1), at(2)], route(1)).unwrap();
        assert_eq!(routes.attach(&[at(3)], route(2)).unwrap().1, first);
        let (_, further) = routes.attach(&[at(4), at(2)], route(3)).unwrap();
        assert!(further != first && routes.len() == 1);
        assert_eq!(routes.attach(&[at(1)], route(4)).unwrap().1, further, "it is shared as well");
        let found =
            [(first, 2), (further, 2), (further, 1), (further, 3)].map(|(t, p)| routes.peer(t, at(p)));
        assert_eq!(found, [Some(route(1)), Some(route(3)), Some(route(4)), None]);
        // A claim is for what is free, or one's own already.
        assert!(routes.claim(first, &[at(1), at(9)], route(1)) && !routes.claim(first, &[at(9)], route(2)));
        routes.release(further, &[at(4), at(2)], route(3));
        routes.release(further, &[at(1)], route(4));
        assert!(routes.find(further).is_none(), "nobody is on it any more");
        routes.release(first, &[at(1), at(2), at(9)], route(1));
        routes.release(first, &[at(3)], route(2));
        assert!(routes.is_empty() && routes.find(first).is_some(), "the first is there for good");
    }

    #[test]
    fn an_address_that_was_left_is_not_given_to_the_next_leg_for_a_while() {
        let (_poll, mut routes) = routes(1);
        let (_, first) = routes.attach(&[at(1)], route(1)).unwrap();
        routes.release(first, &[at(1)], route(1));
        assert_eq!(routes.peer(first, at(1)), None, "what still comes is nobody's");
        let (_, further) = routes.attach(&[at(1)], route(2)).unwrap();
        assert_ne!(further, first);
        // None is left: better the old one than none, unless a leg has it.
        assert_eq!(routes.attach(&[at(1)], route(3)).unwrap().1, first);
        assert!(routes.attach(&[at(1)], route(4)).is_err());
        routes.release(first, &[at(1)], route(3));
        routes.release(further, &[at(1)], route(2));
        routes.now += LEFT_MAX;
        assert_eq!(routes.attach(&[at(1)], route(5)).unwrap().1, first, "it is long ago");
    }

    #[test]
    fn what_is_left_is_bounded() {
        let (_poll, mut routes) = routes(0);
        let token = Token(*routes.sockets.first_key_value().unwrap().0);
        for n in 0..LEFT_ADDRESSES_MAX + 100 {
            let peer = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
            routes.attach(&[peer], route(1)).unwrap();
            routes.release(token, &[peer], route(1));
        }
        let shared = &routes.sockets[&token.0];
        assert!(shared.left.len() <= LEFT_ADDRESSES_MAX && shared.holders.len() <= LEFT_ADDRESSES_MAX);
        // Time forgets them as well.
        routes.now += LEFT_MAX;
        routes.attach(&[at(1)], route(1)).unwrap();
        routes.release(token, &[at(1)], route(1));
        assert_eq!(routes.sockets[&token.0].holders.len(), 1);
    }

    #[test]
    fn a_stream_that_broke_leaves_nothing() {
        let (_poll, mut routes) = routes(10);
        routes.attach(&[at(1)], route(1)).unwrap();
        routes.attach(&[at(1), at(2)], route(2)).unwrap();
        routes.add_name("a".to_owned(), route(2));
        routes.forget(StreamKey(2));
        assert_eq!((routes.len(), routes.name("a"), routes.peers()), (0, None, 1));
        routes.forget(StreamKey(1));
        assert!(routes.is_empty());
    }
}
