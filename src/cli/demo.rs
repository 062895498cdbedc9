//! `holdfast demo`: see a stream survive the death of its server.

use std::{fs, io::Write};

use tokio::sync::watch;

use super::{Failure, args::DemoArgs, signals::Signals, told};
use crate::demo::{self, DemoError, DemoSettings, Report};

pub(super) fn run(args: &DemoArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::install_crypto_provider();
    super::on_runtime(async { if args.headless { headless(args, out).await } else { page(args, out).await } })
}

async fn page(args: &DemoArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (stop, stopped) = watch::channel(false);
    let settings = DemoSettings { listen: args.listen, media: args.media, sdk: args.sdk.clone() };
    let show = demo::run(&settings, stopped, |address| {
        told(writeln!(out, "Open http://{address}/ in a browser; Ctrl-C ends the demo."));
        told(out.flush());
    });
    tokio::pin!(show);
    let result = tokio::select! {
        result = &mut show => result,
        _ = signals.next() => {
            stop.send_replace(true);
            show.await
        }
    };
    result.map_err(failed)
}

async fn headless(args: &DemoArgs, out: &mut impl Write) -> Result<(), Failure> {
    let tell = |line: &str| told(writeln!(out, "{line}"));
    let (report, recorded) = demo::headless(args.media, args.record.is_some(), tell).await.map_err(failed)?;
    if let Some(path) = &args.record {
        let text: String = recorded.iter().flat_map(|line| [line, "\n"]).collect();
        fs::write(path, text)
            .map_err(|error| Failure::Unwritable(format!("cannot write {}: {error}", path.display())))?;
    }
    told(writeln!(out, "{}", sentence(&report)));
    if report.bare_lives {
        return Err(Failure::Internal(
            "the viewer without Holdfast survived: the demo shows nothing".to_owned(),
        ));
    }
    if report.held_lives {
        return Ok(());
    }
    Err(Failure::Unavailable("the picture behind Holdfast did not come back".to_owned()))
}

fn sentence(report: &Report) -> String {
    let Report { killed_gap_ms, drained_gap_ms, restored_after_ms, events_seen, .. } = report;
    let back = restored_after_ms.map_or_else(
        || "did not come back when both servers were".to_owned(),
        |ms| format!("was back {ms} ms after both servers"),
    );
    format!(
        "Behind Holdfast the picture stood still for {killed_gap_ms} ms when its server was killed and for \
         {drained_gap_ms} ms when it was drained, and {back}, with {events_seen} events seen by the clients."
    )
}

fn failed(error: DemoError) -> Failure {
    Failure::Unavailable(format!("the demo does not run: {error}"))
}
