//! What befell one session of late, for people who look at it: its outages and its moves, each with what was done
//! about it and what became of each stream.
//!
//! Whoever had neither has no timeline, which costs a session one empty pointer. Bounded in entries and in bytes:
//! the oldest gives way, and what an outage has too much of is counted instead. Names and words pass through
//! [`clean`]; nothing else of a message gets here.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::NodeId,
    milliseconds::{ms, unix_ms},
    session::{Event, MoveOutcome, Outcome, Timestamp},
};

use super::events::{self, clean};

/// Outages and moves that are kept of a session.
const CHAPTERS_MAX: usize = 8;
/// Steps that are kept of each.
const STEPS_MAX: usize = 32;
/// Streams that are kept of each.
const STREAMS_MAX: usize = 64;
/// What all of it may take.
const BYTES_MAX: usize = 16 * 1024;

/// An outage or a move of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chapter {
    /// `outage` or `move`.
    pub what: Box<str>,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// When it began, by the clock of the sessions.
    #[serde(skip)]
    began: Timestamp,
    /// The node that was lost or left.
    pub from: Box<str>,
    /// Where the session was connected last, or was to move.
    pub to: Option<Box<str>>,
    /// Why the node was lost, or why the move came to nothing.
    pub cause: Option<Box<str>>,
    /// `restored`, `given_up`, `moved`, `refused` or `returned`; none: it goes on.
    pub outcome: Option<Box<str>>,
    /// Until then.
    pub lasted_ms: Option<u64>,
    /// Moves in a row that ended alike are told once, with their number.
    pub times: u32,
    /// Streams that there were at the loss.
    pub streams_lost: usize,
    /// Dials that failed, and why the last of them did.
    pub dials_failed: u32,
    pub dial_error: Option<Box<str>>,
    /// What was done and said, in its order.
    pub steps: Vec<Step>,
    /// What became of each stream.
    pub streams: Vec<Verdict>,
    /// Steps and streams that there was no room to keep.
    pub left_out: u32,
}

/// Something that was done or said in an outage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// From the beginning until then.
    pub after_ms: u64,
    /// `connected`, `lost`, `refused`, `restored`, `stream_retry`, `room_lost` or `given_up`.
    pub what: Box<str>,
    /// The node, stream or room that it is about.
    pub about: Option<Box<str>>,
    /// Why, in the words of whoever said so.
    pub cause: Option<Box<str>>,
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// Its name.
    pub name: Box<str>,
    /// The client's id of it, where that was said.
    pub id: Box<str>,
    /// `publish` or `play`.
    pub kind: Box<str>,
    /// `restored`, `reported` or `cancelled`; none: it is not decided, or did not have to be.
    pub outcome: Option<Box<str>>,
    /// From the loss until then.
    pub after_ms: Option<u64>,
    /// How long its media stood still; anchored streams only.
    pub gap_ms: Option<u64>,
}

impl Chapter {
    fn new(what: &str, from: &str, now: Timestamp, ago: Duration) -> Self {
        Self {
            what: what.into(),
            began_unix_ms: unix_ms(ago),
            began: now,
            from: from.into(),
            times: 1,
            ..Self::default()
        }
    }

    /// An outage in which the session does not stand yet.
    fn is_open(&self) -> bool {
        &*self.what == "outage" && self.outcome.is_none()
    }

    fn close(&mut self, outcome: &str, lasted: Duration) {
        self.outcome = Some(outcome.into());
        self.lasted_ms = Some(ms(lasted));
    }

    fn is_like(&self, other: &Self) -> bool {
        &*self.what == "move"
            && (&self.what, &self.from, &self.to, &self.outcome, &self.cause)
                == (&other.what, &other.from, &other.to, &other.outcome, &other.cause)
    }

    fn bytes(&self) -> usize {
        let texts = [Some(&self.what), Some(&self.from), self.to.as_ref(), self.cause.as_ref()];
        let further = [self.outcome.as_ref(), self.dial_error.as_ref()];
        size_of::<Self>()
            + texts.into_iter().chain(further).flatten().map(|text| text.len()).sum::<usize>()
            + self.steps.iter().map(Step::bytes).sum::<usize>()
            + self.streams.iter().map(Verdict::bytes).sum::<usize>()
    }
}

impl Step {
    fn bytes(&self) -> usize {
        let texts = [Some(&self.what), self.about.as_ref(), self.cause.as_ref()];
        size_of::<Self>() + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

impl Verdict {
    fn bytes(&self) -> usize {
        let outcome = self.outcome.as_ref().map_or(0, |outcome| outcome.len());
        size_of::<Self>() + self.name.len() + self.id.len() + self.kind.len() + outcome
    }
}

/// The outages and moves of one session, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Timeline(VecDeque<Chapter>);

impl Timeline {
    /// Enters what a session reports, if it belongs here; `node` is the name of a node.
    pub(crate) fn note(
        slot: &mut Option<Box<Self>>,
        (event, now): (&Event, Timestamp),
        at: NodeId,
        node: impl Fn(NodeId) -> String,
    ) {
        match event {
            Event::UpstreamLost { cause, streams } => {
                let this = slot.get_or_insert_default();
                let (from, cause) = (node(at), events::loss(*cause));
                if this.open().is_some() {
                    return this.step(now, "lost", Some(&from), Some(&cause));
                }
                let mut outage = Chapter::new("outage", &clean(&from), now, Duration::ZERO);
                outage.cause = Some(cause.into());
                outage.streams_lost = *streams;
                this.push(outage);
            }
            Event::Moved { from, to, outcome, took } => {
                let mut moved = Chapter::new("move", &clean(&node(*from)), now, *took);
                moved.to = Some(clean(&node(*to)).into());
                let (word, cause) = match outcome {
                    MoveOutcome::Done => ("moved", None),
                    MoveOutcome::Refused(why) => ("refused", Some(clean(why))),
                    MoveOutcome::Returned(why) => ("returned", Some(clean(why))),
                };
                moved.cause = cause.map(Into::into);
                moved.close(word, *took);
                slot.get_or_insert_default().add_move(moved);
            }
            _ => {
                if let Some(this) = slot {
                    this.note_more(event, now);
                }
            }
        }
    }

    /// The session has a connection again.
    pub(crate) fn connected(slot: &mut Option<Box<Self>>, node: &str, now: Timestamp) {
        let Some(this) = slot else { return };
        if let Some(outage) = this.open() {
            outage.to = Some(clean(node).into());
            this.step(now, "connected", Some(node), None);
        }
    }

    /// The newest last.
    pub(crate) fn chapters(slot: Option<&Self>) -> Vec<Chapter> {
        slot.map(|this| this.0.iter().cloned().collect()).unwrap_or_default()
    }

    fn open(&mut self) -> Option<&mut Chapter> {
        self.0.back_mut().filter(|chapter| chapter.is_open())
    }

    fn note_more(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::AttemptFailed { error, .. } => {
                if let Some(outage) = self.open() {
                    outage.dials_failed = outage.dials_failed.saturating_add(1);
                    outage.dial_error = Some(events::dial(error).into());
                }
            }
            Event::ReplayRefused { info, .. } => self.step(now, "refused", None, Some(info)),
            Event::StreamRetry { name, info, .. } => self.step(now, "stream_retry", Some(name), Some(info)),
            Event::RoomLost { room, info } => self.step(now, "room_lost", Some(room), Some(info)),
            Event::SessionRestored { outage: lasted, .. } => {
                self.step(now, "restored", None, None);
                if let Some(outage) = self.open() {
                    outage.close("restored", *lasted);
                }
            }
            Event::GaveUp { reason, .. } => {
                self.step(now, "given_up", None, Some(reason));
                if let Some(outage) = self.open() {
                    let lasted = now.since(outage.began);
                    outage.close("given_up", lasted);
                }
            }
            Event::StreamOutcome { name, stream, kind, outcome, after } => {
                let word = match outcome {
                    Outcome::Restored => "restored",
                    Outcome::Reported => "reported",
                    Outcome::Cancelled => "cancelled",
                };
                self.verdict(
                    (name, kind),
                    |verdict| verdict.outcome.is_none(),
                    |verdict| {
                        verdict.id = clean(stream).into();
                        verdict.outcome = Some(word.into());
                        verdict.after_ms = Some(ms(*after));
                    },
                );
            }
            Event::MediaGap { name, kind, gap } => {
                self.verdict(
                    (name, kind),
                    |verdict| verdict.gap_ms.is_none(),
                    |verdict| {
                        verdict.gap_ms = Some(ms(*gap));
                    },
                );
            }
            _ => {}
        }
    }

    fn add_move(&mut self, moved: Chapter) {
        match self.0.back_mut().filter(|last| last.is_like(&moved)) {
            Some(last) => last.times = last.times.saturating_add(1),
            None => self.push(moved),
        }
    }

    fn push(&mut self, chapter: Chapter) {
        while self.0.len() >= CHAPTERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(chapter);
        self.make_room(0);
    }

    /// Whether so many bytes more are within the bound; older chapters give way to the newest.
    fn make_room(&mut self, more: usize) -> bool {
        loop {
            let bytes = self.bytes().saturating_add(more);
            if bytes <= BYTES_MAX || self.0.len() <= 1 {
                return bytes <= BYTES_MAX;
            }
            self.0.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.0.iter().map(Chapter::bytes).sum::<usize>()
    }

    /// Adds to the outage that goes on, or went on last.
    fn step(&mut self, now: Timestamp, what: &str, about: Option<&str>, cause: Option<&str>) {
        let text = |text: Option<&str>| text.map(|text| clean(text).into());
        let mut step = Step { after_ms: 0, what: what.into(), about: text(about), cause: text(cause) };
        let has_room = self.make_room(step.bytes());
        let Some(outage) = self.0.back_mut().filter(|last| &*last.what == "outage") else { return };
        step.after_ms = ms(now.since(outage.began));
        if has_room && outage.steps.len() < STEPS_MAX {
            outage.steps.push(step);
        } else {
            outage.left_out = outage.left_out.saturating_add(1);
        }
    }

    /// What is known of this stream in the newest chapter, where that `lacks` it, or a new entry.
    fn verdict(
        &mut self,
        (name, kind): (&str, &str),
        lacks: impl Fn(&Verdict) -> bool,
        fill: impl FnOnce(&mut Verdict),
    ) {
        let mut new = Verdict { name: clean(name).into(), kind: kind.into(), ..Verdict::default() };
        let is_it =
            |known: &&mut Verdict| (&known.name, &known.kind) == (&new.name, &new.kind) && lacks(known);
        let Some(last) = self.0.back_mut() else { return };
        if let Some(known) = last.streams.iter_mut().find(is_it) {
            return fill(known);
        }
        fill(&mut new);
        let has_room = self.make_room(new.bytes());
        let Some(last) = self.0.back_mut() else { return };
        if has_room && last.streams.len() < STREAMS_MAX {
            last.streams.push(new);
        } else {
            last.left_out = last.left_out.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
