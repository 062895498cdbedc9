//! Whether media passes through a node, as its sessions report it. A field of its own: a node may well answer
//! and pass nothing.

use std::time::Duration;

use super::{Rules, words::MediaState};
use crate::session::Timestamp;

/// Reports within this time are of one event.
const WINDOW: Duration = Duration::from_secs(5);
/// The time until it is tried again grows up to so many times the first.
const RETRY_GROWTH_MAX: u32 = 16;

/// What reports say.
#[derive(Debug, Default)]
pub(super) struct Media {
    pub(super) state: MediaState,
    /// When legs were reported silent; never more than are wanted.
    silent: Vec<Timestamp>,
    /// Until when it is left alone.
    until: Timestamp,
    /// How often it was, without media in between.
    times: u32,
}

impl Media {
    /// Legs that should hear of it hear nothing.
    pub(super) fn silent(&mut self, legs: usize, now: Timestamp, rules: &Rules) {
        self.silent.retain(|at| now.since(*at) < WINDOW);
        let wanted = rules.media_legs_min.max(1);
        let room = wanted.saturating_sub(self.silent.len());
        self.silent.extend(std::iter::repeat_n(now, legs.min(room)));
        if self.silent.len() >= wanted && self.state == MediaState::Healthy {
            let growth = 2_u32.saturating_pow(self.times.min(16)).min(RETRY_GROWTH_MAX);
            self.until = now + rules.media_retry.saturating_mul(growth);
            self.times = self.times.saturating_add(1);
            self.state = MediaState::NoMedia;
        }
    }

    /// A leg hears of it.
    pub(super) fn flows(&mut self) {
        *self = Self::default();
    }

    /// Time goes on: after a while it is tried again.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.state == MediaState::NoMedia && now >= self.until {
            self.state = MediaState::Healthy;
            self.silent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn one_silent_leg_says_nothing_and_several_do() {
        let rules = Rules { media_legs_min: 2, ..Rules::default() };
        let mut media = Media::default();
        for n in 0..10 {
            media.silent(1, at(n * 6_000), &rules);
            assert_eq!(media.state, MediaState::Healthy, "each may have its own reason");
        }
        media.silent(1, at(55_000), &rules);
        assert_eq!(media.state, MediaState::NoMedia);
        media.flows();
        assert_eq!(media.state, MediaState::Healthy);
        media.silent(1, at(56_000), &rules);
        media.flows();
        media.silent(1, at(56_100), &rules);
        assert_eq!(media.state, MediaState::Healthy, "media came in between");
    }

    #[test]
    fn it_is_tried_again_after_a_time_that_grows() {
        let rules = Rules { media_legs_min: 1, media_retry: Duration::from_secs(1), ..Rules::default() };
        let mut media = Media::default();
        let mut now = at(0);
        let mut times = Vec::new();
        for _ in 0..7 {
            media.silent(3, now, &rules);
            let begin = now;
            while media.state == MediaState::NoMedia {
                now = now + Duration::from_millis(500);
                media.tick(now);
            }
            times.push(now.since(begin).as_secs());
        }
        assert_eq!(times, [1, 2, 4, 8, 16, 16, 16]);
        assert!(media.silent.len() <= 1, "what is kept is bounded");
    }
}
