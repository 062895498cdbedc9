//! `holdfast probe` against the simulated server in every position of every switch that it asks about, and
//! against servers that are none.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod command;
mod hard;
mod quick;
mod streams;

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use holdfast::{
    probe::{self, ProbeSettings, Report},
    simulator::{Simulator, SimulatorSettings, Violation},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How long a server may take to forget what was closed.
const FORGET_TIME_MAX: Duration = Duration::from_secs(3);

/// A simulated server with pings often enough to be seen soon.
pub async fn simulator(changes: &Value) -> Simulator {
    let settings = SimulatorSettings::default().with(&json!({"pings": {"interval_ms": 300}})).unwrap();
    Simulator::start(settings.with(changes).unwrap()).await.unwrap()
}

/// Settings for a run against it.
pub fn settings(simulator: &Simulator) -> ProbeSettings {
    ProbeSettings::new(format!("ws://{}", simulator.address()).parse().unwrap())
}

/// A run to its end.
pub async fn probed(settings: ProbeSettings) -> Report {
    let (_stop, stopped) = watch::channel(false);
    probe::run(settings, stopped).await.report
}

/// What was seen of a question.
pub fn seen<'a>(report: &'a Report, key: &str) -> &'a str {
    &report.row(key).unwrap_or_else(|| panic!("{key} is no question")).seen
}

/// Fails where a session, a stream or a connection is left behind, or the server met what no client does.
pub async fn left_nothing(simulator: &Simulator, what: &str) {
    let begun = Instant::now();
    loop {
        let now = simulator.summary()["now"].clone();
        let left = ["connections", "sessions", "publishes", "plays", "streams_held"];
        if left.iter().all(|key| now[key] == 0) {
            break;
        }
        assert!(begun.elapsed() < FORGET_TIME_MAX, "{what} left {now}");
        sleep(Duration::from_millis(10)).await;
    }
    // A token that nobody gave is one of the questions.
    let wrong: Vec<Violation> = simulator
        .violations()
        .into_iter()
        .filter(|violation| json!(violation)["kind"] != "unknown_media_token")
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

/// One row of a table: switches of the server, and what is to be seen then.
pub type Case<'a> = (&'a str, Value, &'a [(&'a str, &'a str)]);

/// Runs all cases at once and tells all that went wrong.
pub async fn all(cases: Vec<Case<'_>>, change: impl Fn(&mut ProbeSettings) + Copy) {
    let runs = cases.into_iter().map(|(name, switches, expected)| async move {
        let simulator = simulator(&switches).await;
        let mut settings = settings(&simulator);
        change(&mut settings);
        let dials_max = settings.dials_max;
        let report = probed(settings).await;
        left_nothing(&simulator, name).await;
        let dialled = simulator.summary()["counters"]["dials"].clone();
        assert_eq!(dialled.as_u64(), Some(report.dials.into()), "{name}: all dials are counted");
        assert!(report.dials <= dials_max, "{name}: {} dials", report.dials);
        let wrong: BTreeSet<String> = expected
            .iter()
            .filter(|(key, position)| seen(&report, key) != *position)
            .map(|(key, position)| {
                format!("{name}: {key} is {position}, seen {:?}", report.row(key).unwrap())
            })
            .collect();
        simulator.shutdown().await;
        wrong
    });
    let wrong: Vec<String> = join_all(runs).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
