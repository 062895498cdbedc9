//! Keeps a worker's thread at work: whatever ends it, its streams are told, its ports are bound
//! again and a new worker takes its orders.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mio::Waker;
use parking_lot::Mutex;

use crate::milliseconds::ms;

use super::{
    guard::caught,
    worker::{Bound, End, Parts, Worker},
};

/// A worker that shows no sign of life for so long is not alive: it turns at least every 50 ms.
const STUCK: Duration = Duration::from_secs(5);

/// Pauses before a worker starts again, doubled from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A worker that lived so long starts again with the first pause.
const STEADY: Duration = Duration::from_secs(60);

/// What the rest of the process knows of a worker.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) address: SocketAddr,
    waker: Mutex<Waker>,
    begun: Instant,
    /// Milliseconds from the beginning to the last sign of life.
    seen_ms: AtomicU64,
    working: AtomicBool,
    restarts: AtomicU64,
}

impl Post {
    pub(super) fn new(address: SocketAddr, waker: Waker) -> Self {
        Self {
            address,
            waker: Mutex::new(waker),
            begun: Instant::now(),
            seen_ms: AtomicU64::new(0),
            working: AtomicBool::new(true),
            restarts: AtomicU64::new(0),
        }
    }

    /// Wakes the worker.
    ///
    /// # Errors
    ///
    /// If the system cannot.
    pub(super) fn wake(&self) -> std::io::Result<()> {
        self.waker.lock().wake()
    }

    /// A sign of life.
    pub(super) fn seen(&self, now: Instant) {
        self.seen_ms.store(self.elapsed_ms(now), Ordering::Relaxed);
    }

    pub(super) fn is_alive(&self) -> bool {
        let silent_ms = self.elapsed_ms(Instant::now()).saturating_sub(self.seen_ms.load(Ordering::Relaxed));
        self.working.load(Ordering::Relaxed) && u128::from(silent_ms) <= STUCK.as_millis()
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        ms(now.saturating_duration_since(self.begun))
    }
}

/// Tells that the thread has ended, however it did.
struct Ended<'a>(&'a Post);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.working.store(false, Ordering::Relaxed);
    }
}

/// Works until the last sender of orders is gone.
pub(super) fn supervise(mut worker: Worker, post: &Post) {
    let _ended = Ended(post);
    let mut pause = PAUSE_FIRST;
    loop {
        let begun = Instant::now();
        let cause = match caught(|| worker.run(post)) {
            Ok(End::NoOrders) => return,
            Ok(End::Poll(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        post.working.store(false, Ordering::Relaxed);
        let streams = worker.streams();
        tracing::error!(
            event = "media_worker_ended", address = %post.address, cause, streams,
            "a media worker ended: its streams are lost, it starts again"
        );
        let parts = worker.wreck();
        if begun.elapsed() > STEADY {
            pause = PAUSE_FIRST;
        }
        let (bound, waker) = loop {
            if !rest(pause, &parts) {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
            match Bound::new(post.address, &parts) {
                Ok(bound) => break bound,
                Err(error) => {
                    tracing::error!(
                        event = "media_worker_waits", address = %post.address, %error,
                        "a media port cannot be bound again yet"
                    );
                }
            }
        };
        *post.waker.lock() = waker;
        worker = Worker::new(bound, parts);
        post.seen(Instant::now());
        post.restarts.fetch_add(1, Ordering::Relaxed);
        post.working.store(true, Ordering::Relaxed);
        tracing::warn!(event = "media_worker_restarted", address = %post.address, "a media worker works again");
    }
}

/// False: there is nobody left to work for.
fn rest(pause: Duration, parts: &Parts) -> bool {
    /// How soon the end of the process is noticed.
    const SLICE: Duration = Duration::from_millis(50);
    let until = Instant::now() + pause;
    loop {
        if parts.has_no_orders() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(SLICE));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_worker_that_hangs_or_has_ended_is_not_alive() {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let mut post = Post::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), waker);
        assert!(post.is_alive());
        post.begun = Instant::now().checked_sub(STUCK * 2).unwrap();
        assert!(!post.is_alive(), "it was not seen for too long");
        post.seen(Instant::now());
        assert!(post.is_alive());
        drop(Ended(&post));
        assert!(!post.is_alive());
    }
}
