//! Times as plain numbers of milliseconds, as logs and answers have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time span; more than fit are as many as fit.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The moment so long ago, since 1970.
pub(crate) fn unix_ms(ago: Duration) -> u64 {
    ms(since_1970().saturating_sub(ago))
}

/// The time since 1970; none on a machine whose clock stands before that.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
