//! The state of nodes under anything that may happen, seeded and in simulated time: a model that is written
//! down the other way round (what was the last word of each source) is asked after each step what has to be true.
//! `HOLDFAST_SEED=N` replays one seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const SEEDS: u64 = 200;
const STEPS: usize = 2_000;

/// What is known without asking the machine.
#[derive(Debug, Default)]
struct Model {
    operator: Wish,
    is_removed: bool,
    /// Whether the last dial reached the node.
    reached: Option<bool>,
    /// Bad news in a row of check 0.
    check_bad: u32,
    /// When it was ejected last.
    ejected: Option<Timestamp>,
}

/// A rule that does not hold.
type Broken = &'static str;

const MAINTENANCE: Broken = "what an operator has taken out is out, whatever health and agent say";
const DRAINED: Broken = "what an operator drains is draining, whatever health and agent say";
const REMOVED: Broken = "a node that is no longer in the configuration is left";
const UNREACHED: Broken = "a node that the last dial did not reach is down";
const CHECKED: Broken = "a node whose last check failed is not up";
const FAILED: Broken = "a node whose checks failed often enough is down";
const EJECTED: Broken = "a node that was ejected is not up before its time";
const COUNTED: Broken = "each change is counted once, and nothing else is";
const BEGUN: Broken = "a state begins when it is entered";
const PART: Broken = "a node has some part of its weight";
const REASON: Broken = "every state has a reason";

fn input(random: &mut StdRng, reports: &[AgentReport]) -> Input<'static> {
    let wishes = [Wish::InUse, Wish::InUse, Wish::Drain, Wish::Maintenance];
    match random.random_range(0..26) {
        0..=4 => Input::Answered,
        5 | 6 => Input::Accepted,
        7 | 8 => Input::Refused,
        9 | 10 => Input::Unreachable("refused"),
        11 => Input::Overtaken,
        12 => Input::Silent,
        13 => Input::Missed("late"),
        14 | 15 => Input::Check(0, Ok(())),
        16 | 17 => Input::Check(0, Err("503")),
        18 => Input::Wish(wishes[random.random_range(0..wishes.len())]),
        19 => Input::Agent(1, Box::leak(Box::new(reports[random.random_range(0..reports.len())].clone()))),
        20 => Input::MediaSilent(random.random_range(0..4)),
        21 => Input::MediaFlows,
        22 => Input::Eject,
        23 => Input::ClosedGoingAway(SessionId(random.random_range(0..3)), random.random_range(0..3)),
        24 => Input::Listed(random.random_bool(0.6)),
        _ => Input::Tick,
    }
}

impl Model {
    fn note(&mut self, input: Input<'_>, before: &Before, now: Timestamp) {
        match input {
            Input::Answered | Input::Accepted | Input::Refused => self.reached = Some(true),
            Input::Unreachable(_) => self.reached = Some(false),
            Input::Check(0, Ok(())) => self.check_bad = 0,
            Input::Check(0, Err(_)) => self.check_bad += 1,
            Input::Wish(wish) => self.operator = wish,
            Input::Listed(is_listed) => self.is_removed = !is_listed,
            Input::Eject if before.wants_ejection => self.ejected = Some(now),
            _ => {}
        }
    }
}

/// What was so before a step.
struct Before {
    state: NodeState,
    wants_ejection: bool,
    steps: u64,
}

fn look(node: &Machine) -> Before {
    Before { state: node.state(), wants_ejection: node.wants_ejection(), steps: node.steps().values().sum() }
}

/// What has to be true after each step.
fn broken(node: &Machine, model: &Model, before: &Before, now: Timestamp) -> Option<Broken> {
    let (state, rules) = (node.state(), Rules::default());
    if model.operator == Wish::Maintenance && state != NodeState::Maintenance {
        return Some(MAINTENANCE);
    }
    if model.operator == Wish::Drain && state != NodeState::Draining {
        return Some(DRAINED);
    }
    if model.is_removed && !matches!(state, NodeState::Draining | NodeState::Maintenance) {
        return Some(REMOVED);
    }
    let in_use = !matches!(state, NodeState::Draining | NodeState::Maintenance);
    if in_use && model.reached == Some(false) && state != NodeState::Down {
        return Some(UNREACHED);
    }
    if state == NodeState::Up && model.check_bad > 0 {
        return Some(CHECKED);
    }
    if in_use && model.check_bad >= rules.checks[0].1 && state != NodeState::Down {
        return Some(FAILED);
    }
    let is_out = model.ejected.is_some_and(|at| now.since(at) < rules.eject);
    if is_out && state == NodeState::Up {
        return Some(EJECTED);
    }
    let moved = state != before.state;
    let counted = node.steps().values().sum::<u64>() - before.steps;
    if counted != u64::from(moved) {
        return Some(COUNTED);
    }
    if moved && node.lasted(now) != Duration::ZERO {
        return Some(BEGUN);
    }
    let part = node.part(now);
    if !(part > 0.0 && part <= 10.0) {
        return Some(PART);
    }
    if node.reason().text.is_empty() {
        return Some(REASON);
    }
    None
}

/// Runs one seed. `rules` and `spoil` are other than the model expects where it is to be seen that it bites.
fn run(
    seed: u64,
    rules: Rules,
    spoil: impl Fn(Input<'static>) -> Option<Input<'static>>,
) -> Result<u64, (usize, Broken)> {
    let mut random = StdRng::seed_from_u64(seed);
    let lines = ["up", "down", "drain", "maint", "ready", "75%", "up 100%", "0%", "stopped #x"];
    let reports = lines.map(AgentReport::read);
    let (mut node, mut model) = (Machine::new(rules, Timestamp::ZERO), Model::default());
    let mut now = Timestamp::ZERO;
    for step in 0..STEPS {
        let longest = if random.random_bool(0.05) { 400_000 } else { 500 };
        now = now + Duration::from_millis(random.random_range(0..longest));
        // Time alone changes things as well: it is looked at by itself.
        for input in [Input::Tick, input(&mut random, &reports)] {
            let before = look(&node);
            if let Some(spoilt) = spoil(input) {
                node.handle(spoilt, now);
            }
            model.note(input, &before, now);
            if let Some(rule) = broken(&node, &model, &before, now) {
                return Err((step, rule));
            }
        }
    }
    Ok(node.steps().values().sum())
}

#[test]
fn every_rule_of_a_nodes_state_holds_whatever_happens() {
    let one = std::env::var("HOLDFAST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        match run(seed, Rules::default(), Some) {
            Ok(changes) => assert!(changes > 50, "something has to happen: {changes} changes of state"),
            Err((step, rule)) => panic!("seed {seed}, step {step}: {rule}"),
        }
    }
}

/// Rules that cannot fail are none.
#[test]
fn the_rules_of_a_nodes_state_bite() {
    type Spoil = fn(Input<'static>) -> Option<Input<'static>>;
    let bites = |rule: Broken, rules: Rules, spoil: Spoil| {
        let mut found = (0..20).filter_map(|seed| run(seed, rules.clone(), spoil).err());
        assert!(found.any(|(_, broken)| broken == rule), "nothing found: {rule}");
    };
    bites(MAINTENANCE, Rules::default(), |input| match input {
        Input::Wish(Wish::Maintenance) => None,
        other => Some(other),
    });
    bites(DRAINED, Rules::default(), |input| match input {
        Input::Wish(Wish::Drain) => Some(Input::Wish(Wish::InUse)),
        other => Some(other),
    });
    bites(REMOVED, Rules::default(), |input| match input {
        Input::Listed(_) => None,
        other => Some(other),
    });
    bites(UNREACHED, Rules::default(), |input| match input {
        Input::Unreachable(_) => Some(Input::Overtaken),
        other => Some(other),
    });
    bites(CHECKED, Rules::default(), |input| match input {
        Input::Check(..) => None,
        other => Some(other),
    });
    bites(FAILED, Rules { checks: vec![(2, 100), (1, 1)], ..Rules::default() }, Some);
    bites(EJECTED, Rules { eject: Duration::from_millis(100), ..Rules::default() }, Some);
    bites(PART, Rules::default(), |input| match input {
        Input::Agent(nth, _) => Some(Input::Agent(nth, &TOO_MUCH)),
        other => Some(other),
    });
}

/// What no line can say.
const TOO_MUCH: AgentReport = AgentReport { health: None, wish: None, percent: Some(60_000) };
