//! The sockets and connections of a worker: carries out what its core says, and tells it what came of
//! that and what was read. Decides nothing.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use str0m::net::DatagramSend;

use crate::media::{
    core::Core,
    lookups::Lookups,
    output::{ConnectionId, NotConnecting, Output, SocketId, Via},
    socket::{Outbox, Socket},
};

/// Connections accepted per turn.
const ACCEPTS_MAX: usize = 64;

/// Bytes read of a connection before others have their turn.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Bytes asked of the system at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// All that a worker has open.
pub(super) struct Sockets {
    poll: Poll,
    /// Shared by all client legs.
    clients: Arc<Socket>,
    /// The same in TCP, if that is on.
    listener: Option<TcpListener>,
    /// The system could not accept, and will not announce again what waits.
    accept_again: bool,
    upstreams: HashMap<SocketId, Arc<Socket>>,
    connections: HashMap<ConnectionId, TcpStream>,
    lookups: Lookups,
    outbox: Outbox,
    /// Whose datagrams are in the outbox; None: there are none.
    sender: Option<(Option<SocketId>, Arc<Socket>)>,
    /// Empty between calls.
    todo: Vec<Output>,
    chunk: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(
        poll: Poll,
        clients: Socket,
        listener: Option<TcpListener>,
        (first, upstream): (SocketId, Socket),
    ) -> Self {
        Self {
            poll,
            clients: Arc::new(clients),
            listener,
            accept_again: false,
            upstreams: HashMap::from([(first, Arc::new(upstream))]),
            connections: HashMap::new(),
            lookups: Lookups::default(),
            outbox: Outbox::default(),
            sender: None,
            todo: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        }
    }

    pub(super) fn wait(&mut self, events: &mut Events, sleep: Duration) -> io::Result<()> {
        self.poll.poll(events, Some(sleep))
    }

    pub(super) fn clients(&self) -> Arc<Socket> {
        self.clients.clone()
    }

    pub(super) fn is_socket(&self, socket: SocketId) -> bool {
        self.upstreams.contains_key(&socket)
    }

    pub(super) fn upstream(&self, socket: SocketId) -> Option<Arc<Socket>> {
        self.upstreams.get(&socket).cloned()
    }

    /// Does what the core says, until it says nothing more.
    pub(super) fn carry_out(&mut self, core: &mut Core, now: Instant) {
        loop {
            let mut todo = std::mem::take(&mut self.todo);
            core.swap_outputs(&mut todo);
            let is_done = todo.is_empty();
            for output in todo.drain(..) {
                self.carry_out_one(output, core, now);
            }
            self.todo = todo;
            if is_done {
                break;
            }
        }
        self.flush(core);
    }

    fn carry_out_one(&mut self, output: Output, core: &mut Core, now: Instant) {
        match output {
            Output::Transmit { via, to, contents } => self.transmit(via, to, &contents, core),
            Output::OpenSocket { socket, buffer_bytes } => {
                let opened = self.open(socket, buffer_bytes);
                if let Err(error) = &opened {
                    tracing::warn!(%error, "no further socket for upstream legs");
                }
                core.socket_opened(socket, opened.is_ok(), now);
            }
            Output::CloseSocket(socket) => {
                self.flush(core);
                self.upstreams.remove(&socket);
            }
            Output::Connect { connection, remote } => {
                let local = self.connect(connection, remote);
                core.connecting(connection, local, now);
            }
            Output::Write(connection) => self.write(connection, core, now),
            Output::Close { connection, last_words } => {
                if let Some(mut stream) = self.connections.remove(&connection) {
                    // What the system does not take now is lost with the connection.
                    let _ = stream.write(&last_words);
                }
            }
            Output::LookUp(name) => self.lookups.start(name),
        }
    }

    fn transmit(&mut self, via: Via, to: SocketAddr, contents: &DatagramSend, core: &mut Core) {
        let (id, from) = match via {
            Via::Clients(from) => (None, from),
            Via::Upstream(socket) => (Some(socket), None),
        };
        if self.sender.as_ref().is_none_or(|(sender, _)| *sender != id) {
            self.flush(core);
            let socket = id.map_or(Some(&self.clients), |id| self.upstreams.get(&id));
            self.sender = socket.map(|socket| (id, socket.clone()));
        }
        if let Some((_, socket)) = &self.sender {
            socket.send(&mut self.outbox, to, from, contents);
        }
    }

    /// Sends what waits in the outbox.
    fn flush(&mut self, core: &mut Core) {
        if let Some((_, socket)) = self.sender.take() {
            socket.flush(&mut self.outbox);
            core.tally().datagrams_sent += std::mem::take(&mut self.outbox.sent);
        }
    }

    fn open(&mut self, id: SocketId, buffer_bytes: usize) -> io::Result<()> {
        let mut socket = Socket::ephemeral(buffer_bytes)?;
        self.poll.registry().register(socket.source(), Token(id.0), Interest::READABLE)?;
        self.upstreams.insert(id, Arc::new(socket));
        Ok(())
    }

    /// Starts to connect, and does not wait.
    fn connect(&mut self, id: ConnectionId, remote: SocketAddr) -> Result<SocketAddr, NotConnecting> {
        let connect = || {
            let stream = TcpStream::connect(remote)?;
            let local = stream.local_addr()?;
            io::Result::Ok((stream, local))
        };
        let out = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|e| e.raw_os_error());
        let (stream, local) = connect().map_err(|error| {
            let starved = error.raw_os_error().is_some_and(|code| out.contains(&code));
            if starved { NotConnecting::OutOfDescriptors } else { NotConnecting::NoWay }
        })?;
        self.keep(id, stream).map_err(|_| NotConnecting::NoWay)?;
        Ok(local)
    }

    fn keep(&mut self, id: ConnectionId, mut stream: TcpStream) -> io::Result<()> {
        // Best effort: without it frames are late, not lost.
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(id.0), interest)?;
        self.connections.insert(id, stream);
        Ok(())
    }

    /// Takes new connections of clients. True: there may be more.
    pub(super) fn accept(&mut self, core: &mut Core, now: Instant) -> bool {
        self.accept_again = false;
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &self.listener else { return false };
            match listener.accept() {
                Ok((stream, peer)) => {
                    let local = stream.local_addr().ok().map(|a| a.ip().to_canonical());
                    // One that gets no place is closed as it is dropped.
                    if let Some(id) = core.accepted(peer, local, now)
                        && self.keep(id, stream).is_err()
                    {
                        core.closed(id, now);
                    }
                    self.carry_out(core, now);
                }
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

    /// Accepts what the system could not accept before. What is left is announced, or tried the next
    /// time.
    pub(super) fn accept_again(&mut self, core: &mut Core, now: Instant) {
        if self.accept_again {
            self.accept(core, now);
        }
    }

    /// Writes what waits and reads a turn of a connection. True: there may be more.
    pub(super) fn read(&mut self, token: Token, core: &mut Core, now: Instant) -> bool {
        let id = ConnectionId(token.0);
        self.write(id, core, now);
        let mut total = 0;
        while total < READ_BYTES_MAX {
            let room = core.may_read(id).min(CHUNK_BYTES).min(READ_BYTES_MAX - total);
            // A stranger that used up what it has.
            self.carry_out(core, now);
            let Some(stream) = self.connections.get_mut(&id) else { return false };
            let chunk = self.chunk.get_mut(..room).unwrap_or_default();
            match stream.read(chunk) {
                Ok(0) => {
                    self.ended(id, core, now);
                    return false;
                }
                Ok(count) => {
                    total += count;
                    core.bytes(id, chunk.get(..count).unwrap_or_default(), now);
                    self.carry_out(core, now);
                }
                Err(error) if is_later(&error) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended(id, core, now);
                    return false;
                }
            }
        }
        true
    }

    /// Writes what waits, as far as the system takes it.
    fn write(&mut self, id: ConnectionId, core: &mut Core, now: Instant) {
        loop {
            let Some(stream) = self.connections.get_mut(&id) else { return };
            let bytes = core.unwritten(id);
            if bytes.is_empty() {
                return;
            }
            match stream.write(bytes) {
                Ok(0) => return self.ended(id, core, now),
                Ok(count) => core.wrote(id, count),
                Err(error) if is_later(&error) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.ended(id, core, now),
            }
        }
    }

    fn ended(&mut self, id: ConnectionId, core: &mut Core, now: Instant) {
        self.connections.remove(&id);
        core.closed(id, now);
    }

    /// Tells the core the addresses of names that were looked up.
    pub(super) fn take_names(&mut self, core: &mut Core, now: Instant) {
        while let Some((name, addresses)) = self.lookups.answer() {
            core.looked_up(name, addresses, now);
            self.carry_out(core, now);
        }
    }
}

/// A connection that is still being made counts as one that is busy.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
