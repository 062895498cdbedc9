//! Who belongs together and came back from an outage on different nodes: a player goes where its publisher is
//! (rule R16). Of two that publish and play each other, the one that came later goes.

use std::time::Duration;

use crate::session::{
    Holder, NodeId, Timestamp,
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

    /// Whether one of them was found to be elsewhere.
    pub(in crate::session) const fn has_strayed(&self) -> bool {
        self.has_strayed
    }

    /// That is decided.
    pub(in crate::session) const fn is_decided(&mut self) {
        self.has_strayed = false;
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
        let held = self.iter().filter(|stream| stream.is(Standing::Held));
        held.filter_map(|play| self.leader_of(play, ctx)).map(|holder| holder.node).next()
    }

    /// The session that publishes elsewhere what this one plays, if it is one that this session goes after.
    pub(super) fn leader_of(&self, play: &Stream, ctx: &Context<'_>) -> Option<Holder> {
        if play.kind().is_publish() {
            return None;
        }
        let holder = ctx.directory.name(play.name()).holder?;
        let is_elsewhere = !holder.restoring && holder.session != ctx.id && holder.node != ctx.upstream.node;
        let leads = self.publishes().next().is_none() || holder.session < ctx.id;
        (ctx.settings.locality && is_elsewhere && leads).then_some(holder)
    }

    /// Whether nothing that runs here would be torn from what it plays, or could not go along.
    pub(in crate::session) fn may_all_go(&self) -> bool {
        self.iter().all(|stream| {
            stream.is_replayable() && (stream.kind().is_publish() || !stream.is(Standing::Live))
        })
    }
}
