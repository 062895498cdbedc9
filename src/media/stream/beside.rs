//! While a stream moves: two upstream legs, the one that is left and the newest beside it.
//!
//! The receiver's side decides what that means. A **player** has one line of numbers, which goes with
//! [`Sent`](super::path::Sent) from the way through the one leg to the way through the other: it is with
//! the left one until the newest has something a player can start with, and never with both, so nothing
//! is sent twice and nothing of the left one after the switch. Picture and sound change over in the same
//! moment, with the picture's key frame: two servers are never equally late, and the sound of the one
//! beside the picture of the other would be out of step for as long as the move takes. Each
//! **upstream** has its own numbers, and a publisher's packets go to both.
//!
//! Nothing is decided here of whether a move is made or comes to nothing: the session core says so.

use std::time::Instant;

use crate::{
    media::{Fact, Kind, descriptor::starts_key_frame, engine::Media, sdp::MediaType},
    session::Epoch,
};

use super::{Context, Side, Stream, error::LegEnd, leg::UpstreamLeg, legs::Upstream, path::Path};

/// The leg that is left, and the ways through it.
#[derive(Debug)]
pub(super) struct Left {
    epoch: Epoch,
    /// None: it is lost.
    pub(super) leg: Option<Box<UpstreamLeg>>,
    /// Why.
    end: Option<LegEnd>,
    /// By section, as [`Stream`] has them for the newest.
    pub(super) paths: Vec<Option<Path>>,
    /// The newest goes on with what the receiver was sent: a player sees it, or there is no other.
    switched: bool,
}

impl Stream {
    /// A leg is to begin beside the one that is there: that is the one that is left from now on. If one
    /// is left already, the newest goes.
    pub(super) fn leave(&mut self, ctx: &mut Context<'_>) {
        if self.legs.left.is_some() {
            return self.drop_newest(ctx);
        }
        let epoch = self.epoch;
        if self.legs.live().is_none() {
            self.drop_upstream(ctx);
            // Lost while whoever moves the stream did not know it yet: there is nothing to go back to.
            let left = Left { epoch, leg: None, end: None, paths: Vec::new(), switched: true };
            self.legs.left = Some(Box::new(left));
            return;
        }
        let Upstream::Live(leg) = std::mem::take(&mut self.legs.upstream) else { return };
        self.was_quiet = self.is_quiet(&leg, ctx.settings.media_pause);
        let beside = |path: &Option<Path>| path.as_ref().map(|path| path.beside(self.kind, ctx.now));
        let newest = self.paths.iter().map(beside).collect();
        let paths = std::mem::replace(&mut self.paths, newest);
        let left = Left { epoch, leg: Some(leg), end: None, paths, switched: false };
        self.legs.left = Some(Box::new(left));
    }

    /// The move is made: what is left goes.
    pub(crate) fn let_go(&mut self, ctx: &mut Context<'_>) {
        self.switch(ctx.now);
        let Some(left) = self.legs.left.take() else { return };
        if let Some(leg) = left.leg {
            leg.release(ctx);
        }
        self.timers_at = ctx.now;
    }

    /// The move came to nothing: the newest goes, and what was left is the upstream's leg again.
    pub(crate) fn come_back(&mut self, ctx: &mut Context<'_>) {
        if self.legs.left.is_none() {
            return;
        }
        self.drop_newest(ctx);
        let Some(left) = self.legs.left.take() else { return };
        let Left { epoch, leg, end, paths, .. } = *left;
        if let Some(mut leg) = leg {
            // Whoever hears of it has heard of the newest since.
            leg.said_goes = None;
            self.paths = paths;
            self.epoch = epoch;
            self.legs.upstream = Upstream::Live(leg);
            self.request_key_frames(ctx);
        } else {
            // It was lost in the meantime, which was of no interest then, or before.
            let reason = end.map_or_else(|| "no leg stood".to_owned(), |end| end.to_string());
            self.reporter.say(Fact::UpstreamFailed { epoch, reason });
        }
        self.timers_at = ctx.now;
    }

    /// Drops the newest; a player goes on with the one that is left.
    pub(super) fn drop_newest(&mut self, ctx: &mut Context<'_>) {
        self.drop_upstream(ctx);
        let Some(left) = self.legs.left.as_mut().filter(|left| left.switched && left.leg.is_some()) else {
            return;
        };
        left.switched = false;
        for (back, from) in left.paths.iter_mut().zip(&mut self.paths) {
            if let (Some(back), Some(from)) = (back, from) {
                back.take_over(self.kind, from, ctx.now);
            }
        }
    }

    /// The one that is left is lost: it is not missed, unless the stream is to go back to it.
    pub(super) fn left_lost(&mut self, end: LegEnd, ctx: &mut Context<'_>) {
        self.switch(ctx.now);
        let Some(left) = &mut self.legs.left else { return };
        let Some(leg) = left.leg.take() else { return };
        tracing::debug!(stream = %self.key, epoch = %left.epoch.0, reason = %end, "the leg that is left is lost");
        left.end = Some(end);
        leg.release(ctx);
    }

    /// The newest leg goes on with what the receiver was sent, if it does not yet.
    pub(super) fn switch(&mut self, now: Instant) {
        let Some(left) = self.legs.left.as_mut().filter(|left| !left.switched) else { return };
        left.switched = true;
        for (path, before) in self.paths.iter_mut().zip(&mut left.paths) {
            if let (Some(path), Some(before)) = (path, before) {
                path.take_over(self.kind, before, now);
            }
        }
    }

    /// Which of the upstream's legs counts: a player sees it, a publisher is told what it can take.
    /// An upstream that has only just begun knows little of what it can take, and the lesser of two
    /// would lower the picture at each move for nothing.
    pub(super) fn leading(&self) -> Side {
        let proven = self.legs.live().is_some_and(|leg| leg.said_complete);
        match &self.legs.left {
            Some(left) if left.leg.is_some() && !left.switched && !proven => Side::Left,
            _ => Side::Upstream,
        }
    }

    /// The ways through one of the upstream's legs.
    pub(super) fn paths_of(&self, side: Side) -> &[Option<Path>] {
        match &self.legs.left {
            Some(left) if side == Side::Left => &left.paths,
            _ => &self.paths,
        }
    }

    /// The leg that is left shows a picture since then: one without is no match for it.
    pub(super) fn is_left_for_a_picture(&self, since: Instant) -> bool {
        let shows = |path: &Path| {
            path.media == MediaType::Video && path.flowed && path.last_in.is_some_and(|at| at >= since)
        };
        self.legs.leg(Side::Left).is_some() && self.paths_of(Side::Left).iter().flatten().any(shows)
    }

    /// Does a packet that came through this leg go on? The newest is switched to with the first packet
    /// that its receiver can start with.
    pub(super) fn goes_on(&mut self, side: Side, index: usize, packet: &Media, now: Instant) -> bool {
        let Some(left) = self.legs.left.as_ref().filter(|_| self.kind == Kind::Play) else { return true };
        match side {
            Side::Left => return !left.switched,
            _ if left.switched => return true,
            _ => {}
        }
        if !self.legs.stands(Side::Client) {
            return false;
        }
        let has_picture = self.paths.iter().flatten().any(|p| p.media == MediaType::Video && p.is_taken());
        let Some(path) = self.paths.get_mut(index).and_then(Option::as_mut) else { return false };
        let starts = match path.media {
            MediaType::Video => path
                .format(packet.payload_type)
                .is_some_and(|format| starts_key_frame(format.handling.kind, &packet.payload)),
            MediaType::Audio => !has_picture,
        };
        if starts {
            self.switch(now);
            return true;
        }
        // It would be heard, if there were no other.
        path.flowed |= path.media == MediaType::Audio;
        false
    }
}
