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
/// Moves of a session that may fail until its web goes on without it.
const TRIES_MAX: u8 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// A session that is to be told.
#[derive(Clone, Copy, Debug)]
struct Member {
    session: SessionId,
    role: Role,
    /// Moves that failed.
    failed: u8,
    not_before: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Publisher,
    /// It publishes, and plays what others of these publish.
    Entangled,
    Player,
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
    /// Nobody has moved, because the first who should could not.
    Stays { all: Vec<SessionId>, why: String },
}

#[derive(Debug)]
pub(super) struct Moving {
    pub(super) to: NodeId,
    /// Who is still to be told: publishers, then the entangled, then players.
    to_come: VecDeque<Member>,
    /// Who was told, and until when it may take.
    told: BTreeMap<SessionId, (Member, Timestamp)>,
    /// Who has moved and is still to let go.
    holding: Vec<SessionId>,
    given_up: Vec<SessionId>,
    /// Why the first publisher that was given up could not: no others are told.
    why: Option<String>,
}

impl Moving {
    pub(super) fn new(web: Web, to: NodeId, now: Timestamp) -> Self {
        let as_role = |list: Vec<SessionId>, role| {
            list.into_iter().map(move |session| Member { session, role, failed: 0, not_before: now })
        };
        let publishers =
            as_role(web.publishers, Role::Publisher).chain(as_role(web.entangled, Role::Entangled));
        Self {
            to,
            to_come: publishers.chain(as_role(web.others, Role::Player)).collect(),
            told: BTreeMap::new(),
            holding: Vec::new(),
            given_up: Vec::new(),
            why: None,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.told.len()
    }

    /// Those who are still on the old node, as far as anybody knows.
    pub(super) fn left(&self) -> usize {
        self.to_come.len() + self.told.len() + self.given_up.len()
    }

    /// The place of the one that is next, of the first role that is not through.
    fn place(&self) -> Option<usize> {
        let first = |role| self.to_come.iter().any(|member| member.role == role).then_some(role);
        let role = first(Role::Publisher).or(first(Role::Entangled)).or(first(Role::Player))?;
        let of_role = self.to_come.iter().enumerate().filter(|(_, member)| member.role == role);
        of_role.min_by_key(|(_, member)| member.not_before).map(|(place, _)| place)
    }

    pub(super) fn next(&self, now: Timestamp) -> Next {
        let Some(next) = self.place().and_then(|place| self.to_come.get(place)) else { return Next::Nobody };
        let publishers_move = self.told.values().any(|(member, _)| member.role != Role::Player);
        if self.why.is_some() || (next.role == Role::Player && publishers_move) {
            Next::Nobody
        } else if next.not_before > now {
            Next::NotBefore(next.not_before)
        } else if next.role == Role::Entangled {
            Next::AtOnce
        } else {
            Next::Paced
        }
    }

    /// Whoever is next: it is told by the caller.
    pub(super) fn tell(&mut self, now: Timestamp) -> Option<SessionId> {
        let member = self.place().and_then(|place| self.to_come.remove(place))?;
        self.told.insert(member.session, (member, now + ANSWER_MAX));
        Some(member.session)
    }

    /// A session has moved. False: it was not told to.
    pub(super) fn moved(&mut self, session: SessionId) -> bool {
        let was_told = self.told.remove(&session).is_some();
        if was_told {
            self.holding.push(session);
        }
        was_told
    }

    /// A session has not, and is told again for a while. False: it was not told to.
    pub(super) fn failed(&mut self, session: SessionId, why: String, now: Timestamp) -> bool {
        let Some((mut member, _)) = self.told.remove(&session) else { return false };
        member.failed = member.failed.saturating_add(1);
        if member.failed < TRIES_MAX {
            member.not_before = now + PAUSE;
            self.to_come.push_back(member);
            return true;
        }
        self.given_up.push(session);
        if member.role != Role::Player {
            self.why.get_or_insert(why);
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
        self.to_come.retain(|member| member.session != session);
        for list in [&mut self.given_up, &mut self.holding] {
            list.retain(|one| *one != session);
        }
        self.left() < before
    }

    /// Whether nobody was told yet. What has begun is seen through.
    pub(super) fn has_not_begun(&self) -> bool {
        self.told.is_empty() && self.holding.is_empty()
    }

    /// Whether there is nothing to wait for any more.
    pub(super) fn is_over(&self) -> bool {
        self.told.is_empty() && (self.why.is_some() || self.to_come.is_empty())
    }

    /// A web that has moved by half is not torn: the rest follows as after an outage.
    pub(super) fn end(self) -> End {
        let rest = self.given_up.into_iter().chain(self.to_come.into_iter().map(|member| member.session));
        match self.why {
            Some(why) if self.holding.is_empty() => End::Stays { all: rest.collect(), why },
            _ => End::Moved { let_go: self.holding, given_up: rest.collect() },
        }
    }
}
