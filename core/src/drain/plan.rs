//! The plan of one drain: webs one after another, publishers before players, no faster than its rate.

mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    ids::{NodeId, SessionId},
    session::{Belongings, Timestamp},
};

use super::{
    moving::{End, Failed, Moving, Next},
    progress::{Progress, Reasons, Speed, Stage},
    webs::{Web, webs},
};

/// Moves under way at once, of all webs together; a web is begun whole.
const UNDER_WAY_MAX: usize = 256;
/// Until those that cannot move are looked at again, and who failed is tried again.
const SURVEY_PAUSE: Duration = Duration::from_secs(1);
/// How often a node that is only to be relieved is looked at.
const RELIEF_ROUNDS_MAX: u8 = 5;
/// How often those who hold their old connection for others are told to go on.
const HOLD_EVERY: Duration = Duration::from_secs(2);
/// How long a survey may take.
const SURVEY_MAX: Duration = Duration::from_secs(10);
/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Sessions per second, at most. A web whose publishers play each other is begun at once, and so is one
    /// that is forced; the next pays for it.
    pub rate: u32,
    /// After so long those that are left are restored elsewhere as after an outage. None: they stay.
    pub force_after: Option<Duration>,
    /// So many sessions may stay: the node is relieved, not emptied. Then nobody is waited for who cannot
    /// move. None: all are to leave.
    pub keep: Option<usize>,
}

/// What a session said of its move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is proven on the new node. It may still hold its old connection.
    Done,
    /// Nothing was tried: it cannot move now.
    Refused(String),
    /// It was tried, and it is where it was.
    Returned(String),
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The sessions that are on the node.
    Surveyed(Vec<Belongings>),
    /// A session answers its move.
    Told(SessionId, Answer),
    /// A session has ended.
    Ended(SessionId),
    /// The operator wants it otherwise: at another rate, or forced after a time that begins now. What is under way
    /// goes on.
    Amended(Wish),
    /// Time has passed.
    Timeout,
    /// It is called off: what is under way is seen through, nothing new begins.
    Cancel,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say who is on the node.
    Survey,
    /// A session is to move.
    Move {
        /// Which.
        session: SessionId,
        /// Where to.
        to: NodeId,
    },
    /// A session that has moved is to keep its old connection a while longer, for those who have not yet.
    Hold(SessionId),
    /// A session that has moved lets its old connection go.
    LetGo(SessionId),
    /// A session is to be restored elsewhere, as after an outage.
    Force {
        /// Which.
        session: SessionId,
        /// Where to.
        to: NodeId,
    },
}

/// Where sessions that belong together may go; none: there is no usable node.
pub type Choose<'a> = dyn FnMut() -> Option<NodeId> + 'a;

/// What is known of who is on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survey {
    /// It is asked for at this time.
    Due(Timestamp),
    /// It was asked for, and comes until this time.
    Asked(Timestamp),
    /// It is being worked off.
    Here,
}

/// One drain, from the wish to the last session.
#[derive(Debug)]
pub struct Plan {
    wish: Wish,
    began: Timestamp,
    /// When the wish was last said.
    wished: Timestamp,
    stage: Stage,
    survey: Survey,
    /// Surveys so far.
    rounds: u8,
    webs: VecDeque<Web>,
    moving: Vec<Moving>,
    /// Sessions that may be told now; below zero for what was told ahead.
    allowance: f64,
    /// The time of the input being handled.
    now: Timestamp,
    /// Those of the last survey that wait, and why.
    left: Reasons,
    /// Those of them that are to be forced when the time comes, each with those it belongs to.
    waiting: VecDeque<Vec<SessionId>>,
    /// Those of webs of which nobody could move, for a while.
    unmoved: BTreeMap<SessionId, Unmoved>,
    /// When those who hold their old connection are told again to do so.
    hold_at: Timestamp,
    counts: Counts,
    speed: Speed,
}

/// Why a session was not moved, and until when that is not tried again.
#[derive(Debug)]
struct Unmoved {
    why: String,
    until: Timestamp,
    times: u8,
}

#[derive(Debug, Default)]
struct Counts {
    seen: usize,
    moved: usize,
    forced: usize,
    ended: usize,
    failed: usize,
}

impl Plan {
    /// A drain that begins now. Ask it for its first acts by [`Input::Timeout`].
    #[must_use]
    pub fn new(wish: Wish, now: Timestamp) -> Self {
        Self {
            wish,
            began: now,
            wished: now,
            stage: Stage::Moving,
            survey: Survey::Due(now),
            rounds: 0,
            webs: VecDeque::new(),
            moving: Vec::new(),
            allowance: 1.0,
            now,
            left: Reasons::default(),
            waiting: VecDeque::new(),
            unmoved: BTreeMap::new(),
            hold_at: now,
            counts: Counts::default(),
            speed: Speed::default(),
        }
    }

    /// Takes an input at the time `now`, which must not run backwards. What is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp, choose: &mut Choose<'_>) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.is_over() {
            return acts;
        }
        self.pass_time(now);
        match input {
            Input::Surveyed(all) => self.surveyed(&all),
            Input::Told(session, answer) => self.told(session, answer),
            Input::Ended(session) => self.ended(session),
            Input::Cancel => self.cancel(),
            Input::Amended(wish) => self.amend(wish),
            Input::Timeout => {}
        }
        self.go_on(choose, &mut acts);
        acts
    }

    /// When to call [`Plan::handle`] with [`Input::Timeout`] if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if self.is_over() {
            return None;
        }
        let survey = match self.survey {
            Survey::Due(at) | Survey::Asked(at) => Some(at),
            Survey::Here => None,
        };
        let webs = self.moving.iter().flat_map(|web| {
            let next = match web.next(self.now) {
                Next::Paced => Some(self.allowed_again_at()),
                Next::NotBefore(at) => Some(at),
                Next::AtOnce | Next::Nobody => None,
            };
            [next, web.deadline()]
        });
        let begin =
            (!self.webs.is_empty() && self.under_way() < UNDER_WAY_MAX).then(|| self.allowed_again_at());
        let is_stuck = self.moving.iter().any(Moving::has_stuck);
        let force = self.force_at().filter(|_| !self.waiting.is_empty() || is_stuck);
        let force = force.map(|at| at.max(self.allowed_again_at()));
        let hold = self.moving.iter().any(|web| !web.holding().is_empty()).then_some(self.hold_at);
        webs.flatten().chain(survey).chain(begin).chain(force).chain(hold).min()
    }

    /// Whether it has come to its end, one way or the other.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done) || matches!(self.stage, Stage::Cancelled) && self.moving.is_empty()
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self, now: Timestamp) -> Progress {
        let in_webs: usize = self.webs.iter().map(Web::len).sum();
        let under_way = self.under_way();
        let to_come: usize = in_webs + self.moving.iter().map(Moving::left).sum::<usize>();
        let waiting = self.left.list().iter().map(|left| left.sessions).sum::<usize>();
        let mut left = self.left.clone();
        for (reason, sessions) in self.moving.iter().flat_map(Moving::waits_for) {
            left.add(reason, sessions);
        }
        let is_stuck = self.webs.is_empty() && !self.moving.is_empty() && self.are_stuck();
        let rate = self.speed.per_second(now.since(self.began));
        let remaining_s = (to_come > 0 && rate > 0.0).then(|| seconds(to_come, rate));
        Progress {
            stage: if is_stuck && self.stage == Stage::Moving { Stage::Waiting } else { self.stage },
            sessions: self.counts.seen,
            moved: self.counts.moved,
            forced: self.counts.forced,
            ended: self.counts.ended,
            failed: self.counts.failed,
            under_way,
            remaining: to_come + waiting,
            rate,
            remaining_s,
            left: left.list(),
        }
    }

    /// Whether all that is under way waits for sessions that are stuck.
    fn are_stuck(&self) -> bool {
        self.moving.iter().all(|web| !web.waits_for().is_empty())
    }
}

fn seconds(sessions: usize, per_second: f64) -> u64 {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    Duration::try_from_secs_f64(f64::from(sessions) / per_second).map_or(u64::MAX, |time| time.as_secs())
}

// What came in.
impl Plan {
    fn surveyed(&mut self, all: &[Belongings]) {
        if !matches!(self.survey, Survey::Asked(_)) {
            return;
        }
        self.left.clear();
        self.waiting.clear();
        self.counts.seen = self.counts.moved + self.counts.forced + self.counts.ended + all.len();
        self.rounds = self.rounds.saturating_add(1);
        // Those who are stuck are waited for already.
        let others: Vec<Belongings> =
            all.iter().filter(|one| !self.moving.iter().any(|web| web.has(one.session))).cloned().collect();
        let there: BTreeSet<SessionId> = all.iter().map(|one| one.session).collect();
        self.unmoved.retain(|session, _| there.contains(session));
        let surplus = all.len().saturating_sub(self.wish.keep.unwrap_or_default());
        if surplus == 0 && self.moving.is_empty() {
            self.stage = Stage::Done;
            return;
        }
        if self.wish.keep.is_some() {
            return self.relieve(&others, surplus);
        }
        for web in webs(&others) {
            match self.bound_by(&web) {
                Some(reason) => self.wait(web.members(), &reason),
                None => self.webs.push_back(web),
            }
        }
        self.stage = if self.webs.is_empty() { Stage::Waiting } else { Stage::Moving };
        self.survey = if self.webs.is_empty() { Survey::Due(self.now + SURVEY_PAUSE) } else { Survey::Here };
    }

    /// Why a web cannot move now, or is not to be tried yet.
    fn bound_by(&self, web: &Web) -> Option<String> {
        let unmoved = || {
            let members = web.members();
            let unmoved = members.iter().filter_map(|session| self.unmoved.get(session));
            unmoved.filter(|unmoved| unmoved.until > self.now).map(|unmoved| unmoved.why.clone()).next()
        };
        web.bound_by.map(str::to_owned).or_else(unmoved)
    }

    /// Webs that can move, as many as are too many.
    fn relieve(&mut self, all: &[Belongings], surplus: usize) {
        let mut room = surplus;
        for web in webs(all) {
            if self.bound_by(&web).is_some() {
                continue;
            }
            if web.len() <= room {
                room -= web.len();
                self.webs.push_back(web);
            }
        }
        if self.webs.is_empty() || self.rounds > RELIEF_ROUNDS_MAX {
            self.webs.clear();
            self.stage = Stage::Done;
        }
        self.survey = Survey::Here;
    }

    fn told(&mut self, session: SessionId, answer: Answer) {
        match answer {
            Answer::Done => {
                if self.moving.iter_mut().any(|web| web.moved(session)) {
                    self.counts.moved += 1;
                    self.speed.count(self.now.since(self.began));
                }
            }
            Answer::Refused(why) | Answer::Returned(why) => self.failed(session, &why),
        }
    }

    fn failed(&mut self, session: SessionId, why: &str) {
        let is_last = self.stage == Stage::Cancelled || self.is_to_force();
        let (why, at) = (why.to_owned(), self.now);
        let Some(web) = self.moving.iter_mut().find(|web| web.has(session)) else { return };
        if web.failed(Failed { session, why, at, is_last }) {
            self.counts.failed += 1;
        }
    }

    fn ended(&mut self, session: SessionId) {
        let mut was_here = false;
        for web in &mut self.moving {
            was_here |= web.forget(session);
        }
        for web in &mut self.webs {
            was_here |= web.forget(session);
        }
        self.webs.retain(|web| !web.is_empty());
        for web in &mut self.waiting {
            let before = web.len();
            web.retain(|one| *one != session);
            was_here |= web.len() < before;
        }
        self.waiting.retain(|web| !web.is_empty());
        if was_here {
            self.counts.ended += 1;
        }
    }

    fn amend(&mut self, wish: Wish) {
        if self.stage == Stage::Cancelled {
            return;
        }
        (self.wish, self.wished) = (wish, self.now);
        self.allowance = self.allowance.min(burst(wish.rate));
    }

    fn cancel(&mut self) {
        self.stage = Stage::Cancelled;
        self.webs.clear();
        self.waiting.clear();
        self.left.clear();
        // What has begun is seen through, so that nobody is torn from its publisher.
        self.moving.retain(|web| !web.has_not_begun());
    }

    /// Who does not answer in time has not moved.
    fn pass_time(&mut self, now: Timestamp) {
        let rate = f64::from(self.wish.rate.max(1));
        let earned = now.since(self.now).as_secs_f64() * rate;
        self.allowance = (self.allowance + earned).min(burst(self.wish.rate));
        self.now = now;
        let late: Vec<SessionId> = self.moving.iter().flat_map(|web| web.late(now)).collect();
        for session in late {
            self.failed(session, "no answer");
        }
        if matches!(self.survey, Survey::Asked(until) if until <= now) {
            self.survey = Survey::Due(now);
        }
    }
}

/// What of its rate a drain may do at once.
fn burst(rate: u32) -> f64 {
    (f64::from(rate) / 10.0).max(1.0)
}

// What is done.
impl Plan {
    fn go_on(&mut self, choose: &mut Choose<'_>, acts: &mut Vec<Act>) {
        if self.is_over() {
            return;
        }
        self.force_those_who_wait(choose, acts);
        self.force_those_who_are_stuck(acts);
        self.hold(acts);
        for place in 0..self.moving.len() {
            self.tell_web(place, acts);
        }
        self.finish_webs(acts);
        while self.allowance >= 1.0 && self.under_way() < UNDER_WAY_MAX {
            let Some(web) = self.webs.pop_front() else { break };
            let Some(to) = choose() else {
                self.wait(web.members(), "no other node is usable");
                continue;
            };
            self.moving.push(Moving::new(web, to, self.now));
            self.tell_web(self.moving.len() - 1, acts);
        }
        if self.stage != Stage::Cancelled {
            self.look_again(acts);
        }
    }

    /// When all of a survey is worked off: those who are left, and whoever came meanwhile.
    fn look_again(&mut self, acts: &mut Vec<Act>) {
        let may_look = self.moving.is_empty() || (self.wish.keep.is_none() && self.are_stuck());
        if self.survey == Survey::Here && self.webs.is_empty() && may_look {
            let is_through = self.left.is_empty() && self.moving.is_empty();
            let pause = if is_through { Duration::ZERO } else { SURVEY_PAUSE };
            self.stage = if is_through { Stage::Moving } else { Stage::Waiting };
            self.survey = Survey::Due(self.now + pause);
        }
        if matches!(self.survey, Survey::Due(at) if at <= self.now) {
            self.survey = Survey::Asked(self.now + SURVEY_MAX);
            acts.push(Act::Survey);
        }
    }

    fn under_way(&self) -> usize {
        self.moving.iter().map(Moving::under_way).sum()
    }

    /// Tells those of a web whose turn it is.
    fn tell_web(&mut self, place: usize, acts: &mut Vec<Act>) {
        let Some(web) = self.moving.get_mut(place) else { return };
        loop {
            let may = match web.next(self.now) {
                Next::Paced => self.allowance >= 1.0,
                Next::AtOnce => true,
                Next::NotBefore(_) | Next::Nobody => false,
            };
            let Some(session) = may.then(|| web.tell(self.now)).flatten() else { return };
            self.allowance -= 1.0;
            acts.push(Act::Move { session, to: web.to });
        }
    }

    /// Webs that have moved let go.
    fn finish_webs(&mut self, acts: &mut Vec<Act>) {
        let (over, going) = std::mem::take(&mut self.moving).into_iter().partition(Moving::is_over);
        self.moving = going;
        for web in over {
            let to = web.to;
            match web.end() {
                End::Moved { let_go, torn } => {
                    // Whom they belong to goes: they are restored beside it rather than torn from it.
                    self.counts.forced += torn.len();
                    acts.extend(torn.into_iter().map(|session| Act::Force { session, to }));
                    acts.extend(let_go.into_iter().map(Act::LetGo));
                }
                End::Stays { let_go, all, why } => {
                    acts.extend(let_go.into_iter().map(Act::LetGo));
                    if self.stage != Stage::Cancelled {
                        self.pause(&all, &why);
                        self.wait(all, &why);
                    }
                }
            }
        }
    }

    fn allowed_again_at(&self) -> Timestamp {
        let missing = (1.0 - self.allowance).max(0.0) / f64::from(self.wish.rate.max(1));
        let wait = Duration::try_from_secs_f64(missing).unwrap_or(SURVEY_PAUSE);
        self.now + wait + Duration::from_millis(1)
    }
}
