//! Drains of random farms under simulated time: sessions answer late, refuse, go back and end, and after each
//! step the rules of a drain are looked at.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used)]

mod stuck;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::*;
use crate::{
    ids::{NodeId, SessionId},
    session::{Belongings, Identity, RoomKey, Timestamp},
};

const OLD: NodeId = NodeId(1);
const NEW: NodeId = NodeId(2);

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Old,
    /// Proven on the new node, the old connection is held.
    Both,
    New,
    Gone,
}

struct Farm {
    dice: Dice,
    now: Timestamp,
    plan: Plan,
    wish: Wish,
    belongings: BTreeMap<SessionId, Belongings>,
    place: BTreeMap<SessionId, Where>,
    /// Answers that are on their way.
    coming: Vec<(Timestamp, SessionId, Answer)>,
    asked: BTreeSet<SessionId>,
    /// When sessions were told to move or forced.
    told_at: VecDeque<Timestamp>,
    /// Sessions whose moves always fail.
    stubborn: BTreeSet<SessionId>,
    /// For those that are begun at once with others: how many they are.
    entangled: BTreeMap<SessionId, usize>,
    /// Nobody refuses and nobody ends any more.
    is_calm: bool,
    usable: bool,
    survey_wanted: bool,
    forced: usize,
    /// Until when those who have moved hold what they left, if nobody tells them to go on.
    held: BTreeMap<SessionId, Timestamp>,
    /// From when on somebody may be forced.
    may_force: Option<Timestamp>,
}

/// So long what a session left stands by itself.
const HELD: Duration = Duration::from_secs(10);

impl Farm {
    fn new(seed: u64, wish: Wish) -> Self {
        let mut dice = Dice(seed);
        let now = Timestamp::from_ms(10_000);
        let mut belongings = BTreeMap::new();
        for n in 1..=(1 + dice.below(60)) {
            let session = SessionId(n);
            let names = |chance: u64, dice: &mut Dice| -> Vec<Box<str>> {
                (0..dice.below(3))
                    .map(|_| dice.below(100 * 20))
                    .filter(|n| n % 100 < chance)
                    .map(|n| format!("s{}", n / 100).into())
                    .collect()
            };
            let publishes = names(15, &mut dice);
            let plays = names(35, &mut dice);
            let bound_by = dice.percent(4).then_some("direct media");
            belongings.insert(
                session,
                Belongings { session, node: OLD, publishes, plays, rooms: Vec::new(), bound_by },
            );
        }
        let place = belongings.keys().map(|session| (*session, Where::Old)).collect();
        let stubborn = belongings.keys().copied().filter(|_| dice.percent(3)).collect();
        let all: Vec<Belongings> = belongings.values().cloned().collect();
        let sizes = webs(&all).into_iter().map(|web| (web.entangled.len(), web.entangled));
        let entangled = sizes.flat_map(|(size, ids)| ids.into_iter().map(move |id| (id, size))).collect();
        Self {
            entangled,
            plan: Plan::new(wish, now),
            dice,
            now,
            wish,
            belongings,
            place,
            coming: Vec::new(),
            asked: BTreeSet::new(),
            told_at: VecDeque::new(),
            stubborn,
            is_calm: false,
            usable: true,
            survey_wanted: false,
            forced: 0,
            held: BTreeMap::new(),
            may_force: wish.force_after.map(|after| now + after),
        }
    }

    fn feed(&mut self, input: Input) {
        let usable = self.usable;
        let acts = self.plan.handle(input, self.now, &mut || usable.then_some(NEW));
        for act in acts {
            self.act(act);
        }
        self.rules();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Survey => self.survey_wanted = true,
            Act::Move { session, to } => {
                assert!(to == NEW && self.usable, "nobody moves to {OLD:?} or to a node that is not usable");
                assert!(self.asked.insert(session), "{session} is told once at a time");
                self.paced(session);
                let me = &self.belongings[&session];
                assert!(me.bound_by.is_none(), "{session} cannot move");
                if me.publishes.is_empty() {
                    self.publishers_are_there(session);
                }
                let delay = Duration::from_millis(self.dice.below(800));
                let fails = self.stubborn.contains(&session) || (!self.is_calm && self.dice.percent(10));
                let answer = match (fails, self.dice.percent(50)) {
                    (false, _) => Answer::Done,
                    (true, true) => Answer::Refused("a request waits".into()),
                    (true, false) => Answer::Returned("Stream not found".into()),
                };
                // Some are stuck: the plan must not wait for them for ever.
                if self.is_calm || !self.dice.percent(1) {
                    self.coming.push((self.now + delay, session, answer));
                }
            }
            Act::Hold(session) => {
                if let Some(held) = self.held.get_mut(&session) {
                    *held = self.now + HELD;
                }
            }
            Act::LetGo(session) => {
                if self.place[&session] == Where::Both {
                    self.nobody_left_behind(session);
                    self.place.insert(session, Where::New);
                }
            }
            Act::Force { session, .. } => {
                assert!(
                    self.may_force.is_some_and(|at| at <= self.now),
                    "{session} is forced before its time"
                );
                self.paced_or_given_up();
                self.forced += 1;
                if self.place[&session] != Where::Gone {
                    self.place.insert(session, Where::New);
                }
            }
        }
    }

    /// A player goes when all who publish for it are there.
    fn publishers_are_there(&self, player: SessionId) {
        for (session, other) in &self.belongings {
            let feeds = other.publishes.iter().any(|name| self.belongings[&player].plays.contains(name));
            let is_there = matches!(self.place[session], Where::Both | Where::New | Where::Gone);
            assert!(!feeds || is_there, "{player} is moved before its publisher {session}");
        }
    }

    /// Whoever lets go has no player on the old node any more, but one that is being forced.
    fn nobody_left_behind(&self, publisher: SessionId) {
        for (session, other) in &self.belongings {
            let plays = other.plays.iter().any(|name| self.belongings[&publisher].publishes.contains(name));
            let is_behind = *session != publisher && self.place[session] == Where::Old;
            assert!(!(plays && is_behind), "{publisher} lets go and {session} still plays it");
        }
    }

    fn paced(&mut self, session: SessionId) {
        self.told_at.push_back(self.now);
        self.rate(self.entangled.get(&session).copied().unwrap_or_default());
    }

    fn paced_or_given_up(&mut self) {
        self.told_at.push_back(self.now);
    }

    /// In no two seconds more than the rate allows, and the web that was begun at once.
    fn rate(&mut self, at_once: usize) {
        let window = Duration::from_secs(2);
        while self.told_at.front().is_some_and(|at| self.now.since(*at) >= window) {
            self.told_at.pop_front();
        }
        let rate = usize::try_from(self.wish.rate).unwrap();
        let most = 2 * rate + rate / 10 + 2 + at_once + self.forced;
        assert!(self.told_at.len() <= most, "{} in two seconds at {}/s", self.told_at.len(), self.wish.rate);
    }

    fn rules(&self) {
        // Whom a player at the old node plays that has moved, holds what it left.
        for (session, held) in &self.held {
            if self.place[session] == Where::Both && !self.plan.is_over() {
                assert!(*held > self.now, "{session} has let go by itself: {:?}", self.plan);
            }
        }
        let progress = self.plan.progress(self.now);
        assert!(progress.left.len() <= 17, "reasons are bounded");
        assert!(progress.moved + progress.forced <= self.belongings.len() + progress.ended + progress.forced);
        if progress.stage == Stage::Done && self.wish.keep.is_none() {
            let left: Vec<_> = self.place.iter().filter(|(_, place)| **place == Where::Old).collect();
            assert!(left.is_empty(), "done, and {left:?} are on the node");
        }
    }

    /// Until the next thing happens.
    fn step(&mut self) {
        if std::mem::take(&mut self.survey_wanted) {
            let on_node = |session: &SessionId| self.place[session] == Where::Old;
            let all = self.belongings.values().filter(|one| on_node(&one.session)).cloned().collect();
            return self.feed(Input::Surveyed(all));
        }
        let answer = self.coming.iter().map(|(at, ..)| *at).min();
        let Some(next) = self.plan.next_timeout().into_iter().chain(answer).min() else {
            assert!(self.plan.is_over(), "it waits for nothing: {:?}", self.plan);
            return;
        };
        assert!(next > self.now || answer.is_some_and(|at| at <= next), "it turns without time passing");
        self.now = self.now.max(next);
        let due = self.coming.iter().position(|(at, ..)| *at <= self.now);
        if let Some(place) = due {
            let (_, session, answer) = self.coming.swap_remove(place);
            self.asked.remove(&session);
            if answer == Answer::Done && self.place[&session] == Where::Old {
                self.place.insert(session, Where::Both);
                if !self.belongings[&session].publishes.is_empty() {
                    self.held.insert(session, self.now + HELD);
                }
            }
            return self.feed(Input::Told(session, answer));
        }
        if !self.is_calm && self.dice.percent(2) {
            let ids: Vec<SessionId> = self.place.keys().copied().collect();
            let session = ids[usize::try_from(self.dice.below(ids.len() as u64)).unwrap()];
            self.place.insert(session, Where::Gone);
            return self.feed(Input::Ended(session));
        }
        // Whoever was stuck is asked anew after its time.
        self.asked.retain(|session| self.coming.iter().any(|(_, coming, _)| coming == session));
        self.feed(Input::Timeout);
    }

    fn run(&mut self, steps: usize) {
        self.feed(Input::Timeout);
        for _ in 0..steps {
            if self.plan.is_over() {
                return;
            }
            self.step();
        }
    }
}

const fn wish(rate: u32) -> Wish {
    Wish { rate, force_after: None, keep: None }
}

#[test]
fn drains_end_and_break_no_rule_on_the_way() {
    let mut waiting = 0;
    for seed in 0..150 {
        let mut farm = Farm::new(seed, wish(1 + u32::try_from(seed % 50).unwrap()));
        farm.run(300);
        // What stands in the way passes: everybody can move.
        farm.is_calm = true;
        farm.stubborn.clear();
        let bound = farm.belongings.values().any(|one| one.bound_by.is_some());
        farm.run(1_500);
        let progress = farm.plan.progress(farm.now);
        if bound && !farm.plan.is_over() {
            waiting += 1;
            assert_eq!(progress.stage, Stage::Waiting, "seed {seed}: {progress:?}");
            assert!(progress.left.iter().any(|left| left.reason == "direct media"), "seed {seed}");
            for one in farm.belongings.values_mut() {
                one.bound_by = None;
            }
            farm.run(1_500);
        }
        assert_eq!(farm.plan.progress(farm.now).stage, Stage::Done, "seed {seed}: {:?}", farm.plan);
    }
    assert!(waiting > 20, "{waiting}");
}

#[test]
fn what_cannot_move_is_forced_when_the_time_for_that_comes() {
    for seed in 0..100 {
        let force_after = Duration::from_secs(20);
        let mut farm = Farm::new(seed, Wish { rate: 20, force_after: Some(force_after), keep: None });
        farm.is_calm = true;
        farm.stubborn.clear();
        let began = farm.now;
        for _ in 0..20_000 {
            if farm.plan.is_over() {
                break;
            }
            let before = farm.forced;
            if farm.now == began && farm.told_at.is_empty() {
                farm.feed(Input::Timeout);
            }
            farm.step();
            assert!(
                farm.forced == before || farm.now.since(began) >= force_after,
                "seed {seed}: forced early"
            );
        }
        assert_eq!(farm.plan.progress(farm.now).stage, Stage::Done, "seed {seed}");
        let of_bound = webs(&farm.belongings.values().cloned().collect::<Vec<_>>());
        let bound: usize = of_bound.iter().filter(|web| web.bound_by.is_some()).map(Web::len).sum();
        let progress = farm.plan.progress(farm.now);
        // What is left of a web may move unseen once who bound it is away.
        assert!(
            progress.forced <= bound && (progress.forced > 0) == (bound > 0),
            "seed {seed}: {progress:?}"
        );
        assert_eq!(progress.forced + progress.moved, farm.belongings.len(), "seed {seed}");
    }
}

#[test]
fn one_that_is_called_off_leaves_nobody_between_two_nodes() {
    for seed in 0..200 {
        let mut farm = Farm::new(seed, wish(30));
        farm.run(usize::try_from(seed % 60).unwrap());
        farm.may_force = Some(farm.now);
        farm.feed(Input::Cancel);
        farm.is_calm = true;
        farm.run(500);
        assert!(farm.plan.is_over(), "seed {seed}");
        if farm.plan.progress(farm.now).stage == Stage::Cancelled {
            let between = farm.place.values().filter(|place| **place == Where::Both).count();
            let late = farm.asked.len();
            assert!(between <= late, "seed {seed}: {between} between two nodes");
        }
    }
}

#[test]
fn a_node_that_is_relieved_keeps_what_it_may_and_waits_for_nobody() {
    let mut relieved = 0;
    for seed in 0..100 {
        let keep = 10;
        let mut farm = Farm::new(seed, Wish { rate: 1_000, force_after: None, keep: Some(keep) });
        farm.is_calm = true;
        farm.stubborn.clear();
        let before = farm.belongings.len();
        farm.run(2_000);
        let progress = farm.plan.progress(farm.now);
        assert_eq!(progress.stage, Stage::Done, "seed {seed}");
        let there = farm.place.values().filter(|place| **place == Where::Old).count();
        assert!(there >= keep.min(before), "seed {seed}: {there} of {before} are left");
        assert_eq!(progress.forced, 0, "seed {seed}");
        relieved += usize::from(there == keep);
    }
    assert!(relieved > 20, "{relieved}");
}

#[test]
fn without_another_node_everybody_waits_and_is_named() {
    let mut farm = Farm::new(7, wish(100));
    farm.usable = false;
    farm.run(50);
    let progress = farm.plan.progress(farm.now);
    assert_eq!((progress.moved, progress.stage), (0, Stage::Waiting));
    assert!(progress.left.iter().any(|left| left.reason == "no other node is usable"), "{progress:?}");
    let named: usize = progress.left.iter().map(|left| left.sessions).sum();
    assert_eq!(named, progress.remaining);
    farm.usable = true;
    farm.is_calm = true;
    farm.stubborn.clear();
    for one in farm.belongings.values_mut() {
        one.bound_by = None;
    }
    farm.run(1_500);
    assert_eq!(farm.plan.progress(farm.now).stage, Stage::Done);
}

#[test]
fn who_is_in_a_room_waits_together_and_is_forced_at_once_to_one_node() {
    let now = Timestamp::from_ms;
    let in_room = |session: u64, name: &str| Belongings {
        session: SessionId(session),
        node: OLD,
        publishes: Vec::new(),
        plays: Vec::new(),
        rooms: vec![RoomKey::new(Identity::default(), name)],
        bound_by: Some("room"),
    };
    let all = vec![in_room(1, "red"), in_room(2, "blue"), in_room(3, "red"), in_room(4, "red")];
    let force_after = Duration::from_secs(1);
    let mut plan = Plan::new(Wish { rate: 1, force_after: Some(force_after), keep: None }, now(0));
    // Each time that it is asked for a node it is told another one.
    let mut asked = 1;
    let mut choose = || {
        asked += 1;
        Some(NodeId(asked))
    };
    assert_eq!(plan.handle(Input::Timeout, now(0), &mut choose), [Act::Survey]);
    assert_eq!(plan.handle(Input::Surveyed(all), now(10), &mut choose), []);
    let left = plan.progress(now(10)).left;
    assert_eq!((left.len(), left[0].sessions, &*left[0].reason), (1, 4, "room"));
    assert_eq!(plan.handle(Input::Timeout, now(900), &mut choose), []);
    let force = |session: u64, to: u32| Act::Force { session: SessionId(session), to: NodeId(to) };
    let acts = plan.handle(Input::Timeout, now(1_000), &mut choose);
    assert_eq!(acts, [force(1, 2), force(3, 2), force(4, 2)], "the room leaves whole");
    let others = plan.handle(Input::Timeout, now(2_999), &mut choose);
    assert!(!others.contains(&force(2, 3)), "the next pays for it: {others:?}");
    let next = plan.handle(Input::Timeout, now(4_000), &mut choose);
    assert_eq!(next, [force(2, 3)]);
    assert_eq!(plan.progress(now(4_000)).forced, 4);
}

#[test]
fn who_ends_while_it_waits_is_not_forced() {
    let mut farm = Farm::new(1, Wish { rate: 10, force_after: Some(Duration::from_secs(1)), keep: None });
    let one = farm.belongings.values().next().unwrap().clone();
    let bound: Vec<Belongings> = (1..=2)
        .map(|n| Belongings { session: SessionId(n), bound_by: Some("call"), ..one.clone() })
        .collect();
    let now = farm.now;
    let mut choose = || Some(NEW);
    farm.plan.handle(Input::Timeout, now, &mut choose);
    farm.plan.handle(Input::Surveyed(bound), now, &mut choose);
    farm.plan.handle(Input::Ended(SessionId(1)), now, &mut choose);
    let acts = farm.plan.handle(Input::Timeout, now + Duration::from_secs(2), &mut choose);
    let forced: Vec<_> = acts.iter().filter(|act| matches!(act, Act::Force { .. })).collect();
    assert_eq!(forced, [&Act::Force { session: SessionId(2), to: NEW }]);
}
