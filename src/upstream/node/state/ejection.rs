//! Taking a node out of the first row for a while because of how it behaves towards clients: it refuses one
//! after the other, or it comes and goes. The time grows with each ejection, up to a bound. How many nodes of a
//! pool may be out at once is for those to say who see all of them.

use std::time::Duration;

use super::{Rules, words::ReasonKind};
use crate::session::Timestamp;

/// So many falls within the window are too many.
const FALLS_MAX: usize = 3;
const FALLS_WINDOW: Duration = Duration::from_secs(60);

/// What is remembered for it.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    refusals: u32,
    falls: Vec<Timestamp>,
    /// How often it was ejected of late.
    times: u32,
    out: Option<Out>,
    wanted: Option<ReasonKind>,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    until: Timestamp,
    why: ReasonKind,
}

impl Ejection {
    /// It refused a client for reasons of its own.
    pub(super) fn refused(&mut self, rules: &Rules) {
        self.refusals = self.refusals.saturating_add(1);
        if rules.eject_after > 0 && self.refusals >= rules.eject_after {
            self.wanted = Some(ReasonKind::Refusals);
        }
    }

    /// It accepted a client.
    pub(super) fn accepted(&mut self) {
        self.refusals = 0;
        if self.wanted == Some(ReasonKind::Refusals) {
            self.wanted = None;
        }
    }

    /// It was there and is gone.
    pub(super) fn fell(&mut self, now: Timestamp, rules: &Rules) {
        self.falls.retain(|fall| now.since(*fall) < FALLS_WINDOW);
        self.falls.push(now);
        if self.falls.len() >= FALLS_MAX {
            self.falls.clear();
            if rules.eject_after > 0 {
                self.wanted = Some(ReasonKind::Flapping);
            }
        }
    }

    /// Whether it should be out and is not.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// It is allowed: out it goes.
    pub(super) fn eject(&mut self, now: Timestamp, rules: &Rules) {
        let Some(why) = self.wanted.take() else { return };
        let long_ago = |out: &Out| now.since(out.until) >= rules.eject_max;
        if self.out.as_ref().is_some_and(long_ago) {
            self.times = 0;
        }
        let time = rules.eject.saturating_mul(2_u32.saturating_pow(self.times.min(20))).min(rules.eject_max);
        self.times = self.times.saturating_add(1);
        self.refusals = 0;
        self.out = Some(Out { until: now + time, why });
    }

    /// Why it is out, if it is.
    pub(super) fn why(&self, now: Timestamp) -> Option<ReasonKind> {
        self.out.filter(|out| now < out.until).map(|out| out.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn the_time_grows_up_to_its_bound_and_is_forgiven() {
        let rules = Rules {
            eject_after: 2,
            eject: Duration::from_secs(1),
            eject_max: Duration::from_secs(5),
            ..Rules::default()
        };
        let mut ejection = Ejection::default();
        let mut now = at(0);
        let mut out = |ejection: &mut Ejection, pause: u64| {
            now = now + Duration::from_millis(pause);
            ejection.refused(&rules);
            assert!(!ejection.is_wanted(), "one alone is no reason");
            ejection.refused(&rules);
            assert!(ejection.is_wanted());
            ejection.eject(now, &rules);
            let begin = now;
            while ejection.why(now).is_some() {
                now = now + Duration::from_millis(100);
            }
            now.since(begin).as_millis()
        };
        let times: Vec<u128> = (0..5).map(|_| out(&mut ejection, 0)).collect();
        assert_eq!(times, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(out(&mut ejection, 5_000), 1_000, "after a quiet time it begins anew");
    }

    #[test]
    fn refusals_count_in_a_row_and_falls_within_a_minute() {
        let rules = Rules { eject_after: 2, ..Rules::default() };
        let mut ejection = Ejection::default();
        for _ in 0..10 {
            ejection.refused(&rules);
            ejection.accepted();
        }
        assert!(!ejection.is_wanted());
        for fall in 0..10 {
            ejection.fell(at(fall * 31_000), &rules);
        }
        assert!(!ejection.is_wanted(), "two within each minute");
        ejection.fell(at(280_000), &rules);
        assert!(ejection.is_wanted());
        let off = Rules { eject_after: 0, ..Rules::default() };
        let mut never = Ejection::default();
        (0..100).for_each(|_| never.refused(&off));
        (0..100).for_each(|_| never.fell(at(0), &off));
        assert!(!never.is_wanted() && never.falls.len() < FALLS_MAX, "what is kept is bounded");
    }
}
