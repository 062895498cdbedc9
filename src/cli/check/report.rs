//! What `holdfast check` has found: told line by line, or as one JSON object at the end, with the exit code of the
//! worst of it.

use std::{fmt::Display, io::Write};

use serde::Serialize;
use serde_json::json;

use crate::cli::{
    Failure,
    failure::{UNAVAILABLE, UNREADABLE, UNWRITABLE, USAGE},
    told,
};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Ok,
    Note,
    Warning,
    Error,
}

/// One thing that was found.
#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    /// What it is about: the word at the beginning of its line.
    about: String,
    text: String,
    /// What mends it, such as a `sysctl` line.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
}

/// All that was found.
pub(super) struct Report<'a, W> {
    out: &'a mut W,
    is_json: bool,
    findings: Vec<Finding>,
    failures: Vec<Failure>,
    /// What clients or servers would refuse, one sentence each.
    pub(super) wrong: Vec<String>,
    /// What does not answer or is taken, one sentence each.
    pub(super) unavailable: Vec<String>,
}

impl<'a, W: Write> Report<'a, W> {
    pub(super) const fn new(out: &'a mut W, is_json: bool) -> Self {
        Self {
            out,
            is_json,
            findings: Vec::new(),
            failures: Vec::new(),
            wrong: Vec::new(),
            unavailable: Vec::new(),
        }
    }

    /// Something is so; with `warning` or `note` for `what`, it may not be meant to be.
    pub(super) fn say(&mut self, what: &str, text: impl Display) {
        self.tell(what, text, None);
    }

    /// Something could be better, and how.
    pub(super) fn advise(&mut self, what: &str, text: impl Display, set: String) {
        self.tell(what, text, Some(set));
    }

    fn tell(&mut self, what: &str, text: impl Display, set: Option<String>) {
        let severity = match (what, &set) {
            ("wrong" | "taken", _) => Severity::Error,
            ("warning", _) => Severity::Warning,
            ("note", _) | (_, Some(_)) => Severity::Note,
            _ => Severity::Ok,
        };
        if !self.is_json {
            told(writeln!(self.out, "{what:<9} {text}"));
            if let Some(set) = &set {
                told(writeln!(self.out, "{:<9} {set}", "  set"));
            }
        }
        self.findings.push(Finding { severity, about: what.to_owned(), text: text.to_string(), set });
    }

    /// A part of the check ended like this; the others go on.
    pub(super) fn collect(&mut self, result: Result<(), Failure>) {
        self.failures.extend(result.err());
    }

    /// What was wrong, as a failure.
    pub(super) fn refused(&mut self) -> Failure {
        Failure::Usage(std::mem::take(&mut self.wrong).join("\n"))
    }

    /// How it went: with the code of what is worst.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        if !self.unavailable.is_empty() {
            let what = self.unavailable.join("\n");
            self.failures.push(Failure::Unavailable(format!(
                "{what}\nDoes the server run, is its address right, are the ports free?"
            )));
        }
        if self.failures.is_empty() {
            self.say("ok", "the configuration is right");
        }
        let result = worst(self.failures);
        if self.is_json {
            // What the lines do not say yet: files that cannot be read, certificates that do not fit.
            let error = result.as_ref().err().map(ToString::to_string);
            let code = result.as_ref().err().map_or(0, Failure::code);
            told(writeln!(
                self.out,
                "{:#}",
                json!({"exit_code": code, "error": error, "findings": self.findings})
            ));
        }
        result
    }
}

/// All of them as one, with the code of the worst.
fn worst(failures: Vec<Failure>) -> Result<(), Failure> {
    const WORST_FIRST: [u8; 4] = [USAGE, UNREADABLE, UNWRITABLE, UNAVAILABLE];
    let rank = |failure: &Failure| {
        WORST_FIRST.iter().position(|code| *code == failure.code()).unwrap_or(WORST_FIRST.len())
    };
    let mut failures = failures;
    failures.sort_by_key(rank);
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    let rest: Vec<String> = failures.map(|failure| failure.to_string()).collect();
    if rest.is_empty() {
        return Err(first);
    }
    let text = format!("{first}\n{}", rest.join("\n"));
    Err(match first.code() {
        USAGE => Failure::Usage(text),
        UNREADABLE => Failure::Unreadable(text),
        UNWRITABLE => Failure::Unwritable(text),
        _ => Failure::Unavailable(text),
    })
}

/// A configuration that was not accepted, as JSON.
pub(super) fn refuse(failure: &Failure, out: &mut impl Write) {
    let (code, error) = (failure.code(), failure.to_string());
    told(writeln!(out, "{:#}", json!({"exit_code": code, "error": error, "findings": []})));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_worst_decides_and_all_is_told() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, true);
        report.say("listen", "ws://a");
        report.say("warning", "odd");
        report.advise("kernel", "low", "sysctl -w a=1".to_owned());
        report.unavailable.push("b is down".to_owned());
        report.collect(Err(Failure::Unreadable("c is not there".to_owned())));
        report.collect(Ok(()));
        let failure = report.end().unwrap_err();
        assert_eq!(failure.code(), UNREADABLE);
        let text = failure.to_string();
        assert!(text.starts_with("c is not there\nb is down"), "{text}");
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["exit_code"], UNREADABLE);
        assert_eq!(json["error"], text);
        let severities: Vec<&str> =
            json["findings"].as_array().unwrap().iter().filter_map(|one| one["severity"].as_str()).collect();
        assert_eq!(severities, ["ok", "warning", "note"]);
        assert_eq!(json["findings"][2]["set"], "sysctl -w a=1");
    }

    #[test]
    fn what_is_right_is_told_line_by_line() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, false);
        report.say("listen", "ws://a");
        report.advise("kernel", "low", "sysctl -w a=1".to_owned());
        report.end().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "listen    ws://a\nkernel    low\n  set     sysctl -w a=1\nok        the configuration is right\n"
        );
    }
}
