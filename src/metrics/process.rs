//! The process and its log: what it is, what it takes of the machine. Linux tells it in `/proc`; elsewhere
//! those families are not there.

use std::{fmt, fs};

use crate::{memory, telemetry};

use super::page::{Page, of};

pub(super) fn write(page: &mut Page<'_>, tasks: usize) -> fmt::Result {
    let build = vec![
        ("version", env!("CARGO_PKG_VERSION")),
        ("commit", env!("HOLDFAST_COMMIT")),
        ("rustc", env!("HOLDFAST_RUSTC")),
    ];
    page.gauges("build_info", "How the running binary was built; always 1.", [(build, 1_u64)])?;
    let stat = Stat::read();
    if let Some(seconds) = stat.as_ref().and_then(Stat::started) {
        page.gauge("process_start_time_seconds", "When the process began, in Unix time.", seconds)?;
    }
    if let Some(stat) = &stat {
        page.counter("process_cpu_seconds", "Processor time taken, of all threads.", stat.cpu_seconds())?;
    }
    if let Some(bytes) = memory::resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory that the process has of the machine.", bytes)?;
    }
    page.gauge("runtime_tasks", "Tasks of the runtime that are alive.", tasks)?;
    let lines = telemetry::lines_logged();
    let lines = lines.into_iter().map(|(level, count)| (vec![of(level)], count));
    page.counters("log_lines", "Log lines of each level, the dropped ones among them.", lines)?;
    let dropped = telemetry::lines_dropped();
    page.counter(
        "log_lines_dropped",
        "Log lines lost because they were not taken fast enough or could not be written.",
        dropped,
    )
}

/// What `/proc/self/stat` says, in ticks of the clock.
struct Stat {
    cpu_ticks: u64,
    /// After the machine was started.
    start_ticks: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The name of the program, in brackets, may have brackets and blanks in it.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)?.checked_add(field(15)?)?, start_ticks: field(22)? })
    }

    #[allow(clippy::cast_precision_loss)] // After 100 million years.
    fn cpu_seconds(&self) -> f64 {
        self.cpu_ticks as f64 / ticks_per_second()
    }

    #[allow(clippy::cast_precision_loss)] // As above.
    fn started(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let booted = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(booted.trim().parse::<f64>().ok()? + self.start_ticks as f64 / ticks_per_second())
    }
}

#[allow(clippy::cast_precision_loss)] // It is 100.
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_name_with_brackets_is_read_over() {
        let text = "7 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 777 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (300, 777));
        assert!(Stat::parse("7 (a").is_none() && Stat::parse("").is_none());
    }

    #[test]
    fn this_process_began_lately() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = Stat::read().unwrap().started().unwrap();
        assert!((0.0..3_600.0).contains(&(now - started + 2.0)), "{started} is not just before {now}");
    }
}
