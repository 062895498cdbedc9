//! Seeded simulation of the deciding part of a media worker: pages and servers that send and take
//! media over a network that loses, doubles and reorders, or over connections that cut datagrams anywhere
//! and break; names that are looked up; epochs that end and begin, changes of codec and of source, silence,
//! and strangers. After each step the rules of [`rules`] are looked at.
//!
//! Below transports it has packets that are authentic by its own word (see [`crate::media::engine`]);
//! ICE and DTLS are the tests' in `tests/media_*`, which run real ones.
//!
//! A seed that fails is run again with its trace by `HOLDFAST_SEED=<number>`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acts;
mod engine;
mod faults;
mod moves;
mod names;
mod peer;
mod rules;
mod sabotage;
mod session;
mod tcp;
mod watch;
mod wire;
mod world;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use rules::Breach;
use sabotage::{ALL, Sabotage};
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 24;
/// How long everything goes wrong, in milliseconds.
const TROUBLE_MS: u64 = 25_000;
/// How long all must be well until media flows: longer than every patience of the settings together.
const QUIET_MS: u64 = 25_000;
/// Steps that one seed takes at most: time has to pass.
const STEPS_MAX: u64 = 2_000_000;
/// Lines of the trace shown with a breach.
const TRACE_LINES: usize = 80;

/// A life of a core.
fn run(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> World {
    let mut world = World::new(seed, sabotage, traced);
    let mut steps = 0;
    for end in [TROUBLE_MS, TROUBLE_MS + QUIET_MS] {
        while world.now < end && world.breach.is_none() {
            world.step();
            steps += 1;
            assert!(steps < STEPS_MAX, "time does not pass");
        }
        if world.healing && world.breach.is_none() {
            world.look_at_flows();
        }
        world.heal();
    }
    if world.breach.is_none() {
        world.close_all();
    }
    world
}

fn shown(seed: u64, breach: &Breach) -> String {
    let trace = run(seed, None, true).trace.unwrap_or_default();
    let tail = trace.len().saturating_sub(TRACE_LINES);
    format!(
        "seed {seed}: {breach}\nreplay with HOLDFAST_SEED={seed} cargo test --lib media::simulation\n{}",
        trace[tail..].join("\n")
    )
}

/// The breaches by seed, and what happened in all of them.
type Found = (BTreeMap<u64, Breach>, BTreeMap<&'static str, u64>);

/// Runs the seeds on all processors.
fn run_all() -> Found {
    let next = AtomicU64::new(0);
    let found: Mutex<Found> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            let world = run(seed, None, false);
            let mut found = found.lock();
            for (what, count) in world.counts {
                *found.1.entry(what).or_default() += count;
            }
            found.0.extend(world.breach.map(|breach| (seed, breach)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    found.into_inner()
}

#[test]
fn every_rule_holds_whatever_happens_to_packets() {
    if let Some(seed) = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let world = run(seed, None, true);
        println!("{}", world.trace.unwrap_or_default().join("\n"));
        println!("{:#?}", world.counts);
        assert!(world.breach.is_none(), "seed {seed}: {}", world.breach.unwrap());
        return;
    }
    let (breaches, counts) = run_all();
    println!("{counts:#?}");
    if let Some((seed, breach)) = breaches.first_key_value() {
        panic!("{} seeds fail\n{}", breaches.len(), shown(*seed, breach));
    }
    // What never happens proves nothing.
    for what in [
        "proven",
        "codec changed",
        "source changed",
        "client silent",
        "client revived",
        "client gone",
        "upstream silent",
        "upstream failed",
        "server restarted",
        "server moved",
        "client moved",
        "move begun",
        "move begun beside nothing",
        "move begun again",
        "moved",
        "moved back",
        "move given up",
        "move failed",
        "answer lost",
        "server died",
        "server that is left died",
        "seamless move",
        "socket opened",
        "socket not opened",
        "closed",
        "lost",
        "doubled",
        "sent again",
        "noise",
        "sent again by a stranger",
        "damaged",
        "check sent again",
        "forged",
        "picture at a player",
        "picture over TCP at a player",
        "picture over TCP at a server",
        "connected",
        "not connecting",
        "connection refused",
        "connection unanswered",
        "connection broke",
        "stranger connected",
        "stranger let go",
        "backlog full",
        "name found",
        "name without an address",
        "name found too late",
    ] {
        assert!(counts.contains_key(what), "{what} never happened");
    }
}

#[test]
fn each_deliberate_fault_is_caught_by_its_rule() {
    for (sabotage, rule) in ALL {
        let caught = (0..SEEDS).find_map(|seed| run(seed, Some(*sabotage), false).breach);
        let caught = caught.unwrap_or_else(|| panic!("{sabotage:?} goes unseen"));
        assert_eq!(caught.rule, *rule, "{sabotage:?}: {caught}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    let (one, two) = (run(7, None, true), run(7, None, true));
    assert_eq!(one.counts, two.counts);
    assert_eq!(one.trace, two.trace);
}
