//! The attackers: one task per kind, each at a pace of its own, so that the run does not become a
//! contest for the processor.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{http, media, websocket};

/// Longest life of one attack.
const LIFE_MAX: Duration = Duration::from_secs(8);

/// The ports of the proxy.
#[derive(Debug)]
pub struct Target {
    pub clients: SocketAddr,
    pub media: Vec<SocketAddr>,
    pub admin: SocketAddr,
}

/// One attack; its randomness is its own, so that a seed repeats it.
pub type Attack = fn(Arc<Target>, StdRng) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A kind of attack.
struct Kind {
    name: &'static str,
    /// Attacks per second.
    pace: u64,
    /// Attacks at the same time.
    at_once: usize,
    attack: Attack,
}

macro_rules! kind {
    ($name:literal, $pace:literal per second, $at_once:literal at once, $attack:path) => {
        Kind {
            name: $name,
            pace: $pace,
            at_once: $at_once,
            attack: |target, random| Box::pin($attack(target, random)),
        }
    };
}

fn kinds() -> Vec<Kind> {
    vec![
        kind!("TCP connections that end at once", 100 per second, 50 at once, http::touch),
        kind!("requests that never end", 20 per second, 100 at once, http::drip),
        kind!("mutated requests", 50 per second, 50 at once, http::mutated),
        kind!("requests with 64 KiB of headers", 5 per second, 10 at once, http::huge),
        kind!("requests without WebSocket, with bodies", 20 per second, 20 at once, http::with_body),
        kind!("idle and mutated connections to the admin port", 10 per second, 40 at once, http::admin),
        kind!("random bytes after the handshake", 20 per second, 20 at once, websocket::noise),
        kind!("mutated frames", 20 per second, 20 at once, websocket::frames),
        kind!("mutated messages in a session", 10 per second, 10 at once, websocket::messages),
        kind!("mutated offers in a session", 10 per second, 10 at once, websocket::offers),
        kind!("clients that ping and never read", 2 per second, 6 at once, websocket::never_reads),
        kind!("messages of 16 MiB that never end", 2 per second, 12 at once, websocket::unfinished),
        kind!("publishes with names and offers of 256 KiB", 2 per second, 8 at once, websocket::heavy),
        kind!("strangers that want the control stream's name", 2 per second, 6 at once, websocket::takes_name),
        kind!("sessions that end at once", 50 per second, 50 at once, websocket::flapping),
        kind!("datagrams of noise, 100 each", 10 per second, 4 at once, media::noise),
        kind!("mutated STUN, RTP, RTCP and DTLS, 100 each", 10 per second, 4 at once, media::mutated),
        kind!("STUN checks, 50 ports each", 5 per second, 4 at once, media::many_ports),
        kind!("media TCP that drips", 10 per second, 100 at once, media::tcp_drip),
    ]
}

/// All of them, running.
pub struct Attackers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    done: Vec<(&'static str, Arc<AtomicU64>)>,
}

impl Attackers {
    pub fn start(target: &Arc<Target>, seed: u64) -> Self {
        let stop = watch::Sender::new(false);
        let (mut tasks, mut done) = (Vec::new(), Vec::new());
        for (number, kind) in kinds().into_iter().enumerate() {
            let count = Arc::new(AtomicU64::new(0));
            done.push((kind.name, Arc::clone(&count)));
            let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            tasks.push(tokio::spawn(keep_on(kind, Arc::clone(target), random, count, stop.subscribe())));
        }
        Self { stop, tasks, done }
    }

    /// How often each took place.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.done.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect()
    }

    pub fn table(&self) -> String {
        self.counts().iter().map(|(name, count)| format!("{count:>8} {name}\n")).collect()
    }

    /// Ends them and waits until the last attack is over.
    pub async fn stop(self) -> Vec<(&'static str, u64)> {
        self.stop.send_replace(true);
        let counts = self.counts();
        for task in self.tasks {
            task.await.unwrap();
        }
        counts
    }
}

async fn keep_on(
    kind: Kind,
    target: Arc<Target>,
    mut random: StdRng,
    count: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(kind.at_once));
    let mut ticks = interval(Duration::from_secs(1) / kind.pace as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
        // All places taken: this kind waits, as its pace is a bound, not a promise.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let attack = (kind.attack)(Arc::clone(&target), StdRng::from_rng(&mut random));
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            // One that is held for long has done its work.
            let _ = timeout(LIFE_MAX, attack).await;
            count.fetch_add(1, Ordering::Relaxed);
            drop(place);
        });
    }
    let _ = places.acquire_many(kind.at_once as u32).await;
}
