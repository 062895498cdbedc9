//! How many bytes a session keeps for its client, and whether more may be kept: a client or server
//! that says much must not make the process hold it all.
//!
//! Counts what others hold, and decides nothing else. The bounds: one entry (a stream, a room, a
//! request), the whole session, and all sessions of the process together, whose sum stands in the
//! registry.

use super::directory::Directory;

/// Length of an id of ours, a UUID.
pub(super) const OWN_ID_BYTES: usize = 36;

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// An id or a name is too long.
    Id,
    /// The entry alone is too large.
    Entry,
    /// The session keeps enough.
    Session,
    /// All sessions together do.
    Process,
}

impl Full {
    /// Name of the setting.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Self::Id => "session.id_bytes_max",
            Self::Entry => "session.stream_bytes_max",
            Self::Session => "session.bytes_max",
            Self::Process => "limits.kept_memory_percent_max",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The account of one session.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// As counted after the last input, and what was added since.
    bytes: u32,
    /// What the sum of the process holds of it.
    told_bytes: u32,
    /// Which limits the log has heard of.
    logged: u8,
    /// Something may have changed since the last count.
    touched: bool,
}

impl Kept {
    /// Something may be kept, or not be kept any more: it is counted anew after this input.
    pub(super) const fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether it is to be counted anew.
    pub(super) const fn is_touched(&self) -> bool {
        self.touched
    }

    /// So much is kept now: tells the sum of the process what changed.
    pub(super) fn count(&mut self, bytes: usize, directory: &mut dyn Directory) {
        self.touched = false;
        self.bytes = to_u32(bytes);
        if self.bytes != self.told_bytes {
            directory.kept_bytes_changed(to_usize(self.told_bytes), to_usize(self.bytes));
        }
        self.told_bytes = self.bytes;
    }

    /// As counted after the last input, and what was added since.
    pub(super) const fn bytes(&self) -> usize {
        to_usize(self.bytes)
    }

    /// What was added since the sum of the process was told.
    pub(super) const fn untold_bytes(&self) -> usize {
        to_usize(self.bytes.saturating_sub(self.told_bytes))
    }

    /// So much more is kept, until the next count tells exactly.
    pub(super) fn add(&mut self, more_bytes: usize) {
        self.touch();
        self.bytes = self.bytes.saturating_add(to_u32(more_bytes));
    }

    /// Something is not kept for this reason; true if the log has not heard of that limit.
    pub(super) const fn is_news(&mut self, full: Full) -> bool {
        let news = self.logged & full.bit() == 0;
        self.logged |= full.bit();
        news
    }

    /// What the sum of the process holds of it.
    pub(super) const fn told_bytes(&self) -> usize {
        to_usize(self.told_bytes)
    }
}

// The bounds are far below what 32 bits hold; every session has an account.

fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const fn to_usize(bytes: u32) -> usize {
    bytes as usize
}

/// Lengths of texts and of the fat pointers to them.
pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a Box<str>>) -> usize {
    texts.into_iter().map(|text| text.len() + size_of::<Box<str>>()).sum()
}
