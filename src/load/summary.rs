//! The result of a run, for people and for machines.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::{Tally, read};

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
    fn of(times: &Histogram<u64>) -> Self {
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
    /// Streams that started.
    pub publishing: u64,
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
    /// A client's FAILED to its stream running again.
    pub restore: Percentiles,
    /// Measured time, in seconds.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn of(tally: &Tally, measured: Duration) -> Self {
        let seconds = measured.as_secs_f64();
        let (sent, received) = (read(&tally.sent), read(&tally.received));
        Self {
            started: read(&tally.started),
            established: read(&tally.established),
            survived: read(&tally.open),
            lost: read(&tally.lost),
            established_again: read(&tally.established_again),
            publishing: read(&tally.publishing),
            reported: read(&tally.reported),
            back: read(&tally.back),
            refused: read(&tally.refused),
            running: read(&tally.running),
            sent,
            received,
            answered: read(&tally.answered),
            answered_failed: read(&tally.answered_failed),
            messages_per_s: if seconds > 0.0 { (sent + received) as f64 / seconds } else { 0.0 },
            errors: tally.errors(),
            connect: Percentiles::of(&tally.connect.read()),
            answer: Percentiles::of(&tally.answer.read()),
            publish: Percentiles::of(&tally.publish.read()),
            restore: Percentiles::of(&tally.restore.read()),
            seconds,
        }
    }
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
            self.publishing, self.refused, self.reported, self.back, self.running
        )?;
        writeln!(
            f,
            "messages   {} sent, {} received in {:.1} s ({:.0}/s)",
            self.sent, self.received, self.seconds, self.messages_per_s
        )?;
        for (name, times) in [
            ("connect", self.connect),
            ("answer", self.answer),
            ("publish", self.publish),
            ("restore", self.restore),
        ] {
            if times.count > 0 {
                writeln!(
                    f,
                    "{name:<10} p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ({})",
                    times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms, times.count
                )?;
            }
        }
        for (kind, count) in &self.errors {
            writeln!(f, "error      {count} × {kind}")?;
        }
        Ok(())
    }
}
