//! How long, how often and at what pace a refused stream is asked for again (rules R6, R7, R9). Knows
//! nothing of where the stream stands: that is [`super::stream`].

use std::time::Duration;

use crate::settings::SessionSettings;

use super::{Timestamp, info::RetryClass, random::Random, time::after};

/// First wait before an "in use" is tried again; it doubles up to `restore.name_retry_ms`.
const FIRST_NAME_RETRY: Duration = Duration::from_millis(100);

/// The retries of one stream since it last ran.
#[derive(Debug, Default)]
pub(super) struct Retries {
    tries: u16,
    /// Until when refusals are retried; set by the first of them.
    until: Option<Timestamp>,
}

/// How refusals of one class are retried.
struct Pace {
    patience: Duration,
    initial: Duration,
    cap: Duration,
}

impl Pace {
    fn of(class: RetryClass, settings: &SessionSettings) -> Self {
        let restore = &settings.restore;
        let patience = match class {
            RetryClass::InUse => restore.name_in_use_max,
            RetryClass::NotFound | RetryClass::PublisherEnded => restore.player_hold,
            _ => settings.hold.time_max,
        };
        let (initial, cap) = match class {
            RetryClass::InUse => (FIRST_NAME_RETRY, restore.name_retry),
            _ => (restore.backoff_initial, restore.backoff_max),
        };
        Self { patience, initial, cap }
    }
}

impl Retries {
    /// Whether a refusal was retried, so that the next one is no first answer.
    pub(super) const fn have_begun(&self) -> bool {
        self.until.is_some()
    }

    /// Tries so far.
    pub(super) const fn tries(&self) -> u16 {
        self.tries
    }

    /// When to try again after a refusal of this class, and never after `bound`; `None` if patience
    /// is over.
    pub(super) fn next(
        &mut self,
        class: RetryClass,
        settings: &SessionSettings,
        now: Timestamp,
        bound: Option<Timestamp>,
        random: &mut Random,
    ) -> Option<Timestamp> {
        let pace = Pace::of(class, settings);
        let until = *self.until.get_or_insert_with(|| after(now, pace.patience).unwrap_or(now));
        let until = bound.map_or(until, |bound| until.min(bound));
        if now >= until {
            return None;
        }
        // Half of the wait is fixed, so that a retry never follows at once.
        let factor = 2_u32.saturating_pow(u32::from(self.tries.min(16)));
        let ceiling = pace.initial.saturating_mul(factor).min(pace.cap);
        let half_ms = u64::try_from(ceiling.as_millis() / 2).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(half_ms + random.up_to(half_ms));
        self.tries = self.tries.saturating_add(1);
        Some((now + wait).min(until))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_000);

    #[test]
    fn the_pace_slows_down_and_patience_ends() {
        let (settings, mut random) = (SessionSettings::default(), Random::new(5));
        let (mut retries, mut now, mut waits) = (Retries::default(), START, Vec::new());
        assert!(!retries.have_begun());
        while let Some(at) = retries.next(RetryClass::InUse, &settings, now, None, &mut random) {
            waits.push(at.since(now));
            now = at;
        }
        assert!(retries.have_begun());
        assert_eq!(usize::from(retries.tries()), waits.len());
        assert_eq!(now.since(START), settings.restore.name_in_use_max, "the last try is at the very end");
        assert!(waits[0] >= FIRST_NAME_RETRY / 2 && waits[0] <= FIRST_NAME_RETRY);
        assert!(waits.iter().all(|wait| *wait <= settings.restore.name_retry));
        let middle = &waits[6..waits.len() - 1];
        assert!(middle.iter().all(|wait| *wait >= settings.restore.name_retry / 2));
    }

    #[test]
    fn a_bound_ends_it_earlier() {
        let (settings, mut random) = (SessionSettings::default(), Random::new(5));
        let (mut retries, bound) = (Retries::default(), Some(START + Duration::from_millis(10)));
        let at = retries.next(RetryClass::Transient, &settings, START, bound, &mut random);
        assert!(at <= bound);
        assert_eq!(retries.next(RetryClass::Transient, &settings, bound.unwrap(), bound, &mut random), None);
    }

    #[test]
    fn patience_that_is_switched_off_is_none() {
        let mut settings = SessionSettings::default();
        settings.restore.player_hold = Duration::ZERO;
        let mut retries = Retries::default();
        assert_eq!(retries.next(RetryClass::NotFound, &settings, START, None, &mut Random::new(5)), None);
    }
}
