//! What upstreams may still have, or say, although the client is done with it. Keeps it within bounds and
//! finds it; what is then done is for others.

use super::{Kind, kept::texts, stream::Stream};

/// Entries kept of either; the oldest goes first.
const ENTRIES_MAX: usize = 64;
/// Bytes of retired ids, and of the streams left behind; these come on top of what a session may keep.
pub(super) const RETIRED_BYTES_MAX: usize = 16 * 1024;

/// A stream that a kept session may have.
#[derive(Debug)]
pub(super) struct StreamLeft {
    pub(super) upstream_id: Box<str>,
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
}

/// What ended for the client while its upstream was out of reach: taken back from the session
/// that is resumed by token, forgotten with any other (rule R8).
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    pub(super) streams: Vec<StreamLeft>,
    /// Ids of calls.
    pub(super) calls: Vec<Box<str>>,
    /// Names of rooms.
    pub(super) rooms: Vec<Box<str>>,
}

impl LeftBehind {
    /// Notes a stream; past the bound the oldest is forgotten.
    pub(super) fn note(&mut self, stream: &Stream) {
        self.streams.push(StreamLeft {
            upstream_id: stream.upstream_id().into(),
            name: stream.name().into(),
            kind: stream.kind(),
        });
        forget_oldest(&mut self.streams, |left| left.upstream_id.len() + left.name.len());
    }

    /// Takes a stream with this name, to stop it.
    pub(super) fn take(&mut self, name: &str, kind: Kind) -> Option<StreamLeft> {
        let found = self.streams.iter().position(|left| *left.name == *name && left.kind == kind)?;
        Some(self.streams.remove(found))
    }

    /// Takes the stream with this upstream id: it is over, or to be stopped.
    pub(super) fn take_id(&mut self, upstream_id: &str) -> Option<StreamLeft> {
        let found = self.streams.iter().position(|left| *left.upstream_id == *upstream_id)?;
        Some(self.streams.remove(found))
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        let of_stream = |left: &StreamLeft| size_of_val(left) + left.upstream_id.len() + left.name.len();
        self.streams.iter().map(of_stream).sum::<usize>() + texts(&self.calls) + texts(&self.rooms)
    }
}

/// Upstream ids we gave up in this epoch: whatever comes for them is dropped.
#[derive(Debug, Default)]
pub(super) struct Retired(Vec<Box<str>>);

impl Retired {
    pub(super) fn add(&mut self, upstream_id: &str) {
        self.0.push(upstream_id.into());
        forget_oldest(&mut self.0, |id| id.len());
    }

    pub(super) fn has(&self, upstream_id: &str) -> bool {
        self.0.iter().any(|id| **id == *upstream_id)
    }

    /// The epoch is over, and with it all that it could say.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        texts(&self.0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn forget_oldest<T>(entries: &mut Vec<T>, bytes_of: impl Fn(&T) -> usize) {
    while entries.len() > ENTRIES_MAX || entries.iter().map(&bytes_of).sum::<usize>() > RETIRED_BYTES_MAX {
        entries.remove(0);
    }
}
