//! Streams one after the other, and what their sessions do: give commands and act on facts.

use std::net::Ipv4Addr;

use rand::RngExt as _;
use tokio::sync::mpsc::{Receiver, channel};

use super::{
    moves::Moving,
    peer::{Client, Peer, offer},
    world::{Happening, World},
};
use crate::{
    media::{
        Client as ClientParts, Fact, Kind, MediaCommand, MediaFact, Order, StreamKey,
        certificate::credentials,
    },
    session::{Epoch, SessionId},
};

/// Facts that wait for one line.
const FACTS_MAX: usize = 16;

/// One stream after the other, and who uses it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: StreamKey,
    pub(super) kind: Kind,
    pub(super) client: Client,
    pub(super) epoch: u32,
    /// Epochs so far.
    pub(super) epochs: u32,
    /// The server that the leg of now was answered by.
    pub(super) server: Option<usize>,
    /// The leg of now was proven.
    pub(super) proven: bool,
    pub(super) moving: Moving,
    facts: Receiver<MediaFact>,
    /// The last facts.
    pub(super) told: Vec<String>,
    pub(super) is_open: bool,
}

impl Line {
    pub(super) fn is_publish(&self) -> bool {
        self.kind == Kind::Publish
    }
}

impl World {
    /// A page opens a stream.
    pub(super) fn open(&mut self, line: usize) -> Line {
        let key = StreamKey { session: SessionId(self.fresh()), number: 1 };
        let kind = if self.percent(50) { Kind::Publish } else { Kind::Play };
        let (ours, at) = (credentials(&mut self.dice), self.fresh_address());
        let offer = offer(kind, &ours, self.dice.random());
        self.owns(ours.ufrag.clone(), line, None);
        let (sender, facts) = channel(FACTS_MAX);
        let peer = Peer { key: self.fresh(), theirs: None, proxy: ours.clone(), ours, active: true };
        let client = Client {
            at,
            had: vec![at],
            peer,
            over_tcp: self.percent(35),
            connection: None,
            answered: false,
            video_types: Vec::new(),
            tracks: Vec::new(),
            silent_until: 0,
            heard: self.now,
            away_since: None,
            last_check: 0,
            hears: None,
            last_video: 0,
        };
        self.note(|| format!("line {line} opens {key} {kind:?} at {at}"));
        self.count("opened");
        let command = MediaCommand::Open {
            key,
            kind,
            epoch: Epoch(1),
            client_offer: offer,
            refuse_h264: false,
            client: ClientParts { local_ip: Ipv4Addr::LOCALHOST.into(), facts: sender },
        };
        let now = self.time();
        self.core.order(Order::Command(command), now);
        let (told, moving) = (Vec::new(), Moving::default());
        let (epoch, epochs, server, proven, is_open) = (1, 1, None, false, true);
        Line { key, kind, client, epoch, epochs, server, proven, moving, facts, told, is_open }
    }

    pub(super) fn order(&mut self, command: MediaCommand<ClientParts>) {
        self.note(|| format!("order for {}", command.key()));
        let Some(command) = self.tampered_with(command) else { return };
        let now = self.time();
        self.core.order(Order::Command(command), now);
    }

    /// Ends a stream, and has another opened in its place.
    pub(super) fn close(&mut self, line: usize) {
        let key = self.lines[line].key;
        self.lines[line].is_open = false;
        self.lose_servers(line);
        self.order(MediaCommand::Close { key });
        self.later(200, Happening::Reopen { line });
    }

    /// The server of a line is lost, and its leg is dropped: it sends a while longer.
    pub(super) fn lose_server(&mut self, line: usize) {
        self.lines[line].proven = false;
        if let Some(server) = self.lines[line].server.take() {
            self.servers[server].lost.get_or_insert(self.now);
            self.servers[server].dropped = true;
        }
    }

    /// The same with the one that it moves from.
    pub(super) fn lose_servers(&mut self, line: usize) {
        self.lose_server(line);
        self.lose_left(line);
    }

    /// Does what a session would do about facts.
    pub(super) fn hear(&mut self) {
        for line in 0..self.lines.len() {
            while let Ok(MediaFact { fact, .. }) = self.lines[line].facts.try_recv() {
                let name = format!("{fact:?}").chars().take(48).collect::<String>();
                self.note(|| format!("line {line}: {name}"));
                self.lines[line].told.push(format!("{} {name}", self.now));
                let told = self.lines[line].told.len();
                self.lines[line].told.drain(..told.saturating_sub(6));
                self.on_fact(line, fact);
            }
        }
    }

    fn on_fact(&mut self, line: usize, fact: Fact) {
        let key = self.lines[line].key;
        let wait = self.dice.random_range(5..60);
        match fact {
            Fact::UpstreamOffer { epoch, sdp } => {
                self.later(wait, Happening::Answers { line, key, epoch, sdp });
            }
            Fact::ClientAnswer { sdp } => self.later(wait, Happening::Answered { line, key, sdp }),
            Fact::UpstreamFailed { epoch, .. } | Fact::OutOfSockets { epoch, .. }
                if epoch.0 == self.lines[line].epoch =>
            {
                self.count("upstream failed");
                if let Some(server) = self.lines[line].server {
                    self.servers[server].told = true;
                }
                self.lines[line].proven = false;
                if self.lines[line].moving.is_on() {
                    return self.move_failed(line, epoch.0);
                }
                self.later(wait * 5, Happening::Attach { line, key, narrow: true, beside: false });
            }
            Fact::CodecChanged { .. } => {
                self.count("codec changed");
                let beside = self.lines[line].moving.is_on();
                self.later(wait, Happening::Attach { line, key, narrow: true, beside });
            }
            Fact::ClientSilent { .. } => {
                self.count("client silent");
                self.order(MediaCommand::Revive { key });
            }
            Fact::NewClientCredentials { sdp } if self.healing || self.percent(80) => {
                self.later(wait, Happening::Revived { line, key, sdp });
            }
            Fact::ClientGone { .. } => {
                self.count("client gone");
                self.close(line);
            }
            Fact::UpstreamSilent { epoch } if epoch.0 != self.lines[line].epoch => {
                self.count("the leg that is left is silent");
            }
            Fact::UpstreamSilent { epoch } => {
                self.count("upstream silent");
                if self.lines[line].moving.is_on() {
                    return self.move_failed(line, epoch.0);
                }
                self.later(wait, Happening::Attach { line, key, narrow: true, beside: false });
            }
            Fact::ClientRevived { .. } => self.count("client revived"),
            Fact::Flowing { complete: true, epoch, .. } if epoch.0 == self.lines[line].epoch => {
                self.count("proven");
                self.lines[line].proven = true;
                self.move_proven(line);
            }
            Fact::Unanchorable { reason } | Fact::Broken { reason } => panic!("{reason}"),
            _ => {}
        }
    }
}
