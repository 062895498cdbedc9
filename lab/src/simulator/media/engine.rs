//! Runs many str0m transports on one thread: sockets, timers, the impaired network.
//!
//! The engine moves packets and reports events; what an event means is decided by its owner (the
//! simulator's worker or the synthetic client). After every input it polls a transport until it
//! asks for a timeout: in RTP mode str0m keeps one pending packet only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use str0m::net::Receive;
use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;
use str0m::{Event, Input, Output, Rtc};

use super::framed_tcp::{FramedTcp, Remaining};
use super::network::{Direction, Fate, Network, NetworkConditions, Packet};
use super::retransmit::MediaPacket;
use super::transport::{Handshake, LateBinding, Link, Socket, Transport};
use super::watch::{PeerFacts, Watch};

const WAKE: Token = Token(0);
/// Packets read from one socket before the others get their turn.
const READ_BURST: usize = 64;
/// The most TCP connections one transport accepts.
const CONNECTIONS_MAX: usize = 4;
/// Key of a transport inside its engine; never reused.
pub(crate) type TransportId = usize;

/// What the engine reports.
pub(crate) enum EngineEvent {
    Rtc(TransportId, Box<Event>),
    /// The transport met an unrecoverable error and was removed.
    Failed(TransportId),
    /// Something new was seen of the peer of a transport that is watched.
    Seen(TransportId, PeerFacts),
}

/// Many transports, one thread.
pub(crate) struct Engine {
    poll: Poll,
    waker: Arc<Waker>,
    transports: HashMap<TransportId, Transport>,
    tokens: HashMap<Token, (TransportId, Option<SocketAddr>)>,
    next_id: usize,
    next_token: usize,
    timers: BinaryHeap<Reverse<(Instant, TransportId)>>,
    touched: Vec<TransportId>,
    /// Sockets that had more to read than one burst.
    unread: Vec<Token>,
    network: Network,
    buffer: Vec<u8>,
    events: Vec<EngineEvent>,
}

impl Engine {
    pub(crate) fn new(conditions: NetworkConditions, seed: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            waker,
            transports: HashMap::new(),
            tokens: HashMap::new(),
            next_id: 0,
            next_token: 1,
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            unread: Vec::new(),
            network: Network::new(conditions, seed),
            buffer: vec![0; 4096],
            events: Vec::new(),
        })
    }

    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(crate) fn set_network(&mut self, conditions: NetworkConditions) {
        self.network.set(conditions);
    }

    /// Takes over a configured transport. `local` is the address of its candidate; with
    /// `retransmits` packets are sent again without RTX, which takes a transport that reports raw packets.
    pub(crate) fn add(
        &mut self,
        rtc: Rtc,
        link: Link,
        local: SocketAddr,
        binding: LateBinding,
        retransmits: bool,
    ) -> io::Result<TransportId> {
        let id = self.next_id;
        self.next_id += 1;
        let token = Token(self.next_token);
        self.next_token += 1;
        let registry = self.poll.registry();
        let mut connections = HashMap::new();
        let mut peer = None;
        let socket = match link {
            Link::Udp(mut socket) => {
                registry.register(&mut socket, token, Interest::READABLE)?;
                Socket::Udp(socket)
            }
            Link::TcpPassive(mut listener) => {
                registry.register(&mut listener, token, Interest::READABLE)?;
                Socket::Listener(listener)
            }
            Link::TcpActive(mut stream, remote) => {
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                connections.insert(remote, (token, FramedTcp::new(stream)));
                peer = Some(remote);
                Socket::None
            }
        };
        self.tokens.insert(token, (id, peer));
        let transport = Transport {
            rtc,
            socket,
            token,
            connections,
            local,
            binding,
            silent: false,
            retransmits,
            sent: HashMap::new(),
            watch: None,
            handshake: Handshake::WaitsForIce,
            deadline: None,
            scheduled: None,
        };
        self.transports.insert(id, transport);
        self.touched.push(id);
        Ok(id)
    }

    /// Access for writing media; the transport is polled in the next turn.
    pub(crate) fn rtc(&mut self, id: TransportId) -> Option<&mut Rtc> {
        let transport = self.transports.get_mut(&id)?;
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
        Some(&mut transport.rtc)
    }

    /// Sends a media packet from this SSRC. False: the transport does not know it.
    pub(crate) fn write(&mut self, id: TransportId, ssrc: u32, packet: MediaPacket) -> bool {
        let keeps = self.transports.get(&id).is_some_and(|transport| transport.retransmits);
        let kept = keeps.then(|| packet.clone());
        let Some(rtc) = self.rtc(id) else { return false };
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx(&ssrc.into()) else { return false };
        stream.write_rtp(packet.into_write());
        if let (Some(packet), Some(transport)) = (kept, self.transports.get_mut(&id)) {
            transport.sent.entry(ssrc).or_default().keep(packet);
        }
        true
    }

    /// The peer asks for packets again.
    fn retransmit(&mut self, id: TransportId, raw: &RawPacket) {
        let RawPacket::RtcpRx(Rtcp::Nack(nack)) = raw else { return };
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let Some(sent) = transport.sent.get_mut(&nack.ssrc) else { return };
        let copies = sent.copies(nack.reports.iter(), Instant::now());
        let Some(rtc) = self.rtc(id) else { return };
        if let Some(stream) = rtc.direct_api().stream_tx(&nack.ssrc) {
            copies.into_iter().for_each(|packet| stream.write_rtp(packet.into_write()));
        }
    }

    /// Begins to watch the peer of a transport; feedback is seen where raw packets are reported.
    pub(crate) fn watch(&mut self, id: TransportId) {
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.watch = Some(Watch::default());
        }
    }

    /// Cuts one transport off, or joins it again.
    pub(crate) fn set_silent(&mut self, id: TransportId, silent: bool) {
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.silent = silent;
        }
    }

    /// Removes a transport and closes its sockets, without a goodbye.
    pub(crate) fn remove(&mut self, id: TransportId) {
        if let Some(mut transport) = self.transports.remove(&id) {
            self.tokens.remove(&transport.token);
            let registry = self.poll.registry();
            let _ = match &mut transport.socket {
                Socket::Udp(socket) => registry.deregister(socket),
                Socket::Listener(listener) => registry.deregister(listener),
                Socket::None => Ok(()),
            };
            for (token, stream) in transport.connections.values_mut() {
                let _ = registry.deregister(stream.stream());
                self.tokens.remove(token);
            }
        }
    }

    /// One round: polls what was touched, waits at most `wait`, handles packets and timers.
    pub(crate) fn turn(&mut self, wait: Duration, out: &mut Vec<EngineEvent>) {
        self.flush_touched();
        if self.events.is_empty() {
            self.wait_and_read(wait);
        }
        let now = Instant::now();
        while let Some(packet) = self.network.take_due(now) {
            self.deliver(now, packet);
        }
        self.fire_timers(now);
        out.append(&mut self.events);
    }

    fn flush_touched(&mut self) {
        let now = Instant::now();
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for id in touched.drain(..) {
            self.input(id, |_| Some(Input::Timeout(now)));
        }
        // Anything touched meanwhile stays for the next turn; keep the allocation.
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    fn wait_and_read(&mut self, wait: Duration) {
        let now = Instant::now();
        let next_timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let until = [next_timer, self.network.next_due()]
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(now))
            .fold(wait, Duration::min);
        let until = if self.unread.is_empty() { until } else { Duration::ZERO };
        let mut events = Events::with_capacity(256);
        if self.poll.poll(&mut events, Some(until)).is_err() {
            return;
        }
        let mut ready = std::mem::take(&mut self.unread);
        ready.extend(events.iter().map(|event| event.token()).filter(|token| *token != WAKE));
        ready.sort_unstable();
        ready.dedup();
        for token in ready {
            match self.tokens.get(&token) {
                Some((id, Some(peer))) => self.read_connection(*id, *peer),
                Some((id, None)) => self.read_socket(*id, token),
                None => {}
            }
        }
    }

    fn read_socket(&mut self, id: TransportId, token: Token) {
        for _ in 0..READ_BURST {
            let Some(transport) = self.transports.get_mut(&id) else {
                return;
            };
            let socket = match &transport.socket {
                Socket::Udp(socket) => socket,
                Socket::Listener(_) => return self.accept(id),
                Socket::None => return,
            };
            match socket.recv_from(&mut self.buffer) {
                Ok((count, peer)) => {
                    let bytes = self.buffer.get(..count).unwrap_or_default().to_vec();
                    let packet = Packet { transport: id, direction: Direction::In, peer, bytes };
                    self.through_network(packet);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP "port unreachable" of an earlier send; the next read goes on.
                Err(_) => {}
            }
        }
        self.unread.push(token);
    }

    fn accept(&mut self, id: TransportId) {
        loop {
            let token = Token(self.next_token);
            let Some(transport) = self.transports.get_mut(&id) else {
                return;
            };
            let Socket::Listener(listener) = &transport.socket else {
                return;
            };
            let Ok((mut stream, peer)) = listener.accept() else {
                return;
            };
            if transport.connections.len() >= CONNECTIONS_MAX {
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, token, interest).is_ok() {
                self.next_token += 1;
                self.tokens.insert(token, (id, Some(peer)));
                transport.connections.insert(peer, (token, FramedTcp::new(stream)));
            }
        }
    }

    fn read_connection(&mut self, id: TransportId, peer: SocketAddr) {
        let Some(transport) = self.transports.get_mut(&id) else {
            return;
        };
        let Some((token, stream)) = transport.connections.get_mut(&peer) else {
            return;
        };
        let mut packets = Vec::new();
        match stream.receive(&mut packets) {
            Ok(Remaining::Nothing) => {}
            Ok(Remaining::Perhaps) => self.unread.push(*token),
            Err(_) => {
                let _ = self.poll.registry().deregister(stream.stream());
                self.tokens.remove(token);
                transport.connections.remove(&peer);
            }
        }
        for bytes in packets.into_iter().filter(|bytes| !bytes.is_empty()) {
            self.through_network(Packet { transport: id, direction: Direction::In, peer, bytes });
        }
    }

    fn through_network(&mut self, packet: Packet) {
        let now = Instant::now();
        match self.network.fate() {
            Fate::Pass => self.deliver(now, packet),
            Fate::Lost => {}
            Fate::Delayed(time) => {
                self.network.hold(now + time, packet);
            }
        }
    }

    fn deliver(&mut self, now: Instant, packet: Packet) {
        let Packet { transport, direction, peer, bytes } = packet;
        match direction {
            Direction::Out => {
                if let Some(transport) = self.transports.get_mut(&transport) {
                    transport.send(peer, &bytes);
                }
            }
            Direction::In => {
                self.see(transport, |watch| watch.datagram(&bytes));
                self.input(transport, |transport| {
                    if transport.silent {
                        return None;
                    }
                    transport.binding.bind(&mut transport.rtc, &bytes);
                    let receive = Receive::new(transport.protocol(), peer, transport.local, &bytes).ok()?;
                    Some(Input::Receive(now, receive))
                });
            }
        }
    }

    /// Has the watch of a transport look, and reports what is new.
    fn see(&mut self, id: TransportId, look: impl FnOnce(&mut Watch) -> bool) {
        let Some(watch) = self.transports.get_mut(&id).and_then(|transport| transport.watch.as_mut()) else {
            return;
        };
        if look(watch) {
            let facts = watch.facts().clone();
            self.events.push(EngineEvent::Seen(id, facts));
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(transport) = self.transports.get_mut(&id) else {
                continue;
            };
            transport.scheduled = None;
            if transport.handshake.nudge_is_due(now) {
                self.input(id, |transport| transport.nudge(now));
            } else if transport.deadline.is_some_and(|deadline| deadline <= now) {
                self.input(id, |_| Some(Input::Timeout(now)));
            } else {
                self.schedule(id);
            }
        }
    }

    fn schedule(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else {
            return;
        };
        let Some(deadline) = transport.deadline else {
            return;
        };
        if transport.scheduled.is_none_or(|at| deadline < at) {
            transport.scheduled = Some(deadline);
            self.timers.push(Reverse((deadline, id)));
        }
    }

    /// Feeds one input and polls until the transport is content.
    fn input<'a>(&mut self, id: TransportId, make: impl FnOnce(&mut Transport) -> Option<Input<'a>>) {
        let Some(transport) = self.transports.get_mut(&id) else {
            return;
        };
        let Some(input) = make(transport) else { return };
        let mut result = transport.rtc.handle_input(input);
        let mut sends = Vec::new();
        let mut feedback = Vec::new();
        while result.is_ok() {
            match transport.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    transport.deadline = Some(at);
                    break;
                }
                Ok(Output::Event(Event::RawPacket(raw))) => feedback.push(raw),
                Ok(Output::Event(event)) => {
                    if matches!(event, Event::Connected) {
                        transport.handshake = Handshake::Done;
                    }
                    self.events.push(EngineEvent::Rtc(id, Box::new(event)));
                }
                Ok(Output::Transmit(transmit)) => {
                    transport.note_sending(&transmit.contents, transmit.destination);
                    match self.network.fate() {
                        Fate::Pass => transport.send(transmit.destination, &transmit.contents),
                        Fate::Lost => {}
                        Fate::Delayed(time) => {
                            sends.push((time, transmit.destination, transmit.contents.to_vec()));
                        }
                    }
                }
                Err(error) => result = Err(error),
            }
        }
        let now = Instant::now();
        for (time, peer, bytes) in sends {
            let packet = Packet { transport: id, direction: Direction::Out, peer, bytes };
            self.network.hold(now + time, packet);
        }
        match result {
            Ok(()) => {
                self.schedule(id);
                for raw in &feedback {
                    self.retransmit(id, raw);
                    self.see(id, |watch| watch.feedback(raw));
                }
            }
            Err(error) => {
                // A failed DTLS handshake leaves the transport unusable: feeding it again is not
                // safe, so it goes.
                tracing::debug!(%error, "a simulated media transport failed");
                self.remove(id);
                self.events.push(EngineEvent::Failed(id));
            }
        }
    }
}
