//! The streams of a session, in the order in which they are looked at. Holds and finds; decides nothing.

use crate::session::{
    Kind, StreamKey,
    stream::{Stream, StreamId},
};

/// The streams of a session.
#[derive(Debug, Default)]
pub(in crate::session) struct StreamTable {
    streams: Vec<Stream>,
    last: StreamId,
    /// How many there were in all, those published and those played.
    asked: [u32; 2],
}

impl StreamTable {
    /// Takes a stream in, behind the others.
    pub(super) fn add(&mut self, stream: Stream) -> StreamId {
        self.last = StreamId(self.last.0.wrapping_add(1));
        let [published, played] = &mut self.asked;
        let asked = if stream.kind() == Kind::Publish { published } else { played };
        *asked = asked.saturating_add(1);
        self.streams.push(stream.with_id(self.last));
        self.last
    }

    /// How many there were since the session began, those published and those played.
    pub(in crate::session) const fn asked(&self) -> [u32; 2] {
        self.asked
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

    pub(in crate::session) fn iter(&self) -> std::slice::Iter<'_, Stream> {
        self.streams.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Stream> {
        self.streams.iter_mut()
    }

    pub(in crate::session) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn by_client_id(&self, id: &str) -> Option<StreamId> {
        self.find(|stream| stream.client_id() == id)
    }

    /// Finds the stream an upstream id belongs to, if the upstream may know it.
    pub(super) fn by_upstream_id(&self, id: &str) -> Option<StreamId> {
        self.find(|stream| stream.is_upstream() && stream.upstream_id() == id)
    }

    pub(super) fn by_media_key(&self, key: StreamKey) -> Option<StreamId> {
        self.find(|stream| stream.leg().is_some_and(|leg| leg.key() == key))
    }

    /// Whether the id belongs to a stream that is not upstream now: what a kept session, or a
    /// refused request, still has to say of it is not for the client.
    pub(super) fn is_away(&self, upstream_id: &str) -> bool {
        self.streams.iter().any(|stream| !stream.is_upstream() && stream.upstream_id() == upstream_id)
    }

    /// Whether the client's media path of one is silent, and cannot be revived.
    pub(in crate::session) fn has_silent_leg(&self) -> bool {
        self.streams.iter().any(|stream| stream.leg().is_some_and(|leg| leg.silent_since().is_some()))
    }

    /// The client's id of what the upstream knows under this one.
    pub(super) fn client_id_of(&self, upstream_id: &str) -> Box<str> {
        let stream = self.by_upstream_id(upstream_id).and_then(|stream_id| self.get(stream_id));
        stream.map_or_else(|| upstream_id.into(), |stream| stream.client_id().into())
    }

    /// For events: empty if there is no such stream.
    pub(super) fn name_of(&self, stream_id: StreamId) -> String {
        self.get(stream_id).map(|stream| stream.name().to_owned()).unwrap_or_default()
    }

    /// The name under which this stream publishes.
    pub(super) fn published_name(&self, stream_id: StreamId) -> Option<Box<str>> {
        let stream = self.get(stream_id).filter(|stream| stream.kind().is_publish())?;
        Some(stream.name().into())
    }

    /// Whether one publishes under this name.
    pub(in crate::session) fn publishes_as(&self, name: &str) -> bool {
        self.publishes().any(|stream| stream.name() == name)
    }

    pub(super) fn publishes(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|stream| stream.kind() == Kind::Publish)
    }
}
