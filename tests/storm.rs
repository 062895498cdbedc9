//! A storm: 2,000 sessions with one published stream each lose their server at once and get it
//! back. Signaling only; a binary of its own, because it needs the machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{checks, let_pass, proxy_with, server::Server};
use holdfast::{
    config::{KeepaliveSettings, MediaMode},
    load::{self, LoadSettings, Progress, Scenario},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;

const SESSIONS: usize = 2_000;
/// Restores per second and node.
const RATE: u32 = 300;
/// Nothing takes this long unless it is broken.
const STORM_TIME_MAX: Duration = Duration::from_secs(120);

fn load_settings(address: std::net::SocketAddr) -> LoadSettings {
    LoadSettings {
        scenario: Scenario::Storm,
        sessions: SESSIONS,
        ramp_per_s: 1_000,
        hold: STORM_TIME_MAX,
        connect_timeout: Duration::from_secs(60),
        ..LoadSettings::new(format!("ws://{address}").parse().unwrap())
    }
}

async fn reaches(progress: &Mutex<Option<Progress>>, what: &str, condition: impl Fn(&Progress) -> bool) {
    common::wait_until_for(STORM_TIME_MAX, what, || progress.lock().as_ref().is_some_and(&condition)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_sessions_come_back_at_the_pace_of_the_budget() {
    let changes = json!({"pings": {"interval_ms": 5_000}, "limits": {"journal_max": 100_000}});
    let mut server = Server::fake(changes).await;
    let proxy = proxy_with(server.address, MediaMode::Direct, |config| {
        config.session.keepalive = KeepaliveSettings::default();
        config.net.upstream.dial_timeout = Duration::from_secs(5);
        config.net.upstream.restore_rate = RATE;
    })
    .await;
    let (stop, stopped) = watch::channel(false);
    let progress = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&progress);
    let run = tokio::spawn(load::run(load_settings(proxy.address()), stopped, move |progress| {
        *seen.lock() = Some(progress);
    }));
    let all = SESSIONS as u64;
    reaches(&progress, "all publish", |progress| progress.running == all).await;

    server.kill().await;
    let_pass(Duration::from_secs(2)).await;
    server.start_again().await;
    server.wait_for("all publish at the new server", |state| state["now"]["streams_live"] == all).await;
    reaches(&progress, "all know it", |progress| progress.running == all).await;
    stop.send(true).unwrap();
    let summary = run.await.unwrap().unwrap();
    println!("{summary}");

    assert_eq!((summary.survived, summary.lost), (all, 0), "{summary}");
    assert_eq!(summary.established_again, 0, "{summary}");
    assert_eq!((summary.reported, summary.back), (all, all), "each stream is reported once: {summary}");
    assert_eq!((summary.publishing, summary.refused), (2 * all, 0), "{summary}");
    assert!(summary.errors.is_empty(), "{summary}");
    let counters = &server.summary().await["counters"];
    assert_eq!(counters["asked"]["connection"], all, "one connection per session: {counters:#}");
    assert_eq!(counters["asked"]["publishStream"], all, "one publish per session: {counters:#}");
    let journal = server.journal().await;
    let back: Vec<u64> =
        journal.iter().filter(|e| e.life == 2 && e.what == "session").map(|e| e.at_ms).collect();
    let took_ms = back.iter().max().unwrap() - back.iter().min().unwrap();
    let paced_ms = (SESSIONS as u64 - 1) * 1_000 / u64::from(RATE);
    assert!(took_ms + 500 >= paced_ms, "{took_ms} ms for what the budget spreads over {paced_ms} ms");
    // A server short of processor time accepts in bursts what came evenly; the budget itself is
    // tested to the dial where it is made.
    let pace = counters["dials_per_second_max"].as_u64().unwrap();
    assert!(pace <= u64::from(RATE) * 2, "{pace} dials accepted in one second");
    checks::assert_no_violation(&server, "storm").await;
}
