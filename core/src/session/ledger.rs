//! What the client wants to be true (protocol S4.1): its streams, rooms, calls and the requests it still
//! waits for. Compact: an idle session is mostly its ledger.
//!
//! Holds and finds; decides nothing.

pub(super) use crate::media::Kind;

use super::{
    Timestamp,
    calls::Calls,
    ids::NumericIds,
    packed::Packed,
    participants::Participants,
    requests::Requests,
    stream::{Stream, StreamId},
};

/// The streams of a session, in the order in which they are looked at.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    last: StreamId,
}

impl Streams {
    /// Takes a stream in, behind the others.
    pub(super) fn add(&mut self, stream: Stream) -> StreamId {
        self.last = StreamId(self.last.0.wrapping_add(1));
        self.streams.push(stream.with_id(self.last));
        self.last
    }

    /// Takes a stream out; the last one comes to its place.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let place = self.streams.iter().position(|stream| stream.id() == id)?;
        Some(self.streams.swap_remove(place))
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id() == id)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id() == id)
    }

    /// The first stream of which this is true.
    pub(super) fn find(&self, is: impl Fn(&Stream) -> bool) -> Option<StreamId> {
        self.streams.iter().find(|stream| is(stream)).map(Stream::id)
    }

    /// The stream at this place of the order: for walks during which streams come to an end. One that
    /// stays at its place was not removed.
    pub(super) fn at(&self, place: usize) -> Option<&Stream> {
        self.streams.get(place)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Stream> {
        self.streams.get_mut(place)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Stream> {
        self.streams.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Stream> {
        self.streams.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

/// One room the client joined or asked to join (protocol S2.7).
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Box<str>,
    /// The client's `sendData` with the join.
    pub(super) join: Packed,
    /// The client's operation that waits for its `DataStatusEvent`.
    pub(super) client_operation: Option<Box<str>>,
    /// When the client asked: an outage holds its operation only so long.
    pub(super) asked_at: Timestamp,
    /// Our operation of a replayed join.
    pub(super) replay_operation: Option<Box<str>>,
    /// The others, as the client knows them.
    pub(super) participants: Participants,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) streams: Streams,
    pub(super) rooms: Vec<Room>,
    pub(super) calls: Calls,
    pub(super) requests: Requests,
    /// What a kept session still has although the client is done with it (rule R8).
    pub(super) left_behind: LeftBehind,
    /// Upstream ids we gave up in this epoch: whatever comes for them is dropped.
    pub(super) retired: Vec<Box<str>>,
    /// Ids that the client writes as numbers.
    pub(super) numeric_ids: NumericIds,
    /// `sessionDebug` start, while it is on.
    pub(super) debug: bool,
}

/// What ended for the client while its upstream was out of reach: taken back from the session
/// that is resumed by token, forgotten with any other.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// Streams: upstream id, name, kind.
    pub(super) streams: Vec<(Box<str>, Box<str>, Kind)>,
    /// Ids of calls.
    pub(super) calls: Vec<Box<str>>,
    /// Names of rooms.
    pub(super) rooms: Vec<Box<str>>,
}

impl LeftBehind {
    /// Notes a stream; past the bound the oldest is forgotten.
    pub(super) fn note(&mut self, stream: &Stream) {
        self.streams.push((stream.upstream_id().into(), stream.name().into(), stream.kind()));
        forget_oldest(&mut self.streams, |(id, name, _)| id.len() + name.len());
    }

    /// Takes the upstream id of a stream with this name, to stop it.
    pub(super) fn take(&mut self, name: &str, kind: Kind) -> Option<Box<str>> {
        let found = self.streams.iter().position(|(_, known, its)| **known == *name && *its == kind)?;
        Some(self.streams.remove(found).0)
    }

    /// Takes the name and kind of the stream with this upstream id: it is over, or to be stopped.
    pub(super) fn take_id(&mut self, upstream_id: &str) -> Option<(Box<str>, Kind)> {
        let found = self.streams.iter().position(|(id, ..)| **id == *upstream_id)?;
        let (_, name, kind) = self.streams.remove(found);
        Some((name, kind))
    }
}

/// Retired ids kept per epoch; the oldest goes first.
const RETIRED_MAX: usize = 64;
/// Bytes of them, and of the streams left behind; these come on top of what a session may keep.
pub(super) const RETIRED_BYTES_MAX: usize = 16 * 1024;

fn forget_oldest<T>(entries: &mut Vec<T>, bytes_of: impl Fn(&T) -> usize) {
    while entries.len() > RETIRED_MAX || entries.iter().map(&bytes_of).sum::<usize>() > RETIRED_BYTES_MAX {
        entries.remove(0);
    }
}

impl Ledger {
    pub(super) fn by_client_id(&self, id: &str) -> Option<StreamId> {
        self.streams.find(|stream| stream.client_id() == id)
    }

    /// Finds the stream an upstream id belongs to, if the upstream may know it.
    pub(super) fn by_upstream_id(&self, id: &str) -> Option<StreamId> {
        self.streams.find(|stream| stream.is_upstream() && stream.upstream_id() == id)
    }

    pub(super) fn retire(&mut self, upstream_id: &str) {
        self.retired.push(upstream_id.into());
        forget_oldest(&mut self.retired, |id| id.len());
    }

    pub(super) fn is_retired(&self, upstream_id: &str) -> bool {
        self.retired.iter().any(|id| &**id == upstream_id)
    }

    /// Whether the id belongs to a stream that is not upstream now: what a kept session, or a
    /// refused request, still has to say of it is not for the client.
    pub(super) fn is_away(&self, upstream_id: &str) -> bool {
        self.streams.iter().any(|stream| !stream.is_upstream() && stream.upstream_id() == upstream_id)
    }

    pub(super) fn room(&mut self, name: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| &*room.name == name)
    }

    /// Whether any stream publishes: such sessions are restored first (rule R6).
    pub(super) fn publishes(&self) -> bool {
        self.streams.iter().any(|stream| stream.kind().is_publish())
    }
}
