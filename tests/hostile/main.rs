//! A hostile run: the proxy is flooded, fuzzed and starved from every port it has, while a control
//! client wants each of its messages answered, and a control stream its picture.
//!
//! A minute of it is run here. The long run, on a release build, also judges the control client's
//! 99th percentile and writes its table:
//! ```sh
//! HOSTILE_SECONDS=300 HOSTILE_TABLE=tests/HOSTILE.md cargo test --release --test hostile -- --nocapture
//! ```
//! `HOSTILE_SEED=N` repeats the choices of a run.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../common/mod.rs"]
mod common;

mod attack;
mod control;
mod http;
mod media;
mod mutate;
mod report;
mod websocket;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use attack::{Attackers, Target};
use common::{
    PATIENCE, let_pass,
    ports::free_port,
    server::{Server, ask},
    subject::Subject,
};
use control::Control;
use serde_json::json;

/// The memory budget that the proxy is given, and what it may hold during and after all of this.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// No message of the control client may wait longer in a long run.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// As that where the machine may be small, or do other things as well: the attackers keep a pace that is none for a
/// release build, and may take a debug build all of the processor that it gets.
const ANSWER_MAX_ANYWHERE: Duration = Duration::from_secs(15);

/// In a run that lasts at least so long, the percentile below is judged.
const LONG: Duration = Duration::from_secs(240);

/// The control client's 99th percentile in a long run.
const P99_MAX: Duration = Duration::from_millis(50);

fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_client_is_served_while_everything_else_attacks() {
    let lasts = Duration::from_secs(parameter("HOSTILE_SECONDS", 60));
    let answer_max = if lasts >= LONG { ANSWER_MAX } else { ANSWER_MAX_ANYWHERE };
    let seed = parameter("HOSTILE_SEED", rand::random());
    println!("HOSTILE_SEED={seed}");
    let server = Server::start(json!({"pings": {"interval_ms": 5_000}})).await;
    let media = free_port();
    let config = Config::write();
    let arguments = [format!("--media-listen={media}"), format!("--config={}", config.0.display())];
    let mut subject = Subject::start(server.address, &arguments).await;
    let control = Control::start(subject.address).await;
    let idle_kb = subject.memory_kb();

    let target =
        Arc::new(Target { clients: subject.address, media: media_ports(media), admin: subject.admin });
    let attackers = Attackers::start(&target, seed);
    let begun = Instant::now();
    let mut highest_kb = idle_kb;
    while begun.elapsed() < lasts {
        let_pass(Duration::from_millis(250)).await;
        assert!(subject.runs(), "the proxy has ended: HOSTILE_SEED={seed}");
        highest_kb = highest_kb.max(subject.memory_kb());
        assert!(
            highest_kb * 1024 < MEMORY_BYTES_MAX,
            "{highest_kb} KiB: HOSTILE_SEED={seed}\n{}",
            attackers.table()
        );
        control.assert_served(answer_max, seed);
    }
    let attacks = attackers.stop().await;
    let served = control.stop().await;
    let after_kb = settled_kb(&subject).await;

    let summary = report::Summary { lasts, seed, idle_kb, highest_kb, after_kb, served, attacks };
    println!("{}", summary.markdown());
    assert!(summary.served.answers.max() <= answer_max.as_micros() as u64, "seed {seed}");
    assert!(summary.attacks.iter().all(|(_, done)| *done > 0), "an attack never took place: seed {seed}");
    if lasts >= LONG {
        let p99 = Duration::from_micros(summary.served.answers.value_at_quantile(0.99));
        assert!(p99 < P99_MAX, "p99 {p99:?}: seed {seed}");
    }
    // Whatever was attacked, it still takes a new client.
    let page = common::page::Page::establish(subject.address).await;
    page.works().await;
    if let Ok(path) = std::env::var("HOSTILE_TABLE") {
        std::fs::write(path, summary.markdown()).unwrap();
    }
}

/// A configuration file with the budget; removed when dropped.
struct Config(PathBuf);

impl Config {
    fn write() -> Self {
        let path = std::env::temp_dir().join(format!("holdfast-hostile-{}.toml", std::process::id()));
        std::fs::write(&path, format!("[limits]\nmemory_bytes_max = {MEMORY_BYTES_MAX}\n")).unwrap();
        Self(path)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // It may be gone already with the directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A worker per core, at most two, each with a port of its own, counted up.
fn media_ports(first: SocketAddr) -> Vec<SocketAddr> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    (0..workers as u16).map(|number| SocketAddr::new(first.ip(), first.port() + number)).collect()
}

/// Memory once the attackers' sessions are gone.
async fn settled_kb(subject: &Subject) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = ask(subject.admin, "GET", "/status", "").await;
        if status["places_taken"] == 0 || Instant::now() >= deadline {
            assert_eq!(status["places_taken"], 0, "sessions of the attackers are left: {status:#}");
            return subject.memory_kb();
        }
        let_pass(Duration::from_millis(100)).await;
    }
}
