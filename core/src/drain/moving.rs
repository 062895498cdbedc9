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
/// Moves of a session that may fail until it is *stuck*: it is named, and tried again at a slower pace.
const TRIES_MAX: u8 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two of one that is stuck: at first, and at most.
const STUCK_PAUSE: Duration = Duration::from_secs(5);
const STUCK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A session that is to be told.
#[derive(Clone, Debug)]
struct Member {
    session: SessionId,
    role: Role,
    /// Moves that failed.
    failed: u8,
    /// Why the last of them did.
    why: String,
    not_before: Timestamp,
}

impl Member {
    const fn is_stuck(&self) -> bool {
        self.failed >= TRIES_MAX
    }

    /// It was tried in vain, for this reason.
    fn fails(&mut self, why: String, now: Timestamp) {
        self.failed = self.failed.saturating_add(1);
        self.why = why;
        self.not_before = now + self.failed.checked_sub(TRIES_MAX).map_or(PAUSE, stuck_pause);
    }
}

/// Until one that is stuck is tried again, after so many of these pauses.
pub(super) fn stuck_pause(pauses: u8) -> Duration {
    STUCK_PAUSE.saturating_mul(2_u32.saturating_pow(pauses.into())).min(STUCK_PAUSE_MAX)
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
    /// Those who moved let go; those who could not are restored beside them, or they would be torn from them.
    Moved { let_go: Vec<SessionId>, torn: Vec<SessionId> },
    /// Those who moved, if anybody has, belong to none of those who could not, which stay where they are.
    Stays { let_go: Vec<SessionId>, all: Vec<SessionId>, why: String },
}

/// A move that comes to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) session: SessionId,
    pub(super) why: String,
    pub(super) at: Timestamp,
    /// Nobody is waited for any more.
    pub(super) is_last: bool,
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
    /// One of them publishes: whoever is left still has its stream, as long as it does not let go.
    is_fed: bool,
    given_up: Vec<SessionId>,
    /// Why the first that was given up could not.
    why: String,
    /// It published: no others are told.
    is_off: bool,
}

impl Moving {
    pub(super) fn new(web: Web, to: NodeId, now: Timestamp) -> Self {
        let as_role = |list: Vec<SessionId>, role| {
            let member =
                move |session| Member { session, role, failed: 0, why: String::new(), not_before: now };
            list.into_iter().map(member)
        };
        let publishers =
            as_role(web.publishers, Role::Publisher).chain(as_role(web.entangled, Role::Entangled));
        Self {
            to,
            to_come: publishers.chain(as_role(web.others, Role::Player)).collect(),
            told: BTreeMap::new(),
            holding: Vec::new(),
            is_fed: false,
            given_up: Vec::new(),
            why: String::new(),
            is_off: false,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.told.len()
    }

    /// Those who are still on the old node, as far as anybody knows.
    pub(super) fn left(&self) -> usize {
        self.to_come.len() + self.told.len() + self.given_up.len()
    }

    /// Whether this one is still to be moved.
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.told.contains_key(&session) || self.to_come.iter().any(|member| member.session == session)
    }

    /// Whether it waits for sessions that are stuck, and for nobody else: why, and how many there are of each.
    /// Those whose turn comes after them wait for the same.
    pub(super) fn waits_for(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        let told = || self.told.values().map(|(member, _)| member);
        let next = self.place().and_then(|place| self.to_come.get(place));
        let mut first = next.into_iter().chain(told());
        let Some(why) = first.next().filter(|member| member.is_stuck()).map(|member| &*member.why) else {
            return reasons;
        };
        if !first.all(Member::is_stuck) {
            return reasons;
        }
        for member in self.to_come.iter().chain(told()) {
            let reason = if member.is_stuck() { &*member.why } else { why };
            *reasons.entry(reason).or_default() += 1;
        }
        reasons
    }

    /// Those who have to go on publishing at the old node.
    pub(super) fn holding(&self) -> &[SessionId] {
        if self.is_fed { &self.holding } else { &[] }
    }

    /// Whether one is stuck and belongs to one who has moved, and is not being tried now.
    pub(super) fn has_stuck(&self) -> bool {
        self.is_fed && self.to_come.iter().any(Member::is_stuck)
    }

    /// Nobody is waited for any more who is stuck and belongs to one who has moved: one of them, taken out.
    pub(super) fn take_stuck(&mut self) -> Option<SessionId> {
        let place = self.to_come.iter().position(Member::is_stuck).filter(|_| self.is_fed)?;
        self.to_come.remove(place).map(|member| member.session)
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
        if self.is_off || (next.role == Role::Player && publishers_move) {
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
        let session = member.session;
        self.told.insert(session, (member, now + ANSWER_MAX));
        Some(session)
    }

    /// A session has moved. False: it was not told to.
    pub(super) fn moved(&mut self, session: SessionId) -> bool {
        let Some((member, _)) = self.told.remove(&session) else { return false };
        self.is_fed |= member.role != Role::Player;
        self.holding.push(session);
        true
    }

    /// A session has not, and is told again. Where none of its web has moved that feeds it, it stays after a few
    /// tries; else it is stuck, and waited for: what it needs is held for it at the old node. False: it was
    /// not told to.
    pub(super) fn failed(&mut self, failed: Failed) -> bool {
        let Failed { session, why, at, is_last } = failed;
        let Some((mut member, _)) = self.told.remove(&session) else { return false };
        member.fails(why, at);
        if !member.is_stuck() || (self.is_fed && !is_last) {
            self.to_come.push_back(member);
            return true;
        }
        if self.given_up.is_empty() {
            self.why = member.why;
        }
        self.is_off |= member.role != Role::Player;
        self.given_up.push(session);
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
        self.told.is_empty() && (self.is_off || self.to_come.is_empty())
    }

    /// A web that has moved by half is not torn: the rest follows as after an outage.
    pub(super) fn end(self) -> End {
        let rest = self.given_up.into_iter().chain(self.to_come.into_iter().map(|member| member.session));
        let (let_go, rest): (_, Vec<SessionId>) = (self.holding, rest.collect());
        if self.is_fed || rest.is_empty() {
            End::Moved { let_go, torn: rest }
        } else {
            End::Stays { let_go, all: rest, why: self.why }
        }
    }
}
