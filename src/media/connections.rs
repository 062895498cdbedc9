//! TCP connections of clients whose network lets no UDP pass (RFC 6544 passive candidates).
//!
//! Connections are accepted on the same port number as UDP. Until one has passed a connectivity
//! check it is a stranger's: it lives for seconds, little is read of it, and there are few of
//! them per address and in all; the oldest gives way to the next. After that it lives as long as
//! its leg, or until checks cease.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::address::{Counted, network};
use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};

use super::framing::{Framed, Reading, Sent};

/// The places of unchecked connections: how many each address has, over all workers.
pub(crate) use crate::address::Counts as Places;

/// Time without a check after which a connection that passed one is let go: its leg has moved
/// elsewhere, or was given up. Clients check every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Pause between two searches for those.
const SWEEP_PACE: Duration = Duration::from_secs(1);

/// Connections accepted per turn.
const ACCEPTS_MAX: usize = 64;

/// A connection of a client.
#[derive(Debug)]
struct Connection {
    framed: Framed,
    peer: SocketAddr,
    local: Option<IpAddr>,
    standing: Standing,
}

/// What a connection has proven.
#[derive(Debug)]
enum Standing {
    Unchecked {
        since: Instant,
        received_bytes: usize,
        place: Counted,
    },
    /// Passed a check, the last time then.
    Checked {
        at: Instant,
    },
}

/// All connections of one worker.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: TcpListener,
    registry: Registry,
    by_token: HashMap<usize, Connection>,
    by_peer: HashMap<SocketAddr, usize>,
    /// Tokens count up: the oldest first.
    unchecked: BTreeSet<usize>,
    places: Places,
    first: usize,
    next: usize,
    limits: Limits,
    /// The system could not accept, and will not announce again what waits.
    accept_again: bool,
    swept: Instant,
    refused: u64,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Most bytes that wait for a client that does not read.
    pub(crate) output_bytes_max: usize,
    /// Time to pass a connectivity check.
    pub(crate) unchecked_max: Duration,
    /// Most bytes read until then.
    pub(crate) unchecked_bytes_max: usize,
    /// Most connections without a check, in all.
    pub(crate) unchecked_connections_max: usize,
    /// The same per address, over all workers; 0 = as many as in all.
    pub(crate) unchecked_per_address_max: usize,
}

/// A whole frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) source: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) bytes: Vec<u8>,
}

impl Connections {
    /// Listens on an address. Tokens are given out from `first`.
    ///
    /// # Errors
    ///
    /// If the port is taken or the address is not ours.
    pub(crate) fn listen(
        address: SocketAddr,
        registry: Registry,
        listener_token: Token,
        first: usize,
        limits: Limits,
        places: Places,
    ) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        registry.register(&mut listener, listener_token, Interest::READABLE)?;
        Ok(Self {
            listener,
            registry,
            by_token: HashMap::new(),
            by_peer: HashMap::new(),
            unchecked: BTreeSet::new(),
            places,
            first,
            next: first,
            limits,
            accept_again: false,
            swept: Instant::now(),
            refused: 0,
        })
    }

    /// Is this the token of a connection?
    pub(crate) const fn owns(&self, token: Token) -> bool {
        token.0 >= self.first
    }

    /// Takes new connections. True: there may be more.
    pub(crate) fn accept(&mut self, now: Instant) -> bool {
        self.accept_again = false;
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // It ended before we came to it.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted for media");
                    self.accept_again = true;
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, mut stream: TcpStream, peer: SocketAddr, now: Instant) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = self.place(peer.ip()) else {
            self.refused += 1;
            return;
        };
        let token = self.next;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(&mut stream, Token(token), interest).is_err() {
            return;
        }
        self.next += 1;
        let local = stream.local_addr().ok().map(|a| a.ip().to_canonical());
        let framed = Framed::new(stream, self.limits.output_bytes_max);
        let standing = Standing::Unchecked { since: now, received_bytes: 0, place };
        self.by_token.insert(token, Connection { framed, peer, local, standing });
        self.by_peer.insert(peer, token);
        self.unchecked.insert(token);
    }

    /// A place for a new connection, if need be that of the oldest which has not shown who it is.
    fn place(&mut self, address: IpAddr) -> Option<Counted> {
        let limits = self.limits;
        // First of all it is its own address that makes room: no other pays for one that has enough.
        if let Some(place) = self.places.take(address, limits.unchecked_per_address_max) {
            if self.by_token.len() >= limits.connections_max
                || self.unchecked.len() >= limits.unchecked_connections_max
            {
                let oldest = self.unchecked.first().copied()?;
                self.refused += 1;
                self.remove(oldest);
            }
            return Some(place);
        }
        let network = network(address);
        let of_address = |token: &&usize| {
            let standing = self.by_token.get(token).map(|c| &c.standing);
            matches!(standing, Some(Standing::Unchecked { place, .. }) if place.network() == network)
        };
        // None: they are with other workers.
        let oldest = self.unchecked.iter().find(of_address).copied()?;
        self.refused += 1;
        self.remove(oldest);
        self.places.take(address, limits.unchecked_per_address_max)
    }

    /// Reads a turn and hands out whole frames. True: there may be more.
    pub(crate) fn read(&mut self, token: Token) -> (Vec<Frame>, bool) {
        let Some(connection) = self.by_token.get_mut(&token.0) else { return (Vec::new(), false) };
        let bytes_max = match connection.standing {
            Standing::Unchecked { received_bytes, .. } => {
                self.limits.unchecked_bytes_max.saturating_sub(received_bytes)
            }
            Standing::Checked { .. } => usize::MAX,
        };
        if bytes_max == 0 {
            self.refused += 1;
            self.remove(token.0);
            return (Vec::new(), false);
        }
        let mut frames = Vec::new();
        let (reading, count) = connection.framed.read_at_most(bytes_max, &mut frames);
        if let Standing::Unchecked { received_bytes, .. } = &mut connection.standing {
            *received_bytes += count;
        }
        let (source, local) = (connection.peer, connection.local);
        if reading == Reading::Ended {
            self.remove(token.0);
        }
        let frames = frames.into_iter().map(|bytes| Frame { source, local, bytes }).collect();
        (frames, reading == Reading::More)
    }

    /// A connection passed a connectivity check.
    pub(crate) fn checked(&mut self, peer: SocketAddr, now: Instant) {
        let Some(token) = self.by_peer.get(&peer) else { return };
        if let Some(connection) = self.by_token.get_mut(token) {
            connection.standing = Standing::Checked { at: now };
            self.unchecked.remove(token);
        }
    }

    /// Sends a datagram to a connected client. False: it was dropped.
    pub(crate) fn send(&mut self, peer: SocketAddr, bytes: &[u8]) -> bool {
        let Some(token) = self.by_peer.get(&peer).copied() else { return false };
        let Some(connection) = self.by_token.get_mut(&token) else { return false };
        let sent = connection.framed.send(bytes);
        if sent == Sent::Ended {
            self.remove(token);
        }
        sent == Sent::Taken
    }

    /// Lets go whoever passed no check in time, or none for long, and accepts what the system
    /// could not accept before.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.accept_again {
            // What is left is announced, or tried the next time.
            let _ = self.accept(now);
        }
        let late = |c: &Connection| match c.standing {
            Standing::Unchecked { since, .. } => {
                now.saturating_duration_since(since) > self.limits.unchecked_max
            }
            Standing::Checked { at } => now.saturating_duration_since(at) > SILENCE_MAX,
        };
        let oldest = self.unchecked.iter().copied();
        let mut gone: Vec<usize> =
            oldest.take_while(|token| self.by_token.get(token).is_none_or(late)).collect();
        if now.saturating_duration_since(self.swept) >= SWEEP_PACE {
            self.swept = now;
            gone.extend(self.by_token.iter().filter(|(_, c)| late(c)).map(|(token, _)| *token));
        }
        for token in gone {
            self.remove(token);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Connections that got no place, or lost it without having passed a check.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// The leg of this client has no use for its connection any more.
    pub(crate) fn end(&mut self, peer: SocketAddr) {
        if let Some(token) = self.by_peer.get(&peer).copied() {
            self.remove(token);
        }
    }

    fn remove(&mut self, token: usize) {
        self.unchecked.remove(&token);
        if let Some(connection) = self.by_token.remove(&token)
            && self.by_peer.get(&connection.peer) == Some(&token)
        {
            self.by_peer.remove(&connection.peer);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::Ipv4Addr,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        connections_max: 10,
        output_bytes_max: 20_000,
        unchecked_max: Duration::from_secs(5),
        unchecked_bytes_max: 4_096,
        unchecked_connections_max: 10,
        unchecked_per_address_max: 4,
    };

    fn connections(limits: Limits) -> (mio::Poll, Connections, SocketAddr) {
        let poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let places = Places::default();
        let connections = Connections::listen(address, registry, Token(0), 1, limits, places).unwrap();
        let address = connections.listener.local_addr().unwrap();
        (poll, connections, address)
    }

    /// The other end has been closed.
    fn is_closed(stream: &mut std::net::TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        !matches!(stream.read(&mut [0; 8]), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    /// Works until the condition holds.
    fn until(
        poll: &mut mio::Poll,
        connections: &mut Connections,
        mut done: impl FnMut(&Connections, Vec<Frame>) -> bool,
    ) {
        let mut events = mio::Events::with_capacity(8);
        loop {
            connections.accept(Instant::now());
            let tokens: Vec<usize> = connections.by_token.keys().copied().collect();
            let frames = tokens.into_iter().flat_map(|t| connections.read(Token(t)).0).collect();
            if done(connections, frames) {
                return;
            }
            poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let (mut poll, mut connections, address) = connections(LIMITS);
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let wire = [&[0, 3][..], b"abc", &[0, 0], &[0, 2], b"de"].concat();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for byte in wire {
            client.write_all(&[byte]).unwrap();
            connections.accept(Instant::now());
        }
        until(&mut poll, &mut connections, |_, frames| {
            seen.extend(frames.into_iter().map(|f| f.bytes));
            seen.len() == 3
        });
        assert_eq!(seen, [b"abc".to_vec(), Vec::new(), b"de".to_vec()]);
        drop(client);
        until(&mut poll, &mut connections, |c, _| c.len() == 0);
        assert!(connections.by_peer.is_empty());
    }

    #[test]
    fn connections_and_what_waits_for_them_are_bounded() {
        let (mut poll, mut connections, address) = connections(Limits { connections_max: 1, ..LIMITS });
        let first = std::net::TcpStream::connect(address).unwrap();
        let peer = first.local_addr().unwrap();
        until(&mut poll, &mut connections, |c, _| c.by_peer.contains_key(&peer));
        connections.checked(peer, Instant::now());
        let mut second = std::net::TcpStream::connect(address).unwrap();
        until(&mut poll, &mut connections, |c, _| c.refused == 1);
        assert!(is_closed(&mut second), "one that is checked gives no place");
        let packet = [0; 1200];
        let mut sent = 0_u32;
        while connections.send(peer, &packet) {
            sent += 1;
            assert!(sent < 100_000, "nobody reads, and it never ends");
        }
        assert!(connections.by_token[&1].framed.waiting_bytes() <= 20_000);
        connections.sweep(Instant::now() + Duration::from_secs(60));
        assert_eq!(connections.len(), 1, "it passed a check");
        connections.sweep(Instant::now() + SILENCE_MAX + Duration::from_secs(61));
        assert_eq!(connections.len(), 0, "it has long passed none");
    }

    #[test]
    fn a_stranger_that_drips_ends_with_its_time() {
        let (mut poll, mut connections, address) = connections(LIMITS);
        let mut stranger = std::net::TcpStream::connect(address).unwrap();
        until(&mut poll, &mut connections, |c, _| c.len() == 1);
        let accepted = Instant::now();
        for second in 1..=4 {
            stranger.write_all(&[0]).unwrap();
            connections.read(Token(1));
            connections.sweep(accepted + Duration::from_secs(second));
            assert_eq!(connections.len(), 1, "it has time to show who it is");
        }
        connections.sweep(accepted + Duration::from_secs(6));
        assert!(connections.len() == 0 && connections.places.addresses() == 0);
    }

    #[test]
    fn little_is_read_of_a_stranger() {
        let (mut poll, mut connections, address) = connections(LIMITS);
        let mut stranger = std::net::TcpStream::connect(address).unwrap();
        stranger.write_all(&[0x10; 5_000]).unwrap();
        until(&mut poll, &mut connections, |c, _| c.refused == 1);
        assert_eq!(connections.len(), 0, "more than a few checks would take");
    }

    #[test]
    fn strangers_are_few_per_address_and_in_all_and_the_oldest_gives_way() {
        let (mut poll, mut connections, address) = connections(LIMITS);
        let mut streams: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        until(&mut poll, &mut connections, |c, _| c.refused == 4);
        assert_eq!(
            streams.iter_mut().map(is_closed).collect::<Vec<_>>(),
            [true, true, true, true, false, false, false, false]
        );
        // Who passes a check is no stranger any more.
        for stream in &streams[4..] {
            connections.checked(stream.local_addr().unwrap(), Instant::now());
        }
        assert!(connections.places.addresses() == 0);
        streams.extend((0..4).map(|_| std::net::TcpStream::connect(address).unwrap()));
        until(&mut poll, &mut connections, |c, _| c.len() == 8);
        assert_eq!(connections.refused, 4);
        // In all: other addresses count as well.
        connections.limits.unchecked_per_address_max = 0;
        streams.extend((0..8).map(|_| std::net::TcpStream::connect(address).unwrap()));
        until(&mut poll, &mut connections, |c, _| c.refused == 10);
        assert!(connections.len() == 10 && connections.unchecked.len() == 6);
        assert!(streams[4..8].iter_mut().all(|s| !is_closed(s)), "never one that passed a check");
    }

    #[test]
    fn an_address_that_has_enough_takes_no_place_of_another() {
        let limits = Limits { unchecked_connections_max: 5, ..LIMITS };
        let (mut poll, mut connections, address) = connections(limits);
        let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        other.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into()).unwrap();
        other.connect(&address.into()).unwrap();
        let mut other = std::net::TcpStream::from(other);
        until(&mut poll, &mut connections, |c, _| c.len() == 1);
        let _streams: Vec<_> = (0..9).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        until(&mut poll, &mut connections, |c, _| c.refused == 5);
        assert_eq!(connections.len(), 5);
        assert!(!is_closed(&mut other));
    }
}
