//! Chaos: publishers and players with real media while the server is killed again and again. Every
//! stream comes back every time, nobody is told, and afterwards nothing is left behind.
//!
//! What is run here is small. The long run, which also bounds the growth of memory:
//! ```sh
//! CHAOS_PUBLISHERS=20 CHAOS_PLAYERS=40 CHAOS_EVERY_S=10 CHAOS_SECONDS=180 CHAOS_GROWTH_KB_MAX=1024 \
//!     cargo test --release --test chaos -- --nocapture
//! ```
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    checks, config, let_pass,
    page::{Page, media_until},
    pool,
    server::Server,
    wait_until,
};
use holdfast::{
    config::{KeepaliveSettings, MediaMode},
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats, WebRtcClient},
    net::Proxy,
};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// How long the server stays away.
const DOWN: Duration = Duration::from_millis(500);

fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The proxy on a runtime of its own, so that its tasks can be counted.
struct Subject {
    runtime: Option<Runtime>,
    proxy: Proxy,
}

impl Subject {
    async fn start(upstream: std::net::SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut config = config(upstream, MediaMode::Anchor);
        config.session.keepalive = KeepaliveSettings::default();
        let proxy = runtime.spawn(Proxy::launch(config)).await.unwrap().unwrap();
        Self { runtime: Some(runtime), proxy }
    }

    fn tasks(&self) -> usize {
        self.runtime.as_ref().unwrap().metrics().num_alive_tasks()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // A runtime must not be waited for within another one.
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A page with one stream.
struct Party {
    page: Page,
    media: Arc<WebRtcClient>,
    publishes: bool,
    id: String,
}

impl Party {
    async fn join(proxy: &Proxy, pool: &ClientPool, name: &str, publishes: bool) -> Self {
        let page = Page::establish(proxy.address()).await;
        let options = if publishes { ClientOptions::publish() } else { ClientOptions::play() };
        let options = ClientOptions { bitrate_bps: 200_000, ..options };
        let id = format!("{:032x}", rand::random::<u128>());
        let media = page.start_media(pool, &id, name, options).await;
        page.wait_status(&id, if publishes { "PUBLISHING" } else { "PLAYING" }).await;
        Self { page, media, publishes, id }
    }

    async fn goes_on(&self, before: &ClientStats, what: &str) {
        media_until(&self.media, what, |now| {
            now.video.key_frames > before.video.key_frames
                && now.video.packets_received > before.video.packets_received + 20
                && now.audio.packets_received > before.audio.packets_received + 10
        })
        .await;
    }

    fn assert_unaware(&self, before: &ClientStats, what: &str) {
        let running = if self.publishes { "PUBLISHING" } else { "PLAYING" };
        assert!(self.page.is_open(), "{what}: {}", self.page.summary());
        assert_eq!(self.page.statuses(&self.id), [running], "{what}: {}", self.page.summary());
        // Where this process gets no processor for seconds, a client leg is silent and is revived:
        // the same transport with new credentials. Another answer would be another transport.
        let answers = self.page.remote_sdps(&self.id) - self.page.revivals(&self.id);
        assert_eq!(answers, 1, "{what}");
        assert_eq!(self.page.session_callbacks(), 2, "{what}: {}", self.page.summary());
        let now = self.media.stats();
        assert!(!now.failed, "{what}: {now:#?}");
        for (track, before) in [(&now.video, &before.video), (&now.audio, &before.audio)] {
            assert_eq!(track.ssrc_changes, 0, "{what}: {track:#?}");
            assert_eq!(track.timestamp_steps_back, 0, "{what}: {track:#?}");
            // Numbers that began anew would make everything late.
            assert!(track.late < before.late + 20, "{what}: {track:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_survives_every_kill_and_nothing_is_left_behind() {
    let (publishers, players) = (parameter("CHAOS_PUBLISHERS", 4), parameter("CHAOS_PLAYERS", 8));
    let every = Duration::from_secs(parameter("CHAOS_EVERY_S", 5));
    let lasts = Duration::from_secs(parameter("CHAOS_SECONDS", 30));
    let mut server = Server::start(json!({"pings": {"interval_ms": 5_000}})).await;
    let subject = Subject::start(server.address).await;
    let proxy = &subject.proxy;
    // The first session brings what stays for good, such as a connection of the log or a timer.
    drop(Page::establish(proxy.address()).await);
    wait_until("the first session is gone", || proxy.facts().places_taken == 0).await;
    let (tasks_before, descriptors_before) = (subject.tasks(), descriptors());

    let pool = pool();
    let mut parties = Vec::new();
    for number in 0..publishers {
        parties.push(Party::join(proxy, &pool, &format!("cam-{number}"), true).await);
    }
    for number in 0..players {
        parties.push(Party::join(proxy, &pool, &format!("cam-{}", number % publishers), false).await);
    }
    let watching: Vec<usize> = (0..parties.len()).filter(|index| !parties[*index].publishes).collect();
    for index in &watching {
        parties[*index].goes_on(&ClientStats::default(), "the first picture").await;
    }

    let begun = Instant::now();
    let (mut kills, mut slowest, mut after_a_third) = (0, Duration::ZERO, None);
    while begun.elapsed() < lasts {
        let round = Instant::now();
        let before: Vec<ClientStats> = parties.iter().map(|party| party.media.stats()).collect();
        kills += 1;
        server.kill().await;
        let_pass(DOWN).await;
        server.start_again().await;
        let there = Instant::now();
        for index in &watching {
            parties[*index].goes_on(&before[*index], &format!("player {index} after kill {kills}")).await;
        }
        slowest = slowest.max(there.elapsed());
        for (party, before) in parties.iter().zip(&before) {
            party.assert_unaware(before, &format!("kill {kills}"));
        }
        if begun.elapsed() > lasts / 3 {
            after_a_third.get_or_insert_with(resident_kb);
        }
        let_pass(every.saturating_sub(round.elapsed())).await;
    }
    let revivals: usize = parties.iter().map(|party| party.page.revivals(&party.id)).sum();
    let grown_kb = resident_kb().saturating_sub(after_a_third.unwrap());
    println!(
        "{kills} kills, {publishers} publishers, {players} players: all restored, at most {slowest:?} after the \
         server was there, {revivals} legs revived; this process grew by {grown_kb} KB in the last two thirds"
    );
    let grown_kb_max = parameter("CHAOS_GROWTH_KB_MAX", u64::MAX);
    assert!(grown_kb < grown_kb_max, "{grown_kb} KB");
    checks::assert_no_violation(&server, "chaos").await;

    drop(parties);
    drop(pool);
    wait_until("all sessions are gone", || proxy.facts().places_taken == 0).await;
    let media = proxy.media().unwrap();
    wait_until("all legs are gone", || {
        let counters = media.counters();
        media.streams() == 0 && counters["streams"] == 0 && counters["upstream_sockets"] == 0
    })
    .await;
    wait_until("all tasks have ended", || subject.tasks() <= tasks_before).await;
    wait_until("all descriptors are closed", || descriptors() <= descriptors_before).await;
    server.wait_for("no ghost", |state| state["now"]["sessions"] == 0).await;
}
