//! How a transport of the upstream leg reaches its peer: by a UDP socket, by connections to TCP
//! candidates (RFC 6544; the server listens, we connect), or by both until ICE has chosen.

use std::{net::SocketAddr, sync::Arc};

use mio::{Token, net::TcpStream};
use str0m::{
    Candidate,
    net::{Protocol, Transmit},
};

use crate::media::{
    MediaSettings,
    framing::{Framed, Reading, Sent},
    routes::{UpstreamRoute, UpstreamRoutes},
    socket::{Outbox, Socket},
    transport::Dialed,
};

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
