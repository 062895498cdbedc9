//! Which media goes through the newest leg of the upstream, for whoever judges the upstream by it. Only what went
//! is told: whether it should have is for others.

use crate::media::{Fact, Kind, Tracks, sdp::MediaType};

use super::{Context, Stream, path::Path};

impl Stream {
    /// Says what goes through the newest leg, if that is something else than was said of it.
    pub(super) fn say_goes(&mut self, ctx: &Context<'_>) {
        let now = ctx.now;
        let Some(leg) = self.legs.live() else { return };
        let Some(connected) = leg.connected_at else { return };
        let pause = match self.kind {
            Kind::Publish => ctx.settings.publish_pause,
            Kind::Play => ctx.settings.play_pause,
        };
        let goes = tracks(&self.paths, |path| {
            let last = match self.kind {
                // What waits for a key frame here is none that an upstream could pass on.
                Kind::Publish => path.sent.last_out.filter(|_| path.flowed),
                Kind::Play => path.last_in,
            };
            last.is_some_and(|at| at >= connected && now.saturating_duration_since(at) <= pause)
        });
        let is_news = match leg.said_goes {
            Some(said) => said != goes,
            None => goes.is_any() || now.saturating_duration_since(connected) > pause,
        };
        if !is_news {
            return;
        }
        let taken = tracks(&self.paths, |_| true);
        let epoch = leg.epoch;
        if let Some(leg) = self.legs.live_mut() {
            leg.said_goes = Some(goes);
        }
        self.reporter.say(Fact::Goes { epoch, taken, goes });
    }
}

/// Those that the upstream takes, or sends, and of which this is true.
fn tracks(paths: &[Option<Path>], is: impl Fn(&Path) -> bool) -> Tracks {
    let any = |media: MediaType| {
        paths.iter().flatten().any(|path| path.media == media && path.is_taken() && is(path))
    };
    Tracks { audio: any(MediaType::Audio), video: any(MediaType::Video) }
}
