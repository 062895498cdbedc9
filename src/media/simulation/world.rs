//! The world around one core: lines (a stream with its page, and a server per epoch), a network that
//! loses, doubles and reorders, and time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    engine::{FIRST_KEY, Made, SimEngines},
    moves::ALL_MOVE_MS,
    names::Name,
    peer::{Content, Server, Way},
    rules::Breach,
    sabotage::Sabotage,
    session::Line,
    tcp::Pipe,
    watch::Watch,
};
use crate::{
    media::{
        MediaCommand, MediaSettings, StreamKey,
        certificate::Identity,
        connections::Places,
        core::{Core, FIRST_UPSTREAM, Kept, Surroundings},
        counters::Tally,
        output::{ConnectionId, Output, SocketId, Via, WaysOut},
        routes::Origin,
    },
    session::Epoch,
};

/// Lines of a world.
const LINES: usize = 3;
/// Captured datagrams that may be sent again.
const CAPTURED_MAX: usize = 64;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Happening {
    ToCore {
        socket: Option<SocketId>,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    ToClient {
        at: SocketAddr,
        bytes: Vec<u8>,
    },
    ToServer {
        at: SocketAddr,
        socket: SocketId,
        bytes: Vec<u8>,
    },
    /// The far end of a connection answers, and bytes can pass.
    Stands {
        connection: ConnectionId,
    },
    /// The far end of a connection is gone.
    Ends {
        connection: ConnectionId,
    },
    /// What the far end wrote can be read.
    Readable {
        connection: ConnectionId,
    },
    /// The far end reads.
    FarReads {
        connection: ConnectionId,
    },
    LookedUp {
        name: Arc<str>,
    },
    /// A server answers the offer of an epoch.
    Answers {
        line: usize,
        key: StreamKey,
        epoch: Epoch,
        sdp: String,
    },
    /// The page hears the answer.
    Answered {
        line: usize,
        key: StreamKey,
        sdp: String,
    },
    /// The page gets new credentials.
    Revived {
        line: usize,
        key: StreamKey,
        sdp: String,
    },
    Attach {
        line: usize,
        key: StreamKey,
        narrow: bool,
        beside: bool,
    },
    /// A move is made, or comes to nothing, unless its epoch is another by then.
    MoveEnds {
        line: usize,
        key: StreamKey,
        epoch: u32,
        is_made: bool,
    },
    /// Every stream that flows moves, on a network that is well.
    MoveAll,
    Reopen {
        line: usize,
    },
    ClientBeat {
        line: usize,
        key: StreamKey,
        beat: u64,
    },
    ServerBeat {
        server: usize,
        beat: u64,
    },
    Fault,
    Tick,
}

/// Everything.
pub(super) struct World {
    start: Instant,
    /// Milliseconds.
    pub(super) now: u64,
    pub(super) dice: StdRng,
    pub(super) core: Core,
    pub(super) promised: MediaSettings,
    pub(super) made: Arc<Mutex<Vec<Made>>>,
    pub(super) identity: Identity,
    events: BTreeMap<(u64, u64), Happening>,
    next: u64,
    pub(super) lines: Vec<Line>,
    pub(super) servers: Vec<Server>,
    pub(super) contents: BTreeMap<u64, Content>,
    /// By the name of a page's or a server's transport: its line, and which server it is.
    owners: HashMap<String, (usize, Option<usize>)>,
    pub(super) sockets: BTreeSet<SocketId>,
    pub(super) pipes: BTreeMap<ConnectionId, Pipe>,
    /// Connections that the system could not begin to make.
    pub(super) not_made: BTreeSet<ConnectionId>,
    pub(super) names: BTreeMap<Arc<str>, Name>,
    /// Datagrams as they went to the core, to be sent again by somebody else.
    pub(super) captured: Vec<(Option<SocketId>, Vec<u8>)>,
    pub(super) watch: Watch,
    pub(super) breach: Option<Breach>,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) healing: bool,
    /// Every stream is being closed.
    pub(super) ending: bool,
    pub(super) trace: Option<Vec<String>>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// The loopback has a route.
struct Loopback;

impl WaysOut for Loopback {
    fn towards(&self, _: SocketAddr) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 20_000).into())
    }
}

/// Making one takes time, and nothing depends on which it is.
fn identity() -> Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::generate().expect("an identity")).clone()
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> Self {
        let start = Instant::now();
        let mut dice = StdRng::seed_from_u64(seed);
        let promised = MediaSettings {
            tcp_output_bytes_max: 8_000,
            tcp_unchecked_max: Duration::from_secs(2),
            tcp_unchecked_bytes_max: 2_000,
            tcp_unchecked_connections_max: 4,
            tcp_unchecked_per_address_max: 2,
            upstream_sockets_max: 4,
            stats_interval: Duration::ZERO,
            client_silence: Duration::from_secs(3),
            client_revive_tries_max: 3,
            upstream_connect_max: Duration::from_secs(4),
            client_connect_max: Duration::from_secs(4),
            addresses_per_transport_max: 4,
            // Rarer reports: each of them moves what a seed meets.
            upstream_silence: Duration::from_secs(2),
            ..MediaSettings::default()
        };
        let settings = sabotage.map_or_else(|| promised.clone(), |s| s.unsettle(&promised));
        let identity = identity();
        let kept = Kept {
            settings: Arc::new(settings),
            identity: identity.clone(),
            streams: Arc::new(AtomicUsize::new(0)),
            places: Places::default(),
            tally: Tally::default(),
            last_words: Vec::new(),
        };
        let made = Arc::new(Mutex::new(Vec::new()));
        let engines = SimEngines { crypto: identity.provider.clone(), made: made.clone() };
        let surroundings = Surroundings {
            client_local: ([127, 0, 0, 1], 10_000).into(),
            ways_out: Box::new(Loopback),
            engines: Box::new(engines),
            random: StdRng::seed_from_u64(dice.random()),
        };
        let mut world = Self {
            start,
            now: 0,
            dice,
            core: Core::new(kept, surroundings, start),
            promised,
            made,
            identity,
            events: BTreeMap::new(),
            next: 0,
            lines: Vec::new(),
            servers: vec![Server::nobody()],
            contents: BTreeMap::new(),
            owners: HashMap::new(),
            sockets: BTreeSet::from([SocketId(FIRST_UPSTREAM)]),
            pipes: BTreeMap::new(),
            not_made: BTreeSet::new(),
            names: BTreeMap::new(),
            captured: Vec::new(),
            watch: Watch::default(),
            breach: None,
            sabotage,
            healing: false,
            ending: false,
            trace: traced.then(Vec::new),
            counts: BTreeMap::new(),
        };
        for line in 0..LINES {
            let stream = world.open(line);
            world.lines.push(stream);
        }
        world.later(0, Happening::Tick);
        world.later(500, Happening::Fault);
        world
    }

    pub(super) fn time(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    pub(super) fn later(&mut self, wait: u64, happening: Happening) {
        self.next += 1;
        self.events.insert((self.now + wait, self.next), happening);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>7} {}", line()));
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    /// A number that nobody has had.
    pub(super) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn fresh_address(&mut self) -> SocketAddr {
        let number = self.fresh() as u32;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)), 5_000)
    }

    /// The line that an engine works for.
    pub(super) fn line_of(&self, key: u64) -> Option<usize> {
        self.owner_of(key).map(|(line, _)| line)
    }

    /// The line, and the server that is at the far end if it is not the page.
    pub(super) fn owner_of(&self, key: u64) -> Option<(usize, Option<usize>)> {
        let made = self.made.lock();
        let peer = &made.get(usize::try_from(key.checked_sub(FIRST_KEY)?).ok()?)?.peer;
        self.owners.get(peer).copied()
    }

    pub(super) fn owns(&mut self, name: String, line: usize, server: Option<usize>) {
        self.owners.insert(name, (line, server));
    }

    /// The next thing that happens.
    pub(super) fn step(&mut self) {
        let Some(((at, _), happening)) = self.events.pop_first() else { return };
        self.now = self.now.max(at);
        self.happen(happening);
        let now = self.time();
        self.core.flush(now);
        self.carry_out();
        if self.core.tick(now) {
            self.carry_out();
        }
        self.hear();
        self.carry_out();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToCore { socket, from, bytes } => self.at_core(socket, from, bytes),
            Happening::ToClient { at, bytes } => self.at_client(at, &bytes),
            Happening::ToServer { at, socket, bytes } => self.at_server(at, Way::Socket(socket), &bytes),
            Happening::Stands { connection } => self.stands(connection),
            Happening::Ends { connection } => self.ends(connection),
            Happening::Readable { connection } => self.readable(connection),
            Happening::FarReads { connection } => self.far_reads(connection),
            Happening::LookedUp { name } => self.looked_up(name),
            Happening::Answers { line, key, epoch, sdp } if self.is_now(line, key) => {
                if self.lines[line].moving.is_on() && !self.healing && self.percent(15) {
                    self.count("answer lost");
                } else {
                    self.answers(line, epoch, &sdp);
                }
            }
            Happening::Answered { line, key, sdp } if self.is_now(line, key) => self.answered(line, &sdp),
            Happening::Revived { line, key, sdp } if self.is_now(line, key) => self.revived(line, &sdp),
            Happening::Attach { line, key, narrow, beside } if self.is_now(line, key) => {
                self.attaches(line, narrow, beside);
            }
            Happening::MoveEnds { line, key, epoch, is_made } if self.is_now(line, key) => {
                self.move_ends(line, epoch, is_made);
            }
            Happening::MoveAll => self.move_all(),
            Happening::Reopen { line } => {
                let stream = self.open(line);
                self.lines[line] = stream;
            }
            Happening::ClientBeat { line, key, beat } if self.is_now(line, key) => {
                self.client_beats(line, beat);
                self.later(20, Happening::ClientBeat { line, key, beat: beat + 1 });
            }
            Happening::ServerBeat { server, beat } => self.server_beats(server, beat),
            Happening::Fault => {
                if !self.healing {
                    self.fault();
                    let wait = self.dice.random_range(50..600);
                    self.later(wait, Happening::Fault);
                }
            }
            Happening::Tick => {
                self.look_at_bounds();
                self.look_at_strangers();
                self.look_at_ways();
                self.look_at_moves();
                self.later(10, Happening::Tick);
            }
            // Of a stream that is over.
            Happening::Answers { .. }
            | Happening::Answered { .. }
            | Happening::Revived { .. }
            | Happening::Attach { .. }
            | Happening::MoveEnds { .. }
            | Happening::ClientBeat { .. } => {}
        }
    }

    fn is_now(&self, line: usize, key: StreamKey) -> bool {
        self.lines[line].key == key && self.lines[line].is_open
    }

    /// Somebody on the way keeps a datagram.
    pub(super) fn captures(&mut self, socket: Option<SocketId>, bytes: &[u8]) {
        if self.captured.len() < CAPTURED_MAX {
            self.captured.push((socket, bytes.to_vec()));
        } else {
            let place = self.dice.random_range(0..CAPTURED_MAX * 8);
            if let Some(slot) = self.captured.get_mut(place) {
                *slot = (socket, bytes.to_vec());
            }
        }
    }

    fn at_core(&mut self, socket: Option<SocketId>, from: SocketAddr, bytes: Vec<u8>) {
        self.captures(socket, &bytes);
        let now = self.time();
        self.at_check(socket.is_none(), Origin::udp(from), &bytes);
        match socket {
            None => self.core.client_datagram(Origin::udp(from), None, &bytes, now),
            Some(socket) if self.sockets.contains(&socket) => {
                self.core.upstream_datagram(socket, from, &bytes, now);
            }
            Some(_) => {}
        }
    }

    /// Does what the core says.
    pub(super) fn carry_out(&mut self) {
        loop {
            let mut outputs = Vec::new();
            self.core.swap_outputs(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in self.tampered(outputs) {
                self.carry_out_one(output);
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        let now = self.time();
        match output {
            Output::Transmit { via: Via::Clients(_), to, contents } => {
                self.watch_client(Origin::udp(to), &contents);
                self.on_network(|bytes| Happening::ToClient { at: to, bytes }, contents.to_vec());
            }
            Output::Transmit { via: Via::Upstream(socket), to, contents } => {
                self.watch_upstream(Origin::udp(to), &contents);
                let to_server = |bytes| Happening::ToServer { at: to, socket, bytes };
                self.on_network(to_server, contents.to_vec());
            }
            Output::OpenSocket { socket, .. } => {
                let fails = !self.healing && self.percent(20);
                self.count(if fails { "socket not opened" } else { "socket opened" });
                if !fails {
                    self.sockets.insert(socket);
                }
                self.core.socket_opened(socket, !fails, now);
            }
            Output::CloseSocket(socket) => {
                self.sockets.remove(&socket);
            }
            Output::Connect { connection, remote } => self.connects(connection, remote),
            Output::Write(connection) => self.queued(connection),
            Output::Close { connection, last_words } => self.closes(connection, &last_words),
            Output::LookUp(name) => self.looks_up(name),
        }
    }

    /// Loses, doubles, delays, and so reorders.
    pub(super) fn on_network(&mut self, happening: impl Fn(Vec<u8>) -> Happening, bytes: Vec<u8>) {
        if self.healing {
            return self.later(5, happening(bytes));
        }
        if self.percent(3) {
            return self.count("lost");
        }
        if self.percent(2) {
            self.count("doubled");
            let wait = self.dice.random_range(1..60);
            self.later(wait, happening(bytes.clone()));
        }
        let wait = if self.percent(10) { self.dice.random_range(1..80) } else { 5 };
        self.later(wait, happening(bytes));
    }

    /// From now on all is well.
    pub(super) fn heal(&mut self) {
        self.healing = true;
        for line in &mut self.lines {
            line.client.silent_until = 0;
        }
        for server in &mut self.servers {
            server.silent_until = 0;
        }
        self.later(ALL_MOVE_MS, Happening::MoveAll);
    }

    /// Every stream is closed, and nothing may be left.
    pub(super) fn close_all(&mut self) {
        self.ending = true;
        let spared = usize::from(self.sabotage == Some(Sabotage::LeaveStreams));
        for line in spared..self.lines.len() {
            let key = self.lines[line].key;
            self.order(MediaCommand::Close { key });
        }
        self.carry_out();
        self.look_at_the_end();
    }
}
