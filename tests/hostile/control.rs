//! Who must not notice: a client that sends a message every 20 ms and times its answer, and a stream
//! whose picture must move. They live on a thread of their own, apart from the attackers.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use holdfast::load::webrtc_client::{ClientOptions, WebRtcClient};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::common::{let_pass, page::Page, pool};

/// What the control stream is called.
pub const STREAM_NAME: &str = "control";

/// Between two messages.
const PACE: Duration = Duration::from_millis(20);

/// What the control client saw.
#[derive(Debug)]
pub struct Served {
    /// Microseconds from a message to its answer.
    pub answers: Histogram<u64>,
    /// The longest time without a packet of the picture.
    pub longest_still: Duration,
    pub frames_packets: u64,
}

struct Pulse {
    /// The message that waits for its answer, since when.
    asked: Option<Instant>,
    /// The last packet of the picture.
    picture: Instant,
    failed: Option<String>,
}

/// The thread and what it last told.
pub struct Control {
    thread: JoinHandle<Served>,
    pulse: Arc<Mutex<Pulse>>,
    stop: watch::Sender<bool>,
}

impl Control {
    /// Starts it; returns when the picture moves.
    pub async fn start(proxy: SocketAddr) -> Self {
        let pulse = Arc::new(Mutex::new(Pulse { asked: None, picture: Instant::now(), failed: None }));
        let stop = watch::Sender::new(false);
        let (ready, is_ready) = oneshot::channel();
        let (shared, stopped) = (Arc::clone(&pulse), stop.subscribe());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(live(proxy, ready, &shared, stopped))
        });
        is_ready.await.unwrap();
        Self { thread, pulse, stop }
    }

    /// No message waits longer than `patience`, and the picture has not stood still for longer.
    pub fn assert_served(&self, patience: Duration, seed: u64) {
        let pulse = self.pulse.lock();
        let waited = pulse.asked.map(|asked| asked.elapsed()).unwrap_or_default();
        assert!(pulse.failed.is_none(), "HOSTILE_SEED={seed}: {:?}", pulse.failed);
        assert!(waited <= patience, "HOSTILE_SEED={seed}: a message waits for {waited:?}");
        let still = pulse.picture.elapsed();
        assert!(still <= patience, "HOSTILE_SEED={seed}: the picture stands still for {still:?}");
    }

    pub async fn stop(self) -> Served {
        self.stop.send_replace(true);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}

async fn live(
    proxy: SocketAddr,
    ready: oneshot::Sender<()>,
    pulse: &Mutex<Pulse>,
    stopped: watch::Receiver<bool>,
) -> Served {
    let pool = pool();
    let publisher = Page::establish(proxy).await;
    publisher.start_media(&pool, "control-publish", STREAM_NAME, ClientOptions::publish()).await;
    publisher.wait_status("control-publish", "PUBLISHING").await;
    let player = Page::establish(proxy).await;
    let picture = player.start_media(&pool, "control-play", STREAM_NAME, ClientOptions::play()).await;
    player.wait_status("control-play", "PLAYING").await;
    picture.wait_for(super::PATIENCE, |stats| stats.video.key_frames > 0).await.unwrap();
    pulse.lock().picture = Instant::now();
    ready.send(()).unwrap();

    let mut answers = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
    let (mut longest_still, mut number) = (Duration::ZERO, 0_u64);
    while !*stopped.borrow() {
        number += 1;
        let asked = Instant::now();
        pulse.lock().asked = Some(asked);
        ask(&player, number).await;
        answers.record(asked.elapsed().as_micros() as u64).unwrap();
        let moved = last_packet(&picture);
        let failed = trouble(&publisher, "control-publish").or_else(|| trouble(&player, "control-play"));
        {
            let mut now = pulse.lock();
            now.asked = None;
            longest_still = longest_still.max(moved.saturating_duration_since(now.picture));
            now.picture = moved;
            now.failed = failed;
        }
        let_pass(PACE.saturating_sub(asked.elapsed())).await;
    }
    let frames_packets = picture.stats().video.packets_received;
    Served { answers, longest_still, frames_packets }
}

fn last_packet(picture: &WebRtcClient) -> Instant {
    picture.picture().last.unwrap()
}

async fn ask(page: &Page, number: u64) {
    let operation = format!("control-{number}");
    page.send("sendData", json!({"operationId": operation, "payload": {"n": number}}));
    let answered = |told: &super::common::page::Told| {
        let last = told.messages.iter().rev().take(20);
        last.filter(|heard| heard.name == "DataStatusEvent")
            .any(|heard| heard.data[0]["operationId"] == operation.as_str())
            .then_some(())
    };
    page.wait("an answer to the control client", answered).await;
}

/// What a page must not be told: that its stream or its socket ended.
fn trouble(page: &Page, id: &str) -> Option<String> {
    let statuses = page.statuses(id);
    (!page.is_open() || statuses.len() != 1).then(|| format!("{statuses:?} {}", page.summary()))
}
