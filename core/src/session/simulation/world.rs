//! The world: simulated time, the sessions of one process, their clients and servers, and the
//! events between them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    recording::{
        Recorder, Start,
        testing::{MemoryTape, redactor},
    },
    registry::Registry,
    settings::SessionSettings,
};

use super::{
    super::{Epoch, Input, LossCause, Mail, NodeId, Session, SessionId, StreamKey, Timestamp},
    client::Client,
    kit::{Dice, settings},
    record::Record,
    rules::{Breach, Rule},
    sabotage::Sabotage,
    server::{Conn, Node, Publisher},
};

/// What a server does later.
#[derive(Debug)]
pub(super) enum Task {
    UserData,
    Say(Value),
    Answer(String),
    Run(String),
    Status(String),
    Refuse(String, &'static str),
}

/// What is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    Arrives(usize),
    ClientActs(usize, SessionId),
    ClientSays(usize, SessionId, Vec<u8>),
    ClientEnds(usize, SessionId, Option<u16>),
    Restart(usize, SessionId, String),
    ServerHears(usize, Vec<u8>),
    ServerSays(usize, Vec<u8>),
    ServerEnds(usize, LossCause),
    ServerLearns(usize),
    Does(usize, Task),
    MediaFlows(usize),
    MediaOffer(usize, SessionId, StreamKey, u32),
    MediaAnswer(usize, SessionId, StreamKey),
    MediaProof(usize, SessionId, StreamKey, u32, u32),
    MediaLife(usize, SessionId, StreamKey, u32, u32),
    MediaConnected(usize, SessionId, StreamKey),
    MediaNever(usize, SessionId, StreamKey),
    DialDone(usize, SessionId, u32),
    BesideDone(usize, SessionId, u32, usize),
    Mover,
    MoverFollows(usize, SessionId, u32),
    MoverLetsGo(usize, SessionId),
    Letter(SessionId, Mail),
    Late(usize, SessionId, u32),
    UpstreamPongs(usize),
    Evidence(usize, SessionId, u32),
    Pings(usize),
    GhostEnds(usize, u64),
    NodeUp(usize),
    News(usize, SessionId),
    Flaps(usize),
    Thaw(usize),
    Incident,
    Fault,
}

/// One session with its client and what is known of it from outside.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: SessionId,
    pub(super) session: Session,
    pub(super) client: Client,
    pub(super) conn: Option<usize>,
    /// The connection beside it: a new one that is to lead, or the one that is left.
    pub(super) beside: Option<usize>,
    /// A move is under way: the new connection leads, and is to be proven.
    pub(super) under_way: bool,
    /// Somebody has ordered it.
    pub(super) is_ordered: bool,
    /// Its streams when it set out, by the ids of the client and of the upstream, and the connection they had.
    pub(super) before: Vec<(String, String)>,
    pub(super) set_out_from: Option<usize>,
    pub(super) epoch: u32,
    pub(super) dialing: Option<u32>,
    /// Where the next dial is to go.
    pub(super) toward: Option<usize>,
    /// Its `connection` reached the proxy.
    pub(super) spoke: bool,
    pub(super) arrived: u64,
    /// Its socket is closed, by whichever side.
    pub(super) client_gone: bool,
    pub(super) passed_through: bool,
    /// The server refused its credentials for good.
    pub(super) refused: bool,
    pub(super) dials: u32,
    /// Its dials of the last second.
    pub(super) dialled_at: Vec<u64>,
    /// Since when its present connection stands, or the one that was lost last stood.
    pub(super) connected_at: u64,
    pub(super) up_since: Option<u64>,
    /// Intents the client took back, as the proxy knows.
    pub(super) stopped: BTreeSet<String>,
    pub(super) left: BTreeSet<String>,
    /// Rooms of which the log was told that their others are on another node, since it has this connection.
    pub(super) apart: BTreeSet<String>,
    pub(super) anchored: bool,
    /// Streams at the media workers.
    pub(super) media: BTreeMap<StreamKey, Leg>,
    pub(super) wire_at: u64,
    /// A bound was reached: what exceeds it is not promised.
    pub(super) limited: bool,
}

impl Member {
    /// Its client must not hear of what goes on.
    pub(super) fn is_unseen(&self) -> bool {
        self.under_way && !self.client_gone
    }
}

/// A stream at the media workers.
#[derive(Debug, Default)]
pub(super) struct Leg {
    pub(super) answered: bool,
    /// Its client's media path stands.
    pub(super) connected: bool,
    /// Counts upstream legs: facts of an older one are not said.
    pub(super) generation: u32,
    /// The newest of them, and the one that is left.
    pub(super) newest: u32,
    pub(super) left: Option<u32>,
}

impl Leg {
    /// Another upstream leg, beside the one there is or in its place.
    pub(super) fn attach(&mut self, beside: bool) {
        self.left = if beside { self.left.or(Some(self.generation)) } else { None };
        self.newest += 1;
        self.generation = self.newest;
    }
}

/// How often what happened, so that the rules are known to have been put to the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

struct Entry {
    at: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) settings: Arc<SessionSettings>,
    /// What the rules go by: the same, unless sabotaged.
    pub(super) promised: Arc<SessionSettings>,
    pub(super) registry: Arc<Registry>,
    /// Client tokens, and whose media sockets come with them.
    pub(super) routes: BTreeMap<Box<str>, SessionId>,
    pub(super) slots: Vec<Option<Member>>,
    pub(super) nodes: Vec<Node>,
    pub(super) conns: Vec<Conn>,
    /// Every `mediaSessionId` a server ever saw in a request, and whose it was.
    pub(super) ids: BTreeMap<String, SessionId>,
    /// By name, and by node where nodes do not share them.
    pub(super) publishers: BTreeMap<String, Publisher>,
    /// All nodes know the same names. Where they do not, each client publishes under one of its own.
    pub(super) is_farm: bool,
    /// Clients publish and play, and do little else: what moves is mostly free to.
    pub(super) is_calm: bool,
    pub(super) operations: BTreeSet<String>,
    /// Streams whose media socket told of its flow, by connection.
    pub(super) flowed: BTreeSet<(usize, String)>,
    pub(super) anchors: bool,
    /// Quiet times: servers are well, clients do nothing new.
    pub(super) healing: bool,
    /// No client comes any more.
    pub(super) closing: bool,
    /// Every name a client ever published.
    pub(super) names: BTreeSet<String>,
    /// A request that a sabotage may repeat.
    pub(super) memory: Option<(usize, Value)>,
    pub(super) breach: Option<Breach>,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) tally: Tally,
    pub(super) trace: Option<Vec<String>>,
    /// What the sessions put out.
    pub(super) record: Record,
    /// Where they are recorded, if they are.
    pub(super) tape: Option<MemoryTape>,
    pub(super) recorders: BTreeMap<SessionId, Vec<Recorder>>,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(super) number: u64,
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut settings = settings(&mut dice);
        let mut promised = Arc::new(settings.clone());
        if let Some(sabotage) = sabotage {
            let real = sabotage.unsettle(&mut settings);
            promised = Arc::new(std::mem::replace(&mut settings, real));
        }
        let nodes = dice.pick(&[1, 1, 2, 2, 3]);
        let slots = dice.between(2, 5) as usize;
        let is_calm = nodes > 1 && dice.percent(60);
        let mut world = Self {
            now: 1_000,
            settings: Arc::new(settings),
            promised,
            registry: Arc::new(Registry::default()),
            routes: BTreeMap::new(),
            slots: (0..slots).map(|_| None).collect(),
            nodes: (0..nodes).map(|_| Node::new()).collect(),
            conns: Vec::new(),
            ids: BTreeMap::new(),
            publishers: BTreeMap::new(),
            is_farm: dice.percent(40),
            is_calm,
            operations: BTreeSet::new(),
            flowed: BTreeSet::new(),
            anchors: is_calm || dice.percent(30),
            healing: false,
            closing: false,
            names: BTreeSet::new(),
            memory: None,
            breach: None,
            sabotage,
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            record: Record::default(),
            tape: None,
            recorders: BTreeMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            number: 0,
            dice,
        };
        for slot in 0..slots {
            let delay = world.dice.between(0, 500);
            world.later(delay, Happening::Arrives(slot));
        }
        for node in 0..nodes {
            world.later(5_000, Happening::Pings(node));
        }
        world.later(5_000, Happening::Fault);
        world.later(2_000, Happening::Incident);
        world.later(3_000, Happening::Mover);
        world
    }

    pub(super) fn later(&mut self, delay: u64, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: self.now + delay, order: self.order, what }));
    }

    pub(super) fn fresh_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(super) fn breach(&mut self, rule: Rule, what: String) {
        self.note(|| format!("BREACH of {rule:?}: {what}"));
        self.breach.get_or_insert(Breach { rule, what, at_ms: self.now });
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>8} {}", line()));
        }
    }

    pub(super) fn member(&mut self, slot: usize, session: SessionId) -> Option<&mut Member> {
        self.slots.get_mut(slot)?.as_mut().filter(|member| member.id == session)
    }

    /// How long a server takes for an answer.
    pub(super) fn pace(&mut self, node: usize) -> u64 {
        if self.nodes[node].slow { self.dice.between(1_000, 8_000) } else { self.dice.between(1, 300) }
    }

    /// The server says something: it arrives in order.
    pub(super) fn say(&mut self, conn: usize, mut value: Value, delay: u64) {
        if !self.conns[conn].server_open {
            return;
        }
        if let Some(fields) = value["data"][0].as_object_mut() {
            fields.insert("tag".to_owned(), conn.into());
        }
        let at = (self.now + delay).max(self.conns[conn].to_proxy_at);
        self.conns[conn].to_proxy_at = at;
        let text = value.to_string().into_bytes();
        self.later(at - self.now, Happening::ServerSays(conn, text));
    }

    /// The client says something: it arrives in order.
    pub(super) fn client_says(&mut self, slot: usize, value: &Value, delay: u64) {
        let now = self.now;
        let delay = delay + self.dice.between(1, 60);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let at = (now + delay).max(member.wire_at);
        member.wire_at = at;
        let id = member.id;
        self.later(at - now, Happening::ClientSays(slot, id, value.to_string().into_bytes()));
    }

    /// One step: the next thing that happens, then every rule is looked at.
    pub(super) fn step(&mut self, count: u32) {
        let next = self.queue.peek().map_or(u64::MAX, |Reverse(entry)| entry.at);
        let timers = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, member)| Some((member.as_ref()?.session.next_timeout()?.as_ms(), slot)));
        match timers.min() {
            Some((at, slot)) if at <= next => {
                self.now = self.now.max(at);
                self.note(|| format!("timer of slot {slot}"));
                match self.sabotage {
                    Some(Sabotage::StuckTimer) => self.look_at_timers(slot),
                    _ => self.feed(slot, Input::Timeout),
                }
            }
            _ => {
                let Some(Reverse(entry)) = self.queue.pop() else { return };
                self.now = self.now.max(entry.at);
                self.happen(entry.what);
            }
        }
        self.watch(count);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrives(slot) => self.arrive(slot),
            Happening::ClientActs(slot, id) => self.client_acts(slot, id),
            Happening::ClientSays(slot, id, text) => self.proxy_hears(slot, id, &text),
            Happening::ClientEnds(slot, id, code) => self.client_ends(slot, id, code),
            Happening::Restart(slot, id, name) => self.publish_again(slot, id, &name),
            Happening::ServerHears(conn, text) => self.server_hears(conn, text),
            Happening::ServerSays(conn, text) => self.upstream_says(conn, &text),
            Happening::ServerEnds(conn, cause) => self.upstream_ends(conn, cause),
            Happening::ServerLearns(conn) => self.server_learns(conn),
            Happening::Does(conn, task) => self.server_does(conn, task),
            Happening::MediaFlows(conn) => {
                let (slot, id, epoch) = self.whose(conn);
                if self.member(slot, id).is_some() && !self.conns[conn].black {
                    self.feed(slot, Input::Mail(Mail::MediaSocketFlows(Epoch(epoch))));
                }
            }
            Happening::MediaOffer(slot, id, key, epoch) => self.media_offer(slot, id, key, epoch),
            Happening::MediaAnswer(slot, id, key) => self.media_answer(slot, id, key),
            Happening::MediaConnected(slot, id, key) => self.media_connected(slot, id, key),
            Happening::MediaNever(slot, id, key) => self.media_never(slot, id, key),
            Happening::MediaLife(slot, id, key, epoch, generation) => {
                self.media_flows(slot, id, key, epoch, generation, false);
            }
            Happening::MediaProof(slot, id, key, epoch, generation) => {
                self.media_flows(slot, id, key, epoch, generation, true);
            }
            Happening::UpstreamPongs(conn) => self.upstream_pongs(conn),
            Happening::Evidence(slot, id, epoch) => self.evidence(slot, id, epoch),
            Happening::DialDone(slot, id, epoch) => self.dial_done(slot, id, epoch),
            Happening::BesideDone(slot, id, epoch, node) => self.beside_done(slot, id, epoch, node),
            Happening::Mover => self.mover_acts(),
            Happening::MoverFollows(slot, id, node) => self.order_move(slot, id, node),
            Happening::MoverLetsGo(slot, id) => {
                if self.member(slot, id).is_some() {
                    self.feed(slot, Input::LetGo);
                }
            }
            Happening::Letter(id, mail) => {
                let slot = self.slots.iter().position(|m| m.as_ref().is_some_and(|member| member.id == id));
                if let Some(slot) = slot {
                    self.note(|| format!("slot {slot} gets {mail:?}"));
                    self.feed(slot, Input::Mail(mail));
                }
            }
            Happening::Late(slot, id, epoch) => self.late_word(slot, id, epoch),
            Happening::Pings(node) => self.pings(node),
            Happening::GhostEnds(node, kept) => {
                if self.nodes[node].kept.get(&kept).is_some_and(|kept| kept.conn.is_none()) {
                    self.note(|| format!("ghost {kept} ends"));
                    self.end_kept(node, kept);
                }
            }
            Happening::NodeUp(node) => self.node_up(node),
            Happening::News(slot, id) => {
                if self.member(slot, id).is_some() {
                    self.feed(slot, Input::NodeUp);
                }
                if self.member(slot, id).is_some() {
                    self.feed(slot, Input::PathUp);
                }
            }
            Happening::Flaps(conn) => self.flap(conn),
            Happening::Thaw(node) => self.thaw(node),
            Happening::Incident => {
                let wait = self.dice.between(500, 4_000);
                self.later(wait, Happening::Incident);
                if !self.healing {
                    let node = self.dice.between(0, self.nodes.len() as u64 - 1) as usize;
                    if self.nodes[node].up && !self.nodes[node].frozen {
                        if self.dice.percent(40) { self.bot_acts(node) } else { self.incident(node) }
                    }
                }
            }
            Happening::Fault => {
                let wait = self.dice.between(2_000, 25_000);
                self.later(wait, Happening::Fault);
                if !self.healing {
                    self.fault();
                }
            }
        }
    }

    pub(super) fn whose(&self, conn: usize) -> (usize, SessionId, u32) {
        let conn = &self.conns[conn];
        (conn.slot, conn.session, conn.epoch)
    }

    /// A session begins, and is recorded if all are.
    fn record_from_now(&mut self, id: SessionId, seed: u64, node: NodeId) {
        let Some(tape) = &self.tape else { return };
        let start = Start {
            s: id,
            t: Timestamp::from_ms(self.now),
            from_start: true,
            seed,
            node,
            with_media: self.anchors,
            settings: (*self.settings).clone(),
        };
        self.recorders.insert(id, vec![Recorder::new(start, redactor(tape.names), tape.boxed())]);
    }

    /// A client comes; its session begins when its upstream stands.
    fn arrive(&mut self, slot: usize) {
        if self.slots[slot].is_some() || self.closing {
            return;
        }
        let node = self.dice.between(0, self.nodes.len() as u64 - 1) as usize;
        if !self.nodes[node].up || self.nodes[node].frozen {
            return self.later(1_000, Happening::Arrives(slot));
        }
        let number = self.fresh_number();
        let id = SessionId(number);
        let seed = self.dice.seed();
        let now = Timestamp::from_ms(self.now);
        let mut session =
            Session::new(id, Arc::clone(&self.settings), seed, now).with_node(NodeId(node as u32));
        let anchored = self.anchors;
        if anchored {
            session = session.with_media();
        }
        self.record_from_now(id, seed, NodeId(node as u32));
        let mut client = Client::new(format!("user{number}"), self.now, &mut self.dice);
        if self.is_calm {
            (client.keep_alive, client.sip) = (false, false);
        }
        let app_key = if self.dice.percent(3) { "sfuApp" } else { "defaultApp" };
        let connection = client.connection(app_key);
        self.slots[slot] = Some(Member {
            id,
            session,
            client,
            conn: None,
            beside: None,
            under_way: false,
            is_ordered: false,
            before: Vec::new(),
            set_out_from: None,
            epoch: 0,
            dialing: None,
            toward: None,
            apart: BTreeSet::new(),
            spoke: false,
            arrived: self.now,
            client_gone: false,
            passed_through: false,
            refused: false,
            dials: 0,
            dialled_at: Vec::new(),
            connected_at: self.now,
            up_since: Some(self.now),
            stopped: BTreeSet::new(),
            left: BTreeSet::new(),
            anchored,
            media: BTreeMap::new(),
            wire_at: 0,
            limited: false,
        });
        self.note(|| format!("slot {slot}: session {number} arrives"));
        self.connect(slot, id, 0, node);
        self.client_says(slot, &connection, 5);
        let wait = self.dice.between(200, 1_500);
        self.later(wait, Happening::ClientActs(slot, id));
    }

    /// The epoch's connection stands.
    pub(super) fn connect(&mut self, slot: usize, session: SessionId, epoch: u32, node: usize) {
        let conn = self.open(slot, session, epoch, node);
        let now = self.now;
        if let Some(member) = self.member(slot, session) {
            member.conn = Some(conn);
            member.epoch = epoch;
            member.connected_at = now;
        }
    }

    /// A connection of this session to this node.
    pub(super) fn open(&mut self, slot: usize, session: SessionId, epoch: u32, node: usize) -> usize {
        self.conns.push(Conn {
            slot,
            session,
            epoch,
            node,
            proxy_open: true,
            opened_at: self.now,
            closed_at: None,
            server_open: true,
            black: false,
            kept: None,
            greeted: false,
            resuming: false,
            to_server_at: 0,
            to_proxy_at: 0,
        });
        self.conns.len() - 1
    }
}
