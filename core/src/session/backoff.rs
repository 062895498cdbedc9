//! Exponential backoff with full jitter (rule R6): the wait before try `n` is a random time up to
//! `initial × 2^n`, never more than the cap.

use std::time::Duration;

use super::random::Random;

/// The wait before the next try, after `failures` failures in a row. The first try does not wait.
pub(super) fn delay(initial: Duration, cap: Duration, failures: u32, random: &mut Random) -> Duration {
    let Some(exponent) = failures.checked_sub(1) else { return Duration::ZERO };
    let factor = 2_u32.saturating_pow(exponent.min(16));
    let ceiling = initial.saturating_mul(factor).min(cap);
    let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.up_to(ceiling_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(3);

    #[test]
    fn the_first_try_is_at_once() {
        assert_eq!(delay(INITIAL, CAP, 0, &mut Random::new(1)), Duration::ZERO);
    }

    #[test]
    fn waits_grow_and_never_pass_the_cap() {
        let mut random = Random::new(5);
        for failures in 1..1000 {
            let ceiling = INITIAL.saturating_mul(1 << (failures - 1).min(10)).min(CAP);
            assert!(delay(INITIAL, CAP, failures, &mut random) <= ceiling);
        }
    }

    #[test]
    fn sessions_that_fall_together_do_not_come_back_together() {
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|seed| delay(INITIAL, CAP, 5, &mut Random::new(seed))).collect();
        assert!(waits.len() > 50, "{} different waits", waits.len());
    }
}
