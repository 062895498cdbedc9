//! Who belongs together and came back from an outage on different nodes: a player goes where its publisher is
//! (rule R16). Of two that publish and play each other, the one that came later goes.

use std::time::Duration;

use crate::session::{
    Holder, NodeId, SessionId, Timestamp,
    context::Context,
    stream::{Standing, Stream},
};

use super::table::StreamTable;

/// So often a session goes after a publisher within the window: where it cannot be reached there it would go in vain,
/// and its client is told in the end.
const FOLLOWS_MAX: u8 = 4;
const FOLLOWS_WINDOW: Duration = Duration::from_secs(60);

/// Whether there is somebody to go after, and how often that was done.
#[derive(Debug, Default)]
pub(in crate::session) struct Reunion {
    /// A play that ran runs elsewhere by now.
    has_strayed: bool,
    /// Since when they are counted, and how many they are.
    followed: Option<(Timestamp, u8)>,
}

impl Reunion {
    /// The server does not know a play that ran.
    pub(super) const fn note_stray(&mut self) {
        self.has_strayed = true;
    }

    /// Whether one of them was found to be elsewhere since this was asked last.
    pub(in crate::session) const fn take_stray(&mut self) -> bool {
        std::mem::replace(&mut self.has_strayed, false)
    }

    /// Whether it may be gone after the publisher once more; it is, then.
    pub(in crate::session) fn may_follow(&mut self, now: Timestamp) -> bool {
        let (since, times) = match self.followed {
            Some((since, times)) if now.since(since) < FOLLOWS_WINDOW => (since, times),
            _ => (now, 0),
        };
        if times >= FOLLOWS_MAX {
            return false;
        }
        self.followed = Some((since, times + 1));
        true
    }
}

impl StreamTable {
    /// Where the publisher is already of a stream that is to be played again.
    pub(in crate::session) fn place(&self, ctx: &Context<'_>) -> Option<NodeId> {
        let held = self.iter().filter(|stream| ctx.settings.locality && stream.is(Standing::Held));
        let mut elsewhere = held.filter_map(|stream| Some((stream, ctx.runs_elsewhere(stream.name())?)));
        let led = elsewhere.find(|(stream, holder)| self.goes_after(stream, *holder, ctx.id));
        led.map(|(_, holder)| holder.node)
    }

    /// Whether this session, `id`, goes after the one that publishes elsewhere what it plays.
    pub(super) fn goes_after(&self, stream: &Stream, holder: Holder, id: SessionId) -> bool {
        !stream.kind().is_publish() && (self.publishes().next().is_none() || holder.session < id)
    }

    /// Whether nothing that runs here would be torn from what it plays, or could not go along.
    pub(in crate::session) fn may_all_go(&self) -> bool {
        self.iter().all(|stream| {
            stream.is_replayable() && (stream.kind().is_publish() || !stream.is(Standing::Live))
        })
    }
}
