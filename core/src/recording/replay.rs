//! Tells sessions anew what a recording says they were told, and compares what they ask and decide with what stands
//! there. The first difference of a session is kept; what follows one says nothing any more.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use thiserror::Error;

use crate::{
    ids::SessionId,
    session::{Identity, Seen, Session, Timestamp},
};

use super::{
    directory::{Listening, Question, Script},
    input::{self, NoInput},
    line::{Heading, LINE_BYTES_MAX, Line, Message, SCHEMA, Said, Start},
    words::Words,
};

/// Sessions of one recording that are replayed; a recording with more is not read on.
const SESSIONS_MAX: usize = 10_000;

/// Why a recording cannot be read. Lines count from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// It is no recording, or a damaged one.
    #[error("line {line}: {why}")]
    Line {
        /// Which.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It was written by a Holdfast whose lines mean something else.
    #[error(
        "it was written by Holdfast {version}, in schema {schema}; this one reads schema {SCHEMA}: replay it with \
         that version"
    )]
    Schema {
        /// Its schema.
        schema: u32,
        /// Who wrote it.
        version: String,
    },
    /// It says nothing.
    #[error("it is empty")]
    Empty,
}

/// Where a session decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line of what it was told.
    pub told_at: usize,
    /// The line of what it then did; `None` if it does more than is recorded.
    pub line: Option<usize>,
    /// What is recorded; `None` if nothing is.
    pub recorded: Option<String>,
    /// What it does now; `None` if it does nothing.
    pub replayed: Option<String>,
}

/// What became of one session of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Which.
    pub session: SessionId,
    /// It is recorded from its beginning. What is not cannot be replayed.
    pub from_start: bool,
    /// What it was told.
    pub inputs: usize,
    /// What it decided.
    pub decisions: usize,
    /// Messages that nobody could read, which stand there as one placeholder each: what was decided of them may
    /// differ.
    pub unreadable: usize,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// What a recording says, and whether it replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is.
    pub heading: Heading,
    /// Its sessions, by their names.
    pub sessions: Vec<SessionReport>,
    /// Why it ends; `None` if its end is missing.
    pub reason: Option<String>,
}

impl Report {
    /// Whether all that can be replayed decided the same; `None` if nothing can be.
    #[must_use]
    pub fn is_same(&self) -> Option<bool> {
        let mut replayed = self.sessions.iter().filter(|session| session.from_start).peekable();
        replayed.peek()?;
        Some(replayed.all(|session| session.difference.is_none()))
    }
}

/// Reads a recording line by line.
#[derive(Debug, Default)]
pub struct Replay {
    heading: Option<Heading>,
    lines: usize,
    sessions: BTreeMap<SessionId, Player>,
    reason: Option<String>,
}

impl Replay {
    /// Takes the next line, without its end, and gives back what it says.
    ///
    /// # Errors
    /// It is none, or not one that can stand there.
    pub fn line(&mut self, text: &str) -> Result<Line, ReadError> {
        self.lines += 1;
        let at = self.lines;
        let wrong = |why: String| ReadError::Line { line: at, why };
        if text.len() > LINE_BYTES_MAX {
            return Err(wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let line: Line =
            serde_json::from_str(text).map_err(|error| wrong(format!("no line of a recording: {error}")))?;
        self.take(&line, at)?;
        Ok(line)
    }

    fn take(&mut self, line: &Line, at: usize) -> Result<(), ReadError> {
        let wrong = |why: &str| ReadError::Line { line: at, why: why.to_owned() };
        if let Line::Recording(heading) = line {
            if self.heading.is_some() {
                return Err(wrong("a second beginning"));
            }
            if heading.schema != SCHEMA {
                return Err(ReadError::Schema { schema: heading.schema, version: heading.version.clone() });
            }
            self.heading = Some(heading.clone());
            return Ok(());
        }
        if self.heading.is_none() {
            return Err(wrong("it does not begin with what it is"));
        }
        if self.reason.is_some() {
            return Err(wrong("something stands behind the end"));
        }
        match line {
            Line::Recording(_) => {}
            Line::Session(start) => {
                if self.sessions.contains_key(&start.s) {
                    return Err(wrong("a session begins twice"));
                }
                if self.sessions.len() >= SESSIONS_MAX {
                    return Err(wrong("more than 10000 sessions"));
                }
                let is_anonymous = self.heading.as_ref().is_some_and(|heading| heading.anonymous);
                self.sessions.insert(start.s, Player::new(start, Words::replaying(is_anonymous)));
            }
            Line::In { s, t, said } => self.player(*s, at)?.told(at, *t, said)?,
            Line::Asked { s, what, answer } => {
                self.player(*s, at)?
                    .asked(at, what, answer)
                    .ok_or_else(|| wrong("nobody was told anything before"))?;
            }
            Line::Out { s, out, text } => {
                self.player(*s, at)?
                    .decided(at, out, text)
                    .ok_or_else(|| wrong("nobody was told anything before"))?;
            }
            Line::Passed { s, t, .. } => self.player(*s, at)?.at(at, *t)?,
            Line::SessionEnd { s, t } => {
                let player = self.player(*s, at)?;
                player.at(at, *t)?;
                player.play()?;
            }
            Line::End { reason } => self.reason = Some(reason.clone()),
        }
        Ok(())
    }

    fn player(&mut self, session: SessionId, line: usize) -> Result<&mut Player, ReadError> {
        let unknown = || ReadError::Line { line, why: format!("session {session} has not begun") };
        self.sessions.get_mut(&session).ok_or_else(unknown)
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// There was none, or the last one of a session is no input.
    pub fn finish(mut self) -> Result<Report, ReadError> {
        let heading = self.heading.take().ok_or(ReadError::Empty)?;
        for player in self.sessions.values_mut() {
            player.play()?;
        }
        let sessions = self.sessions.into_values().map(|player| player.report).collect();
        Ok(Report { heading, sessions, reason: self.reason })
    }
}

/// One input, and what is recorded to have come of it.
#[derive(Debug)]
struct Group {
    line: usize,
    t: Timestamp,
    said: Said,
    asked: Vec<(usize, String, Value)>,
    decided: Vec<(usize, String)>,
}

/// One session of the recording.
#[derive(Debug)]
struct Player {
    words: Words,
    session: Session,
    now: Timestamp,
    group: Option<Group>,
    report: SessionReport,
}

impl Player {
    fn new(start: &Start, words: Words) -> Self {
        let session = Session::new(start.s, Arc::new(start.settings.clone()), start.seed, start.t)
            .with_identity(Identity::default())
            .with_node(start.node);
        let report = SessionReport {
            session: start.s,
            from_start: start.from_start,
            inputs: 0,
            decisions: 0,
            unreadable: 0,
            difference: None,
        };
        Self {
            words,
            session: if start.with_media { session.with_media() } else { session },
            now: start.t,
            group: None,
            report,
        }
    }

    fn at(&mut self, line: usize, now: Timestamp) -> Result<(), ReadError> {
        if now < self.now {
            return Err(ReadError::Line { line, why: "it is before the line before".to_owned() });
        }
        self.now = now;
        Ok(())
    }

    fn told(&mut self, line: usize, t: Timestamp, said: &Said) -> Result<(), ReadError> {
        self.play()?;
        self.at(line, t)?;
        self.report.inputs += 1;
        if matches!(said, Said::Client(Message::Unreadable(_)) | Said::Upstream(_, Message::Unreadable(_))) {
            self.report.unreadable += 1;
        }
        self.group = Some(Group { line, t, said: said.clone(), asked: Vec::new(), decided: Vec::new() });
        Ok(())
    }

    fn asked(&mut self, line: usize, what: &str, answer: &Value) -> Option<()> {
        self.group.as_mut()?.asked.push((line, what.to_owned(), answer.clone()));
        Some(())
    }

    fn decided(&mut self, line: usize, out: &str, text: &str) -> Option<()> {
        self.report.decisions += 1;
        self.group.as_mut()?.decided.push((line, decision(out, text)));
        Some(())
    }

    /// Tells the session what it was told last, now that all that came of it has been read.
    fn play(&mut self) -> Result<(), ReadError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        if !self.report.from_start || self.report.difference.is_some() {
            return Ok(());
        }
        let Self { words, session, report, .. } = self;
        let input = input::read(words, &group.said, Seen::of(session).identity)
            .map_err(|NoInput(why)| ReadError::Line { line: group.line, why })?;
        let mut script = Recorded { words, told_at: group.line, asked: group.asked.iter(), difference: None };
        session.handle(input, group.t, &mut Listening::by(&mut script));
        let asked = script.end();
        let decided: Vec<_> = session
            .take_outputs()
            .iter()
            .map(|output| {
                let (out, text) = words.output(output);
                decision(out, &text)
            })
            .collect();
        report.difference = asked.or_else(|| compared(group.line, &group.decided, decided));
        Ok(())
    }
}

fn decision(out: &str, text: &str) -> String {
    if text.is_empty() { out.to_owned() } else { format!("{out} {text}") }
}

fn compared(told_at: usize, recorded: &[(usize, String)], replayed: Vec<String>) -> Option<Difference> {
    let mut recorded = recorded.iter();
    let mut replayed = replayed.into_iter();
    loop {
        match (recorded.next(), replayed.next()) {
            (None, None) => return None,
            (Some((_, was)), Some(is)) if *was == is => {}
            (was, is) => {
                return Some(Difference {
                    told_at,
                    line: was.map(|(line, _)| *line),
                    recorded: was.map(|(_, was)| was.clone()),
                    replayed: is,
                });
            }
        }
    }
}

/// Answers what was answered, as long as the same is asked.
struct Recorded<'a> {
    words: &'a mut Words,
    told_at: usize,
    asked: std::slice::Iter<'a, (usize, String, Value)>,
    difference: Option<Difference>,
}

impl Recorded<'_> {
    /// What is recorded to have been asked, and was not, is a difference as well.
    fn end(mut self) -> Option<Difference> {
        self.difference.take().or_else(|| {
            let (line, what, _) = self.asked.next()?;
            let recorded = Some(format!("asked {what}"));
            Some(Difference { told_at: self.told_at, line: Some(*line), recorded, replayed: None })
        })
    }
}

impl Script for Recorded<'_> {
    fn answer(&mut self, question: &Question) -> Value {
        let asks = question.written(self.words);
        let recorded = self.asked.next();
        match recorded {
            Some((_, what, answer)) if *what == asks => return answer.clone(),
            _ if self.difference.is_some() => {}
            recorded => {
                self.difference = Some(Difference {
                    told_at: self.told_at,
                    line: recorded.map(|(line, ..)| *line),
                    recorded: recorded.map(|(_, what, _)| format!("asked {what}")),
                    replayed: Some(format!("asked {asks}")),
                });
            }
        }
        Value::Null
    }
}
