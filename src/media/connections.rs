//! TCP connections of clients whose network lets no UDP pass (RFC 6544 passive candidates).
//!
//! Connections are accepted on the same port number as UDP. Who does not pass a connectivity
//! check within a few seconds is let go.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};

use super::framing::{Framed, Reading, Sent};

/// Time to pass a connectivity check.
const CHECK_MAX: Duration = Duration::from_secs(10);

/// Silence after which a connection that passed one is let go: its leg has moved elsewhere, or
/// was given up.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Connections accepted per turn.
const ACCEPTS_MAX: usize = 64;

/// A connection of a client.
#[derive(Debug)]
struct Connection {
    framed: Framed,
    peer: SocketAddr,
    local: Option<IpAddr>,
    /// Passed a check, and when anything last came.
    checked: bool,
    heard: Instant,
}

/// All connections of one worker.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: TcpListener,
    registry: Registry,
    by_token: HashMap<usize, Connection>,
    by_peer: HashMap<SocketAddr, usize>,
    first: usize,
    next: usize,
    limits: Limits,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Most bytes that wait for a client that does not read.
    pub(crate) output_bytes_max: usize,
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
    ) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        registry.register(&mut listener, listener_token, Interest::READABLE)?;
        let (by_token, by_peer) = (HashMap::new(), HashMap::new());
        Ok(Self { listener, registry, by_token, by_peer, first, next: first, limits })
    }

    /// Is this the token of a connection?
    pub(crate) const fn owns(&self, token: Token) -> bool {
        token.0 >= self.first
    }

    /// Takes new connections. True: there may be more.
    pub(crate) fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted for media");
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, mut stream: TcpStream, peer: SocketAddr, now: Instant) {
        if self.by_token.len() >= self.limits.connections_max {
            return;
        }
        let token = self.next;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(&mut stream, Token(token), interest).is_err() {
            return;
        }
        self.next += 1;
        let local = stream.local_addr().ok().map(|a| a.ip().to_canonical());
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let framed = Framed::new(stream, self.limits.output_bytes_max);
        let connection = Connection { framed, peer, local, checked: false, heard: now };
        self.by_token.insert(token, connection);
        self.by_peer.insert(peer, token);
    }

    /// Reads a turn and hands out whole frames. True: there may be more.
    pub(crate) fn read(&mut self, token: Token, now: Instant) -> (Vec<Frame>, bool) {
        let Some(connection) = self.by_token.get_mut(&token.0) else { return (Vec::new(), false) };
        connection.heard = now;
        let mut frames = Vec::new();
        let reading = connection.framed.read(&mut frames);
        let (source, local) = (connection.peer, connection.local);
        if reading == Reading::Ended {
            self.remove(token.0);
        }
        let frames = frames.into_iter().map(|bytes| Frame { source, local, bytes }).collect();
        (frames, reading == Reading::More)
    }

    /// A connection passed a connectivity check.
    pub(crate) fn checked(&mut self, peer: SocketAddr) {
        let token = self.by_peer.get(&peer);
        if let Some(connection) = token.and_then(|t| self.by_token.get_mut(t)) {
            connection.checked = true;
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

    /// Lets go whoever passed no check in time, or has long been silent.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let stale = |c: &Connection| {
            now.saturating_duration_since(c.heard) > if c.checked { SILENCE_MAX } else { CHECK_MAX }
        };
        let gone: Vec<usize> =
            self.by_token.iter().filter(|(_, c)| stale(c)).map(|(token, _)| *token).collect();
        for token in gone {
            self.remove(token);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }

    fn remove(&mut self, token: usize) {
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
    use std::{io::Write as _, net::Ipv4Addr};

    use super::*;

    fn connections(connections_max: usize) -> (mio::Poll, Connections, SocketAddr) {
        let poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let limits = Limits { connections_max, output_bytes_max: 20_000 };
        let connections = Connections::listen(address, registry, Token(0), 1, limits).unwrap();
        let address = connections.listener.local_addr().unwrap();
        (poll, connections, address)
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
            let frames =
                tokens.into_iter().flat_map(|t| connections.read(Token(t), Instant::now()).0).collect();
            if done(connections, frames) {
                return;
            }
            poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let (mut poll, mut connections, address) = connections(10);
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
        let (mut poll, mut connections, address) = connections(1);
        let first = std::net::TcpStream::connect(address).unwrap();
        until(&mut poll, &mut connections, |c, _| c.len() == 1);
        let second = std::net::TcpStream::connect(address).unwrap();
        until(&mut poll, &mut connections, |c, _| !c.by_peer.contains_key(&second.local_addr().unwrap()));
        let peer = first.local_addr().unwrap();
        let packet = [0; 1200];
        let mut sent = 0_u32;
        while connections.send(peer, &packet) {
            sent += 1;
            assert!(sent < 100_000, "nobody reads, and it never ends");
        }
        assert!(connections.by_token[&1].framed.waiting_bytes() <= 20_000);
        connections.sweep(Instant::now() + CHECK_MAX + Duration::from_secs(1));
        assert_eq!(connections.len(), 0, "it never passed a check");
    }
}
