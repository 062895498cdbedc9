//! The result of a run, for people and for machines.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    Media,
    client::Run,
    counters::read,
    media::{MediaSummary, RunMedia},
};

/// Percentiles of a kind of time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Number of measurements.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// 90 % were faster.
    pub p90_ms: f64,
    /// 99 % were faster.
    pub p99_ms: f64,
    /// 99.9 % were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Percentiles {
    pub(super) fn of(times: &Histogram<u64>) -> Self {
        let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
        if times.is_empty() {
            return Self::default();
        }
        Self {
            count: times.len(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: times.max() as f64 / 1_000.0,
        }
    }
}

/// What came of outages that the run made itself.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamSummary {
    /// How long the server was away each time, from the kill until it listened, in milliseconds.
    pub outages_ms: Vec<u64>,
    /// From the server listening to an answer to a request: per session and outage. Each session
    /// asks again 100 ms after an answer that said no.
    pub session_restored: Percentiles,
    /// From the server listening to a reported stream running again.
    pub stream_restored: Percentiles,
    /// From the server listening to a picture moving again (real media).
    pub picture_restored: Percentiles,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Clients that were told to come.
    pub started: u64,
    /// Clients that were established.
    pub established: u64,
    /// Sockets open at the end, before we closed them.
    pub survived: u64,
    /// Sockets that ended before we ended them.
    pub lost: u64,
    /// Sockets on which ESTABLISHED came again.
    pub established_again: u64,
    /// Publishes that started.
    pub publishing: u64,
    /// Plays that started.
    pub playing: u64,
    /// Streams reported FAILED after they ran.
    pub reported: u64,
    /// Streams running again after that.
    pub back: u64,
    /// Streams that never ran: refused.
    pub refused: u64,
    /// Streams running at the end.
    pub running: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Answers to `sendData`, and how many of them said FAILED.
    pub answered: u64,
    /// `sendData` that was answered FAILED.
    pub answered_failed: u64,
    /// Messages per second over the measured time, both directions.
    pub messages_per_s: f64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Dial to `getUserData`.
    pub connect: Percentiles,
    /// `sendData` to its answer, from the moment it was due.
    pub answer: Percentiles,
    /// `publishStream` to PUBLISHING.
    pub publish: Percentiles,
    /// `playStream` to PLAYING.
    pub play: Percentiles,
    /// A client's FAILED to its stream running again.
    pub restore: Percentiles,
    /// With real media.
    pub media: Option<MediaSummary>,
    /// With an upstream that the run killed and started.
    pub upstream: Option<UpstreamSummary>,
    /// Measured time, in seconds.
    pub seconds: f64,
    /// What explains the numbers, for people.
    pub notes: Vec<String>,
}

/// What a load without media looks like to a proxy that carries media.
pub(super) const ANCHORED_WITHOUT_MEDIA: &str = "these streams are anchored by Holdfast, which waits for the \
    media of their clients; this load sends none (--media signaling), so they are reported FAILED after a while. \
    Load it with --media real, or run the proxy with --media direct to measure signaling alone";

impl Summary {
    pub(super) fn of(run: &Run, measured: Duration) -> Self {
        let counters = &run.counters;
        let seconds = measured.as_secs_f64();
        let (sent, received) = (read(&counters.sent), read(&counters.received));
        let media = run.media.as_deref();
        Self {
            started: read(&counters.started),
            established: read(&counters.established),
            survived: read(&counters.open),
            lost: read(&counters.lost),
            established_again: read(&counters.established_again),
            publishing: read(&counters.publishing),
            playing: read(&counters.playing),
            reported: read(&counters.reported),
            back: read(&counters.back),
            refused: read(&counters.refused),
            running: read(&counters.running),
            sent,
            received,
            answered: read(&counters.answered),
            answered_failed: read(&counters.answered_failed),
            messages_per_s: if seconds > 0.0 { (sent + received) as f64 / seconds } else { 0.0 },
            errors: counters.errors(),
            connect: counters.connect.percentiles(),
            answer: counters.answer.percentiles(),
            publish: counters.publish.percentiles(),
            play: counters.play.percentiles(),
            restore: counters.restore.percentiles(),
            media: media.map(RunMedia::summary),
            upstream: run.settings.upstream.as_ref().map(|_| UpstreamSummary {
                outages_ms: counters.outages_ms.lock().clone(),
                session_restored: counters.session_restored.percentiles(),
                stream_restored: counters.stream_restored.percentiles(),
                picture_restored: media.map(|media| media.restored.percentiles()).unwrap_or_default(),
            }),
            seconds,
            notes: notes(run),
        }
    }

    /// Why less than `min_percent` of what was started was there at the end, if so.
    #[must_use]
    pub fn shortfall(&self, min_percent: u8, keeps_streams: bool) -> Option<String> {
        let is_enough =
            |left: u64, of: u64| left.saturating_mul(100) >= of.saturating_mul(u64::from(min_percent));
        if self.established == 0 {
            let why =
                self.errors.iter().max_by_key(|(_, count)| **count).map_or("no answer", |(kind, _)| kind);
            return Some(format!("no session was established: {why}"));
        }
        if !is_enough(self.survived, self.started) {
            return Some(format!(
                "{} of {} sessions survived, fewer than {min_percent} %",
                self.survived, self.started
            ));
        }
        // Streams that are known to have no media say nothing.
        if keeps_streams && self.notes.is_empty() && !is_enough(self.running, self.established) {
            return Some(format!(
                "{} streams of {} sessions run at the end, fewer than {min_percent} %",
                self.running, self.established
            ));
        }
        None
    }
}

fn notes(run: &Run) -> Vec<String> {
    let without_media = run.settings.media == Media::Signaling && read(&run.counters.anchored) > 0;
    if without_media { vec![ANCHORED_WITHOUT_MEDIA.to_owned()] } else { Vec::new() }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "sessions   {} started, {} established, {} survived, {} lost",
            self.started, self.established, self.survived, self.lost
        )?;
        writeln!(
            f,
            "streams    {} started, {} refused, {} reported, {} of them back, {} running",
            self.publishing + self.playing,
            self.refused,
            self.reported,
            self.back,
            self.running
        )?;
        writeln!(
            f,
            "messages   {} sent, {} received in {:.1} s ({:.0}/s)",
            self.sent, self.received, self.seconds, self.messages_per_s
        )?;
        let times = [
            ("connect", self.connect),
            ("answer", self.answer),
            ("publish", self.publish),
            ("play", self.play),
            ("restore", self.restore),
        ];
        times.into_iter().try_for_each(|(name, times)| line(f, name, times))?;
        if let Some(media) = &self.media {
            media.fmt(f)?;
        }
        if let Some(upstream) = &self.upstream {
            upstream.fmt(f)?;
        }
        for (kind, count) in &self.errors {
            writeln!(f, "error      {count} × {kind}")?;
        }
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        Ok(())
    }
}

/// A line of percentiles, if there are any.
fn line(f: &mut fmt::Formatter<'_>, name: &str, times: Percentiles) -> fmt::Result {
    if times.count == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "{name:<10} p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ({})",
        times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms, times.count
    )
}

impl fmt::Display for MediaSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pictures   {} players: {} move, {} stand still, {} never came; {} publishers",
            self.players,
            self.players_moving,
            self.players_still,
            self.players_without_picture,
            self.publishers
        )?;
        writeln!(
            f,
            "frames     {} received, {} missing, {} key frames; {} gaps of half a second or more",
            self.frames_received, self.frames_missing, self.key_frames_received, self.gaps
        )?;
        writeln!(
            f,
            "packets    {} sent, {} received, {} missing; delay p50 below {:.1} ms, p99 below {:.1}",
            self.packets_sent,
            self.packets_received,
            self.packets_missing,
            self.delay_p50_ms,
            self.delay_p99_ms
        )?;
        line(f, "first", self.first_picture)?;
        line(f, "gap", self.gap)
    }
}

impl fmt::Display for UpstreamSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let away: Vec<String> =
            self.outages_ms.iter().map(|ms| format!("{:.1} s", *ms as f64 / 1_000.0)).collect();
        writeln!(f, "upstream   killed {} times, away {}", away.len(), away.join(", "))?;
        writeln!(f, "restored after the server listens:")?;
        line(f, "  sessions", self.session_restored)?;
        line(f, "  streams", self.stream_restored)?;
        line(f, "  pictures", self.picture_restored)
    }
}
