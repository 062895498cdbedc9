//! The limit on open files: raised at start, and what follows from it for the number of sessions.
//! The only module that changes a limit of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors a session holds: the client's socket and the upstream's.
const FILES_PER_SESSION: u64 = 2;

/// Descriptors kept back for listeners, logs, probes, refusals and a dial that replaces another.
const FILES_RESERVED: u64 = 128;

/// What is assumed where the system knows no limit.
const FILES_UNLIMITED: u64 = 1_048_576;

/// Raises the soft limit on open files to the hard one and returns the limit that now holds. If
/// the system refuses, the old one holds.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(FILES_UNLIMITED).min(FILES_UNLIMITED)
}

/// How many sessions fit into this many open files; at least one.
#[must_use]
pub fn sessions_for(open_files: u64) -> usize {
    let sessions = open_files.saturating_sub(FILES_RESERVED) / FILES_PER_SESSION;
    usize::try_from(sessions).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let raised = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.current.unwrap_or(FILES_UNLIMITED).min(FILES_UNLIMITED));
    }

    #[test]
    fn sessions_leave_room_for_the_rest() {
        assert_eq!(sessions_for(1_024), 448);
        assert_eq!(sessions_for(20_128), 10_000);
        assert_eq!(sessions_for(0), 1);
    }
}
