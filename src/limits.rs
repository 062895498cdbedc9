//! The file descriptors of the process: the limit is raised at start, and what it allows is given out
//! from one budget, so that what does not fit is refused before it begins and nothing is served by
//! half. The only module that changes a limit of the process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde::{Deserialize, Serialize};

/// Descriptors of a session: the client's socket and the upstream's. A media socket has two as well.
pub const FILES_PER_SESSION: usize = 2;

/// Connections that are told that there is no room, at the same time; more are dropped.
pub const REFUSALS_MAX: usize = 32;

/// For what is open at start (log, listeners, poll), the admin port, refusals and name lookups. Less
/// where there is little.
const FILES_FIXED: usize = 128;

/// One part in so many is kept for restores: a dial beside another, a socket that is being closed.
const RESERVE_PART: usize = 16;

/// Media takes at most one part in so many, for clients on TCP and legs with a socket of their own.
const MEDIA_PART: usize = 4;

/// Connections to HTTP servers that wait for their next request take at most one part in so many of what clients have:
/// nobody is served by them now.
const IDLE_HTTP_PART: usize = 16;

/// What is assumed where the system knows no limit.
const FILES_UNLIMITED: u64 = 1_048_576;

/// What a machine runs out of.
pub(crate) const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// Whether something failed because this machine has no descriptors or no memory left for it.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| SHORTAGES.contains(&errno))
}

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

/// Descriptors that the media side may take in all.
#[must_use]
pub fn media_share(open_files: u64) -> usize {
    as_count(open_files) / MEDIA_PART
}

/// How the descriptors are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// For sessions, handshakes, and the reserve.
    capacity: usize,
    /// What is left to restores.
    reserve: usize,
}

impl Division {
    /// Of this many open files, with so many for media and for probes of nodes.
    #[must_use]
    pub fn new(open_files: u64, media: usize, probes: usize) -> Self {
        let open_files = as_count(open_files);
        let fixed = FILES_FIXED.saturating_add(probes).min(open_files / 2);
        let capacity = open_files.saturating_sub(fixed).saturating_sub(media);
        Self { capacity, reserve: capacity / RESERVE_PART }
    }

    /// How many sessions fit; at least one.
    #[must_use]
    pub const fn sessions(self) -> usize {
        let sessions = self.for_clients() / FILES_PER_SESSION;
        if sessions == 0 { 1 } else { sessions }
    }

    /// How many connections to HTTP servers may be kept for further requests, those of all routes together.
    #[must_use]
    pub const fn idle_http(self) -> usize {
        self.for_clients() / IDLE_HTTP_PART
    }

    const fn for_clients(self) -> usize {
        self.capacity.saturating_sub(self.reserve)
    }
}

fn as_count(open_files: u64) -> usize {
    usize::try_from(open_files).unwrap_or(usize::MAX)
}

/// What descriptors are given out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A connection before its 101.
    Handshake,
    /// A session or a media socket.
    Session,
    /// A dial beside another one. May use the reserve.
    Attempt,
    /// A socket whose close is on its way.
    Closing,
    /// A connection to an HTTP server.
    Http,
}

/// How many descriptors are given out, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesUsed {
    /// Most there are for all of these, the reserve included.
    pub capacity: usize,
    /// Connections before their 101.
    pub handshakes: usize,
    /// Sessions and media sockets.
    pub sessions: usize,
    /// Dials beside others.
    pub attempts: usize,
    /// Sockets whose close is on its way.
    pub closing: usize,
    /// Connections to HTTP servers.
    pub http: usize,
}

/// The budget.
#[derive(Debug)]
pub struct Files {
    /// Of the division: for all, and for clients.
    capacity: AtomicUsize,
    for_clients: AtomicUsize,
    total: AtomicUsize,
    used: [AtomicUsize; 5],
}

impl Files {
    /// A budget of which nothing is given out.
    #[must_use]
    pub fn new(division: Division) -> Arc<Self> {
        Arc::new(Self {
            capacity: AtomicUsize::new(division.capacity),
            for_clients: AtomicUsize::new(division.for_clients()),
            total: AtomicUsize::new(0),
            used: Default::default(),
        })
    }

    /// Divides anew. What is given out stays so, however much it is.
    pub fn divide(&self, division: Division) {
        self.capacity.store(division.capacity, Ordering::Release);
        self.for_clients.store(division.for_clients(), Ordering::Release);
    }

    /// Takes descriptors, if they fit; they are given back when the result is dropped.
    #[must_use]
    pub fn take(self: &Arc<Self>, what: Use, count: usize) -> Option<FilesHeld> {
        let most = match what {
            Use::Handshake | Use::Session | Use::Http => self.for_clients.load(Ordering::Acquire),
            Use::Attempt | Use::Closing => self.capacity.load(Ordering::Acquire),
        };
        let more = |total: usize| total.checked_add(count).filter(|total| *total <= most);
        self.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(self.held(what, count))
    }

    /// Counts a descriptor that is there already and that nobody would be served better without.
    #[must_use]
    pub fn count(self: &Arc<Self>, what: Use) -> FilesHeld {
        self.total.fetch_add(1, Ordering::AcqRel);
        self.held(what, 1)
    }

    fn held(self: &Arc<Self>, what: Use, count: usize) -> FilesHeld {
        if let Some(used) = self.used.get(what as usize) {
            used.fetch_add(count, Ordering::Relaxed);
        }
        FilesHeld { files: Arc::clone(self), what, count }
    }

    /// What is given out now.
    #[must_use]
    pub fn used(&self) -> FilesUsed {
        let of = |what: Use| self.used.get(what as usize).map_or(0, |used| used.load(Ordering::Relaxed));
        FilesUsed {
            capacity: self.capacity.load(Ordering::Acquire),
            handshakes: of(Use::Handshake),
            sessions: of(Use::Session),
            attempts: of(Use::Attempt),
            closing: of(Use::Closing),
            http: of(Use::Http),
        }
    }
}

/// Descriptors that were taken.
#[derive(Debug)]
pub struct FilesHeld {
    files: Arc<Files>,
    what: Use,
    count: usize,
}

impl Drop for FilesHeld {
    fn drop(&mut self) {
        self.files.total.fetch_sub(self.count, Ordering::AcqRel);
        if let Some(used) = self.files.used.get(self.what as usize) {
            used.fetch_sub(self.count, Ordering::Relaxed);
        }
    }
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
        assert_eq!(Division::new(1_024, 0, 0).sessions(), 420);
        assert_eq!(Division::new(1_024, media_share(1_024), 9).sessions(), 296);
        assert_eq!(Division::new(20_128, 0, 0).sessions(), 9_375);
        assert_eq!(Division::new(0, 0, 0).sessions(), 1);
        assert_eq!(Division::new(64, 16, 500).sessions(), 7);
        assert_eq!((Division::new(1_024, 0, 0).idle_http(), Division::new(64, 0, 0).idle_http()), (52, 1));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_reserve_is_for_restores() {
        let files = Files::new(Division { capacity: 16, reserve: 4 });
        let sessions: Vec<_> = (0..5).filter_map(|_| files.take(Use::Session, 2)).collect();
        let handshakes: Vec<_> = (0..5).filter_map(|_| files.take(Use::Handshake, 1)).collect();
        assert_eq!((sessions.len(), handshakes.len()), (5, 2));
        assert!(files.take(Use::Session, 2).is_none());
        let attempts: Vec<_> = (0..9).filter_map(|_| files.take(Use::Attempt, 1)).collect();
        assert_eq!(attempts.len(), 4);
        let closing = files.count(Use::Closing);
        let used = FilesUsed { capacity: 16, handshakes: 2, sessions: 10, attempts: 4, closing: 1, http: 0 };
        assert_eq!(files.used(), used);
        drop((sessions, handshakes, attempts, closing));
        assert_eq!(files.used(), FilesUsed { capacity: 16, ..FilesUsed::default() });
        assert!(files.take(Use::Session, 12).is_some());
    }

    #[test]
    fn less_takes_nothing_away_and_more_is_given_out_at_once() {
        let files = Files::new(Division { capacity: 16, reserve: 4 });
        let held: Vec<_> = (0..6).filter_map(|_| files.take(Use::Session, 2)).collect();
        files.divide(Division { capacity: 8, reserve: 2 });
        assert!(files.take(Use::Session, 2).is_none() && files.take(Use::Attempt, 1).is_none());
        assert_eq!((held.len(), files.used().capacity), (6, 8));
        files.divide(Division { capacity: 32, reserve: 4 });
        assert!(files.take(Use::Session, 2).is_some());
    }
}
