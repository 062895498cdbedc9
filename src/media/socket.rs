//! UDP sockets of the workers: receiving and sending in batches, sending from the address that
//! was hit, and one kind of address whether the socket is IPv4 or dual-stack.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use mio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

/// Room for one datagram, or several that the kernel merged.
const BUFFER_BYTES: usize = 64 * 1024;

/// Most bytes handed to the kernel in one call: what fits into the length field of IP.
const SENT_AT_ONCE_BYTES_MAX: usize = 60_000;

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
    /// A socket for client legs, for which the kernel may queue so many bytes each way.
    ///
    /// # Errors
    ///
    /// If the address is not ours or the port is taken.
    pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Self::open(address)?;
        socket.enlarge(buffer_bytes);
        Ok(socket)
    }

    /// A socket for upstream legs, for both address families, on a port the system chooses.
    ///
    /// # Errors
    ///
    /// If there are no descriptors or ports left.
    pub(crate) fn ephemeral(buffer_bytes: usize) -> io::Result<Self> {
        let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let socket =
            Self::open(any_v6).or_else(|_| Self::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?;
        socket.enlarge(buffer_bytes);
        Ok(socket)
    }

    /// Best effort: without the right to go beyond them, the system's limits hold
    /// (`net.core.rmem_max` and `wmem_max`).
    fn enlarge(&self, buffer_bytes: usize) {
        use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
        let reference = socket2::SockRef::from(&self.socket);
        if set_socket_recv_buffer_size_force(&self.socket, buffer_bytes).is_err() {
            let _ = reference.set_recv_buffer_size(buffer_bytes);
        }
        if set_socket_send_buffer_size_force(&self.socket, buffer_bytes).is_err() {
            let _ = reference.set_send_buffer_size(buffer_bytes);
        }
        if let Ok(granted) = reference.recv_buffer_size() {
            tracing::debug!(asked = buffer_bytes, granted = granted / 2, "receive buffer of a media socket");
        }
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

    /// Sends a datagram, soon: it may wait in the outbox for others of the same size to the same
    /// destination, which the system takes in one call (UDP segmentation offload). What the system
    /// cannot take now is dropped, as networks do.
    pub(crate) fn send(&self, outbox: &mut Outbox, to: SocketAddr, from: Option<IpAddr>, bytes: &[u8]) {
        if !outbox.takes((to, from), bytes.len(), self.state.max_gso_segments()) {
            self.flush(outbox);
        }
        if outbox.count == 0 {
            outbox.way = Some((to, from));
            outbox.segment_bytes = bytes.len();
        }
        outbox.bytes.extend_from_slice(bytes);
        outbox.count += 1;
        outbox.last_bytes = bytes.len();
    }

    /// Sends what waits. Required after the last [`Self::send`] of a turn, before the outbox is used
    /// for another socket.
    pub(crate) fn flush(&self, outbox: &mut Outbox) {
        let Some((to, from)) = outbox.way.take() else { return };
        let Outbox { bytes, segment_bytes, count, .. } = outbox;
        match self.transmit(to, from, bytes, (*count > 1).then_some(*segment_bytes)) {
            Ok(()) => outbox.sent += *count as u64,
            // A device or a route that does not segment: one by one, which also tells the reason
            // why none can be sent.
            Err(error) if *count > 1 && error.kind() != io::ErrorKind::WouldBlock => {
                for datagram in bytes.chunks((*segment_bytes).max(1)) {
                    outbox.sent += u64::from(self.transmit(to, from, datagram, None).is_ok());
                }
            }
            Err(_) => {}
        }
        outbox.bytes.clear();
        outbox.count = 0;
    }

    fn transmit(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let src_ip = from.map(|ip| if self.is_v6 { to_v6(ip).into() } else { ip });
        let transmit = Transmit { destination: self.outward(to), ecn: None, contents, segment_size, src_ip };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    fn outward(&self, address: SocketAddr) -> SocketAddr {
        match (self.is_v6, address.ip()) {
            (true, ip @ IpAddr::V4(_)) => SocketAddrV6::new(to_v6(ip), address.port(), 0, 0).into(),
            _ => address,
        }
    }

    /// Receives what is there, at most one batch, and hands out each datagram. False: there is
    /// nothing left.
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
        // Less than a batch: the system had no more.
        count == buffers.bytes.len()
    }
}

/// Datagrams that leave together: all of one size but the last, which may be smaller. One per worker.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    way: Option<(SocketAddr, Option<IpAddr>)>,
    segment_bytes: usize,
    last_bytes: usize,
    count: usize,
    /// Datagrams that the system took.
    pub(crate) sent: u64,
}

impl Outbox {
    fn takes(&self, way: (SocketAddr, Option<IpAddr>), length: usize, segments_max: usize) -> bool {
        self.count == 0
            || (self.way == Some(way)
                && self.count < segments_max
                && self.last_bytes == self.segment_bytes
                && length <= self.segment_bytes
                && self.bytes.len() + length <= SENT_AT_ONCE_BYTES_MAX)
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

/// Tells the address of ours from which the system would send. Keeps its sockets, so that no leg
/// fails for want of one.
#[derive(Debug)]
pub(crate) struct SourceProbe {
    v4: std::net::UdpSocket,
    /// None: no IPv6 on this system.
    v6: Option<std::net::UdpSocket>,
}

impl SourceProbe {
    /// # Errors
    ///
    /// If the system has no socket left.
    pub(crate) fn new() -> io::Result<Self> {
        let v4 = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Self { v4, v6: std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok() })
    }

    /// # Errors
    ///
    /// If there is no route to this address.
    pub(crate) fn towards(&self, peer: SocketAddr) -> io::Result<IpAddr> {
        let socket = if peer.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        let socket = socket.ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.connect(peer)?;
        let local = socket.local_addr();
        // The address would stick to it otherwise.
        rustix::net::connect_unspec(socket)?;
        Ok(local?.ip())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn receiver() -> (std::net::UdpSocket, SocketAddr) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn received(socket: &std::net::UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2_000];
        let count = socket.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }

    #[test]
    fn datagrams_that_leave_together_arrive_one_by_one_and_in_order() {
        let (sender, mut outbox) = (Socket::ephemeral(65_536).unwrap(), Outbox::default());
        let receivers = [receiver(), receiver()];
        // A run, its smaller end, larger ones, one elsewhere, more than one call takes.
        let sizes = [1000, 1000, 1000, 300, 1000, 1200, 1200, 12, 12].into_iter().chain([1_100; 70]);
        let datagrams: Vec<(usize, Vec<u8>)> = sizes
            .enumerate()
            .map(|(number, size)| (usize::from(number == 6), vec![number as u8; size]))
            .collect();
        for (to, bytes) in &datagrams {
            sender.send(&mut outbox, receivers[*to].1, None, bytes);
        }
        sender.flush(&mut outbox);
        assert_eq!(outbox.sent, datagrams.len() as u64);
        for (to, bytes) in &datagrams {
            assert_eq!(&received(&receivers[*to].0), bytes);
        }
    }

    #[test]
    fn the_way_out_is_told_again_and_again() {
        let probe = SourceProbe::new().unwrap();
        let towards = |ip: &str| probe.towards(SocketAddr::new(ip.parse().unwrap(), 9));
        for _ in 0..2 {
            for ip in ["127.0.0.1", "::1", "127.0.0.2"] {
                let local = towards(ip).unwrap();
                assert!(local.is_loopback() && local.is_ipv4() == ip.contains('.'), "{ip} from {local}");
            }
            assert!(towards("fe80::1").is_err(), "no interface is named");
        }
    }

    #[test]
    fn datagrams_of_one_size_share_a_call() {
        let mut outbox = Outbox { count: 1, segment_bytes: 100, last_bytes: 100, ..Outbox::default() };
        let to = (SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), None);
        outbox.way = Some(to);
        assert!(outbox.takes(to, 100, 64));
        assert!(outbox.takes(to, 99, 64), "a smaller one is the last");
        assert!(!outbox.takes(to, 101, 64));
        assert!(!outbox.takes(to, 100, 1), "the system does not segment");
        outbox.last_bytes = 99;
        assert!(!outbox.takes(to, 99, 64), "after the last one");
    }
}
