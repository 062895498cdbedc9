//! At most so many per second: a bucket of tokens that fills as time passes.

use std::time::Instant;

/// Holds at most one second's worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// Full.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self::with_burst(f64::from(per_second), f64::from(per_second), now)
    }

    /// Full, with room for other than a second's worth until it was first used up.
    pub(crate) const fn with_burst(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, tokens: burst, filled: now }
    }

    /// Takes one. False: there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// Is there one?
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        let full = self.per_second.max(1.0);
        if self.tokens < full {
            self.tokens = (self.tokens + elapsed * self.per_second).min(full);
        }
        self.tokens >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_the_rate_passes_and_waiting_helps() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let passed = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(at)).count();
        assert_eq!(passed(&mut bucket, start), 10);
        assert_eq!(passed(&mut bucket, start + Duration::from_millis(510)), 5);
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(60)), 10, "it holds one second's worth");
        let mut slow = Bucket::with_burst(0.5, 3.0, start);
        assert_eq!(passed(&mut slow, start), 3);
        assert_eq!(passed(&mut slow, start + Duration::from_secs(20)), 1);
    }
}
