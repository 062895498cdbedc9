//! `holdfast load`: protocol-true clients against any URL, with progress and a summary.

use std::io::{self, IsTerminal, Write};

use tokio::sync::watch;

use super::{Failure, args::LoadArgs, signals::Signals, told};
use crate::{
    config::{LogFormat, LogLevel, LogSettings},
    limits,
    load::{self, LoadSettings, Progress},
    telemetry,
};

pub(super) fn run(args: &LoadArgs, out: &mut impl Write) -> Result<(), Failure> {
    let settings = LoadSettings {
        url: args.url.clone(),
        ca: args.ca.clone(),
        scenario: args.scenario,
        sessions: args.sessions,
        ramp_per_s: args.ramp,
        hold: std::time::Duration::from_secs(args.hold),
        rate_per_s: args.rate,
        message_bytes: args.message_bytes,
        in_flight: args.in_flight,
        local_addresses: args.from.clone(),
        connect_timeout: std::time::Duration::from_millis(args.connect_timeout_ms),
    };
    settings.check(args.no_limit).map_err(Failure::Usage)?;
    telemetry::init(&LogSettings { format: LogFormat::Text, level: LogLevel::Warn })?;
    super::install_crypto_provider();
    let open_files = limits::raise_open_files();
    if u64::try_from(settings.sessions).is_ok_and(|sessions| sessions >= open_files) {
        return Err(Failure::Usage(format!(
            "--sessions {}: only {open_files} files may be open (ulimit -n), and each session is one",
            settings.sessions
        )));
    }
    super::on_runtime(load(settings, args.json, out))
}

async fn load(settings: LoadSettings, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (stop, stopped) = watch::channel(false);
    let url = settings.url.to_string();
    let work = load::run(settings, stopped, show);
    tokio::pin!(work);
    // The first signal ends the run early, with its summary; the second ends everything.
    let mut asked_to_stop = false;
    let summary = loop {
        tokio::select! {
            summary = &mut work => break summary,
            signal = signals.next() => {
                if asked_to_stop {
                    return Err(Failure::Interrupted(signal));
                }
                asked_to_stop = true;
                stop.send_replace(true);
            }
        }
    };
    let summary =
        summary.map_err(|error| Failure::Unavailable(format!("{url} cannot be loaded: {error}")))?;
    if json {
        let line = serde_json::to_string(&summary)
            .map_err(|error| Failure::Internal(format!("the summary is no JSON: {error}")))?;
        told(writeln!(out, "{line}"));
    } else {
        told(writeln!(out, "{summary}"));
    }
    if summary.established == 0 {
        return Err(Failure::Unavailable(format!("no session was established at {url}")));
    }
    Ok(())
}

/// One line per second for people; stderr, so that the summary can be piped on.
fn show(progress: Progress) {
    let line = format!(
        "{:>5} s  {} started, {} open, {} streams, {} messages received, {} errors",
        progress.elapsed.as_secs(),
        progress.started,
        progress.open,
        progress.running,
        progress.received,
        progress.errors
    );
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        told(write!(stderr, "\r\u{1b}[K{line}"));
    } else {
        told(writeln!(stderr, "{line}"));
    }
    told(stderr.flush());
}
