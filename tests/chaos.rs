//! Chaos: publishers and players with real media while the server is killed again and again. Every
//! stream comes back every time, nobody is told, and afterwards nothing is left behind.
//!
//! What is run here is small. The long run, which also bounds the growth of the proxy's memory:
//! ```sh
//! CHAOS_PUBLISHERS=20 CHAOS_PLAYERS=40 CHAOS_EVERY_S=10 CHAOS_SECONDS=180 CHAOS_TABLE=tests/CHAOS.md \
//!     cargo test --release --test chaos -- --nocapture
//! ```
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    PATIENCE, checks, let_pass,
    page::{Page, media_until},
    pool,
    server::{Server, ask},
    subject::Subject,
};
use holdfast::load::webrtc_client::{ClientOptions, ClientPool, ClientStats, WebRtcClient};
use serde_json::{Value, json};

/// In a run that lasts at least so long, the proxy's memory is bounded.
const LONG: Duration = Duration::from_secs(120);

/// How much it may grow from the end of the first third (minute 1 of 3) to the end of such a run.
const GROWTH_KB_MAX: u64 = 1_024;

/// How long the server stays away.
const DOWN: Duration = Duration::from_millis(500);

fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What the proxy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holdings {
    /// Sessions, media streams and upstream sockets of them.
    legs: [u64; 3],
    tasks: u64,
    threads: usize,
    descriptors: usize,
}

impl Holdings {
    /// Nothing more than `before`. A reused buffer or an idle thread may have gone meanwhile.
    fn within(&self, before: &Self) -> bool {
        self.legs == before.legs
            && self.tasks <= before.tasks
            && self.threads <= before.threads
            && self.descriptors <= before.descriptors
    }
}

/// What is asked of the proxy here.
struct Watched(Subject);

impl Watched {
    async fn holdings(&self) -> Holdings {
        let status = ask(self.0.admin, "GET", "/status", "").await;
        let number = |value: &Value| value.as_u64().unwrap();
        let media = &status["media"];
        Holdings {
            legs: [&status["places_taken"], &media["streams"], &media["upstream_sockets"]].map(number),
            tasks: number(&status["tasks"]),
            threads: std::fs::read_dir(self.0.proc("task")).unwrap().count(),
            descriptors: self.0.descriptors(),
        }
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&Holdings) -> bool) -> Holdings {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let holdings = self.holdings().await;
            if condition(&holdings) {
                return holdings;
            }
            assert!(Instant::now() < deadline, "in vain: {what}: {holdings:?}");
            let_pass(Duration::from_millis(20)).await;
        }
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
    async fn join(proxy: &Watched, pool: &ClientPool, name: &str, publishes: bool) -> Self {
        let page = Page::establish(proxy.0.address).await;
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
    let subject = Watched(Subject::start(server.address, &["--media-listen=127.0.0.1:0".to_owned()]).await);
    // The first session brings what stays for good, such as a connection of the log or a timer.
    drop(Page::establish(subject.0.address).await);
    let before_all = subject.wait_for("the first session is gone", |now| now.legs == [0; 3]).await;

    let pool = pool();
    let mut parties = Vec::new();
    for number in 0..publishers {
        parties.push(Party::join(&subject, &pool, &format!("cam-{number}"), true).await);
    }
    for number in 0..players {
        parties.push(Party::join(&subject, &pool, &format!("cam-{}", number % publishers), false).await);
    }
    let watching: Vec<usize> = (0..parties.len()).filter(|index| !parties[*index].publishes).collect();
    for index in &watching {
        parties[*index].goes_on(&ClientStats::default(), "the first picture").await;
    }

    let begun = Instant::now();
    let mut kills = 0;
    // After each kill: how long the slowest player waited for its picture, and the proxy's memory.
    let mut rounds: Vec<(Duration, Duration, u64)> = Vec::new();
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
        let slowest = there.elapsed();
        for (party, before) in parties.iter().zip(&before) {
            party.assert_unaware(before, &format!("kill {kills}"));
        }
        rounds.push((begun.elapsed(), slowest, subject.0.memory_kb()));
        let_pass(every.saturating_sub(round.elapsed())).await;
    }
    let revivals: usize = parties.iter().map(|party| party.page.revivals(&party.id)).sum();
    let after_a_third = rounds.iter().find(|(at, ..)| *at >= lasts / 3).unwrap().2;
    let slowest = rounds.iter().map(|(_, slowest, _)| *slowest).max().unwrap();
    let grown_kb = subject.0.memory_kb().saturating_sub(after_a_third);
    let summary = format!(
        "{kills} kills, {publishers} publishers, {players} players: all restored, at most {slowest:?} after the \
         server was there, {revivals} legs revived; the proxy, with {after_a_third} KB after a third of the time, \
         grew by {grown_kb} KB until the end"
    );
    println!("{summary}");
    assert!(lasts < LONG || grown_kb < GROWTH_KB_MAX, "{grown_kb} KB; after each kill: {rounds:?}");
    checks::assert_no_violation(&server, "chaos").await;

    drop(parties);
    drop(pool);
    subject.wait_for("nothing is left behind", |now| now.within(&before_all)).await;
    server.wait_for("no ghost", |state| state["now"]["sessions"] == 0).await;
    if let Ok(path) = std::env::var("CHAOS_TABLE") {
        std::fs::write(path, table(&summary, &rounds)).unwrap();
    }
}

/// What a run that passed came to, as Markdown.
fn table(summary: &str, rounds: &[(Duration, Duration, u64)]) -> String {
    let mut text = format!(
        "# Result of the long chaos run\n\nWritten by `tests/chaos.rs`, whose head has the command; do not edit.\n\n\
         {summary}. Afterwards legs, tasks and descriptors were what they had been.\n\n\
         | kill | at (s) | slowest player's first frame, from the server being there (ms) | memory of the proxy (KB) |\n\
         |---|---|---|---|\n"
    );
    for (number, (at, slowest, kb)) in rounds.iter().enumerate() {
        let (at, slowest_ms) = (at.as_secs(), slowest.as_millis());
        text.push_str(&format!("| {} | {at} | {slowest_ms} | {kb} |\n", number + 1));
    }
    text
}
