//! `holdfast probe`: asks a server what it does and says what that means. What is asked, and how, is decided in the
//! lab; here it is started, asked for leave to publish, and told.

mod advice;

use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::SystemTime,
};

use serde_json::Value;
use tokio::sync::watch;

use super::{Failure, args::ProbeArgs, signals::Signals, told};
use crate::{
    config::{LogLevel, LogSettings},
    probe::{self, NAME_BYTES_MAX, Outcome, ProbeSettings, Report},
    telemetry,
};
use advice::Advice;

pub(super) fn run(args: &ProbeArgs, out: &mut impl Write) -> Result<(), Failure> {
    let settings = settings(args)?;
    if let Some(path) = [&args.save, &args.toml].into_iter().flatten().find(|path| path.exists()) {
        // Before anything is asked: a run that cannot be kept is a run for nothing.
        return Err(Failure::Unwritable(format!("{}: the file is there already", path.display())));
    }
    if let Some(name) = &settings.publish
        && !args.yes
    {
        ask(name, io::stdin().is_terminal(), &mut io::stdin().lock(), out)?;
    }
    telemetry::init(&LogSettings { level: LogLevel::Warn, ..LogSettings::default() })?;
    super::install_crypto_provider();
    super::on_runtime(probe(settings, args, out))
}

fn settings(args: &ProbeArgs) -> Result<ProbeSettings, Failure> {
    if args.publish.as_ref().is_some_and(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        return Err(Failure::Usage(format!("--publish: expected a name of 1 to {NAME_BYTES_MAX} bytes")));
    }
    let custom = args.custom.as_ref().map(|path| {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Unreadable(format!("cannot read {}: {error}", path.display())))?;
        // Without the text of the error: it may quote a secret.
        match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
            _ => Err(Failure::Usage(format!("{}: expected a JSON object, as for `custom`", path.display()))),
        }
    });
    Ok(ProbeSettings {
        ca: args.ca.clone(),
        publish: args.publish.clone(),
        patient: args.patient,
        app_key: args.app_key.clone(),
        custom: custom.transpose()?,
        origin: args.origin.clone(),
        stat: args.stat.clone(),
        agent: args.agent.clone(),
        dials_max: args.dials_max,
        anonymise: args.anonymise,
        ..ProbeSettings::new(args.upstream.clone())
    })
}

/// Asks for leave to publish; without a terminal there is nobody to ask.
fn ask(
    name: &str,
    is_terminal: bool,
    answers: &mut impl io::BufRead,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if !is_terminal {
        return Err(Failure::Usage(format!(
            "--publish {name} publishes on that server, and there is no terminal to ask on: add --yes if it may"
        )));
    }
    told(write!(
        out,
        "This publishes a few seconds of a made-up picture on that server as {name} and plays it. Type yes to go on: "
    ));
    told(out.flush());
    let mut answer = String::new();
    // An error is no yes.
    let _ = answers.read_line(&mut answer);
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::Usage("nothing was asked and nothing published; without --publish nothing is".to_owned()))
}

async fn probe(settings: ProbeSettings, args: &ProbeArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (stop, stopped) = watch::channel(false);
    let work = probe::run(settings, stopped);
    tokio::pin!(work);
    // The first signal ends the questions in good order; the second ends everything.
    let mut asked_to_stop = false;
    let probed = loop {
        tokio::select! {
            probed = &mut work => break probed,
            signal = signals.next() => {
                if asked_to_stop {
                    return Err(Failure::Interrupted(signal));
                }
                asked_to_stop = true;
                stop.send_replace(true);
            }
        }
    };
    let report = &probed.report;
    if let Some(path) = &args.save {
        let text = probed.transcript.text(&report.head());
        let text = text.map_err(|error| Failure::Internal(format!("the transcript is no JSON: {error}")))?;
        write_new(path, &text)?;
    }
    let advice = Advice::of(report, SystemTime::now());
    let is_wcs = matches!(report.outcome, Outcome::AsAssumed | Outcome::Differs);
    if let Some(path) = args.toml.as_ref().filter(|_| is_wcs) {
        write_new(path, &advice.toml())?;
    }
    if args.json {
        let line = serde_json::to_string(report)
            .map_err(|error| Failure::Internal(format!("the report is no JSON: {error}")))?;
        told(writeln!(out, "{line}"));
    } else {
        told(write!(out, "{report}"));
        if is_wcs {
            explain(&advice, out);
        }
    }
    outcome(report)
}

/// What follows from the table, for people.
fn explain(advice: &Advice, out: &mut impl Write) {
    for sentence in advice.consequences() {
        told(writeln!(out, "weaker: {sentence}"));
    }
    let settings = advice.settings_text();
    if settings.is_empty() {
        told(writeln!(out, "settings: the defaults fit what was seen"));
    } else {
        told(write!(out, "settings that fit better than the defaults:\n{settings}"));
    }
}

/// Writes a file. Whoever finds one there keeps it: it may be the proof of an earlier run.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let unwritable = |error| Failure::Unwritable(format!("cannot write {}: {error}", path.display()));
    let mut file = fs::File::create_new(path).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)
}

fn outcome(report: &Report) -> Result<(), Failure> {
    let reason = report.reason.clone().unwrap_or_default();
    match report.outcome {
        Outcome::AsAssumed => Ok(()),
        Outcome::Differs if reason.is_empty() => {
            let differing = report.differing();
            let answers =
                if differing == 1 { "1 answer differs" } else { &format!("{differing} answers differ") };
            Err(Failure::Differs(format!("{answers} from what Holdfast assumes")))
        }
        Outcome::Differs => Err(Failure::Differs(format!("{}: {reason}", report.target))),
        Outcome::NoWcs => Err(Failure::NoWcs(format!("{} is no WCS: {reason}", report.target))),
        Outcome::Unreachable => Err(Failure::NoWcs(format!("{} is not reached: {reason}", report.target))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_published_without_a_yes() {
        let asked = |terminal, answer: &str| {
            let mut out = Vec::new();
            let result = ask("trial", terminal, &mut answer.as_bytes(), &mut out);
            (result.map_err(|failure| failure.to_string()), String::from_utf8(out).unwrap())
        };
        let (result, question) = asked(true, "yes\n");
        assert!(result.is_ok() && question.contains("trial"), "{question}");
        for no in ["", "y\n", "no\n", "YES\n"] {
            assert!(asked(true, no).0.unwrap_err().contains("nothing published"), "{no}");
        }
        assert!(asked(false, "yes\n").0.unwrap_err().contains("--yes"));
    }
}
