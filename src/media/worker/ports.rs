//! The sockets that a worker has from its beginning: the port of its clients in UDP and TCP, and
//! that of its upstream legs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mio::{Interest, Poll, Token, Waker};

use crate::media::{
    connections::{Connections, Limits},
    routes::UpstreamRoutes,
    socket::Socket,
};

use super::Parts;

pub(super) const CLIENTS: Token = Token(0);
pub(super) const ORDERS: Token = Token(1);
pub(super) const CLIENTS_TCP: Token = Token(2);
const FIRST_UPSTREAM: usize = 3;
/// Tokens of TCP connections of clients; upstream sockets never get this far.
const FIRST_CONNECTION: usize = usize::MAX / 2;

/// Ports tried until one is free in UDP and TCP, if the system may choose.
const PORT_TRIES_MAX: usize = 16;

/// The sockets of a worker, bound.
pub(crate) struct Bound {
    pub(super) poll: Poll,
    pub(super) socket: Socket,
    pub(super) tcp: Option<Connections>,
    pub(super) upstreams: UpstreamRoutes,
}

impl Bound {
    /// Binds the sockets of the client legs.
    ///
    /// # Errors
    ///
    /// If the address is not ours, the port is taken, or the system is out of something.
    pub(crate) fn new(address: SocketAddr, parts: &Parts) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let (mut socket, tcp) = bind(address, parts, &poll)?;
        poll.registry().register(socket.source(), CLIENTS, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), ORDERS)?;
        let registry = poll.registry().try_clone()?;
        let (sockets_max, bytes) = (parts.settings.upstream_sockets_max, parts.settings.socket_buffer_bytes);
        let upstreams = UpstreamRoutes::new(registry, FIRST_UPSTREAM, sockets_max, bytes)?;
        Ok((Self { poll, socket, tcp, upstreams }, waker))
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.socket.local()
    }
}

/// Binds the port in UDP, and in TCP if that is on. The IPv6 wildcard takes IPv4 as well, and
/// nothing else on a system without IPv6.
fn bind(address: SocketAddr, parts: &Parts, poll: &Poll) -> io::Result<(Socket, Option<Connections>)> {
    let unknown = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    let wildcard = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind_one(address, parts, poll) {
        Err(error)
            if wildcard
                && (error.raw_os_error() == unknown || error.kind() == io::ErrorKind::AddrNotAvailable) =>
        {
            bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), parts, poll)
        }
        bound => bound,
    }
}

fn bind_one(address: SocketAddr, parts: &Parts, poll: &Poll) -> io::Result<(Socket, Option<Connections>)> {
    let settings = &parts.settings;
    for tries in 1.. {
        let socket = Socket::bind(address, settings.socket_buffer_bytes)?;
        if !settings.tcp {
            return Ok((socket, None));
        }
        let registry = poll.registry().try_clone()?;
        let limits = Limits {
            connections_max: settings.tcp_connections_max,
            output_bytes_max: settings.tcp_output_bytes_max,
            unchecked_max: settings.tcp_unchecked_max,
            unchecked_bytes_max: settings.tcp_unchecked_bytes_max,
            unchecked_connections_max: settings.tcp_unchecked_connections_max,
            unchecked_per_address_max: settings.tcp_unchecked_per_address_max,
        };
        let (local, places) = (socket.local(), parts.places.clone());
        match Connections::listen(local, registry, CLIENTS_TCP, FIRST_CONNECTION, limits, places) {
            Ok(connections) => return Ok((socket, Some(connections))),
            // The system chose a port that somebody has in TCP.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && address.port() == 0
                    && tries < PORT_TRIES_MAX => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
