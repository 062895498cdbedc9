//! What a model server remembers: sessions and their ghosts, names, rooms (protocol S2, S5, S7).

use std::collections::{BTreeMap, BTreeSet};

use super::super::SessionId;

/// A stream as the server has it, by its upstream id.
#[derive(Debug)]
pub(super) struct ServerStream {
    pub(super) name: String,
    pub(super) publish: bool,
    pub(super) socket: bool,
    /// The client's own id of the stream: what the client wants, whatever it is called here.
    pub(super) intent: String,
    pub(super) running: bool,
    /// Its refusal is under way.
    pub(super) doomed: bool,
    pub(super) audio_muted: bool,
}

/// A session on the server, with or without its socket.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) conn: Option<usize>,
    pub(super) owner: SessionId,
    pub(super) token: String,
    pub(super) keep_alive: bool,
    pub(super) login: String,
    pub(super) sip: bool,
    pub(super) established: bool,
    pub(super) registered: bool,
    pub(super) streams: BTreeMap<String, ServerStream>,
    pub(super) past: BTreeSet<String>,
    pub(super) rooms: BTreeSet<String>,
    pub(super) calls: BTreeSet<String>,
}

/// Somebody in a room; `kept` is 0 for those who are not clients of ours.
#[derive(Debug, Default)]
pub(super) struct Guest {
    pub(super) kept: u64,
    pub(super) streams: BTreeSet<String>,
}

/// What the server says to a `connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    Friendly,
    /// The hook backend is in trouble.
    Transient,
    /// The client is not wanted.
    Permanent,
    Silent,
}

/// What the server does with the token of a kept session (protocol S7: unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    Works,
    Fails,
    Silent,
    /// The token is ignored: an ordinary new session.
    Anew,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) frozen: bool,
    pub(super) backlog: Vec<(usize, Option<Vec<u8>>)>,
    pub(super) kept: BTreeMap<u64, Kept>,
    pub(super) rooms: BTreeMap<String, BTreeMap<String, Guest>>,
    pub(super) welcome: Welcome,
    pub(super) resume: Resume,
    pub(super) refuses_h264: bool,
    /// What requests are refused with, now and then.
    pub(super) trouble: Option<&'static str>,
    pub(super) slow: bool,
    /// How long a session without its socket lingers, in milliseconds.
    pub(super) linger_ms: u64,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            up: true,
            frozen: false,
            backlog: Vec::new(),
            kept: BTreeMap::new(),
            rooms: BTreeMap::new(),
            welcome: Welcome::Friendly,
            resume: Resume::Works,
            refuses_h264: false,
            trouble: None,
            slow: false,
            linger_ms: 10_000,
        }
    }

    /// Everything as it should be.
    pub(super) fn heal(&mut self) {
        self.welcome = Welcome::Friendly;
        self.refuses_h264 = false;
        self.trouble = None;
        self.slow = false;
    }
}

/// Who publishes a name, in the whole cluster.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) node: usize,
    pub(super) kept: u64,
    pub(super) media: String,
}

/// A connection of a session to a node: one epoch.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) slot: usize,
    pub(super) session: SessionId,
    pub(super) epoch: u32,
    pub(super) node: usize,
    pub(super) proxy_open: bool,
    pub(super) opened_at: u64,
    /// When the proxy closed it.
    pub(super) closed_at: Option<u64>,
    pub(super) server_open: bool,
    /// Nothing passes in either direction, and nobody was told.
    pub(super) black: bool,
    pub(super) kept: Option<u64>,
    pub(super) greeted: bool,
    /// It came with a token: ids of the session before may live on here.
    pub(super) resuming: bool,
    /// When the last message of each direction arrives: order is kept.
    pub(super) to_server_at: u64,
    pub(super) to_proxy_at: u64,
}
