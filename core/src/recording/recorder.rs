//! Stands beside a session and writes down what it is told, asks and decides. Changes nothing of it.

use std::fmt;

use crate::{
    session::{Directory, Identity, Input, Output, Seen, Session, Timestamp},
    signaling::{ClientMessage, peek, redact::without_credentials, redactor::Redactor},
};

use super::{
    directory::{Asked, Listening},
    input,
    line::{Line, Message, Start},
    words::Words,
};

/// Where lines go.
pub trait Tape: Send {
    /// Takes lines that belong together, all of them or none: each is JSON without its end. False: the tape
    /// is at its end, and takes no more.
    fn write(&mut self, lines: Vec<String>) -> bool;

    /// Whether it is at its end.
    fn is_over(&self) -> bool;

    /// Makes room for so many bytes of lines that are held until it is known whether they are wanted; false: there is
    /// none. They are given back when the tape is dropped, or by the next call of [`Tape::release`].
    fn hold(&mut self, bytes: usize) -> bool;

    /// Gives back all that is held.
    fn release(&mut self);
}

/// A session that is recorded if it publishes or plays a stream of this name.
#[derive(Debug)]
struct Waiting {
    stream: Box<str>,
    /// What is to be written then; `None`: it is not recorded from its beginning.
    held: Option<Vec<String>>,
}

/// Records one session, to one tape.
pub struct Recorder {
    start: Start,
    words: Words,
    tape: Box<dyn Tape>,
    waiting: Option<Waiting>,
    is_over: bool,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("session", &self.start.s).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Begins a recording of a session that begins, or goes on, as `start` says.
    #[must_use]
    pub fn new(start: Start, redactor: Redactor, tape: Box<dyn Tape>) -> Self {
        let mut recorder = Self::silent(start, redactor, tape);
        let begins = vec![recorder.begins()];
        recorder.write(begins);
        recorder
    }

    /// As [`Recorder::new`], if it publishes or plays a stream of this name. What it is told before that is held, as
    /// long as the tape has room, where the session is recorded from its beginning.
    #[must_use]
    pub fn waiting(start: Start, redactor: Redactor, tape: Box<dyn Tape>, stream: &str) -> Self {
        let mut recorder = Self::silent(start, redactor, tape);
        let held = recorder.start.from_start.then(Vec::new);
        recorder.waiting = Some(Waiting { stream: stream.into(), held });
        let begins = recorder.begins();
        recorder.hold(vec![begins]);
        recorder
    }

    fn silent(mut start: Start, redactor: Redactor, tape: Box<dyn Tape>) -> Self {
        let words = Words::redacted(redactor);
        let apps = std::mem::take(&mut start.settings.apps);
        start.settings.apps = apps.into_iter().map(|(key, app)| (words.word(&key), app)).collect();
        Self { start, words, tape, waiting: None, is_over: false }
    }

    fn begins(&self) -> String {
        json(&Line::Session(Box::new(self.start.clone())))
    }

    /// Tells a session this, and writes down what comes of it on all of these tapes.
    pub fn handle(
        recorders: &mut Vec<Self>,
        session: &mut Session,
        input: Input<'_>,
        now: Timestamp,
        others: &mut dyn Directory,
    ) {
        let Seen { identity: own, outputs } = Seen::of(session);
        let before = outputs.len();
        let given: Vec<_> = recorders.iter_mut().map(|recorder| recorder.given(&input, own, now)).collect();
        let mut listening = Listening::to(others);
        session.handle(input, now, &mut listening);
        let asked = listening.into_asked();
        let outputs = Seen::of(session).outputs.get(before..).unwrap_or_default();
        for (recorder, given) in recorders.iter_mut().zip(given) {
            recorder.came_of_it(given, &asked, outputs);
        }
        recorders.retain(|recorder| !recorder.is_over);
    }

    /// A message went through that the session is not asked about; `None` if that is none of text.
    pub fn passed(&mut self, from_client: bool, message: Result<&[u8], usize>, now: Timestamp) {
        let message = match message {
            Ok(text) => self.words.message(text),
            Err(bytes) => Message::Binary(bytes),
        };
        let line = Line::Passed { s: self.start.s, t: now, from_client, message };
        self.write(vec![json(&line)]);
    }

    /// Whether its tape is at its end.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The session ended.
    pub fn end(mut self, now: Timestamp) {
        let end = Line::SessionEnd { s: self.start.s, t: now };
        self.write(vec![json(&end)]);
    }

    /// The line of what it is told; `None` if nobody wants it.
    fn given(&mut self, input: &Input<'_>, own: Identity, now: Timestamp) -> Option<String> {
        if let Input::ClientText(text) = input
            && let Ok(peek) = peek(text)
            && let ClientMessage::PublishStream(request) | ClientMessage::PlayStream(request) =
                ClientMessage::of(&peek)
            && let Some(name) = request.name()
        {
            self.is_heard(&name, now);
        }
        if self.waiting.as_ref().is_some_and(|waiting| waiting.held.is_none()) {
            self.is_over |= self.tape.is_over();
            return None;
        }
        let said = input::written(&mut self.words, input, own);
        Some(json(&Line::In { s: self.start.s, t: now, said }))
    }

    fn came_of_it(&mut self, given: Option<String>, asked: &[Asked], outputs: &[Output]) {
        let Some(given) = given else { return };
        let (s, words) = (self.start.s, &mut self.words);
        let mut lines = vec![given];
        lines.extend(asked.iter().map(|Asked { question, answer }| {
            json(&Line::Asked { s, what: question.written(words), answer: answer.clone() })
        }));
        lines.extend(outputs.iter().map(|output| {
            let (out, text) = words.output(output);
            json(&Line::Out { s, out: out.to_owned(), text })
        }));
        self.write(lines);
    }

    fn write(&mut self, lines: Vec<String>) {
        if self.waiting.is_some() {
            self.hold(lines);
        } else {
            // What would fit behind a gap says nothing.
            self.is_over = self.is_over || !self.tape.write(lines);
        }
    }

    fn hold(&mut self, lines: Vec<String>) {
        self.is_over |= self.tape.is_over();
        let Some(held) = self.waiting.as_mut().and_then(|waiting| waiting.held.as_mut()) else { return };
        if self.tape.hold(lines.iter().map(String::len).sum()) {
            held.extend(lines);
            return;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.held = None;
        }
        self.tape.release();
    }

    /// The client names a stream. If it is the one that is waited for, what was held is written.
    fn is_heard(&mut self, stream: &str, now: Timestamp) {
        let Some(waiting) = self.waiting.take_if(|waiting| is_it(stream, &waiting.stream)) else { return };
        let lines = waiting.held.unwrap_or_else(|| {
            self.start = Start { from_start: false, seed: 0, t: now, ..self.start.clone() };
            vec![self.begins()]
        });
        self.tape.release();
        self.write(lines);
    }
}

/// Whether this is the stream that an operator means, who may know it as it is shown.
fn is_it(stream: &str, meant: &str) -> bool {
    stream == meant || without_credentials(stream) == meant
}

/// Lines hold nothing that cannot be written.
fn json(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_default()
}
