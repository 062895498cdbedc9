//! Who publishes which stream name, and how a name that is gone was left (rules R5, R7, R9).

use dashmap::DashMap;

use crate::session::{SessionId, Timestamp};

use super::RegistryLimits;

/// The session that publishes a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The publishing session.
    pub session: SessionId,
    /// True from the loss of its upstream until the stream is proven or given up.
    pub restoring: bool,
}

/// How a name lost its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfName {
    /// The publisher's client stopped it: a choice, players hear it at once (rule R9).
    Chosen,
    /// The publisher's socket or stream was lost: it may be back in a moment.
    Lost,
}

/// What is known of one name, copied out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameSnapshot {
    /// Who publishes it now.
    pub holder: Option<Holder>,
    /// How the last publisher left, while that is remembered.
    pub ended: Option<(EndOfName, Timestamp)>,
}

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

/// The map of names. Bounded by [`RegistryLimits`].
#[derive(Debug, Default)]
pub struct Names {
    entries: DashMap<Box<str>, NameEntry>,
    limits: RegistryLimits,
}

impl Names {
    pub(super) fn new(limits: RegistryLimits) -> Self {
        Self { entries: DashMap::new(), limits }
    }

    /// What is known of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> NameSnapshot {
        self.entries
            .get(name)
            .map(|entry| NameSnapshot { holder: entry.holder, ended: entry.ended })
            .unwrap_or_default()
    }

    /// States that `session` publishes `name`, and whether it is still being restored. A holder
    /// that is another session is replaced.
    pub fn hold(&self, name: &str, session: SessionId, restoring: bool, now: Timestamp) {
        let holder = Some(Holder { session, restoring });
        if let Some(mut entry) = self.entries.get_mut(name) {
            entry.holder = holder;
            entry.ended = None;
            return;
        }
        if self.has_room(now) {
            self.entries.insert(name.into(), NameEntry { holder, ended: None, waiters: Vec::new() });
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

    fn has_room(&self, now: Timestamp) -> bool {
        if self.entries.len() < self.limits.names_max {
            return true;
        }
        self.entries.retain(|_, entry| !entry.is_stale(now, self.limits.ended_ms_max));
        self.entries.len() < self.limits.names_max
    }
}
