//! What proves that media flows through the newest leg of the upstream, and signs of life until then.

use std::time::{Duration, Instant};

use crate::media::{Fact, Kind, sdp::MediaType};

use super::{Side, Stream, path::Path};

/// How often a sign of life is given while the proof of a leg is not complete.
const LIFE_PACE: Duration = Duration::from_secs(1);

impl Stream {
    /// Says what has flowed through the newest leg, as soon as there is more to say.
    pub(super) fn say_flowing(&mut self, now: Instant) {
        if self.legs.live().is_none_or(|leg| leg.said_complete) {
            return;
        }
        let without_picture = self.is_proof_without_picture(now);
        let life = self.shows_life(now);
        let video: Vec<bool> = flowed(&self.paths, MediaType::Video);
        let audio: Vec<bool> = flowed(&self.paths, MediaType::Audio);
        let key_frame = video.iter().any(|f| *f);
        let complete = if video.is_empty() { audio.iter().any(|f| *f) } else { key_frame } || without_picture;
        if !complete && !life {
            return;
        }
        if complete && self.kind == Kind::Play {
            self.switch(now);
        }
        let Some(leg) = self.legs.live_mut() else { return };
        leg.said_life_at = Some(now);
        leg.said_complete = complete;
        let epoch = leg.epoch;
        self.stats.moves += u32::from(complete && self.legs.left.is_some());
        self.reporter.say(Fact::Flowing { epoch, key_frame, complete });
    }

    /// Is there proof without a key frame, because the sender sends none, or nothing at all?
    fn is_proof_without_picture(&self, now: Instant) -> bool {
        let Some(leg) = self.legs.live() else { return false };
        let Some(connected) = leg.connected_at else { return false };
        let stood = now.saturating_duration_since(connected);
        if stood < self.idle_proof || !self.legs.stands(Side::Client) || self.is_left_for_a_picture(connected)
        {
            return false;
        }
        let paths = || self.paths.iter().flatten().filter(|p| p.is_taken());
        let video = || paths().filter(|p| p.media == MediaType::Video);
        let is_quiet = |path: &Path| path.last_in.is_none_or(|at| at < connected);
        let audio_flowed = paths().any(|p| p.media == MediaType::Audio && p.flowed);
        // There is sound: the leg works, whatever the picture does. A picture that comes soon is
        // waited for.
        if audio_flowed && stood >= self.idle_proof * 2 {
            return true;
        }
        match self.kind {
            // No picture came from the client since the leg stands: there is nothing to pass on.
            Kind::Publish => video().all(is_quiet),
            // There is sound, and there never was a picture; or the sender was quiet before the
            // outage, and still is.
            Kind::Play if self.was_quiet => paths().all(is_quiet),
            Kind::Play => audio_flowed && video().all(|p| !p.ever_flowed && p.last_in.is_none()),
        }
    }

    /// Has more come from the sending side since the last sign of life of this leg?
    fn shows_life(&self, now: Instant) -> bool {
        let Some(leg) = self.legs.live() else { return false };
        let Some(connected) = leg.connected_at else { return false };
        let since = match leg.said_life_at {
            Some(at) if now.saturating_duration_since(at) < LIFE_PACE => return false,
            Some(at) => at,
            None => connected,
        };
        self.paths.iter().flatten().any(|p| p.is_taken() && p.last_in.is_some_and(|at| at > since))
    }
}

/// For each section of a kind that the upstream takes or sends: has it flowed?
pub(super) fn flowed(paths: &[Option<Path>], media: MediaType) -> Vec<bool> {
    paths.iter().flatten().filter(|p| p.media == media && p.is_taken()).map(|p| p.flowed).collect()
}
