//! Whether more may be kept: what a part asks before it keeps something, by the bounds and the account of
//! [`Kept`](super::kept::Kept).

use super::{Event, context::Context, kept::Full};

impl Context<'_> {
    /// Whether an entry of `entry_bytes` may be kept, `more_bytes` of them new.
    pub(super) fn may_keep(&self, entry_bytes: usize, more_bytes: usize) -> Result<(), Full> {
        if entry_bytes > self.settings.bounds.stream_bytes_max {
            Err(Full::Entry)
        } else if self.kept.bytes().saturating_add(more_bytes) > self.wishes_bytes_max() {
            Err(Full::Session)
        } else if self.process_has_room(more_bytes) {
            Ok(())
        } else {
            Err(Full::Process)
        }
    }

    /// As [`Context::may_keep`], of an entry with these ids or names.
    pub(super) fn may_keep_named(
        &self,
        ids: &[&str],
        entry_bytes: usize,
        more_bytes: usize,
    ) -> Result<(), Full> {
        if ids.iter().all(|id| self.is_short(id)) {
            self.may_keep(entry_bytes, more_bytes)
        } else {
            Err(Full::Id)
        }
    }

    /// What may be kept of all that need not be: the last quarter is for the truth about streams that
    /// come later.
    fn wishes_bytes_max(&self) -> usize {
        self.settings.bounds.bytes_max / 4 * 3
    }

    /// Whether all sessions together may keep this much more.
    pub(super) fn process_has_room(&self, more_bytes: usize) -> bool {
        let untold = self.kept.untold_bytes();
        untold.saturating_add(more_bytes) <= self.directory.kept_bytes_left()
    }

    /// Whether the session may keep this much more of what is needed in any case. It is little, and
    /// kept although all sessions together keep too much: or one of them could take the truth from
    /// the others.
    pub(super) fn must_keep(&self, more_bytes: usize) -> bool {
        self.kept.bytes().saturating_add(more_bytes) <= self.settings.bounds.bytes_max
    }

    /// How many bytes more the session may keep of what is needed in any case.
    pub(super) fn needed_room_left(&self) -> usize {
        self.settings.bounds.bytes_max.saturating_sub(self.kept.bytes())
    }

    /// Whether an id or name is short enough to be kept.
    pub(super) fn is_short(&self, id: &str) -> bool {
        id.len() <= self.settings.bounds.id_bytes_max
    }

    /// Whether an id may be kept.
    pub(super) fn may_keep_id(&self, id: &str) -> Result<(), Full> {
        self.may_keep_named(&[id], id.len(), id.len())
    }

    /// How many bytes more the session may keep.
    pub(super) fn room_left(&self) -> usize {
        let of_session = self.wishes_bytes_max().saturating_sub(self.kept.bytes());
        of_session.min(self.directory.kept_bytes_left())
    }

    /// Counts what is being kept, until the next count tells exactly.
    pub(super) fn keep(&mut self, more_bytes: usize) {
        self.kept.add(more_bytes);
    }

    /// Counts what is about to be kept, if it may be; else the log hears why not.
    pub(super) fn keep_if(&mut self, fits: Result<(), Full>, more_bytes: usize) -> bool {
        match fits {
            Ok(()) => self.keep(more_bytes),
            Err(full) => self.not_kept(full),
        }
        fits.is_ok()
    }

    /// Something is not kept: the log hears of each limit once.
    pub(super) fn not_kept(&mut self, full: Full) {
        if self.kept.is_news(full) {
            self.event(Event::LimitReached { limit: full.setting() });
        }
    }

    /// A message for later, if it may be kept.
    pub(super) fn kept_message(&mut self, entry_bytes: usize, message: &[u8]) -> Option<Box<[u8]>> {
        let fits = self.may_keep(entry_bytes.saturating_add(message.len()), message.len());
        self.keep_if(fits, message.len()).then(|| message.into())
    }
}
