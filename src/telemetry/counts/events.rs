//! The events of session cores, counted. The match names every event, so that a new one is thought of here
//! before anything builds.

use holdfast_core::media::{LegStats, StreamStats};

use crate::session::{Event, LossCause, MoveOutcome, Outcome};

use super::{Codec, Counts, Direction, Leg, Limit, Loss, MediaCounts, MoveEnd, SessionOutcome, StreamKind};

impl Counts {
    /// Counts what a session reports.
    pub(crate) fn event(&self, event: &Event) {
        match event {
            Event::PassedThrough { .. } => {
                self.passed_through.inc();
            }
            Event::UpstreamLost { cause, .. } => self.upstream_lost.inc(Loss::from(*cause)),
            Event::AttemptFailed { .. } => {
                self.attempts_failed.inc();
            }
            Event::ReplayRefused { .. } => {
                self.replays_refused.inc();
            }
            Event::SessionRestored { .. } => self.session_outcomes.inc(SessionOutcome::Restored),
            Event::GaveUp { .. } => self.session_outcomes.inc(SessionOutcome::GivenUp),
            Event::Moved { outcome, took, .. } => {
                self.moves.inc(outcome.into());
                if *outcome == MoveOutcome::Done {
                    self.move_time.observe(took.as_secs_f64());
                }
            }
            Event::StreamOutcome { kind, outcome, after, .. } => {
                self.outcomes(StreamKind::of(kind)).inc((*outcome).into());
                if *outcome == Outcome::Restored {
                    self.restore.observe(after.as_secs_f64());
                }
            }
            Event::RoomLost { .. } => {
                self.rooms_lost.inc();
            }
            Event::StreamElsewhere { .. } => {
                self.streams_elsewhere.inc();
            }
            Event::RoomElsewhere { .. } => {
                self.rooms_elsewhere.inc();
            }
            Event::LimitReached { limit } => self.limits.inc(Limit::of(limit)),
            Event::MediaGap { kind, gap, .. } => self.media.gap_is(StreamKind::of(kind), *gap),
            Event::Unanchorable { .. } => {
                self.media.unanchorable.inc();
            }
            Event::MediaLost { .. } => {
                self.media.lost.inc();
            }
            Event::NoVideo { .. } => {
                self.media.no_video.inc();
            }
            Event::CodecChanged { .. } => {
                self.media.codec_changes.inc();
            }
            // Seen in other numbers, or in none that an operator acts on.
            Event::SessionUp { .. }
            | Event::StreamRetry { .. }
            | Event::RetriedWithoutH264 { .. }
            | Event::ClientLegRevived { .. }
            | Event::VideoBack { .. }
            | Event::MediaSummary { .. }
            | Event::ClientDead { .. } => {}
        }
    }
}

impl From<&MoveOutcome> for MoveEnd {
    fn from(outcome: &MoveOutcome) -> Self {
        match outcome {
            MoveOutcome::Done => Self::Done,
            MoveOutcome::Refused(_) => Self::Refused,
            MoveOutcome::Returned(_) => Self::Returned,
        }
    }
}

impl From<LossCause> for Loss {
    fn from(cause: LossCause) -> Self {
        match cause {
            LossCause::Closed(_) => Self::Closed,
            LossCause::EndOfFile => Self::EndOfFile,
            LossCause::Reset => Self::Reset,
            LossCause::Protocol => Self::Protocol,
            LossCause::Stalled => Self::Stalled,
            LossCause::Silent => Self::Silent,
            LossCause::Left => Self::Left,
        }
    }
}

/// What was counted of a stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    codecs: Codecs,
    key_frame_requests: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Codecs {
    video: Option<Codec>,
    audio: Option<Codec>,
}

impl MediaCounts {
    /// Counts what the workers say of a stream, every few seconds.
    pub(crate) fn stats(&self, counted: &mut Counted, stats: &StreamStats) {
        let of = |name: &Option<String>| name.as_deref().map(Codec::of);
        let more = stats.key_frame_requests.saturating_sub(counted.key_frame_requests);
        self.key_frame_requests.inc_by(more);
        counted.key_frame_requests = stats.key_frame_requests;
        self.change(
            &mut counted.codecs,
            Codecs { video: of(&stats.video_codec), audio: of(&stats.audio_codec) },
        );
        for (leg, numbers) in [(Leg::Client, &stats.client), (Leg::Upstream, &stats.upstream)] {
            self.leg(leg, numbers);
        }
    }

    /// A stream is over.
    pub(crate) fn over(&self, mut counted: Counted) {
        self.change(&mut counted.codecs, Codecs::default());
    }

    fn change(&self, before: &mut Codecs, now: Codecs) {
        self.codec(before.video, now.video);
        self.codec(before.audio, now.audio);
        *before = now;
    }

    fn leg(&self, leg: Leg, numbers: &LegStats) {
        if let (Some(ms), Some(histogram)) = (numbers.round_trip_ms, self.round_trip(leg)) {
            histogram.observe(f64::from(ms) / 1_000.0);
        }
        let losses = [(Direction::Received, numbers.loss_received), (Direction::Sent, numbers.loss_sent)];
        for (direction, share) in losses {
            if let (Some(share), Some(histogram)) = (share, self.loss(leg, direction)) {
                histogram.observe(f64::from(share));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_session_reports_is_counted() {
        let counts = Counts::default();
        let (name, stream) = ("cam".to_owned(), "p".to_owned());
        counts.event(&Event::UpstreamLost { cause: LossCause::Closed(1001), streams: 1 });
        counts.event(&Event::SessionRestored { outage: Duration::from_secs(1), tries: 1 });
        let (outcome, after) = (Outcome::Restored, Duration::from_secs(2));
        counts.event(&Event::StreamOutcome { name: name.clone(), stream, kind: "play", outcome, after });
        counts.event(&Event::MediaGap { name, kind: "play", gap: Duration::from_millis(300) });
        let sum = |counts: &super::super::By<_>| counts.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(counts.upstream_lost.iter().map(|(_, count)| count).sum::<u64>(), 1);
        assert_eq!((sum(&counts.play_outcomes), sum(&counts.publish_outcomes)), (1, 0));
        let gaps: Vec<u64> = counts.media.gaps().map(|(_, gaps)| gaps.count()).collect();
        assert_eq!((counts.restore.sum(), gaps), (2.0, vec![0, 1]));
    }

    #[test]
    fn numbers_of_a_stream_become_distributions_and_its_codecs_go_with_it() {
        let media = MediaCounts::default();
        let mut counted = Counted::default();
        let client = LegStats { round_trip_ms: Some(40.0), loss_sent: Some(0.01), ..LegStats::default() };
        let video_codec = Some("VP8".to_owned());
        let stats = StreamStats { video_codec, client, key_frame_requests: 3, ..StreamStats::default() };
        media.stats(&mut counted, &stats);
        media.stats(&mut counted, &stats);
        assert_eq!(media.key_frame_requests.get(), 3, "they are summed up by the workers already");
        let streams = |media: &MediaCounts| media.codecs().map(|(_, count)| count).sum::<i64>();
        assert_eq!(streams(&media), 1);
        assert_eq!(
            media.round_trip(Leg::Client).map(prometheus_client::metrics::histogram::Histogram::count),
            Some(2)
        );
        media.over(counted);
        assert_eq!(streams(&media), 0);
    }
}
