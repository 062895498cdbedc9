//! What happens, in numbers: counted where it happens, read by whoever tells of it (`metrics`).
//!
//! Counting costs an atomic addition, or a short lock where it is a distribution; nothing here is reached by a
//! message that is only passed on. Names, addresses and ids have no place here: what tells counters apart is
//! a closed set (`labels.rs`) or a node of the configuration.

mod events;
mod labels;

use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

use crate::session::Outcome;

use super::{gaps::RecentGaps, outages::OutageSummary};

pub(crate) use events::Counted;
pub(crate) use labels::{
    Codec, Direction, HttpFailure, Label, Leg, Level, Limit, Loss, MoveEnd, Refusal, Reload, SessionEnd,
    SessionOutcome, StatusClass, StreamKind, StreamOutcome, TlsOutcome, Verdict,
};

/// Bounds of the buckets, in seconds: how long media stands still: from a few frames to what nobody waits out.
const GAP_SECONDS: [f64; 14] =
    [0.04, 0.08, 0.15, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0];
/// How long sessions and nodes are without each other.
const OUTAGE_SECONDS: [f64; 13] =
    [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];
/// Round trips of media.
const ROUND_TRIP_SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
/// Shares of packets that were lost.
const LOSS_RATIO: [f64; 9] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// A counter for each value of a label.
#[derive(Debug)]
pub(crate) struct By<L> {
    counters: Box<[Counter]>,
    of: std::marker::PhantomData<fn(L)>,
}

impl<L: Label> Default for By<L> {
    fn default() -> Self {
        Self { counters: L::ALL.iter().map(|_| Counter::default()).collect(), of: std::marker::PhantomData }
    }
}

impl<L: Label> By<L> {
    /// One more of these.
    pub(crate) fn inc(&self, label: L) {
        if let Some(counter) = self.counters.get(label.place()) {
            counter.inc();
        }
    }

    /// Each value and its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().copied().zip(self.counters.iter().map(Counter::get))
    }
}

/// What one proxy counts.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) connections: Counter,
    pub(crate) refusals: By<Refusal>,
    pub(crate) tls_handshakes: By<TlsOutcome>,
    /// Requests that were passed on and got no whole answer.
    pub(crate) http_failures: By<HttpFailure>,
    pub(crate) sessions_begun: Counter,
    pub(crate) sessions_ended: By<SessionEnd>,
    pub(crate) passed_through: Counter,
    pub(crate) limits: By<Limit>,
    pub(crate) upstream_lost: By<Loss>,
    pub(crate) attempts_failed: Counter,
    pub(crate) replays_refused: Counter,
    pub(crate) outages_ended: By<Verdict>,
    pub(crate) outage: Histogram,
    /// Sessions that left an outage.
    pub(crate) session_outcomes: By<SessionOutcome>,
    /// Streams that left an outage, those published and those played.
    pub(crate) publish_outcomes: By<StreamOutcome>,
    pub(crate) play_outcomes: By<StreamOutcome>,
    /// From the loss to the proof, of streams that were restored.
    pub(crate) restore: Histogram,
    pub(crate) rooms_lost: Counter,
    /// Requests refused because their stream runs on another node.
    pub(crate) streams_elsewhere: Counter,
    /// Joins of rooms whose other participants are on another node.
    pub(crate) rooms_elsewhere: Counter,
    /// Moves of sessions to another node, and how long those took that came there.
    pub(crate) moves: By<MoveEnd>,
    pub(crate) move_time: Histogram,
    pub(crate) media: MediaCounts,
}

/// What is counted of the media of anchored streams, beside what the workers count.
#[derive(Debug)]
pub(crate) struct MediaCounts {
    gaps: [Histogram; 2],
    /// The same, for whoever watches live.
    pub(crate) recent_gaps: RecentGaps,
    pub(crate) unanchorable: Counter,
    pub(crate) lost: Counter,
    pub(crate) no_video: Counter,
    pub(crate) codec_changes: Counter,
    pub(crate) key_frame_requests: Counter,
    /// Streams now, by the codec that was forwarded last.
    codecs: Box<[Gauge]>,
    round_trip: [Histogram; 2],
    loss: [[Histogram; 2]; 2],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            refusals: By::default(),
            tls_handshakes: By::default(),
            http_failures: By::default(),
            sessions_begun: Counter::default(),
            sessions_ended: By::default(),
            passed_through: Counter::default(),
            limits: By::default(),
            upstream_lost: By::default(),
            attempts_failed: Counter::default(),
            replays_refused: Counter::default(),
            outages_ended: By::default(),
            outage: Histogram::new(OUTAGE_SECONDS),
            session_outcomes: By::default(),
            publish_outcomes: By::default(),
            play_outcomes: By::default(),
            restore: Histogram::new(OUTAGE_SECONDS),
            rooms_lost: Counter::default(),
            streams_elsewhere: Counter::default(),
            rooms_elsewhere: Counter::default(),
            moves: By::default(),
            move_time: Histogram::new(OUTAGE_SECONDS),
            media: MediaCounts::default(),
        }
    }
}

impl Default for MediaCounts {
    fn default() -> Self {
        let round_trip = || Histogram::new(ROUND_TRIP_SECONDS);
        let loss = || [Histogram::new(LOSS_RATIO), Histogram::new(LOSS_RATIO)];
        Self {
            gaps: [Histogram::new(GAP_SECONDS), Histogram::new(GAP_SECONDS)],
            recent_gaps: RecentGaps::default(),
            unanchorable: Counter::default(),
            lost: Counter::default(),
            no_video: Counter::default(),
            codec_changes: Counter::default(),
            key_frame_requests: Counter::default(),
            codecs: Codec::ALL.iter().map(|_| Gauge::default()).collect(),
            round_trip: [round_trip(), round_trip()],
            loss: [loss(), loss()],
        }
    }
}

impl Counts {
    /// An outage of a node is over.
    pub(crate) fn outage_over(&self, sum: &OutageSummary) {
        self.outages_ended.inc(if sum.hurt() { Verdict::Hurt } else { Verdict::Unnoticed });
        self.outage.observe(Duration::from_millis(sum.lasted_ms).as_secs_f64());
    }

    /// A session in an outage ended because its client left.
    pub(crate) fn client_left_in_outage(&self) {
        self.session_outcomes.inc(SessionOutcome::ClientLeft);
    }

    /// How streams of this kind left outages.
    pub(crate) const fn outcomes(&self, kind: StreamKind) -> &By<StreamOutcome> {
        match kind {
            StreamKind::Publish => &self.publish_outcomes,
            StreamKind::Play => &self.play_outcomes,
        }
    }
}

impl MediaCounts {
    /// Media of such a stream stood still for so long at its receiver.
    pub(crate) fn gap_is(&self, kind: StreamKind, gap: Duration) {
        self.recent_gaps.add(gap);
        if let Some(gaps) = self.gaps.get(kind.place()) {
            gaps.observe(gap.as_secs_f64());
        }
    }

    /// How long that was, by whose stream.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (StreamKind, &Histogram)> {
        StreamKind::ALL.iter().copied().zip(&self.gaps)
    }

    /// A stream has this codec from now on instead of that one.
    pub(crate) fn codec(&self, before: Option<Codec>, now: Option<Codec>) {
        if before == now {
            return;
        }
        let gauge = |codec: Option<Codec>| self.codecs.get(codec?.place());
        if let Some(before) = gauge(before) {
            before.dec();
        }
        if let Some(now) = gauge(now) {
            now.inc();
        }
    }

    /// Streams now by codec.
    pub(crate) fn codecs(&self) -> impl Iterator<Item = (Codec, i64)> + '_ {
        Codec::ALL.iter().copied().zip(self.codecs.iter().map(Gauge::get))
    }

    /// Round trips of streams, as one distribution per leg: each stream counts once per interval of its
    /// numbers.
    pub(crate) fn round_trip(&self, leg: Leg) -> Option<&Histogram> {
        self.round_trip.get(leg.place())
    }

    /// Shares of packets lost, in the same way.
    pub(crate) fn loss(&self, leg: Leg, direction: Direction) -> Option<&Histogram> {
        self.loss.get(leg.place())?.get(direction.place())
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

impl From<Outcome> for StreamOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Restored => Self::Restored,
            Outcome::Reported => Self::Reported,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_codec_at_a_time() {
        let media = MediaCounts::default();
        let now = |codec| media.codecs().find(|(one, _)| *one == codec).map(|(_, count)| count);
        media.codec(None, Some(Codec::H264));
        media.codec(Some(Codec::H264), Some(Codec::Vp8));
        media.codec(Some(Codec::Vp8), Some(Codec::Vp8));
        assert_eq!((now(Codec::H264), now(Codec::Vp8)), (Some(0), Some(1)));
        media.codec(Some(Codec::Vp8), None);
        assert_eq!(now(Codec::Vp8), Some(0));
    }
}
