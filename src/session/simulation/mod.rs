//! Seeded simulation of the session core: the sessions of one process with random clients, random
//! servers and random faults, in simulated time. After each step the rules (docs/rules.md) are
//! looked at; in quiet times clients and servers must agree on everything.
//!
//! A seed that fails is run again with its trace by `HOLDFAST_SEED=<number>`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acts;
mod carry;
mod client;
mod faults;
mod kit;
mod life;
mod rules;
mod sabotage;
mod serve;
mod server;
mod watch;
mod world;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use rules::Breach;
use sabotage::{ALL, Sabotage};
use world::{Happening, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;
/// Steps of each seed, not counting the quiet times between them.
const STEPS: u32 = 2_000;
/// How long all must be well until clients and servers agree, in milliseconds: longer than every
/// patience of the settings together.
const QUIET_MS: u64 = 150_000;
/// Lines of the trace shown with a breach.
const TRACE_LINES: usize = 150;

/// A whole life of a process.
fn run(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> World {
    let mut world = World::new(seed, sabotage, traced);
    for half in 0..2 {
        for step in 0..STEPS / 2 {
            world.step(step);
            if world.breach.is_some() {
                return world;
            }
        }
        world.quiet(QUIET_MS);
        if world.breach.is_none() {
            world.look_at_agreement();
        }
        if world.breach.is_some() {
            return world;
        }
        world.healing = half == 1;
    }
    world.close_all();
    world
}

impl World {
    /// All is well for this long.
    fn quiet(&mut self, length_ms: u64) {
        self.heal();
        let end = self.now + length_ms;
        let mut step = 0;
        while self.now < end && self.breach.is_none() {
            self.step(step);
            step += 1;
            assert!(step < 1_000_000, "time does not pass");
        }
    }

    /// Every client leaves.
    fn close_all(&mut self) {
        self.closing = true;
        for slot in 0..self.slots.len() {
            if let Some(id) = self.slots[slot].as_ref().map(|member| member.id) {
                self.later(100, Happening::ClientEnds(slot, id, None));
            }
        }
        self.quiet(5_000);
        if self.breach.is_none() {
            self.look_at_the_end();
        }
    }
}

fn shown(seed: u64, breach: &Breach) -> String {
    let world = run(seed, None, true);
    let trace = world.trace.unwrap_or_default();
    let tail = trace.len().saturating_sub(TRACE_LINES);
    format!(
        "seed {seed}: {breach}\nreplay with HOLDFAST_SEED={seed} cargo test --lib simulation\n{}",
        trace[tail..].join("\n")
    )
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the seeds on all processors; the breaches by seed, and what happened in all of them.
fn run_all(seeds: u64) -> (BTreeMap<u64, Breach>, BTreeMap<&'static str, u64>) {
    let next = AtomicU64::new(0);
    let work = || {
        let mut breaches = BTreeMap::new();
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (breaches, counts);
            }
            let world = run(seed, None, false);
            for (what, count) in world.tally.counts {
                *counts.entry(what).or_default() += count;
            }
            breaches.extend(world.breach.map(|breach| (seed, breach)));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        let mut all = (BTreeMap::new(), BTreeMap::new());
        for worker in workers {
            let (breaches, counts) = worker.join().expect("a worker");
            all.0.extend(breaches);
            for (what, count) in counts {
                *all.1.entry(what).or_default() += count;
            }
        }
        all
    })
}

#[test]
fn every_rule_holds_whatever_happens() {
    if let Some(seed) = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let world = run(seed, None, true);
        println!("{}", world.trace.unwrap_or_default().join("\n"));
        println!("{:#?}", world.tally.counts);
        assert!(world.breach.is_none(), "seed {seed}: {}", world.breach.unwrap());
        return;
    }
    let (breaches, counts) = run_all(SEEDS);
    println!("{counts:#?}");
    if let Some((seed, breach)) = breaches.first_key_value() {
        let others: Vec<String> = breaches.iter().map(|(seed, breach)| format!("{seed}: {breach}")).collect();
        panic!("{} seeds fail\n{}\n\n{}", breaches.len(), others.join("\n"), shown(*seed, breach));
    }
    // A rule that is never put to the test proves nothing.
    for what in [
        "restored",
        "reported",
        "cancelled",
        "lost",
        "session restored",
        "retry",
        "without H264",
        "limit",
        "session retried",
        "session refused",
        "gave up",
        "crash",
        "freeze",
        "flap",
        "black hole",
        "client left",
        "client vanished",
        "pings unanswered",
        "another session wants its stream name",
    ] {
        assert!(counts.contains_key(what), "{what} never happened");
    }
}

#[test]
fn each_deliberate_fault_is_caught_by_its_rule() {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((sabotage, rule)) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let caught = (0..SEEDS).find_map(|seed| run(seed, Some(*sabotage), false).breach);
            let caught = caught.unwrap_or_else(|| panic!("{sabotage:?} goes unseen"));
            assert_eq!(caught.rule, *rule, "{sabotage:?}: {caught}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(work);
        }
    });
}

#[test]
fn a_seed_replays_exactly() {
    let (one, two) = (run(7, None, true), run(7, None, true));
    assert_eq!(one.tally, two.tally);
    assert_eq!(one.trace, two.trace);
}
