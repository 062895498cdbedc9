//! `holdfast replay`: shows a recording, and whether its sessions decide the same when they are told the same again.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::{Failure, args::ReplayArgs, told};
use crate::{
    recording::{self, Difference, LINE_BYTES_MAX, Line, Replay, Report, SessionReport},
    session::{SessionId, Timestamp},
    telemetry::events::clean,
};

/// Largest file that is read: no recording is larger.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

pub(super) fn run(args: &ReplayArgs, out: &mut impl Write) -> Result<(), Failure> {
    let report = read(&args.file, |line, times| {
        if !args.json {
            show(line, times, out);
        }
    })?;
    if args.json {
        told(writeln!(out, "{}", as_json(&report)));
    } else {
        told(write!(out, "{}", verdict(&report)));
    }
    let path = args.file.display();
    match report.is_same() {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::Differs(format!("{path}: it does not replay to the same decisions"))),
        None => Err(Failure::NotReplayable(format!(
            "{path}: no session is recorded from its beginning, so that nothing can be replayed. Record a stream or an \
             address, and let the client connect anew."
        ))),
    }
}

/// Where the clock of each line stands: only some lines have a time of their own.
#[derive(Debug, Default)]
struct Times {
    began: Option<Timestamp>,
    now: Timestamp,
}

impl Times {
    fn of(&mut self, line: &Line) -> Option<SessionId> {
        let (session, at) = match line {
            Line::Recording(_) | Line::End { .. } => return None,
            Line::Session(start) => (start.s, Some(start.t)),
            Line::In { s, t, .. } | Line::Passed { s, t, .. } | Line::SessionEnd { s, t } => (*s, Some(*t)),
            Line::Asked { s, .. } | Line::Out { s, .. } => (*s, None),
        };
        self.now = at.unwrap_or(self.now);
        self.began.get_or_insert(self.now);
        Some(session)
    }

    fn passed_ms(&self) -> u64 {
        self.now.as_ms().saturating_sub(self.began.unwrap_or_default().as_ms())
    }
}

fn read(path: &Path, mut see: impl FnMut(&Line, &mut Times)) -> Result<Report, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::Unreadable(format!("{} is no recording that can be read: {why}", path.display()))
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut file = BufReader::new(file.take(FILE_BYTES_MAX));
    let (mut replay, mut times, mut line) = (Replay::default(), Times::default(), String::new());
    loop {
        line.clear();
        let line_bytes_max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX) + 2;
        let read =
            (&mut file).take(line_bytes_max).read_line(&mut line).map_err(|error| unreadable(&error))?;
        if read == 0 {
            break;
        }
        let said = replay.line(line.trim_end_matches(['\n', '\r'])).map_err(|error| unreadable(&error))?;
        see(&said, &mut times);
    }
    replay.finish().map_err(|error| unreadable(&error))
}

fn show(line: &Line, times: &mut Times, out: &mut impl Write) {
    let Some(session) = times.of(line) else { return };
    if let Some((who, what)) = recording::told(line) {
        let ms = times.passed_ms();
        told(writeln!(out, "{:>6}.{:03} {session:<5} {who:<16} {}", ms / 1_000, ms % 1_000, clean(&what)));
    }
}

fn verdict(report: &Report) -> String {
    let heading = &report.heading;
    let mut text = format!("\nRecorded by Holdfast {}", clean(&heading.version));
    match &report.reason {
        Some(reason) => text.push_str(&format!("; it ends because {}.\n", clean(reason))),
        None => text.push_str("; its end is missing: it was cut off.\n"),
    }
    if heading.version != env!("CARGO_PKG_VERSION") {
        text.push_str(&format!("This is {}: what differs may be meant to.\n", env!("CARGO_PKG_VERSION")));
    }
    for session in &report.sessions {
        text.push_str(&of_session(session));
    }
    text
}

fn of_session(session: &SessionReport) -> String {
    let SessionReport { session: id, inputs, decisions, .. } = session;
    let mut text = format!("{id}: told {inputs} times, {decisions} decisions; ");
    match (&session.difference, session.from_start) {
        (_, false) => text.push_str("not recorded from its beginning, so not replayed"),
        (None, true) => text.push_str("replays to the same decisions"),
        (Some(difference), true) => text.push_str(&of_difference(difference)),
    }
    if session.unreadable > 0 {
        let count = session.unreadable;
        text.push_str(&format!(
            "; {count} messages could not be read, and what was decided of them may differ"
        ));
    }
    text.push('\n');
    text
}

fn of_difference(difference: &Difference) -> String {
    let shown = |what: &Option<String>| what.as_deref().map_or("nothing".to_owned(), clean);
    let line = difference.line.map(|line| format!(" at line {line}")).unwrap_or_default();
    format!(
        "differs after what it was told at line {}:\n  recorded{line}: {}\n  replayed: {}",
        difference.told_at,
        shown(&difference.recorded),
        shown(&difference.replayed)
    )
}

fn as_json(report: &Report) -> Value {
    let sessions: Vec<Value> = report
        .sessions
        .iter()
        .map(|session| {
            let difference = session.difference.as_ref().map(|difference| {
                json!({
                    "told_at_line": difference.told_at,
                    "line": difference.line,
                    "recorded": difference.recorded,
                    "replayed": difference.replayed,
                })
            });
            json!({
                "id": session.session.to_string(),
                "from_start": session.from_start,
                "inputs": session.inputs,
                "decisions": session.decisions,
                "unreadable": session.unreadable,
                "difference": difference,
            })
        })
        .collect();
    json!({
        "schema": report.heading.schema,
        "version": report.heading.version,
        "anonymous": report.heading.anonymous,
        "began_unix_ms": report.heading.began_unix_ms,
        "ended": report.reason,
        "same": report.is_same(),
        "sessions": sessions,
    })
}
