//! Sessions go to other nodes: the orders of a mover, the driver's part of a move, and what is looked at on
//! the way (rule R15).

use super::{
    super::{DialError, Epoch, Input, MoveOutcome, NodeId, SessionId},
    rules::Rule,
    world::{Happening, World},
};

impl World {
    /// Somebody who takes nodes out of service, at random.
    pub(super) fn mover_acts(&mut self) {
        let wait = self.dice.between(300, 3_000);
        self.later(wait, Happening::Mover);
        let slots = self.slots.len() as u64;
        let slot = self.dice.between(0, slots - 1) as usize;
        let here =
            self.slots[slot].as_ref().map(|member| (member.passed_through, member.session.belongings()));
        let Some((false, belongings)) = here.filter(|_| !self.healing) else { return };
        let node = self.dice.between(0, self.nodes.len() as u64 - 1) as u32;
        let input = match self.dice.between(0, 99) {
            0..=79 => Input::Move { to: NodeId(node) },
            80..=94 => Input::LetGo,
            _ => {
                self.tally.count("forced to move");
                Input::ForceMove
            }
        };
        self.note(|| format!("slot {slot}: {input:?}, {belongings:?}"));
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
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        let Some(beside) = member.beside.filter(|conn| self.conns[*conn].epoch == epoch) else {
            let what = format!("epoch {epoch} is to lead, which is not there");
            return self.breach(Rule::Addressed, what);
        };
        member.beside = member.conn.replace(beside);
        member.under_way = epoch > member.epoch;
        member.epoch = epoch;
        member.connected_at = now;
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
        if let Some(member) = self.slots[slot].as_mut() {
            member.under_way = false;
        }
        if matches!(outcome, MoveOutcome::Refused(_)) {
            self.tally.count("a move was refused");
        }
    }
}
