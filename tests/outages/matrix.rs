//! Outages against servers in all positions of what is not known of a real one: pairwise, so that any two positions
//! meet in some row. CI takes some rows; `scripts/matrix` all of them, and prints their table.

use std::{collections::BTreeSet, time::Instant};

use serde_json::{Value, json};

use crate::{
    anchor::Pair,
    common::{anchor, checks::assert_no_violation, outage::OUTAGES, outage::Outage, pool, server::Server},
    side_by_side,
};

/// Rows that CI takes, spread over the table.
const ROWS_IN_CI: usize = 9;
/// Set to `full`: all rows, and the table.
const FULL: &str = "HOLDFAST_MATRIX";
/// Rows at once: real media costs time of the processor.
const AT_ONCE: usize = 3;

/// One thing that is not known of a real server: its positions, each with the switches of the simulated one.
struct Unknown {
    name: &'static str,
    positions: Vec<(&'static str, Value)>,
}

fn unknown(name: &'static str, positions: Vec<(&'static str, Value)>) -> Unknown {
    Unknown { name, positions }
}

fn streams(changes: Value) -> Value {
    json!({"streams": changes})
}

fn sessions(changes: Value) -> Value {
    json!({"sessions": changes})
}

/// What is not known (protocol S12.8); the outage is one of them.
fn unknowns() -> Vec<Unknown> {
    let shape = |letter: &'static str| (letter, streams(json!({"answer_shape": letter})));
    let resume = |mode: &'static str| (mode, sessions(json!({"resume": mode})));
    let order = |order: &'static str| (order, sessions(json!({"version_order": order})));
    let outages = (0..OUTAGES.len()).map(|_| ("", json!({}))).collect();
    vec![
        unknown("outage", outages),
        unknown("shape", ["A", "B", "C", "D", "E", "G"].map(shape).to_vec()),
        unknown("resume", ["off", "same_token", "new_token"].map(resume).to_vec()),
        // Not `never`: the pages of these tests wait for it. tests/browser has SDKs, which do not.
        unknown("version", ["after", "before"].map(order).to_vec()),
        unknown(
            "names",
            vec![
                ("free", json!({})),
                ("linger", sessions(json!({"linger_ms": 1500}))),
                ("linger, go on", sessions(json!({"linger_ms": 1500, "streams_survive_loss": true}))),
                ("linger, closed too", sessions(json!({"linger_ms": 1500, "linger_after_close": true}))),
            ],
        ),
        unknown(
            "order",
            vec![
                ("SDP first", json!({})),
                ("status first", streams(json!({"status_before_sdp": true}))),
                ("pending", streams(json!({"pending_first": true}))),
            ],
        ),
        unknown("third", vec![("yes", json!({})), ("no", streams(json!({"third_sdp_argument": false})))]),
        unknown("data", vec![("[null]", json!({})), ("[]", sessions(json!({"empty_data": "empty"})))]),
        unknown(
            "pings",
            vec![
                ("json", json!({})),
                ("both", json!({"pings": {"interval_ms": 200, "websocket_pings": true}})),
            ],
        ),
        unknown(
            "certificate",
            vec![("ECDSA", json!({})), ("RSA", json!({"media_server": {"rsa_certificate": true}}))],
        ),
        unknown(
            "numbers",
            vec![("offered", json!({})), ("own", streams(json!({"own_payload_types": true})))],
        ),
        unknown("RTX", vec![("yes", json!({})), ("no", streams(json!({"without_repair": true})))]),
        unknown("players", vec![("told", json!({})), ("not told", streams(json!({"players_told": false})))]),
    ]
}

/// Rows of positions such that any two positions of two unknowns meet in one. Greedy, and the same each time.
fn pairwise(unknowns: &[Unknown]) -> Vec<Vec<usize>> {
    let mut open: BTreeSet<((usize, usize), (usize, usize))> = BTreeSet::new();
    for (first, one) in unknowns.iter().enumerate() {
        for (second, other) in unknowns.iter().enumerate().skip(first + 1) {
            for a in 0..one.positions.len() {
                open.extend((0..other.positions.len()).map(|b| ((first, a), (second, b))));
            }
        }
    }
    let mut rows = Vec::new();
    while let Some(&((first, a), (second, b))) = open.iter().next() {
        let mut row: Vec<Option<usize>> = vec![None; unknowns.len()];
        (row[first], row[second]) = (Some(a), Some(b));
        for place in 0..unknowns.len() {
            if row[place].is_some() {
                continue;
            }
            let gain = |position: usize| {
                let met = |(other, chosen): (usize, &Option<usize>)| {
                    let chosen = (other, (*chosen)?);
                    let pair =
                        if other < place { (chosen, (place, position)) } else { ((place, position), chosen) };
                    open.contains(&pair).then_some(())
                };
                row.iter().enumerate().filter_map(met).count()
            };
            let best = (0..unknowns[place].positions.len()).rev().max_by_key(|position| gain(*position));
            row[place] = best;
        }
        let row: Vec<usize> = row.into_iter().map(Option::unwrap).collect();
        let meets = |(place, position): (usize, usize)| row[place] == position;
        open.retain(|(one, other)| !(meets(*one) && meets(*other)));
        rows.push(row);
    }
    rows
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The outage of a row, the switches of its server, and its words.
fn row_of(unknowns: &[Unknown], row: &[usize]) -> (Outage, Value, Vec<String>) {
    let mut switches = json!({});
    let mut words = Vec::new();
    for (unknown, position) in unknowns.iter().zip(row) {
        let (word, changes) = &unknown.positions[*position];
        merge(&mut switches, changes);
        let outage = format!("{:?}", OUTAGES[row[0]]);
        words.push(if unknown.name == "outage" { outage } else { (*word).to_owned() });
    }
    (OUTAGES[row[0]], switches, words)
}

/// What a publisher and its player were told so far. It differs by the positions, and an outage adds nothing.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    statuses: [Vec<String>; 2],
    session_callbacks: [usize; 2],
    /// Answers, without those that revive a client leg that was silent.
    answers: [usize; 2],
}

impl Told {
    fn of(pair: &Pair) -> Self {
        let pages = [(&pair.publisher, "p1"), (&pair.player, "v1")];
        Self {
            statuses: pages.map(|(page, id)| page.statuses(id)),
            session_callbacks: pages.map(|(page, _)| page.session_callbacks()),
            answers: pages.map(|(page, id)| page.remote_sdps(id) - page.revivals(id)),
        }
    }
}

/// One row: a publisher and its player live through the outage, and neither is told anything.
async fn lives_through(outage: Outage, switches: Value, what: String, tells: bool) {
    let begun = Instant::now();
    let mut server = Server::start(switches).await;
    let proxy = anchor(server.address).await;
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    let (before, told) = (pair.screen.stats(), Told::of(&pair));
    let struck = Instant::now();
    outage.strike(&mut server).await;
    pair.media_goes_on(&what, &before).await;
    let back = struck.elapsed();
    assert!(pair.publisher.is_open() && pair.player.is_open(), "{what}");
    assert_eq!(Told::of(&pair), told, "{what}: nobody is told anything");
    assert_no_violation(&server, &what).await;
    if tells {
        println!("| {what} | {:.1} s | {:.1} s |", back.as_secs_f64(), begun.elapsed().as_secs_f64());
    }
}

#[test]
fn any_two_positions_meet_in_a_row() {
    let unknowns = unknowns();
    let rows = pairwise(&unknowns);
    for (first, one) in unknowns.iter().enumerate() {
        for (second, other) in unknowns.iter().enumerate().skip(first + 1) {
            for a in 0..one.positions.len() {
                for b in 0..other.positions.len() {
                    let meet = rows.iter().any(|row| row[first] == a && row[second] == b);
                    assert!(meet, "{} {a} and {} {b}", one.name, other.name);
                }
            }
        }
    }
    let most = OUTAGES.len() * unknowns[1].positions.len();
    assert!((most..most * 2).contains(&rows.len()), "{} rows", rows.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_are_lived_through_in_every_position() {
    let unknowns = unknowns();
    let full = std::env::var(FULL).is_ok_and(|value| value == "full");
    let rows = pairwise(&unknowns);
    let taken = if full { rows.len() } else { ROWS_IN_CI };
    if full {
        let names: Vec<&str> = unknowns.iter().map(|unknown| unknown.name).collect();
        println!("| {} | picture back | row |\n|{}", names.join(" | "), "---|".repeat(names.len() + 2));
    }
    let step = (rows.len() / taken).max(1);
    let rows: Vec<_> = rows.iter().step_by(step).take(taken).map(|row| row_of(&unknowns, row)).collect();
    for some in rows.chunks(AT_ONCE) {
        let cases = some.iter().cloned();
        side_by_side(
            cases.map(|(outage, switches, words)| lives_through(outage, switches, words.join(" | "), full)),
        )
        .await;
    }
    assert_eq!(rows.len(), taken, "all rows that were to be taken were");
}
