//! One transport of the engine: its sockets, how unannounced SSRCs are bound, how far its DTLS
//! handshake is. Sends; never reads and never waits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::Token;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::{Input, Rtc};

use super::framed_tcp::FramedTcp;
use super::retransmit::SentPackets;
use super::watch::Watch;

/// Receive buffer asked of the kernel per UDP socket, bytes.
const SOCKET_BUFFER_BYTES: usize = 512 * 1024;
/// How often a running DTLS handshake is given the chance to retransmit.
const HANDSHAKE_NUDGE: Duration = Duration::from_millis(200);
/// A DTLS datagram without content. str0m's OpenSSL backend never calls OpenSSL on a timer, so a
/// lost flight would never be sent again. This gets it called: the datagram is too short to be a
/// record and is dropped, and OpenSSL looks at its own retransmission timer while it is there.
const EMPTY_DTLS_DATAGRAM: [u8; 1] = [22];

/// Where a transport's packets travel.
pub(crate) enum Link {
    Udp(UdpSocket),
    TcpPassive(TcpListener),
    TcpActive(TcpStream, SocketAddr),
}

impl Link {
    pub(crate) fn udp(ip: IpAddr) -> io::Result<Self> {
        Ok(Self::Udp(
            bind_even(|| {
                let socket = std::net::UdpSocket::bind((ip, 0))?;
                socket.set_nonblocking(true)?;
                let port = socket.local_addr()?.port();
                Ok((socket, port))
            })
            .and_then(|socket| {
                // More than the default: a burst of key frames for many players is normal here.
                socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
                Ok(UdpSocket::from_std(socket))
            })?,
        ))
    }

    pub(crate) fn tcp_passive(ip: IpAddr) -> io::Result<Self> {
        Ok(Self::TcpPassive(bind_even(|| {
            let listener = TcpListener::bind(SocketAddr::new(ip, 0))?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        })?))
    }

    pub(crate) fn tcp_active(remote: SocketAddr) -> io::Result<Self> {
        Ok(Self::TcpActive(TcpStream::connect(remote)?, remote))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::TcpPassive(listener) => listener.local_addr(),
            Self::TcpActive(stream, _) => stream.local_addr(),
        }
    }
}

/// WCS uses even ports (protocol S8.2); after a few tries an odd one does as well.
fn bind_even<S>(mut bind: impl FnMut() -> io::Result<(S, u16)>) -> io::Result<S> {
    let mut odd = Vec::new();
    for _ in 0..16 {
        let (socket, port) = bind()?;
        if port % 2 == 0 {
            return Ok(socket);
        }
        // Kept open so that the next try gets another port.
        odd.push(socket);
    }
    odd.pop().ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

/// How packets of unannounced SSRCs find their m-line: by payload type.
#[derive(Debug, Default, Clone)]
pub(crate) struct LateBinding {
    pub(crate) lines: Vec<BindingLine>,
    /// SSRCs already bound; also the bound on how many may ever be.
    pub(crate) known: Vec<u32>,
}

/// One m-line of a [`LateBinding`].
#[derive(Debug, Clone)]
pub(crate) struct BindingLine {
    pub(crate) mid: Mid,
    pub(crate) main_types: Vec<u8>,
    pub(crate) repair_types: Vec<u8>,
    pub(crate) main_ssrc: Option<u32>,
}

impl LateBinding {
    const KNOWN_MAX: usize = 32;

    /// str0m drops an SSRC silently that is neither announced nor carries MID: bind it first.
    pub(super) fn bind(&mut self, rtc: &mut Rtc, packet: &[u8]) {
        let Some((payload_type, ssrc)) = rtp_identity(packet) else {
            return;
        };
        if self.known.contains(&ssrc) || self.known.len() >= Self::KNOWN_MAX {
            return;
        }
        for line in &mut self.lines {
            if line.main_types.contains(&payload_type) {
                line.main_ssrc = Some(ssrc);
                rtc.direct_api().expect_stream_rx(ssrc.into(), None, line.mid, None);
            } else if line.repair_types.contains(&payload_type) {
                let Some(main) = line.main_ssrc else { return };
                rtc.direct_api().expect_stream_rx(main.into(), Some(ssrc.into()), line.mid, None);
            } else {
                continue;
            }
            self.known.push(ssrc);
            return;
        }
    }
}

/// Payload type and SSRC of an RTP packet; `None` for anything else (STUN, DTLS, RTCP).
fn rtp_identity(packet: &[u8]) -> Option<(u8, u32)> {
    let header = packet.first_chunk::<12>()?;
    let [first, second, .., a, b, c, d] = *header;
    let is_rtcp = (192..=223).contains(&second);
    (first >> 6 == 2 && !is_rtcp).then(|| (second & 0x7f, u32::from_be_bytes([a, b, c, d])))
}

/// The socket a transport owns besides its TCP connections.
pub(super) enum Socket {
    Udp(UdpSocket),
    Listener(TcpListener),
    None,
}

/// How far the DTLS handshake of a transport is.
pub(super) enum Handshake {
    /// No address to talk to yet.
    WaitsForIce,
    Running {
        peer: SocketAddr,
        nudge_at: Instant,
    },
    Done,
}

pub(super) struct Transport {
    pub(super) rtc: Rtc,
    pub(super) socket: Socket,
    pub(super) token: Token,
    /// TCP connections by the peer's address.
    pub(super) connections: HashMap<SocketAddr, (Token, FramedTcp)>,
    /// The address that stands in our candidate.
    pub(super) local: SocketAddr,
    pub(super) binding: LateBinding,
    /// Its cable is cut: nothing passes either way.
    pub(super) silent: bool,
    /// Packets are sent again on their own SSRC.
    pub(super) retransmits: bool,
    /// By SSRC.
    pub(super) sent: HashMap<u32, SentPackets>,
    /// Of the peer, where somebody wants to know.
    pub(super) watch: Option<Watch>,
    pub(super) handshake: Handshake,
    pub(super) deadline: Option<Instant>,
    /// The earliest entry of this transport in the timer heap.
    pub(super) scheduled: Option<Instant>,
}

impl Handshake {
    pub(super) fn nudge_is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Running { nudge_at, .. } if *nudge_at <= now)
    }
}

impl Transport {
    /// The first DTLS packet that leaves tells that ICE has found a way.
    pub(super) fn note_sending(&mut self, packet: &[u8], peer: SocketAddr) {
        let is_dtls = packet.first().is_some_and(|first| (20..64).contains(first));
        if is_dtls && matches!(self.handshake, Handshake::WaitsForIce) {
            self.handshake = Handshake::Running { peer, nudge_at: Instant::now() + HANDSHAKE_NUDGE };
        }
    }

    pub(super) fn nudge(&mut self, now: Instant) -> Option<Input<'static>> {
        let Handshake::Running { peer, nudge_at } = &mut self.handshake else { return None };
        *nudge_at = now + HANDSHAKE_NUDGE;
        let peer = *peer;
        let receive = Receive::new(self.protocol(), peer, self.local, &EMPTY_DTLS_DATAGRAM);
        Some(Input::Receive(now, receive.ok()?))
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.socket {
            Socket::Udp(_) => Protocol::Udp,
            Socket::Listener(_) | Socket::None => Protocol::Tcp,
        }
    }

    /// Sends one packet, if nothing stands in its way.
    pub(super) fn send(&mut self, peer: SocketAddr, bytes: &[u8]) {
        if self.silent {
            return;
        }
        if let Some((_, stream)) = self.connections.get_mut(&peer) {
            // A broken connection is noticed and removed when it is read.
            stream.send(bytes);
        } else if let Socket::Udp(socket) = &self.socket {
            // A full socket buffer loses the packet, as a network would.
            let _ = socket.send_to(bytes, peer);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use str0m::RtcConfig;
    use str0m::media::MediaKind;

    use super::*;

    fn rtp(payload_type: u8, ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 0];
        packet.extend(ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn only_rtp_has_an_identity() {
        assert_eq!(rtp_identity(&rtp(96 | 0x80, 7)), Some((96, 7)), "the marker bit is no part of it");
        assert_eq!(rtp_identity(&rtp(200, 7)), None, "RTCP");
        assert_eq!(rtp_identity(&[22; 40]), None, "DTLS");
        assert_eq!(rtp_identity(&[0x80, 96]), None, "too short");
    }

    #[test]
    fn sources_are_bound_by_payload_type_and_not_without_end() {
        let provider = std::sync::Arc::new(str0m::crypto::from_feature_flags());
        let mut rtc = RtcConfig::new().set_crypto_provider(provider).set_rtp_mode(true).build(Instant::now());
        let mid = Mid::from("0");
        rtc.direct_api().declare_media(mid, MediaKind::Video);
        let line = BindingLine { mid, main_types: vec![96], repair_types: vec![97], main_ssrc: None };
        let mut binding = LateBinding { lines: vec![line], known: Vec::new() };
        binding.bind(&mut rtc, &rtp(97, 1));
        binding.bind(&mut rtc, &rtp(100, 2));
        assert!(binding.known.is_empty(), "a repair without its source, an unknown payload type");
        binding.bind(&mut rtc, &rtp(96, 3));
        binding.bind(&mut rtc, &rtp(97, 4));
        let stream = rtc.direct_api().stream_rx(&3.into()).map(|stream| stream.rtx());
        assert_eq!(stream, Some(Some(4.into())));
        for ssrc in 10..1000 {
            binding.bind(&mut rtc, &rtp(96, ssrc));
        }
        assert_eq!(binding.known.len(), LateBinding::KNOWN_MAX);
    }
}
