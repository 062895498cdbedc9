//! Looks at every datagram that leaves, and at what is kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
};

use str0m::crypto::CryptoProvider;

use crate::media::{
    demux::{Datagram, classify},
    routes::Origin,
    sdp::Credentials,
};

use super::{
    peer::{Content, content_of},
    rules::{Breach, Rule},
    wire::{self, Rtp},
    world::World,
};

/// Before a client was heard with authentic media, and after it got new credentials, whoever sends its
/// check again is taken for it; its own next check and packet end that.
const AWAY_MS: u64 = 1_500;

/// Numbers that are looked back at.
const LOOKED_BACK: usize = 256;

/// What is known of the media towards one receiver.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    ssrc: Option<u32>,
    /// By number: time, and where in the life of its source the packet was.
    numbers: BTreeMap<u64, Here>,
    /// Whose packets it is sent, and how often that changed.
    leg: usize,
    turns: usize,
    /// The source whose pictures went through last.
    source: Option<(usize, u32)>,
}

/// Where a packet was in the life of its source.
#[derive(Clone, Copy, Debug)]
struct Here {
    timestamp: u32,
    turn: usize,
    source: (usize, u32),
    sequence: u64,
}

/// All that is remembered to judge by.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// By key of the engine and kind of media.
    receivers: HashMap<(u64, bool), Receiver>,
    sealed: HashMap<(u64, u32, u64), u64>,
    /// Credentials that the proxy gave out, with those of the peer that they are for, by name.
    pub(super) given: HashMap<String, (Credentials, Credentials)>,
    /// Addresses that a check for a client leg came from, whoever sent it.
    pub(super) checked: HashSet<Origin>,
    /// Addresses that an answer named, or a check of a server came from.
    pub(super) upstream: HashSet<SocketAddr>,
}

impl Watch {
    /// Is this a check that is signed with credentials which the proxy gave out?
    pub(super) fn is_check(&self, bytes: &[u8], from: SocketAddr, crypto: &CryptoProvider) -> bool {
        let Datagram::StunRequest { ufrag } = classify(bytes) else { return false };
        let given = self.given.get(ufrag);
        given.is_some_and(|(proxy, peer)| wire::checked(bytes, from, proxy, peer, crypto).is_some())
    }

    /// A number that was used on a source of ours of late, if any was.
    pub(super) fn recent(&self, ssrc: u32, random: usize) -> u16 {
        let receiver = self.receivers.values().find(|receiver| receiver.ssrc == Some(ssrc));
        let numbers: Vec<u64> =
            receiver.into_iter().flat_map(|r| r.numbers.keys().rev().take(40).copied()).collect();
        numbers.get(random % numbers.len().max(1)).map_or(random as u16, |number| *number as u16)
    }
}

impl World {
    pub(super) fn breach(&mut self, rule: Rule, what: String) {
        let at_ms = self.now;
        self.note(|| format!("BREACH {rule:?}: {what}"));
        self.breach.get_or_insert(Breach { rule, at_ms, what });
    }

    /// A datagram leaves towards a client.
    pub(super) fn watch_client(&mut self, to: Origin, bytes: &[u8]) {
        if !self.watch.checked.contains(&to) {
            return self.breach(Rule::CheckedOnly, format!("{to:?} passed no check"));
        }
        let Some(rtp) = self.watch_media(bytes, to.tcp) else { return };
        let Some(line) = self.line_of(rtp.key) else { return };
        let (to, now, client) = (to.address, self.now, &mut self.lines[line].client);
        if client.had.contains(&to) || now > client.heard + 100 {
            client.away_since = None;
        } else if *client.away_since.get_or_insert(now) + AWAY_MS < now {
            let what = format!("media of line {line} goes to {to}, its client is at {}", client.at);
            self.breach(Rule::NotLedAway, what);
        }
    }

    /// A datagram leaves towards an upstream.
    pub(super) fn watch_upstream(&mut self, to: Origin, bytes: &[u8]) {
        if !self.watch.upstream.contains(&to.address) {
            return self.breach(Rule::CheckedOnly, format!("{to:?} is no upstream's"));
        }
        self.watch_media(bytes, to.tcp);
    }

    /// A packet of media leaves. What a connection has no room for, or what there is no connection for, is
    /// lost before it can be seen here.
    fn watch_media(&mut self, bytes: &[u8], over_tcp: bool) -> Option<Rtp> {
        let is_rtp = bytes.first() == Some(&0x80);
        let rtp = Rtp::decode(bytes).filter(|_| is_rtp)?;
        self.count("media sent");
        let mut hasher = DefaultHasher::new();
        rtp.hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.watch.sealed.insert((rtp.key, rtp.ssrc, rtp.sequence), hash);
        if before.is_some_and(|before| before != hash) {
            self.breach(Rule::KeyOnce, format!("{} of {} twice", rtp.sequence, rtp.ssrc));
            return None;
        }
        if before.is_some() {
            // The same packet again, because it was asked for.
            self.count("sent again");
            return Some(rtp);
        }
        let content = content_of(&rtp).and_then(|id| self.contents.get(&id)).copied();
        let line = self.line_of(rtp.key);
        let (Some(content), Some(line)) = (content, line) else {
            self.breach(Rule::OwnMediaOnly, format!("nobody sent {rtp:?}"));
            return None;
        };
        if let Err(rule) = self.may_pass(&content, rtp.key) {
            let (current, moving) = (self.lines[line].server, &self.lines[line].moving);
            let what = format!("{content:?} goes to line {line}, whose leg is {current:?}, {moving:?}");
            self.breach(rule, what);
            return None;
        }
        if content.video {
            self.note(|| format!("line {line}: {} {} is {content:?}", rtp.key, rtp.sequence));
        }
        let receiver = self.watch.receivers.entry((rtp.key, content.video)).or_default();
        let mut wrong = None;
        if receiver.ssrc.replace(rtp.ssrc).is_some_and(|before| before != rtp.ssrc) {
            wrong = Some((Rule::OneSource, format!("{} is another source", rtp.ssrc)));
        }
        let source = (content.leg, content.ssrc);
        let follows_a_loss = over_tcp && !receiver.numbers.contains_key(&(rtp.sequence - 1));
        let is_first = content.video && receiver.source.replace(source) != Some(source);
        if is_first && !content.starts && !follows_a_loss {
            wrong.get_or_insert((Rule::Decodable, format!("{content:?} is the first of its source")));
        }
        receiver.turns += usize::from(receiver.leg != content.leg);
        receiver.leg = content.leg;
        let (timestamp, turn, sequence) = (rtp.timestamp, receiver.turns, content.sequence);
        let here = Here { timestamp, turn, source, sequence };
        let below = receiver.numbers.range(..rtp.sequence).next_back();
        let above = receiver.numbers.range(rtp.sequence..).next();
        for (low, high) in [(below.map(|(_, v)| *v), Some(here)), (Some(here), above.map(|(_, v)| *v))] {
            let (Some(low), Some(high)) = (low, high) else { continue };
            if low.turn > high.turn || low.source == high.source && low.sequence >= high.sequence {
                wrong.get_or_insert((Rule::Sequence, format!("{low:?} is numbered before {high:?}")));
            }
            if high.timestamp.wrapping_sub(low.timestamp).cast_signed() < 0 {
                wrong.get_or_insert((Rule::Time, format!("{low:?} is later than {high:?}")));
            }
        }
        receiver.numbers.insert(rtp.sequence, here);
        if receiver.numbers.len() > LOOKED_BACK {
            receiver.numbers.pop_first();
        }
        if let Some((rule, what)) = wrong {
            self.breach(rule, format!("line {line}, {rtp:?}: {what}"));
        }
        Some(rtp)
    }

    /// What is kept is within its bounds.
    pub(super) fn look_at_bounds(&mut self) {
        let past = self.core.sizes(&self.promised).into_iter().find(|(_, size, bound)| size > bound);
        if let Some((what, size, bound)) = past {
            self.breach(Rule::Bounds, format!("{size} {what}, {bound} allowed"));
        }
    }

    /// All has been well for a while.
    pub(super) fn look_at_flows(&mut self) {
        for line in 0..self.lines.len() {
            let (client, server) = (&self.lines[line].client, self.lines[line].server);
            let last = if self.lines[line].is_publish() {
                server.map_or(0, |server| self.servers[server].last_video)
            } else {
                client.last_video
            };
            if last + 1_000 < self.now {
                let what = format!("no picture of line {line} since {last}: {:?}", self.lines[line].told);
                return self.breach(Rule::Flows, what);
            }
        }
    }

    /// All streams are closed.
    pub(super) fn look_at_the_end(&mut self) {
        let left = self.core.left();
        let connections = self.connections_left();
        if !left.is_empty() || self.sockets.len() > 1 || !connections.is_empty() {
            let what = format!("{left:?} are left, sockets {:?}, connections {connections:?}", self.sockets);
            self.breach(Rule::Clean, what);
        }
    }

    /// Would a decoder start with this?
    pub(super) fn is_start(&self, rtp: &Rtp) -> bool {
        content_of(rtp).and_then(|id| self.contents.get(&id)).is_some_and(|content| content.starts)
    }

    /// Was this sent by a server that a line has no more?
    pub(super) fn is_of_old_epoch(&self, content: &Content) -> bool {
        let leg = Some(content.leg);
        content.leg != 0 && self.lines.iter().all(|line| line.server != leg && line.moving.from() != leg)
    }
}
