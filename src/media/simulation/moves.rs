//! Streams that move from one server to another: their sessions have a leg begin beside the one there
//! is, and let that go, or go back to it. Answers are lost, servers die, and sessions change their minds.

use rand::RngExt as _;

use super::{
    peer::Content,
    rules::Rule,
    session::Line,
    world::{Happening, World},
};
use crate::{media::MediaCommand, session::Epoch};

/// When everything moves, after all is well: later than any patience.
pub(super) const ALL_MOVE_MS: u64 = 18_000;
/// How long a session waits for a move to be proven.
const PATIENCE_MS: u64 = 4_000;
/// Longest time between two pictures on a network that is well: they come every 40 ms.
const GAP_MAX_MS: u64 = 120;
/// How long the picture is looked at after a move is made.
const AFTERWARDS_MS: u64 = 1_000;

/// What a session knows of a move.
#[derive(Debug, Default)]
pub(super) struct Moving {
    left: Option<Left>,
    /// The player was sent something through the newest leg.
    switched: bool,
    /// It has to be seamless until then, and since when it is looked at.
    seamless: Option<(u64, u64)>,
}

/// What is left.
#[derive(Debug)]
struct Left {
    epoch: u32,
    server: Option<usize>,
}

impl Moving {
    pub(super) const fn is_on(&self) -> bool {
        self.left.is_some()
    }

    /// The server that is left.
    pub(super) fn from(&self) -> Option<usize> {
        self.left.as_ref().and_then(|left| left.server)
    }
}

impl World {
    /// A session has another leg begin.
    pub(super) fn attaches(&mut self, line: usize, narrow: bool, beside: bool) {
        if !beside {
            self.lose_servers(line);
        } else if self.lines[line].moving.is_on() {
            self.count("move begun again");
            self.lose_server(line);
        } else {
            let its = &mut self.lines[line];
            let (epoch, server) = (its.epoch, its.server.take());
            its.moving.left = Some(Left { epoch, server });
            its.proven = false;
            self.count(if server.is_some() { "move begun" } else { "move begun beside nothing" });
        }
        let its = &mut self.lines[line];
        its.epochs += 1;
        its.epoch = its.epochs;
        its.moving.switched = false;
        let (key, epoch) = (its.key, its.epoch);
        self.note(|| format!("line {line} attaches epoch {epoch}, beside: {beside}"));
        let command = MediaCommand::Attach { key, epoch: Epoch(epoch), narrow, refuse_h264: false, beside };
        self.order(command);
        if beside {
            self.later(PATIENCE_MS, Happening::MoveEnds { line, key, epoch, is_made: false });
        }
    }

    /// A stream is to move, wherever it stands.
    pub(super) fn moves(&mut self, line: usize) {
        if !self.lines[line].client.answered {
            return;
        }
        let narrow = self.percent(80);
        self.attaches(line, narrow, true);
    }

    /// A server is gone without a word; the other one of a move, if there is one, in half of the cases.
    pub(super) fn server_dies(&mut self, line: usize) {
        let (newest, left) = (self.lines[line].server, self.lines[line].moving.from());
        let left = left.filter(|_| self.percent(50));
        if let Some(server) = left.or(newest) {
            self.count(if left.is_some() { "server that is left died" } else { "server died" });
            self.servers[server].lost.get_or_insert(self.now);
        }
    }

    /// All is well: each stream that flows moves, and its viewer sees nothing of it.
    pub(super) fn move_all(&mut self) {
        for line in 0..self.lines.len() {
            let its = &self.lines[line];
            let flows = its.server.is_some_and(|server| self.pictures(line, server) + GAP_MAX_MS > self.now);
            if its.is_open && its.proven && flows && !its.moving.is_on() {
                self.count("seamless move");
                self.lines[line].moving.seamless = Some((self.now, u64::MAX));
                self.attaches(line, true, true);
            }
        }
    }

    /// The newest leg of a move came to nothing.
    pub(super) fn move_failed(&mut self, line: usize, epoch: u32) {
        self.count("move failed");
        let key = self.lines[line].key;
        self.lines[line].moving.switched = false;
        let wait = self.dice.random_range(5..300);
        let next = match self.dice.random_range(0..10) {
            0 | 1 if !self.healing => Happening::Attach { line, key, narrow: true, beside: true },
            2 if !self.healing => Happening::Attach { line, key, narrow: true, beside: false },
            _ => Happening::MoveEnds { line, key, epoch, is_made: false },
        };
        self.later(wait, next);
    }

    /// The newest leg was proven: the session lets go of the other, sooner or later, or thinks better
    /// of it.
    pub(super) fn move_proven(&mut self, line: usize) {
        let (key, epoch) = (self.lines[line].key, self.lines[line].epoch);
        if self.lines[line].moving.is_on() {
            let is_made = self.healing || self.percent(70);
            let wait = self.dice.random_range(5..1_500);
            self.later(wait, Happening::MoveEnds { line, key, epoch, is_made });
        }
    }

    /// A session lets go of the leg that is left, or goes back to it.
    pub(super) fn move_ends(&mut self, line: usize, epoch: u32, is_made: bool) {
        let its = &self.lines[line];
        let waits_no_more = its.proven && !is_made && self.healing;
        if its.epoch != epoch || !its.moving.is_on() || waits_no_more {
            return;
        }
        let (key, proven) = (its.key, its.proven);
        self.note(|| format!("line {line}: its move is made: {is_made}"));
        if is_made {
            self.count("moved");
            self.lose_left(line);
            self.order(MediaCommand::LetGo { key });
        } else {
            self.count(if proven { "moved back" } else { "move given up" });
            self.lose_server(line);
            let its = &mut self.lines[line];
            if let Some(Left { epoch, server }) = its.moving.left.take() {
                (its.epoch, its.server, its.proven) = (epoch, server, true);
            }
            its.moving.switched = false;
            self.order(MediaCommand::Return { key });
        }
        if let Some((_, until)) = &mut self.lines[line].moving.seamless {
            *until = self.now + AFTERWARDS_MS;
        }
    }

    /// The server that is left is let go.
    pub(super) fn lose_left(&mut self, line: usize) {
        if let Some(server) = self.lines[line].moving.left.take().and_then(|left| left.server) {
            self.servers[server].lost.get_or_insert(self.now);
            self.servers[server].dropped = true;
        }
    }

    /// May this go to whoever an engine with this key is for?
    pub(super) fn may_pass(&mut self, content: &Content, key: u64) -> Result<(), Rule> {
        let (line, to) = self.owner_of(key).ok_or(Rule::OwnMediaOnly)?;
        let Line { key, server, moving, .. } = &mut self.lines[line];
        let is_to_nobody = to.is_some_and(|to| self.servers[to].dropped);
        if content.stream != *key || is_to_nobody {
            return Err(Rule::OwnMediaOnly);
        }
        match Some(content.leg) {
            Some(0) => Ok(()),
            leg if leg == *server => {
                let is_first = moving.is_on() && !std::mem::replace(&mut moving.switched, true);
                // Picture and sound of one server go together.
                let is_torn = is_first && moving.seamless.is_some() && !content.starts;
                if is_torn { Err(Rule::Seamless) } else { Ok(()) }
            }
            leg if leg == moving.from() && moving.switched => Err(Rule::SwitchedOnce),
            leg if leg == moving.from() => Ok(()),
            _ => Err(Rule::OwnMediaOnly),
        }
    }

    /// When the last picture came out of a line, at its player or at this server.
    fn pictures(&self, line: usize, server: usize) -> u64 {
        if self.lines[line].is_publish() {
            self.servers[server].last_video
        } else {
            self.lines[line].client.last_video
        }
    }

    /// Nobody misses a picture while all is well and streams move.
    pub(super) fn look_at_moves(&mut self) {
        for line in 0..self.lines.len() {
            let its = &self.lines[line];
            let Some((since, _)) = its.moving.seamless.filter(|(_, until)| self.now < *until) else {
                continue;
            };
            // Until it is let go whoever watches at the old server of a publisher sees it there.
            let Some(server) = its.moving.from().or(its.server) else { continue };
            let last = self.pictures(line, server).max(since);
            if self.now > last + GAP_MAX_MS {
                let what = format!("no picture of line {line} since {last}, moving since {since}");
                return self.breach(Rule::Seamless, what);
            }
        }
    }
}
