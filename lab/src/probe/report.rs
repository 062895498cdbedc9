//! What a run found, for people and for machines. The form for machines is documented in docs/probe.md and has a
//! number that grows when a key changes its meaning or goes.

use std::{collections::BTreeMap, fmt, time::Instant};

use http::Uri;
use serde::Serialize;
use serde_json::Value;

use super::{
    Obstacle,
    findings::{Finding, Findings},
    question::{Needs, QUESTIONS, Question, Verdict},
    settings::ProbeSettings,
    transcript::{Head, Position, TRANSCRIPT_SCHEMA, Transcript},
};
use crate::simulator::durations::as_millis;

/// The form of [`Report`] as JSON.
pub const REPORT_SCHEMA: u32 = 1;
/// What stands in the place of a position that was not seen.
const UNKNOWN: &str = "unknown";

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that was seen is as Holdfast assumes.
    AsAssumed,
    /// Something differs, or the server did not let itself be asked.
    Differs,
    /// What answers there is no WCS.
    NoWcs,
    /// Nobody answers there.
    Unreachable,
}

impl Outcome {
    /// What the command exits with.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AsAssumed => 0,
            Self::Differs => 1,
            Self::NoWcs | Self::Unreachable => 2,
        }
    }
}

/// One question with its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Of the question.
    pub key: &'static str,
    /// What is asked.
    pub about: &'static str,
    /// The position, or `unknown`.
    pub seen: String,
    /// Its number, where it is one.
    pub value: Option<Value>,
    /// Of the number; empty where it is a word.
    pub unit: &'static str,
    /// What Holdfast assumes.
    pub assumed: String,
    /// How they compare.
    pub verdict: Verdict,
    /// What else there is to say, or why it is unknown.
    pub detail: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// The version of Holdfast that asked.
    pub holdfast: &'static str,
    /// Whom, without credentials and query.
    pub target: String,
    /// How it went.
    pub outcome: Outcome,
    /// Why, where questions could not be asked.
    pub reason: Option<String>,
    /// Whether it was patient.
    pub patient: bool,
    /// Whether it published.
    pub published: bool,
    /// Dials.
    pub dials: u32,
    /// Milliseconds.
    pub took_ms: u64,
    /// All questions, in the order of [`QUESTIONS`].
    pub questions: Vec<Row>,
}

impl Report {
    pub(super) fn of(
        settings: &ProbeSettings,
        findings: &Findings,
        obstacle: Option<Obstacle>,
        begun: Instant,
        dials: u32,
        transcript: &Transcript,
    ) -> Self {
        let redactor = transcript.redactor();
        let questions: Vec<Row> = QUESTIONS
            .iter()
            .map(|question| row(question, findings.shown(question.key, redactor), settings))
            .collect();
        let differs = questions.iter().any(|row| row.verdict == Verdict::Differs);
        let (outcome, reason) = match obstacle {
            None if differs => (Outcome::Differs, None),
            None => (Outcome::AsAssumed, None),
            Some(Obstacle::Refuses(why)) => (Outcome::Differs, Some(why)),
            Some(Obstacle::NoWcs(why)) => (Outcome::NoWcs, Some(why)),
            Some(Obstacle::Unreachable(why)) => (Outcome::Unreachable, Some(why)),
        };
        Self {
            schema: REPORT_SCHEMA,
            holdfast: env!("CARGO_PKG_VERSION"),
            target: redactor.text(&shown(&settings.url)),
            outcome,
            reason: reason.map(|why| redactor.text(&why)),
            patient: settings.patient,
            published: settings.publish.is_some(),
            dials,
            took_ms: as_millis(begun.elapsed()),
            questions,
        }
    }

    /// The question with this key.
    #[must_use]
    pub fn row(&self, key: &str) -> Option<&Row> {
        self.questions.iter().find(|row| row.key == key)
    }

    /// How many answers differ from what is assumed.
    #[must_use]
    pub fn differing(&self) -> usize {
        self.questions.iter().filter(|row| row.verdict == Verdict::Differs).count()
    }

    /// The first line of a transcript of this run.
    #[must_use]
    pub fn head(&self) -> Head {
        let seen = self.questions.iter().filter(|row| row.verdict != Verdict::Unknown);
        let positions: BTreeMap<String, Position> = seen
            .map(|row| {
                (row.key.to_owned(), Position { position: row.seen.clone(), value: row.value.clone() })
            })
            .collect();
        Head { schema: TRANSCRIPT_SCHEMA, version: self.holdfast.to_owned(), positions }
    }
}

fn row(question: &'static Question, finding: Option<Finding>, settings: &ProbeSettings) -> Row {
    let finding =
        finding.unwrap_or_else(|| Finding { detail: why_not(question, settings), ..Finding::default() });
    let Finding { position, value, detail } = finding;
    let verdict =
        position.as_deref().map_or(Verdict::Unknown, |position| question.judge(position, value.as_ref()));
    Row {
        key: question.key,
        about: question.about,
        seen: position.unwrap_or_else(|| UNKNOWN.to_owned()),
        value,
        unit: question.unit,
        assumed: question.assumed_text(),
        verdict,
        detail,
    }
}

/// Why nothing was looked for.
fn why_not(question: &Question, settings: &ProbeSettings) -> String {
    let (publish, patient) = (settings.publish.is_some(), settings.patient);
    let why = match question.needs {
        Needs::Publish if !publish => "needs --publish NAME",
        Needs::Patience if !patient => "needs --patient",
        Needs::PublishAndPatience if !publish || !patient => "needs --publish NAME and --patient",
        Needs::Address => "needs --stat URL or --agent HOST:PORT",
        _ => "not seen",
    };
    why.to_owned()
}

/// A URL without credentials and query.
fn shown(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| {
        authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host)
    });
    format!("{}://{host}{}", url.scheme_str().unwrap_or("ws"), url.path())
}

impl Row {
    /// The answer with its unit.
    fn seen_text(&self) -> String {
        if self.value.is_some() && !self.unit.is_empty() {
            format!("{} {}", self.seen, self.unit)
        } else {
            self.seen.clone()
        }
    }

    const fn verdict_text(&self) -> &'static str {
        match self.verdict {
            Verdict::AsAssumed => "as assumed",
            Verdict::Differs => "differs",
            Verdict::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} dials in {:.1} s", self.target, self.dials, self.took_ms as f64 / 1000.0)?;
        if matches!(self.outcome, Outcome::NoWcs | Outcome::Unreachable) {
            let what = if self.outcome == Outcome::NoWcs { "no WCS" } else { "not reached" };
            return writeln!(f, "{what}: {}", self.reason.as_deref().unwrap_or_default());
        }
        let rows: Vec<[String; 4]> = self
            .questions
            .iter()
            .map(|row| {
                [row.about.to_owned(), row.seen_text(), row.assumed.clone(), row.verdict_text().to_owned()]
            })
            .collect();
        let heads = ["what", "seen", "Holdfast assumes", "verdict"].map(str::to_owned);
        let width = |column: usize| {
            let cells = std::iter::once(&heads).chain(&rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count().min(CELL_CHARS_MAX)).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        for (row, detail) in std::iter::once((&heads, "")).chain(rows.iter().zip(self.details())) {
            let [what, seen, assumed, verdict] = row;
            let [first, second, third] = widths;
            write!(f, "{what:first$}  {seen:second$}  {assumed:third$}  {verdict}")?;
            writeln!(f, "{}{detail}", if detail.is_empty() { "" } else { ": " })?;
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "not all was asked: {reason}")?;
        }
        Ok(())
    }
}

/// Cells are padded to this at most.
const CELL_CHARS_MAX: usize = 60;

impl Report {
    /// The details of all rows, where there is something to say.
    fn details(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(|row| match row.verdict {
            Verdict::AsAssumed => "",
            _ => row.detail.as_str(),
        })
    }
}
