//! The sockets that a worker has from its beginning: the port of its clients in UDP and TCP, and
//! that of its upstream legs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mio::{Interest, Poll, Token, Waker, net::TcpListener};

use crate::media::{
    MediaSettings,
    core::FIRST_UPSTREAM,
    output,
    socket::{Socket, SourceProbe},
};

use super::Parts;

pub(super) const CLIENTS: Token = Token(0);
pub(super) const ORDERS: Token = Token(1);
pub(super) const CLIENTS_TCP: Token = Token(2);

/// Ports tried until one is free in UDP and TCP, if the system may choose.
const PORT_TRIES_MAX: usize = 16;

/// The sockets of a worker, bound.
pub(crate) struct Bound {
    pub(super) poll: Poll,
    pub(super) clients: Socket,
    /// The same port in TCP, if that is on.
    pub(super) listener: Option<TcpListener>,
    /// Shared by upstream legs.
    pub(super) upstream: Socket,
    pub(super) probe: SourceProbe,
}

/// Asks the system which way datagrams go.
#[derive(Debug)]
pub(super) struct WaysOut {
    pub(super) probe: SourceProbe,
    /// That of the socket that upstream legs share.
    pub(super) port: u16,
}

impl output::WaysOut for WaysOut {
    fn towards(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.probe.towards(peer).ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl Bound {
    /// Binds the sockets of the client legs.
    ///
    /// # Errors
    ///
    /// If the address is not ours, the port is taken, or the system is out of something.
    pub(crate) fn new(address: SocketAddr, parts: &Parts) -> io::Result<(Self, Waker)> {
        let settings = &parts.kept.settings;
        let poll = Poll::new()?;
        let registry = poll.registry();
        let (mut clients, mut listener) = bind(address, settings)?;
        registry.register(clients.source(), CLIENTS, Interest::READABLE)?;
        if let Some(listener) = &mut listener {
            registry.register(listener, CLIENTS_TCP, Interest::READABLE)?;
        }
        let waker = Waker::new(registry, ORDERS)?;
        let mut upstream = Socket::ephemeral(settings.socket_buffer_bytes)?;
        registry.register(upstream.source(), Token(FIRST_UPSTREAM), Interest::READABLE)?;
        let probe = SourceProbe::new()?;
        Ok((Self { poll, clients, listener, upstream, probe }, waker))
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.clients.local()
    }
}

/// Binds the port in UDP, and in TCP if that is on. The IPv6 wildcard takes IPv4 as well, and
/// nothing else on a system without IPv6.
fn bind(address: SocketAddr, settings: &MediaSettings) -> io::Result<(Socket, Option<TcpListener>)> {
    let unknown = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    let wildcard = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind_one(address, settings) {
        Err(error)
            if wildcard
                && (error.raw_os_error() == unknown || error.kind() == io::ErrorKind::AddrNotAvailable) =>
        {
            bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), settings)
        }
        bound => bound,
    }
}

fn bind_one(address: SocketAddr, settings: &MediaSettings) -> io::Result<(Socket, Option<TcpListener>)> {
    for tries in 1.. {
        let socket = Socket::bind(address, settings.socket_buffer_bytes)?;
        if !settings.tcp {
            return Ok((socket, None));
        }
        match TcpListener::bind(socket.local()) {
            Ok(listener) => return Ok((socket, Some(listener))),
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
