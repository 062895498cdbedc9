//! What goes wrong with servers and networks.

use super::{
    super::{Epoch, Input, LossCause, SessionId},
    serve::status_of,
    server::{Resume, Welcome},
    world::{Happening, World},
};

/// What requests are refused with for a while.
const TROUBLES: &[&str] = &[
    "Session not ready",
    "Failed to add stream to proxy",
    "Stream failed",
    "Restricted access",
    "No available transcoders",
];

impl World {
    pub(super) fn fault(&mut self) {
        let node = self.dice.between(0, self.nodes.len() as u64 - 1) as usize;
        match self.dice.between(0, 99) {
            0..=19 => self.crash(node),
            20..=34 => self.cut_one(node),
            35..=44 => self.black_hole(node),
            45..=54 => self.freeze(node),
            55..=60 => {
                let welcome = [Welcome::Transient, Welcome::Silent, Welcome::Friendly, Welcome::Transient];
                self.nodes[node].welcome = self.dice.pick(&welcome);
            }
            61 | 62 => self.nodes[node].welcome = Welcome::Permanent,
            63..=68 => {
                let resume = [Resume::Works, Resume::Works, Resume::Fails, Resume::Silent, Resume::Anew];
                self.nodes[node].resume = self.dice.pick(&resume);
            }
            69..=72 => self.nodes[node].refuses_h264 = self.dice.percent(50),
            73..=76 => {
                let trouble = self.dice.pick(TROUBLES);
                self.nodes[node].trouble = Some(trouble).filter(|_| self.dice.percent(60));
            }
            77..=79 => self.nodes[node].slow = self.dice.percent(50),
            80..=83 => self.nodes[node].linger_ms = self.dice.pick(&[0, 5_000, 20_000, 50_000]),
            84..=90 => self.send_late_word(),
            91 => self.shut_down_one(),
            _ => self.nodes[node].heal(),
        }
        if self.dice.percent(50) {
            self.nodes[node].welcome = Welcome::Friendly;
        }
    }

    fn conns_of(&self, node: usize) -> Vec<usize> {
        let open = self.conns.iter().enumerate().filter(|(_, conn)| conn.node == node && conn.server_open);
        open.map(|(index, _)| index).collect()
    }

    /// The process dies, with or without last words.
    fn crash(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        self.tally.count("crash");
        self.note(|| format!("node {node} crashes"));
        let burst = self.dice.percent(35);
        for conn in self.conns_of(node) {
            if burst {
                self.last_words(conn);
            }
            let cause = self.dice.pick(&[
                LossCause::EndOfFile,
                LossCause::Reset,
                LossCause::Closed(1_001),
                LossCause::Closed(1_012),
            ]);
            let at =
                (self.now + self.dice.between(0, 200)).max(self.conns[conn].to_proxy_at.min(self.now + 250));
            self.conns[conn].server_open = false;
            self.conns[conn].kept = None;
            if !self.conns[conn].black {
                self.later(at - self.now, Happening::ServerEnds(conn, cause));
            }
        }
        let state = &mut self.nodes[node];
        state.up = false;
        state.frozen = false;
        state.backlog.clear();
        state.kept.clear();
        state.rooms.clear();
        let gone: Vec<String> =
            self.publishers.iter().filter(|(_, p)| p.node == node).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.publishers.remove(&name);
            self.players_lose(&name);
        }
        let down = self.dice.pick(&[100, 1_000, 2_000, 2_000, 6_000, 12_000, 40_000, 70_000]);
        self.later(down, Happening::NodeUp(node));
    }

    /// FAILED for every stream, just before the end (rule R3).
    fn last_words(&mut self, conn: usize) {
        let node = self.conns[conn].node;
        let Some(kept) = self.conns[conn].kept.and_then(|id| self.nodes[node].kept.get(&id)) else { return };
        let words: Vec<_> = kept
            .streams
            .iter()
            .filter(|(_, stream)| stream.running)
            .map(|(media, stream)| status_of(media, stream, "FAILED", Some("Stopped by session disconnect")))
            .collect();
        for text in words {
            self.say(conn, text, 0);
        }
    }

    /// One session's socket is ended by the server.
    fn cut_one(&mut self, node: usize) {
        let open = self.conns_of(node);
        if open.is_empty() || self.nodes[node].frozen {
            return;
        }
        let conn = self.dice.pick(&open);
        self.cut(conn);
    }

    /// The server closes a connection it has just taken.
    pub(super) fn flap(&mut self, conn: usize) {
        let node = self.conns[conn].node;
        if self.conns[conn].server_open && self.nodes[node].up && !self.nodes[node].frozen {
            self.cut(conn);
        }
    }

    fn cut(&mut self, conn: usize) {
        self.note(|| format!("connection {conn} is cut"));
        let words = self.dice.percent(40);
        if words {
            self.last_words(conn);
        }
        let causes = [LossCause::EndOfFile, LossCause::Reset, LossCause::Closed(1_000), LossCause::Protocol];
        let cause = self.dice.pick(&causes);
        let at = self.now.max(self.conns[conn].to_proxy_at);
        if !self.conns[conn].black {
            self.later(at - self.now, Happening::ServerEnds(conn, cause));
        }
        self.server_forgets(conn, !words);
    }

    /// Nothing passes any more, and nobody is told.
    fn black_hole(&mut self, node: usize) {
        let open: Vec<usize> =
            self.conns_of(node).into_iter().filter(|conn| !self.conns[*conn].black).collect();
        if open.is_empty() {
            return;
        }
        let conn = self.dice.pick(&open);
        self.tally.count("black hole");
        self.note(|| format!("connection {conn} is a black hole"));
        self.conns[conn].black = true;
        self.haunt(conn);
    }

    /// The server believes the session alive until it lingered long enough.
    pub(super) fn haunt(&mut self, conn: usize) {
        self.conns[conn].server_open = false;
        let node = self.conns[conn].node;
        let Some(id) = self.conns[conn].kept.take() else { return };
        let linger = self.nodes[node].linger_ms;
        if let Some(kept) = self.nodes[node].kept.get_mut(&id).filter(|kept| kept.conn == Some(conn)) {
            kept.conn = None;
            let linger = if kept.keep_alive { linger.max(30_000) } else { linger };
            self.later(linger, Happening::GhostEnds(node, id));
        }
    }

    /// The server knows that the socket is gone.
    fn server_forgets(&mut self, conn: usize, may_keep: bool) {
        let node = self.conns[conn].node;
        let id = self.conns[conn].kept;
        let keeps = id.and_then(|id| self.nodes[node].kept.get(&id)).is_some_and(|kept| kept.keep_alive);
        if keeps && may_keep && self.dice.percent(70) {
            return self.haunt(conn);
        }
        self.conns[conn].server_open = false;
        if let Some(id) = self.conns[conn].kept.take() {
            self.end_kept(node, id);
        }
    }

    /// The proxy's close arrives.
    pub(super) fn server_learns(&mut self, conn: usize) {
        let node = self.conns[conn].node;
        if !self.conns[conn].server_open {
            return;
        }
        if self.nodes[node].frozen {
            self.nodes[node].backlog.push((conn, None));
            return;
        }
        self.server_forgets(conn, true);
    }

    fn freeze(&mut self, node: usize) {
        if !self.nodes[node].up || self.nodes[node].frozen {
            return;
        }
        self.tally.count("freeze");
        self.note(|| format!("node {node} freezes"));
        self.nodes[node].frozen = true;
        let wait = self.dice.pick(&[1_000, 5_000, 10_000, 14_000, 20_000, 30_000]);
        self.later(wait, Happening::Thaw(node));
    }

    pub(super) fn thaw(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].frozen) {
            return;
        }
        self.note(|| format!("node {node} thaws"));
        for (conn, text) in std::mem::take(&mut self.nodes[node].backlog) {
            match text {
                Some(text) => self.server_hears(conn, text),
                None => self.server_learns(conn),
            }
        }
    }

    pub(super) fn node_up(&mut self, node: usize) {
        if std::mem::replace(&mut self.nodes[node].up, true) {
            return;
        }
        self.note(|| format!("node {node} is up"));
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() && self.dice.percent(50) {
                self.feed(slot, Input::NodeUp);
            }
        }
    }

    /// Every node is made well at once.
    pub(super) fn heal(&mut self) {
        self.healing = true;
        self.note(|| "from now on all is well".to_owned());
        for node in 0..self.nodes.len() {
            self.nodes[node].heal();
            self.thaw(node);
            self.node_up(node);
        }
    }

    pub(super) fn pings(&mut self, node: usize) {
        self.later(5_000, Happening::Pings(node));
        self.fake_life();
        if !self.nodes[node].up || self.nodes[node].frozen {
            return;
        }
        let well = self.nodes[node].kept.values().filter(|kept| kept.established);
        let conns: Vec<usize> = well.filter_map(|kept| kept.conn).collect();
        for conn in conns {
            let ping = super::kit::message("ping", serde_json::Value::Null);
            self.say(conn, ping, 0);
        }
    }

    fn some_member(&mut self) -> Option<(usize, SessionId, u32)> {
        let all = self.slots.iter().enumerate().filter_map(|(slot, m)| Some((slot, m.as_ref()?)));
        let all: Vec<_> = all.map(|(slot, member)| (slot, member.id, member.epoch)).collect();
        (!all.is_empty()).then(|| self.dice.pick(&all))
    }

    fn send_late_word(&mut self) {
        if let Some((slot, id, epoch)) = self.some_member().filter(|(_, _, epoch)| *epoch > 0) {
            let delay = self.dice.between(1, 500);
            self.later(delay, Happening::Late(slot, id, epoch - 1));
        }
    }

    fn shut_down_one(&mut self) {
        if let Some((slot, ..)) = self.some_member() {
            self.note(|| format!("slot {slot}: shutdown"));
            self.feed(slot, Input::Shutdown);
        }
    }

    /// A WebSocket pong from the upstream.
    pub(super) fn upstream_pongs(&mut self, conn: usize) {
        let (slot, id, epoch) = self.whose(conn);
        let at = &self.conns[conn];
        if at.black || !at.proxy_open || !at.server_open || self.nodes[at.node].frozen {
            return;
        }
        if self.member(slot, id).is_some() {
            self.feed(slot, Input::UpstreamActivity(Epoch(epoch)));
        }
    }
}
