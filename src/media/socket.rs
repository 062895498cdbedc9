//! UDP sockets of the workers: batched receiving, sending from the address that was hit, and
//! one kind of address whether the socket is IPv4 or dual-stack.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use mio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

/// Room for one datagram, or several that the kernel merged.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes the kernel may queue per socket of client legs: a few hundred streams share it.
const CLIENT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A socket that never blocks.
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    is_v6: bool,
    local: SocketAddr,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}

/// One datagram.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) source: SocketAddr,
    /// The address of ours that was hit, if the system says.
    pub(crate) local: Option<IpAddr>,
    pub(crate) bytes: &'a [u8],
}

impl Socket {
    /// A socket for client legs.
    ///
    /// # Errors
    ///
    /// If the address is not ours or the port is taken.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::open(address)?;
        let reference = socket2::SockRef::from(&socket.socket);
        // Best effort: the system may allow less.
        let _ = reference.set_recv_buffer_size(CLIENT_BUFFER_BYTES);
        let _ = reference.set_send_buffer_size(CLIENT_BUFFER_BYTES);
        Ok(socket)
    }

    /// A socket for one upstream transport, on a port the system chooses.
    ///
    /// # Errors
    ///
    /// If there are no descriptors or ports left.
    pub(crate) fn ephemeral() -> io::Result<Self> {
        let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        Self::open(any_v6).or_else(|_| Self::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        Ok(Self { socket, state, is_v6: address.is_ipv6(), local })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) const fn source(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Sends a datagram. What the system cannot take now is dropped, as networks do.
    pub(crate) fn send(&self, destination: SocketAddr, from: Option<IpAddr>, bytes: &[u8]) -> bool {
        let transmit = Transmit {
            destination: self.outward(destination),
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: from.map(|ip| if self.is_v6 { to_v6(ip).into() } else { ip }),
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_ok()
    }

    fn outward(&self, address: SocketAddr) -> SocketAddr {
        match (self.is_v6, address.ip()) {
            (true, ip @ IpAddr::V4(_)) => SocketAddrV6::new(to_v6(ip), address.port(), 0, 0).into(),
            _ => address,
        }
    }

    /// Receives what is there, at most one batch, and hands out each datagram. False: nothing
    /// was there.
    pub(crate) fn receive(&self, buffers: &mut Buffers, mut take: impl FnMut(Arrival<'_>)) -> bool {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.bytes.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let Ok(count) = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.metas)
        else {
            return false;
        };
        for (meta, buffer) in buffers.metas.iter().zip(&buffers.bytes).take(count) {
            let Some(filled) = buffer.get(..meta.len) else { continue };
            let source = canonical(meta.addr);
            let local = meta.dst_ip.map(|ip| ip.to_canonical());
            for bytes in filled.chunks(meta.stride.max(1)) {
                take(Arrival { source, local, bytes });
            }
        }
        count > 0
    }
}

/// Where datagrams are received into; one per worker.
pub(crate) struct Buffers {
    bytes: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buffers")
    }
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![vec![0; BUFFER_BYTES]; BATCH_SIZE], metas: [RecvMeta::default(); BATCH_SIZE] }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The address of ours from which the system would send to `peer`.
pub(crate) fn local_address_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr =
        if peer.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let probe = std::net::UdpSocket::bind(any)?;
    probe.connect(peer)?;
    Ok(probe.local_addr()?.ip())
}
