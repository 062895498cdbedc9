//! A web on its way: who of it is told next, who has moved, and when it is over.

use std::{collections::BTreeMap, collections::VecDeque, time::Duration};

use crate::{
    ids::{NodeId, SessionId},
    session::Timestamp,
};

use super::webs::Web;

/// How long a session may take to say what came of its move. It bounds its moves itself and earlier: this is
/// for one that is stuck.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Moves of a player that may fail until its web goes on without it.
const PLAYER_TRIES_MAX: u8 = 3;
/// Between two of them.
const PLAYER_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Player {
    session: SessionId,
    /// Moves that failed.
    failed: u8,
    not_before: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Publisher,
    Player { failed: u8 },
}

/// Who is told next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// One that pays for itself.
    Paced,
    /// One of those that wait for each other: begun at once, and paid for by whoever comes after.
    AtOnce,
    /// Nobody before this time.
    NotBefore(Timestamp),
    /// Nobody, until somebody answers.
    Nobody,
}

/// How it went.
#[derive(Debug)]
pub(super) enum End {
    /// Those who moved let go; those who could not are restored beside them.
    Moved { let_go: Vec<SessionId>, given_up: Vec<SessionId> },
    /// A publisher could not move: those who did go back, and all of them stay.
    Stays { back: Vec<SessionId>, all: Vec<SessionId>, why: String },
}

#[derive(Debug)]
pub(super) struct Moving {
    pub(super) to: NodeId,
    publishers: VecDeque<SessionId>,
    entangled: VecDeque<SessionId>,
    players: VecDeque<Player>,
    /// Who was told, as what, and until when it may take.
    told: BTreeMap<SessionId, (Told, Timestamp)>,
    /// Who has moved and is still to let go.
    holding: Vec<SessionId>,
    given_up: Vec<SessionId>,
    /// Publishers that could not move, and why the first of them could not.
    stays: Vec<SessionId>,
    why: Option<String>,
}

impl Moving {
    pub(super) fn new(web: Web, to: NodeId, now: Timestamp) -> Self {
        let player = |session| Player { session, failed: 0, not_before: now };
        Self {
            to,
            publishers: web.publishers.into(),
            entangled: web.entangled.into(),
            players: web.others.into_iter().map(player).collect(),
            told: BTreeMap::new(),
            holding: Vec::new(),
            given_up: Vec::new(),
            stays: Vec::new(),
            why: None,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.told.len()
    }

    /// Those who are still on the old node, as far as anybody knows.
    pub(super) fn left(&self) -> usize {
        let to_come = self.publishers.len() + self.entangled.len() + self.players.len();
        to_come + self.told.len() + self.stays.len() + self.given_up.len()
    }

    pub(super) fn next(&self, now: Timestamp) -> Next {
        let publishers_move = self.told.values().any(|(told, _)| matches!(told, Told::Publisher));
        if self.why.is_some() {
            Next::Nobody
        } else if !self.publishers.is_empty() {
            Next::Paced
        } else if !self.entangled.is_empty() {
            Next::AtOnce
        } else if publishers_move {
            Next::Nobody
        } else {
            match self.players.iter().map(|player| player.not_before).min() {
                Some(at) if at <= now => Next::Paced,
                Some(at) => Next::NotBefore(at),
                None => Next::Nobody,
            }
        }
    }

    /// Whoever is next: it is told by the caller.
    pub(super) fn tell(&mut self, now: Timestamp) -> Option<SessionId> {
        let until = now + ANSWER_MAX;
        let publisher = self.publishers.pop_front().or_else(|| self.entangled.pop_front());
        if let Some(session) = publisher {
            self.told.insert(session, (Told::Publisher, until));
            return Some(session);
        }
        let place = self.players.iter().position(|player| player.not_before <= now)?;
        let player = self.players.remove(place)?;
        self.told.insert(player.session, (Told::Player { failed: player.failed }, until));
        Some(player.session)
    }

    /// A session has moved. False: it was not told to.
    pub(super) fn moved(&mut self, session: SessionId) -> bool {
        let was_told = self.told.remove(&session).is_some();
        if was_told {
            self.holding.push(session);
        }
        was_told
    }

    /// A session has not: a publisher that stays keeps its web, a player is told again for a while. False:
    /// it was not told to.
    pub(super) fn failed(&mut self, session: SessionId, why: String, now: Timestamp) -> bool {
        let Some((told, _)) = self.told.remove(&session) else { return false };
        match told {
            Told::Publisher => {
                self.stays.push(session);
                self.why.get_or_insert(why);
            }
            Told::Player { failed } if failed.saturating_add(1) < PLAYER_TRIES_MAX => {
                let failed = failed.saturating_add(1);
                self.players.push_back(Player { session, failed, not_before: now + PLAYER_PAUSE });
            }
            Told::Player { .. } => self.given_up.push(session),
        }
        true
    }

    /// Those who were told and said nothing in time.
    pub(super) fn late(&self, now: Timestamp) -> Vec<SessionId> {
        self.told.iter().filter(|(_, (_, until))| *until <= now).map(|(session, _)| *session).collect()
    }

    /// When the first of those told is late.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.told.values().map(|(_, until)| *until).min()
    }

    /// A session has ended. True if it was still on the old node.
    pub(super) fn forget(&mut self, session: SessionId) -> bool {
        let before = self.left();
        self.told.remove(&session);
        self.players.retain(|player| player.session != session);
        self.publishers.retain(|one| *one != session);
        self.entangled.retain(|one| *one != session);
        for list in [&mut self.stays, &mut self.given_up, &mut self.holding] {
            list.retain(|one| *one != session);
        }
        self.left() < before
    }

    /// Nothing new of it begins; what is begun goes back, unless all of it is.
    pub(super) fn call_off(&mut self) {
        if !(self.publishers.is_empty() && self.entangled.is_empty() && self.players.is_empty()) {
            self.why.get_or_insert_with(|| "called off".to_owned());
        }
    }

    /// Whether there is nothing to wait for any more.
    pub(super) fn is_over(&self) -> bool {
        self.told.is_empty() && (self.why.is_some() || self.left() == self.given_up.len())
    }

    pub(super) fn end(self) -> End {
        let Some(why) = self.why else {
            return End::Moved { let_go: self.holding, given_up: self.given_up };
        };
        let players = self.players.into_iter().map(|player| player.session);
        let mut all: Vec<SessionId> =
            self.publishers.into_iter().chain(self.entangled).chain(players).collect();
        all.extend(self.stays);
        all.extend(self.given_up);
        all.extend(&self.holding);
        End::Stays { back: self.holding, all, why }
    }
}
