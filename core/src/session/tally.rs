//! What a session is, in numbers that can be summed over all sessions: what it has, and where its streams
//! stand. Reads only; nothing is kept for it, and no name or id is in it.

use super::{
    Session,
    stream::{Standing, Stream, Transport},
};

/// Which way a stream goes, as it is counted.
pub const STREAM_KINDS: [&str; 2] = ["publish", "play"];
/// How its media travels.
pub const STREAM_MEDIA: [&str; 3] = ["direct", "anchored", "socket"];
/// Where it stands, in few words: what `status` tells apart more finely is one here where an operator acts
/// alike.
pub const STREAM_STATES: [&str; 6] = ["starting", "live", "held", "lost", "restoring", "stopping"];

/// What one session has, or many of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rooms joined.
    pub rooms: u64,
    /// Calls that are not over.
    pub calls: u64,
    /// Messages of clients that wait for an upstream.
    pub messages_held: u64,
    /// Events of servers that are kept back until it is clear whether their connection dies with them.
    pub events_held: u64,
    /// Streams that were asked for since the session began, by [`STREAM_KINDS`].
    pub streams_asked: [u64; STREAM_KINDS.len()],
    /// Streams by [`STREAM_KINDS`], [`STREAM_MEDIA`] and [`STREAM_STATES`].
    streams: [[[u64; STREAM_STATES.len()]; STREAM_MEDIA.len()]; STREAM_KINDS.len()],
}

impl Tally {
    /// Adds what another session has.
    pub fn add(&mut self, other: &Self) {
        self.rooms += other.rooms;
        self.calls += other.calls;
        self.messages_held += other.messages_held;
        self.events_held += other.events_held;
        for (sum, more) in self.streams_asked.iter_mut().zip(other.streams_asked) {
            *sum += more;
        }
        let ours = self.streams.as_flattened_mut().as_flattened_mut();
        for (sum, more) in ours.iter_mut().zip(other.streams.as_flattened().as_flattened()) {
            *sum += more;
        }
    }

    /// The streams: `[kind, media, state]` and how many, every combination.
    pub fn streams(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> + '_ {
        STREAM_KINDS.into_iter().zip(&self.streams).flat_map(|(kind, by_media)| {
            STREAM_MEDIA.into_iter().zip(by_media).flat_map(move |(media, by_state)| {
                let states = STREAM_STATES.into_iter().zip(by_state);
                states.map(move |(state, count)| ([kind, media, state], *count))
            })
        })
    }

    fn count(&mut self, stream: &Stream) {
        let place = self
            .streams
            .get_mut(usize::from(!stream.kind().is_publish()))
            .and_then(|by_media| by_media.get_mut(media_place(stream)))
            .and_then(|by_state| by_state.get_mut(state_place(stream)));
        if let Some(count) = place {
            *count += 1;
        }
    }
}

const fn media_place(stream: &Stream) -> usize {
    match stream.transport() {
        Transport::Direct => 0,
        Transport::Anchored(_) => 1,
        Transport::Socket => 2,
    }
}

fn state_place(stream: &Stream) -> usize {
    match stream.standing() {
        Standing::Requested => 0,
        Standing::Live => 1,
        Standing::Held => 2,
        Standing::Lost => 3,
        Standing::Probation
        | Standing::Offering
        | Standing::Replayed
        | Standing::Retry
        | Standing::AwaitsPublisher
        | Standing::AwaitsProof => 4,
        Standing::Stopping => 5,
    }
}

impl Session {
    /// What it has now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            rooms: self.rooms.len() as u64,
            calls: self.calls.len() as u64,
            messages_held: self.held_back.messages() as u64,
            events_held: self.held_back.events() as u64,
            streams_asked: self.streams.table.asked().map(u64::from),
            ..Tally::default()
        };
        self.streams.table.iter().for_each(|stream| tally.count(stream));
        tally
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_is_told_apart() {
        let mut one = Tally { rooms: 1, messages_held: 2, ..Tally::default() };
        one.streams[1][2][4] = 4;
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.rooms, sum.messages_held, sum.calls), (2, 4, 0));
        let counted: Vec<_> = sum.streams().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(["play", "socket", "restoring"], 8)]);
        assert_eq!(sum.streams().count(), 36);
    }
}
