//! How many bytes a session keeps for its client, and whether more may be kept: a client or server
//! that says much must not make the process hold it all.
//!
//! Counts what others hold, and decides nothing else. The bounds: one entry (a stream, a room, a
//! request), the whole session, and all sessions of the process together, whose sum stands in the
//! registry.

use crate::media::StreamStats;

use super::{
    Event,
    core::Session,
    ledger::{Ledger, LeftBehind, Room},
    packed::Packed,
    state::Lever,
    stream::{Stream, StreamId},
};

/// Length of an id of ours, a UUID.
const OWN_ID_BYTES: usize = 36;
/// What the numbers of a stream take, with the list of gaps and codec names.
const STATS_BYTES: usize = size_of::<StreamStats>() + 256;

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
    const fn setting(self) -> &'static str {
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
}

impl Session {
    /// Whether an entry of `entry_bytes` may be kept, `more_bytes` of them new.
    pub(super) fn may_keep(&self, entry_bytes: usize, more_bytes: usize) -> Result<(), Full> {
        if entry_bytes > self.settings.bounds.stream_bytes_max {
            Err(Full::Entry)
        } else if to_usize(self.kept.bytes).saturating_add(more_bytes) > self.wishes_bytes_max() {
            Err(Full::Session)
        } else if self.process_has_room(more_bytes) {
            Ok(())
        } else {
            Err(Full::Process)
        }
    }

    /// As [`Session::may_keep`], of an entry with these ids or names.
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
        let untold = to_usize(self.kept.bytes.saturating_sub(self.kept.told_bytes));
        self.registry.kept().has_room(untold.saturating_add(more_bytes))
    }

    /// Whether the session may keep this much more of what is needed in any case. It is little, and
    /// kept although all sessions together keep too much: or one of them could take the truth from
    /// the others.
    pub(super) fn must_keep(&self, more_bytes: usize) -> bool {
        to_usize(self.kept.bytes).saturating_add(more_bytes) <= self.settings.bounds.bytes_max
    }

    /// How many bytes more the session may keep of what is needed in any case.
    pub(super) fn needed_room_left(&self) -> usize {
        self.settings.bounds.bytes_max.saturating_sub(to_usize(self.kept.bytes))
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
        let of_session = self.wishes_bytes_max().saturating_sub(to_usize(self.kept.bytes));
        of_session.min(self.registry.kept().left())
    }

    /// Counts what is being kept, until the next count tells exactly.
    pub(super) fn keep(&mut self, more_bytes: usize) {
        self.kept.touch();
        self.kept.bytes = self.kept.bytes.saturating_add(to_u32(more_bytes));
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
        if self.kept.logged & full.bit() == 0 {
            self.kept.logged |= full.bit();
            self.event(Event::LimitReached { limit: full.setting() });
        }
    }

    /// A message for later, if it may be kept.
    pub(super) fn kept_message(&mut self, entry_bytes: usize, message: &[u8]) -> Option<Box<[u8]>> {
        let fits = self.may_keep(entry_bytes.saturating_add(message.len()), message.len());
        self.keep_if(fits, message.len()).then(|| message.into())
    }

    /// As [`Session::kept_message`], as a part of this stream.
    pub(super) fn kept_for_stream(&mut self, stream_id: StreamId, message: &[u8]) -> Option<Box<[u8]>> {
        let stream_bytes = self.ledger.streams.get(stream_id).map_or(0, Stream::bytes);
        self.kept_message(stream_bytes, message)
    }

    /// Counts anew if something was touched, and tells the sum of the process what changed.
    pub(super) fn count_kept(&mut self) {
        if !std::mem::take(&mut self.kept.touched) {
            return;
        }
        self.kept.bytes = to_u32(self.kept_bytes());
        if self.kept.bytes != self.kept.told_bytes {
            self.registry.kept().change(to_usize(self.kept.told_bytes), to_usize(self.kept.bytes));
        }
        self.kept.told_bytes = self.kept.bytes;
    }

    /// What is kept for this session now, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        let client = &self.client;
        let connection = client.connection.as_ref().map_or(0, Packed::len_bytes);
        // The registry has them, too.
        let tokens = [&client.token, &self.upstream.token].map(|token| token.as_ref().map_or(0, |t| t.len()));
        self.ledger.bytes()
            + connection
            + 2 * tokens.iter().sum::<usize>()
            + client.life.bytes()
            + self.held_back.bytes()
            + self.lever.as_ref().map_or(0, |lever| lever.bytes())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.registry.kept().change(to_usize(self.kept.told_bytes), 0);
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

impl Ledger {
    /// What all of it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.streams.iter().map(Stream::bytes).sum::<usize>()
            + self.rooms.iter().map(Room::bytes).sum::<usize>()
            + self.requests.bytes()
            + self.calls.bytes()
            + texts(&self.retired)
            + self.numeric_ids.bytes()
            + self.left_behind.bytes()
    }
}

impl Stream {
    pub(super) fn bytes(&self) -> usize {
        // With what comes by itself: an id of ours, the numbers of the workers.
        self.own_bytes() + OWN_ID_BYTES + if self.leg().is_some() { STATS_BYTES } else { 0 }
    }
}

impl Room {
    /// All of it, its participants as last counted.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.name.len()
            + self.join.len_bytes()
            + self.client_operation.as_ref().map_or(0, |id| id.len())
            + OWN_ID_BYTES
            + self.participants.bytes()
    }
}

impl LeftBehind {
    fn bytes(&self) -> usize {
        let streams = self.streams.iter().map(|entry| size_of_val(entry) + entry.0.len() + entry.1.len());
        streams.sum::<usize>() + texts(&self.calls) + texts(&self.rooms)
    }
}

impl Lever {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.user_data.as_ref().map_or(0, Packed::len_bytes) + texts(&self.names)
    }
}
