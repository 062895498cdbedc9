//! How a transport of the upstream leg reaches its peer: by a UDP socket, by connections to TCP
//! candidates (RFC 6544; the server listens, we connect), or by both until ICE has chosen.

use std::{net::SocketAddr, sync::Arc};

use mio::{Token, net::TcpStream};
use str0m::{
    Candidate,
    net::{Protocol, TcpType, Transmit},
};

use crate::media::{
    MediaSettings,
    framing::{Framed, Reading, Sent},
    routes::{UpstreamRoute, UpstreamRoutes},
    sdp::Media,
    socket::{Outbox, Socket},
    transport::Dialed,
};

/// Most candidates of an upstream that are tried.
const CANDIDATES_MAX: usize = 16;

/// Most TCP candidates of a transport that are connected to.
const CONNECTIONS_MAX: usize = 4;

/// The way of one transport.
#[derive(Debug)]
pub(super) struct Link {
    /// Shared with the worker while it reads.
    udp: Option<(Arc<Socket>, Token)>,
    connections: Vec<Connection>,
}

/// A connection to a TCP candidate, made or in the making.
#[derive(Debug)]
struct Connection {
    framed: Framed,
    token: Token,
    ends: Dialed,
}

/// Connections before anybody watches them.
pub(super) type Dialing = Vec<(TcpStream, Dialed)>;

/// Starts to connect to the TCP candidates among these; does not wait. Those that fail at once
/// are left out.
pub(super) fn dial(candidates: &[Candidate]) -> Dialing {
    let tcp = candidates.iter().filter(|c| c.proto() == Protocol::Tcp);
    tcp.take(CONNECTIONS_MAX)
        .filter_map(|candidate| {
            let remote = candidate.addr();
            let stream = TcpStream::connect(remote).ok()?;
            let local = stream.local_addr().ok()?;
            Some((stream, Dialed { local, remote }))
        })
        .collect()
}

impl Link {
    /// Has the worker watch a socket and connections.
    ///
    /// # Errors
    ///
    /// If the system cannot; nothing is watched then.
    pub(super) fn watch(
        udp: Option<Socket>,
        dialing: Dialing,
        route: UpstreamRoute,
        routes: &mut UpstreamRoutes,
        settings: &MediaSettings,
    ) -> std::io::Result<Self> {
        let mut link = Self { udp: None, connections: Vec::new() };
        let add = || {
            if let Some(mut socket) = udp {
                let token = routes.add(socket.source(), UpstreamRoute { tcp: false, ..route })?;
                link.udp = Some((Arc::new(socket), token));
            }
            for (stream, ends) in dialing {
                let mut framed = Framed::new(stream, settings.tcp_output_bytes_max);
                let token = routes.add(framed.source(), UpstreamRoute { tcp: true, ..route })?;
                link.connections.push(Connection { framed, token, ends });
            }
            Ok(())
        };
        match add() {
            Ok(()) => Ok(link),
            Err(error) => {
                link.release(routes);
                Err(error)
            }
        }
    }

    /// Sends a datagram; flush afterwards. A connection that has ended is noticed when the system
    /// announces it for reading.
    pub(super) fn send(&mut self, outbox: &mut Outbox, transmit: &Transmit) {
        if transmit.proto == Protocol::Tcp {
            let ends = Dialed { local: transmit.source, remote: transmit.destination };
            let connection = self.connections.iter_mut().find(|c| c.ends == ends);
            let sent = connection.is_some_and(|c| c.framed.send(&transmit.contents) == Sent::Taken);
            outbox.sent += u64::from(sent);
        } else if let Some((socket, _)) = &self.udp {
            socket.send(outbox, transmit.destination, None, &transmit.contents);
        }
    }

    /// Sends what waits in the outbox.
    pub(super) fn flush(&self, outbox: &mut Outbox) {
        if let Some((socket, _)) = &self.udp {
            socket.flush(outbox);
        }
    }

    /// The UDP socket, if there is one.
    pub(super) fn socket(&self) -> Option<Arc<Socket>> {
        self.udp.as_ref().map(|(socket, _)| socket.clone())
    }

    /// Reads a turn of a connection. A connection that has ended is forgotten.
    pub(super) fn read(
        &mut self,
        token: Token,
        frames: &mut Vec<Vec<u8>>,
        routes: &mut UpstreamRoutes,
    ) -> Option<(SocketAddr, Reading)> {
        let index = self.connections.iter().position(|c| c.token == token)?;
        let connection = self.connections.get_mut(index)?;
        let remote = connection.ends.remote;
        let reading = connection.framed.read(frames);
        if reading == Reading::Ended {
            routes.remove(token);
            self.connections.swap_remove(index);
        }
        Some((remote, reading))
    }

    /// Nothing is left to send by.
    pub(super) const fn is_dead(&self) -> bool {
        self.udp.is_none() && self.connections.is_empty()
    }

    /// Ends all of it.
    pub(super) fn release(self, routes: &mut UpstreamRoutes) {
        let tokens = self.connections.iter().map(|c| c.token).chain(self.udp.iter().map(|(_, t)| *t));
        tokens.for_each(|token| routes.remove(token));
    }
}

/// The candidates of an answer that we can reach: component 1, literal addresses; in TCP those
/// where the upstream listens.
pub(super) fn candidates(media: &Media) -> Vec<Candidate> {
    // Component 2 repeats component 1 where RTCP is multiplexed.
    let first_component = media.candidates.iter().filter(|line| line.split_whitespace().nth(1) == Some("1"));
    let parsed =
        first_component.take(CANDIDATES_MAX).filter_map(|line| Candidate::from_sdp_string(line).ok());
    let mut usable: Vec<Candidate> = Vec::new();
    for candidate in parsed {
        let reachable = match candidate.proto() {
            Protocol::Udp => true,
            // Without a type it can only be meant so: the offer had no candidate to come from.
            Protocol::Tcp => matches!(candidate.tcptype(), None | Some(TcpType::Passive | TcpType::So)),
            _ => false,
        };
        let is_new = !usable.iter().any(|u| u.addr() == candidate.addr() && u.proto() == candidate.proto());
        if reachable && is_new {
            usable.push(candidate);
        }
    }
    if media.candidates.is_empty()
        && let Some(ip) = media.connection
    {
        usable.extend(Candidate::host(SocketAddr::new(ip, media.port), Protocol::Udp).ok());
    }
    usable
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn media(lines: &str) -> Media {
        let text = format!("v=0\r\nm=video 5004 RTP/SAVPF 96\r\nc=IN IP4 192.0.2.9\r\n{lines}");
        crate::media::sdp::parse(&text).unwrap().media.remove(0)
    }

    fn told(lines: &str) -> Vec<(Protocol, String)> {
        candidates(&media(lines)).iter().map(|c| (c.proto(), c.addr().to_string())).collect()
    }

    #[test]
    fn only_what_can_be_reached_is_tried() {
        let found = told(
            "a=candidate:1 1 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n\
             a=candidate:1 2 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n\
             a=candidate:2 1 tcp 2130706431 127.0.0.1 9 typ host tcptype active\r\n\
             a=candidate:3 1 udp 2130706431 127.0.0.1 7000 typ host\r\n\
             a=candidate:4 1 udp 2130706431 somewhere.local 7002 typ host\r\n\
             a=candidate:1 1 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n",
        );
        let at = "127.0.0.1:7000".to_owned();
        assert_eq!(found, [(Protocol::Tcp, at.clone()), (Protocol::Udp, at)]);
        assert_eq!(told(""), [(Protocol::Udp, "192.0.2.9:5004".to_owned())], "the address of the section");
        let many: String =
            (0..40).map(|n| format!("a=candidate:1 1 udp 1 127.0.0.1 {} typ host\r\n", 7000 + n)).collect();
        assert_eq!(told(&many).len(), CANDIDATES_MAX);
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let listeners: Vec<_> = (0..6).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let lines: String = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .map(|port| format!("a=candidate:1 1 tcp 1 127.0.0.1 {port} typ host tcptype passive\r\n"))
            .collect();
        let dialing = dial(&candidates(&media(&lines)));
        assert_eq!(dialing.len(), CONNECTIONS_MAX);
        assert!(dialing.iter().all(|(stream, ends)| stream.local_addr().unwrap() == ends.local));
    }
}
