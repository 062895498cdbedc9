//! `holdfast load`: protocol-true clients against any URL, with progress and a summary.

use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::{Failure, args::LoadArgs, signals::Signals, told};
use crate::{
    config::{LogLevel, LogSettings},
    limits,
    load::{self, LoadSettings, Media, Outages, Progress, Scenario, Upstream},
    telemetry,
};

pub(super) fn run(args: &LoadArgs, out: &mut impl Write) -> Result<(), Failure> {
    let settings = settings(args)?;
    settings.check(args.no_limit).map_err(|error| Failure::Usage(error.to_string()))?;
    telemetry::init(&LogSettings { level: LogLevel::Warn, ..LogSettings::default() })?;
    super::install_crypto_provider();
    let open_files = limits::raise_open_files();
    let each = if settings.media == Media::Real { 2 } else { 1 };
    if u64::try_from(settings.sessions).is_ok_and(|sessions| sessions.saturating_mul(each) >= open_files) {
        return Err(Failure::Usage(format!(
            "--sessions {}: only {open_files} files may be open (ulimit -n), and each session needs {each}",
            settings.sessions
        )));
    }
    super::on_runtime(load(settings, args, out))
}

fn settings(args: &LoadArgs) -> Result<LoadSettings, Failure> {
    let seconds = Duration::from_secs_f64;
    let upstream = match (&args.upstream_command, &args.upstream_listens, &args.upstream_control) {
        (Some(command), Some(listens), _) => {
            Some(Upstream::Command { command: command.clone(), listens: listens.clone() })
        }
        (Some(_), None, _) => {
            return Err(Failure::Usage(
                "--upstream-command needs --upstream-listens HOST:PORT, to know when it is ready".to_owned(),
            ));
        }
        (None, _, Some(control)) => Some(Upstream::Control(control.clone())),
        (None, _, None) => None,
    };
    let players = args.players.unwrap_or(usize::from(args.scenario == Scenario::PublishPlay));
    Ok(LoadSettings {
        ca: args.ca.clone(),
        scenario: args.scenario,
        sessions: args.sessions,
        ramp_per_s: args.ramp,
        hold: Duration::from_secs(args.hold),
        rate_per_s: args.rate,
        message_bytes: args.message_bytes,
        in_flight: args.in_flight,
        local_addresses: args.from.clone(),
        connect_timeout: Duration::from_millis(args.connect_timeout_ms),
        players_per_stream: players,
        media: args.media,
        video_kbps: args.video_kbps,
        media_threads: args.media_threads,
        upstream,
        outages: Outages {
            after: seconds(args.kill_after),
            down: seconds(args.down),
            count: args.kills,
            every: seconds(args.kill_every),
        },
        ..LoadSettings::new(args.url.clone())
    })
}

async fn load(settings: LoadSettings, args: &LoadArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (stop, stopped) = watch::channel(false);
    let url = settings.url.to_string();
    let keeps_streams = settings.keeps_streams();
    let hinted = AtomicBool::new(false);
    let work = load::run(settings, stopped, move |progress| show(&progress, &hinted));
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
    if args.json {
        let line = serde_json::to_string(&summary)
            .map_err(|error| Failure::Internal(format!("the summary is no JSON: {error}")))?;
        told(writeln!(out, "{line}"));
    } else {
        told(writeln!(out, "{summary}"));
    }
    match summary.shortfall(args.min_survived, keeps_streams) {
        Some(why) => Err(Failure::NotSurvived(format!("{url}: {why}"))),
        None => Ok(()),
    }
}

/// One line per second for people; stderr, so that the summary can be piped on.
fn show(progress: &Progress, hinted: &AtomicBool) {
    if let Some(hint) = &progress.hint
        && !hinted.swap(true, Ordering::Relaxed)
    {
        telemetry::write(&format!("holdfast: {hint}\n"));
    }
    let pictures = progress
        .pictures
        .map(|(moving, all)| format!(", {moving} of {all} pictures move"))
        .unwrap_or_default();
    let upstream = if progress.upstream_is_down { ", server down" } else { "" };
    let line = format!(
        "{:>5} s  {} started, {} open, {} streams, {} messages received, {} errors{pictures}{upstream}",
        progress.elapsed.as_secs(),
        progress.started,
        progress.open,
        progress.running,
        progress.received,
        progress.errors
    );
    // By the log's thread: clients are not to wait for whoever reads this.
    if io::stderr().is_terminal() {
        telemetry::write(&format!("\r\u{1b}[K{line}"));
    } else {
        telemetry::write(&format!("{line}\n"));
    }
}
