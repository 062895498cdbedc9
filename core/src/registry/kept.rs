//! How many bytes all sessions of the process keep together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A sum with a bound. Sessions ask before they keep more ([`Kept::has_room`]) and tell what changed; two that ask
/// at the same moment may both be let in, so that the bound is exceeded by what one of them keeps.
#[derive(Debug)]
pub struct Kept {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Kept {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max }
    }

    /// The sum, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The bound, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is left of it, in bytes.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes())
    }

    /// Whether this much more may be kept.
    #[must_use]
    pub fn has_room(&self, more_bytes: usize) -> bool {
        more_bytes <= self.left()
    }

    /// Whether this much more may be kept; if so, it is. Of two that ask at the same moment the second hears what
    /// the first has taken.
    #[must_use]
    pub(super) fn take(&self, more_bytes: usize) -> bool {
        let fits = |kept: usize| kept.checked_add(more_bytes).filter(|sum| *sum <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// States that somebody who kept `before` bytes keeps `now` bytes.
    pub fn change(&self, before: usize, now: usize) {
        if now > before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if before > now {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}
