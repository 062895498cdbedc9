//! Connections: of pages whose network lets no UDP pass, of strangers, and to servers that listen in TCP.
//! Bytes arrive in order and are never lost, but in any pieces, and only from when a connection stands
//! until it ends; whoever does not read is not written to.
//!
//! Shares no code with what it judges: datagrams are cut out of streams by its own hand.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
};

use rand::RngExt as _;

use super::{
    peer::Way,
    rules::Rule,
    sabotage::Sabotage,
    world::{Happening, World},
};
use crate::media::{
    StreamKey,
    output::{ConnectionId, NotConnecting},
    routes::Origin,
};

/// What the system takes for a far end that does not read.
const SYSTEM_BYTES: usize = 4_000;
/// After the last way of a leg has ended: the core gives a leg that stood a moment for its peer's goodbye.
const TOLD_MS: u64 = 800;
/// Time for the core to look at what is late.
const SLACK_MS: u64 = 100;

/// Who is at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Far {
    Page(usize, StreamKey),
    /// A transport of a server.
    Server(usize, usize),
    Stranger,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Pipe {
    far: Far,
    /// Where the far end is.
    at: SocketAddr,
    since: u64,
    /// Bytes can pass.
    stands: bool,
    /// Written by the far end, not read by the proxy.
    inward: VecDeque<u8>,
    /// A look at that is on its way.
    readable: bool,
    read: Datagrams,
    read_bytes: usize,
    /// Taken by the system, not read by the far end.
    outward: VecDeque<u8>,
    reads: bool,
    heard: Datagrams,
    /// Datagrams that the core queued, and the far end has not.
    expected: VecDeque<Vec<u8>>,
    /// Bytes of what waits in the core that were looked at.
    seen: usize,
}

/// The beginning of a datagram, each of which has its length before it (RFC 4571).
#[derive(Debug, Default)]
struct Datagrams(Vec<u8>);

impl Datagrams {
    fn take(&mut self, bytes: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
        self.0.extend(bytes);
        let mut whole = Vec::new();
        while let [high, low, rest @ ..] = self.0.as_slice() {
            let length = usize::from(*high) << 8 | usize::from(*low);
            let Some(datagram) = rest.get(..length) else { break };
            whole.push(datagram.to_vec());
            self.0.drain(..2 + length);
        }
        whole
    }
}

impl Pipe {
    fn new(far: Far, at: SocketAddr, since: u64, stands: bool) -> Self {
        Self {
            far,
            at,
            since,
            stands,
            inward: VecDeque::new(),
            readable: false,
            read: Datagrams::default(),
            read_bytes: 0,
            outward: VecDeque::new(),
            reads: false,
            heard: Datagrams::default(),
            expected: VecDeque::new(),
            seen: 0,
        }
    }
}

impl World {
    /// Somebody connects to the port of clients. None: there is no place.
    fn accepted(&mut self, far: Far, at: SocketAddr) -> Option<ConnectionId> {
        let now = self.time();
        let connection = self.core.accepted(at, Some(Ipv4Addr::LOCALHOST.into()), now)?;
        self.pipes.insert(connection, Pipe::new(far, at, self.now, true));
        self.carry_out();
        self.pipes.contains_key(&connection).then_some(connection)
    }

    /// A page that can only connect does so, from a port of its own each time.
    pub(super) fn sees_to_connection(&mut self, line: usize) {
        let client = &self.lines[line].client;
        if !client.over_tcp || client.connection.is_some() {
            return;
        }
        let at = self.fresh_address();
        let connection = self.accepted(Far::Page(line, self.lines[line].key), at);
        let client = &mut self.lines[line].client;
        client.at = at;
        client.had.push(at);
        client.connection = connection;
        client.last_check = 0;
    }

    /// A page has another network: what it had there ends, or nobody ever hears of it again.
    pub(super) fn leaves_connection(&mut self, line: usize) {
        if let Some(connection) = self.lines[line].client.connection.take()
            && self.percent(50)
        {
            self.later(0, Happening::Ends { connection });
        }
    }

    pub(super) fn stranger_connects(&mut self) {
        let (host, port) = (self.dice.random_range(1..4), self.fresh() as u16);
        self.count("stranger connected");
        let Some(connection) = self.accepted(Far::Stranger, ([10, 77, 0, host], port).into()) else {
            return;
        };
        let noise: Vec<u8> = (0..self.dice.random_range(0..3_000)).map(|_| self.dice.random()).collect();
        match self.dice.random_range(0..4) {
            0 => {}
            1 => self.far_writes(connection, noise),
            2 => {
                for _ in 0..40 {
                    self.far_sends(connection, &noise[..noise.len().min(200)]);
                }
            }
            _ => {
                if let Some((_, bytes)) = self.captured.last().cloned() {
                    self.far_sends(connection, &bytes);
                }
            }
        }
    }

    /// A connection ends without a word.
    pub(super) fn connection_breaks(&mut self) {
        let count = self.pipes.len();
        if count > 0
            && let Some(connection) = self.pipes.keys().nth(self.dice.random_range(0..count)).copied()
        {
            self.count("connection broke");
            self.ends(connection);
        }
    }

    /// The core wants to connect to where a server may listen.
    pub(super) fn connects(&mut self, connection: ConnectionId, remote: SocketAddr) {
        let places = self.servers.iter().enumerate().rev();
        let find = |(server, its): (usize, &super::peer::Server)| {
            let transport = its.transports.iter().position(|place| place.at == remote)?;
            Some((server, transport))
        };
        let Some((server, transport)) = places.clone().find_map(find) else {
            return self.breach(Rule::CheckedOnly, format!("{remote} is no upstream's"));
        };
        let local = SocketAddr::from(([127, 0, 0, 1], 30_000 + (connection.0 % 30_000) as u16));
        let luck = if self.healing { 99 } else { self.dice.random_range(0..100) };
        let outcome = match luck {
            0..10 => Err(NotConnecting::NoWay),
            10..15 => Err(NotConnecting::OutOfDescriptors),
            _ => Ok(local),
        };
        let wait = self.dice.random_range(1..200);
        match luck {
            0..15 => {
                self.count("not connecting");
                self.ways_end(server, transport, |left| left.saturating_sub(1));
            }
            15..30 => {
                self.count("connection refused");
                self.later(wait, Happening::Ends { connection });
            }
            30..38 => self.count("connection unanswered"),
            _ => self.later(wait, Happening::Stands { connection }),
        }
        if outcome.is_ok() {
            let far = Far::Server(server, transport);
            self.pipes.insert(connection, Pipe::new(far, remote, self.now, false));
        }
        if outcome.is_err() {
            self.not_made.insert(connection);
        }
        let now = self.time();
        self.core.connecting(connection, outcome, now);
    }

    pub(super) fn stands(&mut self, connection: ConnectionId) {
        if let Some(pipe) = self.pipes.get_mut(&connection) {
            pipe.stands = true;
            self.count("connected");
            self.system_takes(connection);
        }
    }

    /// The far end of a connection is gone, or never was there.
    pub(super) fn ends(&mut self, connection: ConnectionId) {
        let Some(pipe) = self.pipes.get_mut(&connection) else { return };
        let far = pipe.far;
        self.note(|| format!("{connection:?} of {far:?} ends"));
        if let Far::Server(server, transport) = far {
            self.ways_end(server, transport, |left| left.saturating_sub(1));
            if self.sabotage == Some(Sabotage::HideTheEnd) {
                self.pipes.get_mut(&connection).unwrap().stands = false;
                return;
            }
        }
        self.pipes.remove(&connection);
        self.far_is_alone(connection, far);
        let now = self.time();
        self.core.closed(connection, now);
    }

    /// The core has no use for a connection any more.
    pub(super) fn closes(&mut self, connection: ConnectionId, last_words: &[u8]) {
        // Closed before it was told that there is none: another way of the leg failed just before.
        if self.not_made.remove(&connection) {
            return;
        }
        let Some(pipe) = self.pipes.get(&connection) else {
            return self.breach(Rule::Connected, format!("{connection:?} is closed, and is not there"));
        };
        let (far, seen) = (pipe.far, pipe.seen);
        self.look_at_queued(connection, &last_words[seen.min(last_words.len())..]);
        self.pipes.remove(&connection);
        if far == Far::Stranger {
            self.count("stranger let go");
        }
        self.far_is_alone(connection, far);
    }

    /// The far end learns that its connection is no more.
    fn far_is_alone(&mut self, connection: ConnectionId, far: Far) {
        match far {
            Far::Page(line, _) => {
                let client = &mut self.lines[line].client;
                client.connection = client.connection.filter(|known| *known != connection);
            }
            Far::Server(server, transport) => self.servers[server].transports[transport].way = None,
            Far::Stranger => {}
        }
    }

    /// The far end sends a datagram.
    pub(super) fn far_sends(&mut self, connection: ConnectionId, datagram: &[u8]) {
        let length = datagram.len() as u16;
        self.far_writes(connection, [&length.to_be_bytes(), datagram].concat());
    }

    fn far_writes(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(pipe) = self.pipes.get_mut(&connection) else { return };
        pipe.inward.extend(bytes);
        self.wakes_reader(connection, 5);
    }

    fn wakes_reader(&mut self, connection: ConnectionId, wait: u64) {
        let Some(pipe) = self.pipes.get_mut(&connection) else { return };
        if !pipe.inward.is_empty() && !std::mem::replace(&mut pipe.readable, true) {
            let wait = if self.percent(10) && !self.healing { self.dice.random_range(1..80) } else { wait };
            self.later(wait, Happening::Readable { connection });
        }
    }

    /// The proxy reads what there is, or a part of it.
    pub(super) fn readable(&mut self, connection: ConnectionId) {
        let room = self.core.may_read(connection);
        self.carry_out();
        let Some(pipe) = self.pipes.get_mut(&connection).filter(|pipe| pipe.stands) else { return };
        pipe.readable = false;
        let there = room.min(pipe.inward.len());
        let count = if self.healing { there } else { self.dice.random_range(0..=there) };
        let chunk: Vec<u8> = pipe.inward.drain(..count).collect();
        let (far, at) = (pipe.far, Origin::tcp(pipe.at));
        pipe.read_bytes += chunk.len();
        let datagrams = pipe.read.take(chunk.iter().copied());
        let is_client = !matches!(far, Far::Server(..));
        for datagram in &datagrams {
            self.at_check(is_client, at, datagram);
            if is_client {
                self.captures(None, datagram);
            }
        }
        let (now, before) = (self.time(), self.core.tally().datagrams_received);
        let swallowed = self.sabotage == Some(Sabotage::SwallowBytes) && self.fresh().is_multiple_of(50);
        self.core.bytes(connection, &chunk[usize::from(swallowed && count > 0)..], now);
        let heard = self.core.tally().datagrams_received - before;
        // Of what a stranger writes only the beginnings of datagrams have a meaning.
        if far != Far::Stranger && heard != datagrams.len() as u64 {
            let what = format!("{heard} datagrams were heard of {} on {connection:?}", datagrams.len());
            self.breach(Rule::Frames, what);
        }
        self.carry_out();
        self.wakes_reader(connection, 1);
    }

    /// Something waits in the core to be written.
    pub(super) fn queued(&mut self, connection: ConnectionId) {
        let Some(pipe) = self.pipes.get(&connection) else {
            return self.breach(Rule::Connected, format!("{connection:?} is written to, and is not there"));
        };
        let seen = pipe.seen;
        let fresh = self.core.unwritten(connection).get(seen..).unwrap_or_default().to_vec();
        self.look_at_queued(connection, &fresh);
        self.system_takes(connection);
    }

    /// What the core queued is whole, and is for whoever is at the far end.
    fn look_at_queued(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let pipe = self.pipes.get_mut(&connection).unwrap();
        let (far, at) = (pipe.far, pipe.at);
        pipe.seen += bytes.len();
        let mut cut = Datagrams::default();
        let datagrams = cut.take(bytes.iter().copied());
        pipe.expected.extend(datagrams.iter().cloned());
        if !cut.0.is_empty() {
            self.breach(Rule::Frames, format!("a part of a datagram is queued for {connection:?}"));
        }
        for datagram in datagrams {
            match far {
                Far::Server(..) => self.watch_upstream(Origin::tcp(at), &datagram),
                Far::Page(..) | Far::Stranger => self.watch_client(Origin::tcp(at), &datagram),
            }
        }
        let waits = self.core.unwritten(connection).len();
        if waits > self.promised.tcp_output_bytes_max {
            self.breach(Rule::Bounds, format!("{waits} bytes wait for {connection:?}"));
        } else if waits + 100 > self.promised.tcp_output_bytes_max {
            self.count("backlog full");
        }
    }

    /// The system takes what it has room for, or a part of it.
    fn system_takes(&mut self, connection: ConnectionId) {
        loop {
            let waits = self.core.unwritten(connection).to_vec();
            let Some(pipe) = self.pipes.get_mut(&connection).filter(|pipe| pipe.stands) else { return };
            let room = waits.len().min(SYSTEM_BYTES.saturating_sub(pipe.outward.len()));
            if room == 0 {
                break;
            }
            let count = if self.healing { room } else { self.dice.random_range(1..=room) };
            pipe.seen -= count;
            pipe.outward.extend(&waits[..count]);
            self.core.wrote(connection, count);
            if self.sabotage == Some(Sabotage::TearFrames) && self.fresh().is_multiple_of(50) {
                self.pipes.get_mut(&connection).unwrap().outward.pop_back();
            }
        }
        let Some(pipe) = self.pipes.get_mut(&connection) else { return };
        if !pipe.outward.is_empty() && !std::mem::replace(&mut pipe.reads, true) {
            self.later(5, Happening::FarReads { connection });
        }
    }

    pub(super) fn far_reads(&mut self, connection: ConnectionId) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&connection).filter(|pipe| pipe.stands) else { return };
        let (far, at) = (pipe.far, pipe.at);
        let is_silent = match far {
            Far::Page(line, _) => now < self.lines[line].client.silent_until,
            Far::Server(server, _) => now < self.servers[server].silent_until,
            Far::Stranger => true,
        };
        if is_silent {
            return self.later(50, Happening::FarReads { connection });
        }
        pipe.reads = false;
        let bytes: Vec<u8> = pipe.outward.drain(..).collect();
        for datagram in pipe.heard.take(bytes) {
            let Some(pipe) = self.pipes.get_mut(&connection) else { return };
            if pipe.expected.pop_front().as_ref() != Some(&datagram) {
                return self.breach(Rule::Frames, format!("{connection:?} brings what was not sent on it"));
            }
            match far {
                Far::Server(..) => self.at_server(at, Way::Connection(connection), &datagram),
                Far::Page(..) | Far::Stranger => self.at_client(at, &datagram),
            }
        }
        self.system_takes(connection);
    }

    /// Who passed no check is let go in time, and not much was read of it; there are few of them.
    pub(super) fn look_at_strangers(&mut self) {
        let late = self.promised.tcp_unchecked_max.as_millis() as u64 + SLACK_MS;
        let unchecked: Vec<_> = self.unchecked().collect();
        let (count, most) = (unchecked.len(), self.promised.tcp_unchecked_connections_max);
        let wrong = unchecked.into_iter().find_map(|(connection, pipe)| {
            let too_late = self.now > pipe.since + late;
            let too_much = pipe.read_bytes > self.promised.tcp_unchecked_bytes_max;
            (too_late || too_much)
                .then(|| format!("{connection:?} since {}: {}", pipe.since, pipe.read_bytes))
        });
        let crowd = (count > most).then(|| format!("{count} that passed no check"));
        if let Some(what) = wrong.or(crowd) {
            self.breach(Rule::Strangers, what);
        }
    }

    /// A leg whose ways have all come to nothing was reported.
    pub(super) fn look_at_ways(&mut self) {
        let untold = self.lines.iter().filter(|line| line.is_open).find_map(|line| {
            let server = &self.servers[line.server?];
            let since = server.transports.iter().filter_map(|place| place.nowhere_since).min()?;
            (!server.told && self.now > since + TOLD_MS).then_some((line.server, since))
        });
        if let Some((server, since)) = untold {
            self.breach(Rule::Told, format!("no way leads to server {server:?} since {since}"));
        }
    }

    /// Connections to clients that passed no check.
    fn unchecked(&self) -> impl Iterator<Item = (&ConnectionId, &Pipe)> {
        let passed = |pipe: &Pipe| self.watch.checked.contains(&Origin::tcp(pipe.at));
        self.pipes.iter().filter(move |(_, pipe)| !matches!(pipe.far, Far::Server(..)) && !passed(pipe))
    }

    /// Connections, when every stream is closed: none but of those who have a moment to show who they are.
    pub(super) fn connections_left(&self) -> Vec<ConnectionId> {
        let unchecked: Vec<_> = self.unchecked().map(|(connection, _)| *connection).collect();
        self.pipes.keys().filter(|connection| !unchecked.contains(connection)).copied().collect()
    }
}
