//! Who publishes which stream name, and how a name that is gone was left (rules R5, R7, R9).

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use dashmap::{DashMap, mapref::entry::Entry};

use crate::session::{EndOfName, Holder, NameSnapshot, SessionId, Timestamp};

use super::RegistryLimits;

#[derive(Debug, Default)]
struct NameEntry {
    holder: Option<Holder>,
    ended: Option<(EndOfName, Timestamp)>,
    waiters: Vec<SessionId>,
}

impl NameEntry {
    fn is_stale(&self, now: Timestamp, ended_ms_max: u64) -> bool {
        let remembered =
            self.ended.is_some_and(|(_, at)| now.as_ms() < at.as_ms().saturating_add(ended_ms_max));
        self.holder.is_none() && !remembered
    }
}

/// What an entry of the map takes besides its name, in bytes.
const ENTRY_BYTES: usize = size_of::<(Box<str>, NameEntry)>() + 16;
/// Where there is no room: time between two looks for names that can be forgotten.
const SWEEP_AGAIN_MS: u64 = 1_000;

/// The map of names. Bounded by [`RegistryLimits`].
#[derive(Debug)]
pub struct Names {
    entries: DashMap<Box<str>, NameEntry>,
    limits: RegistryLimits,
    /// What the entries take, and may take.
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// When names that are over were last forgotten, in milliseconds.
    swept_at_ms: AtomicU64,
}

impl Names {
    pub(super) fn new(limits: RegistryLimits, bytes_max: usize) -> Self {
        let (bytes, swept_at_ms) = (Arc::default(), AtomicU64::new(0));
        Self { entries: DashMap::new(), limits, bytes, bytes_max, swept_at_ms }
    }

    /// Another map within the same bound of bytes.
    pub(super) fn beside(&self) -> Self {
        let swept_at_ms = AtomicU64::new(self.swept_at_ms.load(Ordering::Relaxed));
        let bytes = Arc::clone(&self.bytes);
        Self { entries: DashMap::new(), limits: self.limits, bytes, bytes_max: self.bytes_max, swept_at_ms }
    }

    /// What is known of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> NameSnapshot {
        self.entries
            .get(name)
            .map(|entry| NameSnapshot { holder: entry.holder, ended: entry.ended })
            .unwrap_or_default()
    }

    /// States who publishes `name`. A holder that is another session is replaced.
    pub fn hold(&self, name: &str, holder: Holder, now: Timestamp) {
        // A publish without a name shares none with anybody.
        if name.is_empty() || name.len() > self.limits.name_bytes_max {
            return;
        }
        let holder = Some(holder);
        if let Some(mut entry) = self.entries.get_mut(name) {
            entry.holder = holder;
            entry.ended = None;
            return;
        }
        if !self.has_room(name, now) {
            return;
        }
        match self.entries.entry(name.into()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().holder = holder;
                entry.get_mut().ended = None;
            }
            Entry::Vacant(entry) => {
                self.bytes.fetch_add(bytes_of(name), Ordering::Relaxed);
                entry.insert(NameEntry { holder, ended: None, waiters: Vec::new() });
            }
        }
    }

    /// Sessions waiting for `name`, handed over once: the name is publishing again, or is known
    /// not to come back.
    #[must_use]
    pub fn take_waiters(&self, name: &str) -> Vec<SessionId> {
        self.entries.get_mut(name).map(|mut entry| std::mem::take(&mut entry.waiters)).unwrap_or_default()
    }

    /// States that `session` no longer publishes `name`. Ignored if another session holds it.
    pub fn release(&self, name: &str, session: SessionId, end: EndOfName, now: Timestamp) {
        if let Some(mut entry) = self.entries.get_mut(name)
            && entry.holder.is_some_and(|holder| holder.session == session)
        {
            entry.holder = None;
            entry.ended = Some((end, now));
        }
    }

    /// Asks to be told when `name` is settled: it is being restored here, or its publisher was
    /// lost and may be back. True if it is being restored and the caller will be told; otherwise
    /// the caller goes on by its own timer.
    #[must_use]
    pub fn wait(&self, name: &str, session: SessionId) -> bool {
        let Some(mut entry) = self.entries.get_mut(name) else { return false };
        let restoring = entry.holder.is_some_and(|holder| holder.restoring);
        let lost = entry.holder.is_none() && entry.ended.is_some_and(|(end, _)| end == EndOfName::Lost);
        if restoring || lost {
            Self::add_waiter(&mut entry, session, self.limits.waiters_max) && restoring
        } else {
            false
        }
    }

    /// States that `session` no longer waits for `name`.
    pub fn stop_waiting(&self, name: &str, session: SessionId) {
        // Most names have no waiters: a shared look first.
        if self.entries.get(name).is_some_and(|entry| !entry.waiters.is_empty())
            && let Some(mut entry) = self.entries.get_mut(name)
        {
            entry.waiters.retain(|waiter| *waiter != session);
        }
    }

    fn add_waiter(entry: &mut NameEntry, session: SessionId, waiters_max: usize) -> bool {
        if entry.waiters.contains(&session) {
            return true;
        }
        if entry.waiters.len() >= waiters_max {
            return false;
        }
        entry.waiters.push(session);
        true
    }

    /// Number of names remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no name is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the names take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether one more name may be remembered. Names that are over are forgotten in time, and
    /// before their time where there is no room for one that lives.
    fn has_room(&self, name: &str, now: Timestamp) -> bool {
        if self.sweep_is_due(now, self.limits.ended_ms_max.max(SWEEP_AGAIN_MS)) {
            self.forget(|entry| entry.is_stale(now, self.limits.ended_ms_max));
        }
        if !self.is_full(name) {
            return true;
        }
        if self.sweep_is_due(now, SWEEP_AGAIN_MS) {
            self.forget(|entry| entry.is_stale(now, self.limits.ended_ms_max));
            if self.is_full(name) {
                self.forget(|entry| entry.holder.is_none());
            }
        }
        !self.is_full(name)
    }

    fn is_full(&self, name: &str) -> bool {
        self.entries.len() >= self.limits.names_max || self.bytes() + bytes_of(name) > self.bytes_max
    }

    /// Whether the last look was so long ago; from now on it was now.
    fn sweep_is_due(&self, now: Timestamp, wait_ms: u64) -> bool {
        let due = |at: u64| (now.as_ms() >= at.saturating_add(wait_ms)).then_some(now.as_ms());
        self.swept_at_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    fn forget(&self, is_over: impl Fn(&NameEntry) -> bool) {
        self.entries.retain(|name, entry| {
            let over = is_over(entry);
            if over {
                self.bytes.fetch_sub(bytes_of(name), Ordering::Relaxed);
            }
            !over
        });
    }
}

const fn bytes_of(name: &str) -> usize {
    name.len() + ENTRY_BYTES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::session::NodeId;

    const SESSION: SessionId = SessionId(1);
    const HOLDER: Holder = Holder { session: SESSION, restoring: false, node: NodeId(0) };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn names(limits: RegistryLimits) -> Names {
        Names::new(limits, limits.kept_bytes_max)
    }

    #[test]
    fn names_that_are_over_are_forgotten_in_time() {
        let names = names(RegistryLimits::default());
        for n in 0..100 {
            let name = format!("name {n}");
            names.hold(&name, HOLDER, at(n));
            names.release(&name, SESSION, EndOfName::Lost, at(n));
        }
        assert_eq!(names.len(), 100);
        names.hold("last", HOLDER, at(200_000));
        assert_eq!(names.len(), 1);
        assert_eq!(names.bytes(), bytes_of("last"));
    }

    #[test]
    fn bytes_are_bounded_and_names_that_live_go_before_those_that_are_over() {
        let limits = RegistryLimits { kept_bytes_max: 10 * bytes_of("name 0"), ..RegistryLimits::default() };
        let names = names(limits);
        for n in 0..20 {
            let name = format!("name {}", n % 10 + 10 * (n / 10));
            names.hold(&name, HOLDER, at(5_000));
            names.release(&name, SESSION, EndOfName::Lost, at(5_000));
            assert!(names.bytes() <= limits.kept_bytes_max);
        }
        names.hold("living", HOLDER, at(7_000));
        assert!(names.get("living").holder.is_some(), "it is not kept out by those that are over");
        assert!(names.bytes() <= limits.kept_bytes_max);
    }

    #[test]
    fn names_too_long_and_no_names_are_not_remembered() {
        let names = names(RegistryLimits::default());
        names.hold(&"n".repeat(1025), HOLDER, at(0));
        names.hold("", HOLDER, at(0));
        assert!(names.is_empty());
        names.hold(&"n".repeat(1024), HOLDER, at(0));
        assert_eq!(names.len(), 1);
    }
}
