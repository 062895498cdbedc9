//! Watches a publisher's video: the vendor's bitrate check, on the server side for everybody.
//!
//! It counts silence only while the client is heard: a leg that is wholly silent is a matter of
//! revival, not of codecs. It asks for nothing and tells nobody; its owner does.

use std::time::{Duration, Instant};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No video for as many checks as it takes; said once per silence.
    Silent {
        /// There never was any.
        never_sent: bool,
    },
    /// Video is back after that.
    Back,
}

/// The watchdog of one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    interval: Duration,
    tries_max: u32,
    next_check: Instant,
    last_video: Option<Instant>,
    /// Silence is measured from here: the start, the last video, or the end of a mute.
    since: Instant,
    muted: bool,
    misses: u32,
    reported: bool,
}

impl Watchdog {
    /// Starts watching at `now`. None if a setting switches the check off.
    pub(crate) fn new(interval: Duration, tries_max: u32, now: Instant) -> Option<Self> {
        (!interval.is_zero() && tries_max > 0).then(|| Self {
            interval,
            tries_max,
            next_check: now + interval,
            last_video: None,
            since: now,
            muted: false,
            misses: 0,
            reported: false,
        })
    }

    /// When to call [`Self::check`] next.
    pub(crate) const fn next_check(&self) -> Instant {
        self.next_check
    }

    /// A packet of video with a payload came in.
    pub(crate) const fn saw_video(&mut self, now: Instant) {
        self.last_video = Some(now);
        self.since = now;
        self.misses = 0;
    }

    /// Muted video still sends a little, or nothing: it is not missed.
    pub(crate) const fn mute(&mut self, muted: bool, now: Instant) {
        self.muted = muted;
        self.misses = 0;
        self.since = now;
    }

    /// The end of an interval. `heard` is when anything last came from the client.
    pub(crate) fn check(&mut self, heard: Option<Instant>, now: Instant) -> Option<Verdict> {
        if now < self.next_check {
            return None;
        }
        self.next_check = now + self.interval;
        if self.reported && self.last_video.is_some_and(|at| at == self.since) && self.misses == 0 {
            self.reported = false;
            return Some(Verdict::Back);
        }
        if self.muted {
            return None;
        }
        if now.saturating_duration_since(self.since) >= self.interval {
            self.misses = self.misses.saturating_add(1);
        }
        // Heard after the video stopped: the leg lives, its video does not.
        let alive = heard.is_some_and(|heard| heard >= self.since + self.interval);
        if self.misses < self.tries_max || !alive || self.reported {
            return None;
        }
        self.reported = true;
        Some(Verdict::Silent { never_sent: self.last_video.is_none() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn watch(now: Instant) -> Watchdog {
        Watchdog::new(INTERVAL, 3, now).unwrap()
    }

    /// Runs checks up to `until`; `heard` says when the client was last heard at a given time.
    fn run(
        dog: &mut Watchdog,
        until: Instant,
        heard: impl Fn(Instant) -> Option<Instant>,
    ) -> Vec<(Instant, Verdict)> {
        let mut found = Vec::new();
        while dog.next_check() <= until {
            let now = dog.next_check();
            found.extend(dog.check(heard(now), now).map(|verdict| (now, verdict)));
        }
        found
    }

    #[test]
    fn zero_switches_it_off() {
        let now = Instant::now();
        assert!(Watchdog::new(Duration::ZERO, 3, now).is_none());
        assert!(Watchdog::new(INTERVAL, 0, now).is_none());
    }

    #[test]
    fn video_that_never_came_is_reported_once_after_three_checks() {
        let start = Instant::now();
        let mut dog = watch(start);
        let found = run(&mut dog, start + 10 * INTERVAL, Some);
        assert_eq!(found, [(start + 3 * INTERVAL, Verdict::Silent { never_sent: true })]);
    }

    #[test]
    fn video_that_stopped_is_told_apart_and_its_return_is_told() {
        let start = Instant::now();
        let mut dog = watch(start);
        dog.saw_video(start + INTERVAL / 2);
        let found = run(&mut dog, start + 8 * INTERVAL, Some);
        assert_eq!(found, [(start + 4 * INTERVAL, Verdict::Silent { never_sent: false })]);
        dog.saw_video(start + 8 * INTERVAL + INTERVAL / 2);
        let found = run(&mut dog, start + 9 * INTERVAL, Some);
        assert_eq!(found, [(start + 9 * INTERVAL, Verdict::Back)]);
    }

    #[test]
    fn a_silent_leg_is_not_the_watchdogs_business() {
        let start = Instant::now();
        let mut dog = watch(start);
        let last = start + INTERVAL / 2;
        dog.saw_video(last);
        let found = run(&mut dog, start + 20 * INTERVAL, |_| Some(last));
        assert_eq!(found, []);
    }

    #[test]
    fn muted_video_is_not_missed_and_has_its_time_after_unmuting() {
        let start = Instant::now();
        let mut dog = watch(start);
        dog.mute(true, start);
        assert_eq!(run(&mut dog, start + 10 * INTERVAL, Some), []);
        dog.mute(false, start + 10 * INTERVAL);
        let found = run(&mut dog, start + 14 * INTERVAL, Some);
        assert_eq!(found, [(start + 13 * INTERVAL, Verdict::Silent { never_sent: true })]);
    }
}
