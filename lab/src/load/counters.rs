//! What a run counts: shared by all clients, read while they run.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::summary::Percentiles;

/// Kinds of errors kept apart; what comes after is counted as `other`.
const ERROR_KINDS_MAX: usize = 32;
/// Longest time that a histogram tells apart: ten minutes, in microseconds.
const TIME_US_MAX: u64 = 600_000_000;

/// Times of one kind, in microseconds.
#[derive(Debug)]
pub(super) struct Times(Mutex<Histogram<u64>>);

impl Times {
    pub(super) fn new() -> Self {
        // These bounds are valid: low 1, high above 2, three digits. `new(3)` cannot fail either.
        let histogram = Histogram::new_with_bounds(1, TIME_US_MAX, 3).or_else(|_| Histogram::new(3));
        Self(Mutex::new(histogram.unwrap_or_else(|_| unreachable!("three digits are always accepted"))))
    }

    pub(super) fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(TIME_US_MAX);
        self.0.lock().saturating_record(us.clamp(1, TIME_US_MAX));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.0.lock())
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters and times of a run.
        #[derive(Debug)]
        pub(super) struct Counters {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
            /// From the start of the dial to `getUserData`.
            pub(super) connect: Times,
            /// From the moment a message was due to its answer: waiting behind a slow one counts.
            pub(super) answer: Times,
            /// From `publishStream` to PUBLISHING.
            pub(super) publish: Times,
            /// From `playStream` to PLAYING.
            pub(super) play: Times,
            /// From the first sign of an outage at a client to its stream running again.
            pub(super) restore: Times,
            /// From the server listening again to the answer of a request sent at that moment.
            pub(super) session_restored: Times,
            /// From the server listening again to a reported stream running again.
            pub(super) stream_restored: Times,
            /// How long the server was away, per outage that we made, in milliseconds.
            pub(super) outages_ms: Mutex<Vec<u64>>,
            errors: Mutex<BTreeMap<String, u64>>,
        }

        impl Counters {
            pub(super) fn new() -> Self {
                Self {
                    $($name: AtomicU64::new(0),)*
                    connect: Times::new(),
                    answer: Times::new(),
                    publish: Times::new(),
                    play: Times::new(),
                    restore: Times::new(),
                    session_restored: Times::new(),
                    stream_restored: Times::new(),
                    outages_ms: Mutex::default(),
                    errors: Mutex::new(BTreeMap::new()),
                }
            }
        }
    };
}

counters! {
    /// Clients that were told to come.
    started,
    /// Clients that got their `getUserData`.
    established,
    /// Clients whose socket is open now.
    open,
    /// Clients whose socket ended before we ended it.
    lost,
    /// Second `getUserData` on a socket.
    established_again,
    /// Messages sent, pongs included.
    sent,
    /// Messages received, pings included.
    received,
    /// Pings answered.
    pings,
    /// Answers to `sendData`.
    answered,
    /// `sendData` answered FAILED.
    answered_failed,
    /// PUBLISHING received.
    publishing,
    /// PLAYING received.
    playing,
    /// Streams reported FAILED that had been running.
    reported,
    /// Streams that failed before they ran.
    refused,
    /// Streams running again after they were reported.
    back,
    /// Streams running now.
    running,
    /// Answers that Holdfast gave itself: it anchors the media of these streams.
    anchored,
}

impl Counters {
    pub(super) fn error(&self, kind: &impl ToString) {
        let kind = kind.to_string();
        let mut errors = self.errors.lock();
        if errors.len() >= ERROR_KINDS_MAX && !errors.contains_key(&kind) {
            *errors.entry("other".to_owned()).or_default() += 1;
        } else {
            *errors.entry(kind).or_default() += 1;
        }
    }

    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(super) fn take(counter: &AtomicU64) {
    counter.fetch_sub(1, Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_are_bounded() {
        let counters = Counters::new();
        for n in 0..100 {
            counters.error(&format!("error {n}"));
        }
        let errors = counters.errors();
        assert_eq!(errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(errors.get("other").copied(), Some(100 - ERROR_KINDS_MAX as u64));
    }

    #[test]
    fn times_past_the_scale_are_kept_at_its_end() {
        let times = Times::new();
        times.record(Duration::from_secs(10_000));
        times.record(Duration::ZERO);
        assert_eq!(times.percentiles().count, 2);
    }
}
