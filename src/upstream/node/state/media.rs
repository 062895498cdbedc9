//! Whether media passes through a node, as the legs of its sessions hear it (`upstream/hearing.rs` says which of
//! them speak against it). A field of its own: a node may well answer and pass nothing.

use super::{Rules, words::MediaState};
use crate::session::Timestamp;

/// The time until it is tried again grows up to so many times the first.
const RETRY_GROWTH_MAX: u32 = 16;

/// What reports say.
#[derive(Debug, Default)]
pub(super) struct Media {
    pub(super) state: MediaState,
    /// Until when it is left alone.
    until: Timestamp,
    /// How often it was, without media in between.
    times: u32,
}

impl Media {
    /// So many legs speak against it now.
    pub(super) fn silent(&mut self, legs: usize, now: Timestamp, rules: &Rules) {
        if legs >= rules.media_legs_min.max(1) && self.state == MediaState::Healthy {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn one_silent_leg_says_nothing_and_several_do() {
        let rules = Rules { media_legs_min: 2, ..Rules::default() };
        let mut media = Media::default();
        for n in 0..10 {
            media.silent(1, at(n), &rules);
            assert_eq!(media.state, MediaState::Healthy, "it may have its own reason");
        }
        media.silent(2, at(10), &rules);
        assert_eq!(media.state, MediaState::NoMedia);
        media.flows();
        assert_eq!(media.state, MediaState::Healthy);
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
    }
}
