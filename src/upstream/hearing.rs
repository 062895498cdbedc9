//! Which nodes pass media, by what the legs of all sessions hear of them. A leg that hears nothing may have its
//! own reason: its publisher pauses, is asleep, or is gone. What speaks against a node nevertheless is written
//! down in `node/LIFECYCLE.md`; it is decided here, and what follows from it is for the node's state.
//!
//! Knows no packets and reads no clock: what goes through a leg is told at each change, and so is the time.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

use crate::{
    ids::NodeId,
    media::{Kind, StreamKey, Tracks},
    session::Timestamp,
};

/// A play is told to be silent when nothing has come for so long.
const SILENCE: Duration = Duration::from_secs(2);
/// So long after that it speaks against its node: what its publisher does is known by then.
const SETTLED: Duration = Duration::from_millis(500);
/// Silences that begin within this time are of one event, as far as nobody knows their publishers.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Where a leg is, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegOf<'a> {
    /// At which node.
    pub(crate) node: NodeId,
    /// Of the stream of this name.
    pub(crate) name: &'a str,
    /// Which way its media goes.
    pub(crate) kind: Kind,
}

/// What is known of one leg.
#[derive(Debug)]
struct Leg {
    node: NodeId,
    stream: StreamName,
    kind: Kind,
    taken: Tracks,
    /// Since when each goes, if it does.
    audio: Option<Timestamp>,
    video: Option<Timestamp>,
    /// When it was told that nothing goes.
    silent_at: Option<Timestamp>,
    /// Something once went.
    ever_went: bool,
    /// Its session was told to go elsewhere.
    was_told: bool,
}

impl Leg {
    /// How long the other has sent by now what this one takes and does not hear.
    fn missed(&self, sender: &Self, now: Timestamp) -> Duration {
        let Some(silent_at) = self.silent_at else { return Duration::ZERO };
        let began = Timestamp::from_ms(silent_at.as_ms().saturating_sub(SILENCE.as_millis() as u64));
        let sent = [sender.audio.filter(|_| self.taken.audio), sender.video.filter(|_| self.taken.video)];
        sent.into_iter().flatten().map(|since| now.since(since.max(began))).max().unwrap_or_default()
    }
}

/// Stands for the name of a stream: names come from outside, and may be long.
type StreamName = u64;

/// What is known of a stream as long as it has a leg.
#[derive(Debug, Default)]
struct Known {
    legs: usize,
    /// One of our sessions published it meanwhile: its players are silent when that is.
    was_ours: bool,
}

/// What speaks for and against one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// A player hears something of it.
    pub(crate) is_heard: bool,
    /// So many legs speak against it.
    pub(crate) against: usize,
    /// Those of players to whom it does not pass what it is sent, and of their publishers.
    pub(crate) dead: BTreeSet<StreamKey>,
}

/// What all legs hear. As many as there are anchored streams, which the media workers bound.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    names: RandomState,
    legs: BTreeMap<StreamKey, Leg>,
    streams: HashMap<StreamName, Known>,
}

impl Hearing {
    /// What goes through the newest leg of a stream has changed.
    pub(crate) fn goes(
        &mut self,
        key: StreamKey,
        of: LegOf<'_>,
        taken: Tracks,
        goes: Tracks,
        now: Timestamp,
    ) {
        let stream = self.names.hash_one(of.name);
        if self.legs.get(&key).is_some_and(|leg| leg.node != of.node || leg.stream != stream) {
            self.over(key);
        }
        let leg = self.legs.entry(key).or_insert_with(|| {
            let known = self.streams.entry(stream).or_default();
            known.legs += 1;
            known.was_ours |= of.kind.is_publish();
            let (node, kind) = (of.node, of.kind);
            let (audio, video, silent_at) = (None, None, None);
            Leg { node, stream, kind, taken, audio, video, silent_at, ever_went: false, was_told: false }
        });
        let since = |before: Option<Timestamp>, goes: bool| goes.then(|| before.unwrap_or(now));
        leg.taken = taken;
        leg.audio = since(leg.audio, goes.audio);
        leg.video = since(leg.video, goes.video);
        leg.silent_at = since(leg.silent_at, !goes.is_any());
        leg.ever_went |= goes.is_any();
    }

    /// The leg is no more, or is to be silent: it says nothing.
    pub(crate) fn over(&mut self, key: StreamKey) {
        let Some(leg) = self.legs.remove(&key) else { return };
        if let Some(known) = self.streams.get_mut(&leg.stream) {
            known.legs -= 1;
            if known.legs == 0 {
                self.streams.remove(&leg.stream);
            }
        }
    }

    /// What speaks for and against each node that has a player.
    pub(crate) fn judge(&self, now: Timestamp) -> BTreeMap<NodeId, Found> {
        // Looked for only where a player is silent: mostly none is.
        let senders = LazyCell::new(|| -> HashMap<(NodeId, StreamName), (StreamKey, &Leg)> {
            let publishers = self.legs.iter().filter(|(_, leg)| leg.kind.is_publish());
            publishers.map(|(key, leg)| ((leg.node, leg.stream), (*key, leg))).collect()
        });
        let mut found: BTreeMap<NodeId, Found> = BTreeMap::new();
        let mut strangers: BTreeSet<(NodeId, StreamName)> = BTreeSet::new();
        for (key, leg) in self.legs.iter().filter(|(_, leg)| !leg.kind.is_publish()) {
            let of_node = found.entry(leg.node).or_default();
            let Some(silent_at) = leg.silent_at else {
                of_node.is_heard = true;
                continue;
            };
            let sender = senders.get(&(leg.node, leg.stream));
            let silent = now.since(silent_at);
            if let Some((publisher, _)) =
                sender.filter(|(_, sender)| leg.missed(sender, now) >= SILENCE + SETTLED)
            {
                of_node.dead.extend([*key, *publisher]);
            } else if leg.ever_went
                && (SETTLED..AT_ONCE).contains(&silent)
                && self.streams.get(&leg.stream).is_some_and(|known| !known.was_ours)
            {
                strangers.insert((leg.node, leg.stream));
            }
        }
        for (node, found) in &mut found {
            let strangers = strangers.range((*node, StreamName::MIN)..=(*node, StreamName::MAX)).count();
            found.against = found.dead.len() + strangers;
            if found.is_heard {
                // It passes media: whoever hears none has another reason.
                (found.against, found.dead) = (0, BTreeSet::new());
            }
        }
        found
    }

    /// The sessions of these legs are told to go elsewhere: those of them that were not told before.
    pub(crate) fn tell(&mut self, dead: &BTreeSet<StreamKey>) -> BTreeSet<StreamKey> {
        let legs = &mut self.legs;
        let mut is_news = |key: &StreamKey| {
            legs.get_mut(key).is_some_and(|leg| !std::mem::replace(&mut leg.was_told, true))
        };
        dead.iter().filter(|key| is_news(key)).copied().collect()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    const HERE: NodeId = NodeId(0);
    const THERE: NodeId = NodeId(1);
    const BOTH: Tracks = Tracks { audio: true, video: true };
    const SOUND: Tracks = Tracks { audio: true, video: false };
    const PICTURE: Tracks = Tracks { audio: false, video: true };
    const NOTHING: Tracks = Tracks { audio: false, video: false };
    /// When everything that was silent from the beginning is known to be.
    const LATER: u64 = 10_000 + 2_600;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    const fn key(session: u64) -> StreamKey {
        StreamKey { session: SessionId(session), number: 1 }
    }

    struct Bed(Hearing);

    impl Bed {
        /// Sessions whose media goes from the first second on: what each does, where, and of which stream.
        fn of(legs: &[(u64, Kind, NodeId, &str)]) -> Self {
            let mut bed = Self(Hearing::default());
            for leg in legs {
                bed.goes(*leg, BOTH, 1_000);
            }
            bed
        }

        fn goes(&mut self, (session, kind, node, name): (u64, Kind, NodeId, &str), goes: Tracks, ms: u64) {
            self.0.goes(key(session), LegOf { node, name, kind }, BOTH, goes, at(ms));
        }

        fn judge(&self, ms: u64) -> Found {
            self.0.judge(at(ms)).remove(&HERE).unwrap_or_default()
        }
    }

    const PUBLISHER: (u64, Kind, NodeId, &str) = (1, Kind::Publish, HERE, "cam");
    const PLAYER: (u64, Kind, NodeId, &str) = (2, Kind::Play, HERE, "cam");

    #[test]
    fn a_player_that_misses_what_its_publisher_sends_speaks_against_the_node() {
        let mut bed = Bed::of(&[PUBLISHER, PLAYER]);
        assert_eq!(bed.judge(9_999), Found { is_heard: true, ..Found::default() });
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(10_400), Found::default(), "its publisher may pause as well");
        let found = bed.judge(10_500);
        assert_eq!(
            (found.against, found.dead.len(), found.is_heard),
            (2, 2, false),
            "both ends of the stream"
        );
        assert_eq!(bed.judge(600_000), found, "as long as it lasts");
        assert_eq!(bed.0.tell(&found.dead), found.dead);
        assert!(bed.0.tell(&found.dead).is_empty(), "each is told once");
        bed.goes(PLAYER, SOUND, 600_001);
        assert!(bed.judge(600_002).is_heard);
    }

    #[test]
    fn a_player_that_never_heard_its_publisher_speaks_against_the_node_as_well() {
        let mut bed = Bed::of(&[PUBLISHER]);
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(LATER).against, 2);
        let mut bed = Bed::of(&[]);
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(LATER), Found::default(), "nobody knows whether there is anything to hear");
    }

    #[test]
    fn a_publisher_that_pauses_sleeps_or_is_gone_is_not_the_nodes_fault() {
        // It paused a second before its player was told to be silent.
        let mut bed = Bed::of(&[PUBLISHER, PLAYER]);
        bed.goes(PUBLISHER, NOTHING, 9_000);
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(LATER), Found::default());
        // It sends again, and its player hears it a moment later.
        bed.goes(PUBLISHER, BOTH, 20_000);
        assert_eq!(bed.judge(22_400), Found::default());
        assert_eq!(bed.judge(22_500).against, 2, "or does not");
        // It left: on its own, or for another node.
        let mut bed = Bed::of(&[PUBLISHER, PLAYER]);
        bed.0.over(key(1));
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(LATER), Found::default());
        bed.goes((1, Kind::Publish, THERE, "cam"), BOTH, 10_100);
        assert_eq!(bed.judge(LATER), Found::default());
        // It sends what the player does not take.
        let mut bed = Bed::of(&[PUBLISHER]);
        bed.goes(PUBLISHER, SOUND, 2_000);
        let of = LegOf { node: HERE, name: "cam", kind: Kind::Play };
        bed.0.goes(key(2), of, PICTURE, NOTHING, at(10_000));
        assert_eq!(bed.judge(LATER), Found::default());
    }

    #[test]
    fn one_dead_stream_beside_others_that_are_heard_is_not_the_nodes_fault() {
        let other = (3, Kind::Play, HERE, "other");
        let mut bed = Bed::of(&[PUBLISHER, PLAYER, other]);
        bed.goes(PLAYER, NOTHING, 10_000);
        assert_eq!(bed.judge(LATER), Found { is_heard: true, ..Found::default() });
        bed.0.over(key(3));
        assert_eq!(bed.judge(LATER).against, 2, "where nothing else is heard it may be the node");
    }

    #[test]
    fn players_of_strangers_count_by_stream_and_only_at_once() {
        let players = [2, 3, 4].map(|n| (n, Kind::Play, HERE, if n == 4 { "other" } else { "cam" }));
        let mut bed = Bed::of(&players);
        bed.goes(players[0], NOTHING, 10_000);
        bed.goes(players[1], NOTHING, 10_100);
        assert!(bed.judge(10_700).is_heard);
        bed.goes(players[2], NOTHING, 10_200);
        let found = bed.judge(10_700);
        assert_eq!((found.against, found.dead.len()), (2, 0), "two streams, and nobody to be sent elsewhere");
        assert_eq!(bed.judge(15_100).against, 1);
        assert_eq!(bed.judge(15_200).against, 0, "there may be nothing to hear");
        // Of one of them we knew the publisher.
        let mut bed = Bed::of(&players);
        bed.goes(PUBLISHER, BOTH, 2_000);
        bed.0.over(key(1));
        players.iter().for_each(|player| bed.goes(*player, NOTHING, 10_000));
        assert_eq!(bed.judge(10_700).against, 1);
    }

    #[test]
    fn what_is_over_is_forgotten_and_a_leg_is_of_one_node() {
        let mut bed = Bed::of(&[PUBLISHER, PLAYER, (3, Kind::Play, HERE, "other")]);
        bed.goes((2, Kind::Play, THERE, "cam"), BOTH, 2_000);
        assert_eq!(bed.0.judge(at(3_000)).keys().copied().collect::<Vec<_>>(), [HERE, THERE]);
        for session in [1, 2, 3, 3] {
            bed.0.over(key(session));
        }
        assert!(bed.0.legs.is_empty() && bed.0.streams.is_empty() && bed.0.judge(at(3_000)).is_empty());
    }
}
