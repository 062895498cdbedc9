//! Sessions go to other nodes: the orders of a mover, the driver's part of a move, and what is looked at on
//! the way (rule R15).

use std::collections::BTreeSet;

use super::{
    super::{DialError, Epoch, Input, MoveOutcome, NodeId, SessionId, stream::Standing},
    rules::Rule,
    world::{Happening, World},
};

/// A close that was sent is known to the node by then, unless it is frozen.
const LEARNS_MS: u64 = 2_000;

impl World {
    /// Somebody who takes nodes out of service, at random.
    pub(super) fn mover_acts(&mut self) {
        let wait = self.dice.between(300, 3_000);
        self.later(wait, Happening::Mover);
        // Mostly one that can move, as a mover has it who has asked before.
        let free = |slot: &usize| {
            self.slots[*slot].as_ref().is_some_and(|member| member.session.belongings().bound_by.is_none())
        };
        let free: Vec<usize> = (0..self.slots.len()).filter(free).collect();
        let any: Vec<usize> = (0..self.slots.len()).collect();
        let slot = if free.is_empty() || self.dice.percent(20) {
            self.dice.pick(&any)
        } else {
            self.dice.pick(&free)
        };
        let here =
            self.slots[slot].as_ref().map(|member| (member.passed_through, member.session.belongings()));
        let Some((false, belongings)) = here.filter(|_| !self.healing) else { return };
        let nodes = self.nodes.len() as u32;
        let mut node = self.dice.between(0, u64::from(nodes) - 1) as u32;
        if node == belongings.node.0 && self.dice.percent(95) {
            node = (node + 1) % nodes;
        }
        let input = match self.dice.between(0, 99) {
            0..=89 => Input::Move { to: NodeId(node) },
            90..=94 => Input::LetGo,
            _ => {
                self.tally.count("forced to move");
                Input::ForceMove
            }
        };
        self.note(|| format!("slot {slot}: {input:?}, {belongings:?}"));
        self.is_ordered(slot);
        self.feed(slot, input);
    }

    pub(super) fn dial_beside(&mut self, slot: usize, epoch: u32, node: usize) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = member.id;
        if member.dialing.is_some()
            || member.beside.is_some()
            || member.conn.is_none()
            || epoch <= member.epoch
        {
            let what = format!("dial of epoch {epoch} beside {:?} and {:?}", member.conn, member.beside);
            return self.breach(Rule::OneDial, what);
        }
        member.dialing = Some(epoch);
        let delay = self.dice.between(1, 80);
        self.later(delay, Happening::BesideDone(slot, id, epoch, node));
    }

    pub(super) fn beside_done(&mut self, slot: usize, id: SessionId, epoch: u32, node: usize) {
        if self.member(slot, id).is_none_or(|member| member.dialing != Some(epoch)) {
            return;
        }
        if self.nodes[node].frozen && self.dice.percent(90) {
            return self.later(500, Happening::BesideDone(slot, id, epoch, node));
        }
        let fails = !self.nodes[node].up || self.nodes[node].frozen || self.dice.percent(5);
        let beside = if fails { None } else { Some(self.open(slot, id, epoch, node)) };
        let member = self.member(slot, id).expect("a member");
        member.dialing = None;
        member.beside = beside;
        if fails {
            return self.feed(slot, Input::DialFailed(Epoch(epoch), DialError::Refused(503)));
        }
        self.feed(slot, Input::UpstreamOpened(Epoch(epoch), NodeId(node as u32)));
        // What has just been made is lost now and then, the old connection as well as the new.
        if !self.healing && self.dice.percent(15) {
            let either = self.member(slot, id).map(|member| [member.conn, member.beside]);
            let either: Vec<usize> = either.into_iter().flatten().flatten().collect();
            if !either.is_empty() {
                let (delay, conn) = (self.dice.pick(&[1, 30, 400]), self.dice.pick(&either));
                self.later(delay, Happening::Flaps(conn));
            }
        }
    }

    /// The other of the two connections leads from now on.
    pub(super) fn lead(&mut self, slot: usize, epoch: u32) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        let Some(beside) = member.beside.filter(|conn| self.conns[*conn].epoch == epoch) else {
            let what = format!("epoch {epoch} is to lead, which is not there");
            return self.breach(Rule::Addressed, what);
        };
        member.beside = member.conn.replace(beside);
        member.under_way = epoch > member.epoch;
        if member.under_way {
            member.set_out_from = member.beside;
            let streams = member.session.streams.table.iter();
            member.before = streams
                .map(|stream| (stream.client_id().to_owned(), stream.upstream_id().to_owned()))
                .collect();
        }
        member.epoch = epoch;
        member.connected_at = self.conns[beside].opened_at;
        if member.under_way && !member.is_ordered {
            self.tally.count("followed a stream");
        }
        let member = self.slots[slot].as_ref().expect("a member");
        if member.under_way && self.tells_of_moves() {
            self.tell_client(slot, b"{\"message\":\"getVersion\",\"data\":[\"5.2\"]}");
        }
    }

    /// Something is said to the node that is left.
    pub(super) fn tell_left(&mut self, slot: usize, text: Vec<u8>) {
        let Some(conn) = self.slots[slot].as_ref().and_then(|member| member.beside) else {
            return self.breach(Rule::Addressed, "to a node that is not left".to_owned());
        };
        let at = (self.now + self.dice.between(1, 40)).max(self.conns[conn].to_server_at);
        self.conns[conn].to_server_at = at;
        self.later(at - self.now, Happening::ServerHears(conn, text));
    }

    pub(super) fn moved(&mut self, slot: usize, outcome: &MoveOutcome) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        member.under_way = false;
        member.is_ordered = false;
        let (id, publishes, node) =
            (member.id, member.session.belongings().publishes, member.session.belongings().node);
        match outcome {
            MoveOutcome::Done if !publishes.is_empty() => {
                self.tally.count("a publisher moved");
                // Its players follow, then what is left of it is let go.
                for other in 0..self.slots.len() {
                    let Some(player) = self.slots[other].as_ref() else { continue };
                    if player.session.belongings().plays.iter().any(|name| publishes.contains(name)) {
                        let (player, delay) = (player.id, self.dice.between(1, 1_500));
                        self.later(delay, Happening::MoverFollows(other, player, node.0));
                    }
                }
                let delay = self.dice.between(500, 6_000);
                self.later(delay, Happening::MoverLetsGo(slot, id));
            }
            MoveOutcome::Done | MoveOutcome::Refused(_) => {}
            MoveOutcome::Returned(_) => {
                self.loses_on_return(slot);
                self.look_at_return(slot);
            }
        }
        if let Some(member) = self.slots[slot].as_mut() {
            member.before.clear();
        }
    }

    /// A player is to follow its publisher.
    pub(super) fn order_move(&mut self, slot: usize, id: SessionId, node: u32) {
        if self.member(slot, id).is_some_and(|member| !member.passed_through && !member.client_gone) {
            self.note(|| format!("slot {slot} is to follow to node {node}"));
            self.is_ordered(slot);
            self.feed(slot, Input::Move { to: NodeId(node) });
        }
    }

    fn is_ordered(&mut self, slot: usize) {
        if let Some(member) = self.slots[slot].as_mut() {
            member.is_ordered = true;
        }
    }

    /// After a move that came to nothing the node that was to be left has what it had, by the same ids.
    fn look_at_return(&mut self, slot: usize) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let stayed = member.conn.filter(|conn| member.set_out_from == Some(*conn));
        let Some(conn) = stayed.map(|conn| &self.conns[conn]).filter(|conn| conn.server_open) else {
            return;
        };
        let Some(kept) = conn.kept.and_then(|kept| self.nodes[conn.node].kept.get(&kept)) else { return };
        let live = member.session.streams.table.iter().filter(|stream| stream.is(Standing::Live));
        let mut wrong = None;
        for stream in live {
            let (client_id, upstream_id) = (stream.client_id(), stream.upstream_id());
            let Some((_, before)) = member.before.iter().find(|(id, _)| id == client_id) else { continue };
            let there = kept.streams.contains_key(upstream_id) || kept.past.contains(upstream_id);
            if before != upstream_id || !there {
                wrong = Some(format!("{client_id} was {before}, is {upstream_id}, there: {there}"));
            }
        }
        if let Some(what) = wrong {
            self.breach(Rule::BackAsBefore, what);
        }
    }

    /// How many nodes have what one session publishes, where a player could see it.
    pub(super) fn look_at_publishes(&mut self, slot: usize) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        if member.client_gone || !member.session.moving.is_idle() {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut twice = None;
        for node in self.nodes.iter().filter(|node| !node.frozen) {
            for kept in node.kept.values().filter(|kept| kept.owner == member.id) {
                let Some(conn) = kept.conn.map(|conn| &self.conns[conn]) else { continue };
                let late = conn.closed_at.is_some_and(|at| self.now > at + LEARNS_MS);
                if !conn.server_open || conn.black || !(conn.proxy_open || late) {
                    continue;
                }
                for stream in kept.streams.values().filter(|stream| stream.publish && stream.running) {
                    if !seen.insert(&stream.intent) {
                        twice = Some(stream.intent.clone());
                    }
                }
            }
        }
        if let Some(intent) = twice {
            self.breach(Rule::PublishedOnce, format!("{intent} is published on two nodes"));
        }
    }
}
