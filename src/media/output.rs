//! What the deciding parts of a worker ask to be done.
//!
//! Streams, links and tables of connections touch no socket: they say here what they want, in the
//! order in which it is to be done, and are told how it went by inputs. Whoever owns the sockets
//! carries it out and decides nothing.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use str0m::net::DatagramSend;

/// A UDP socket that upstream legs share; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SocketId(pub(crate) usize);

/// A TCP connection, from a client or to an upstream; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) usize);

/// The socket that a datagram leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// That of all client legs, from this address of ours; None: as the system chooses.
    Clients(Option<IpAddr>),
    /// One of the upstream legs.
    Upstream(SocketId),
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send a datagram. What the system cannot take now is dropped, as networks do.
    Transmit {
        /// By this socket.
        via: Via,
        /// There.
        to: SocketAddr,
        /// This.
        contents: DatagramSend,
    },
    /// Open a socket for upstream legs, for which the kernel may queue so many bytes each way.
    /// Answered by `Core::socket_opened`.
    OpenSocket {
        /// Its name from now on.
        socket: SocketId,
        /// Bytes.
        buffer_bytes: usize,
    },
    /// Nobody uses this socket any more.
    CloseSocket(SocketId),
    /// Start to connect, do not wait. Answered by `Core::connecting`.
    Connect {
        /// Its name from now on.
        connection: ConnectionId,
        /// Where the upstream listens.
        remote: SocketAddr,
    },
    /// Something waits to be written: `Core::unwritten`.
    Write(ConnectionId),
    /// Nobody uses this connection any more.
    Close {
        /// This one.
        connection: ConnectionId,
        /// What is still to be written, as far as the system takes it at once.
        last_words: Vec<u8>,
    },
    /// Look up the addresses of a name, without waiting. Answered by `Core::looked_up`.
    LookUp(Arc<str>),
}

/// Why the system does not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotConnecting {
    /// It has no descriptor left.
    OutOfDescriptors,
    /// There is no way there.
    NoWay,
}

/// The address of ours that leads to a peer: the one thing that the deciding parts ask of the
/// system and cannot go on without.
pub(crate) trait WaysOut {
    /// Our end of the way to an upstream, on the first socket that upstream legs share. None: there
    /// is no route.
    fn towards(&self, peer: SocketAddr) -> Option<SocketAddr>;
}
