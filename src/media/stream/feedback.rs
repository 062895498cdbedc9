//! What receivers ask of senders: key frames, and how much they can take.

use crate::media::Kind;

use super::{Context, Side, Stream};

impl Stream {
    /// Asks for a key frame wherever one is waited for and could pass.
    pub(super) fn request_key_frames(&mut self, ctx: &Context<'_>) {
        for leg in [Side::Upstream, Side::Left] {
            if !self.legs.stands(Side::Client) || !self.legs.stands(leg) {
                continue;
            }
            for index in 0..self.paths.len() {
                let path = self.paths_of(leg).get(index).and_then(Option::as_ref);
                if path.is_some_and(|p| p.wants_request(ctx.now)) {
                    self.request_key_frame(leg, index, ctx);
                }
            }
        }
    }

    /// A receiver asks for a key frame.
    pub(super) fn pass_key_frame_request(&mut self, from: Side, index: usize, ctx: &Context<'_>) {
        let leg = match (self.kind, from) {
            (Kind::Publish, Side::Upstream | Side::Left) => from,
            (Kind::Play, Side::Client) => self.leading(),
            _ => return,
        };
        let path = self.paths_of(leg).get(index).and_then(Option::as_ref);
        if path.is_some_and(|p| p.may_pass_request(ctx.now)) {
            self.request_key_frame(leg, index, ctx);
        }
    }

    /// Asks whoever sends through this leg for a key frame. Two upstreams that want one of a publisher
    /// get the same, so that it is asked no more often than for one.
    fn request_key_frame(&mut self, leg: Side, index: usize, ctx: &Context<'_>) {
        let source = self.legs.carrying(leg.source(self.kind), index);
        let asked = source.filter(|t| t.connected).is_some_and(|t| t.request_key_frame(index));
        for side in [Side::Upstream, Side::Left] {
            if (side == leg || self.kind.is_publish())
                && let Some((path, _)) = self.legs.way(&mut self.paths, self.kind, side, index)
            {
                path.requested(ctx.settings.key_frame_retry, ctx.now);
            }
        }
        if asked {
            self.stats.key_frame_requests += 1;
        }
    }

    /// A receiver says how much it can take.
    pub(super) fn pass_estimate(&mut self, from: Side, index: usize, estimate: str0m::bwe::Bitrate) {
        let asked: &[Side] = match (self.kind, from) {
            (Kind::Publish, Side::Upstream | Side::Left) if from == self.leading() => &[Side::Client],
            // It can take no more of the one that it is not sent yet.
            (Kind::Play, Side::Client) => &[Side::Upstream, Side::Left],
            _ => return,
        };
        for side in asked {
            if let Some(source) = self.legs.carrying(*side, index) {
                source.request_bitrate(index, estimate);
            }
        }
    }
}
