//! The core's facts, and the driver's own, as lines of the log.

use std::{fmt, time::Instant};

use crate::{
    session::Event,
    telemetry::{Told, counts::SessionEnd, events, timeline::Timeline},
};

use super::Driver;

/// How a session ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum EndCause {
    /// We closed the client's socket because the core said so.
    Closed,
    /// The client sent a close frame.
    Client(Option<u16>),
    /// The client's socket ended without one.
    ClientLost,
    /// The client broke a rule of the socket and was closed with this code.
    Rejected(u16),
    /// Nothing came from either side for too long; it was only passed through.
    Idle,
    /// The process ends.
    Shutdown,
    /// It was as old as a session may be.
    LifeOver,
    /// It was no session: a player's media socket.
    MediaSocket,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the proxy"),
            Self::Client(Some(code)) => write!(f, "client closed {code}"),
            Self::Client(None) => f.write_str("client closed"),
            Self::ClientLost => f.write_str("client lost"),
            Self::Rejected(code) => write!(f, "client rejected {code}"),
            Self::Idle => f.write_str("idle"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::LifeOver => f.write_str("as old as it may be"),
            Self::MediaSocket => f.write_str("became a media socket"),
        }
    }
}

impl From<EndCause> for SessionEnd {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Closed => Self::Closed,
            EndCause::Client(_) => Self::ClientClosed,
            EndCause::ClientLost => Self::ClientLost,
            EndCause::Rejected(_) => Self::Rejected,
            EndCause::Idle => Self::Idle,
            EndCause::Shutdown => Self::Shutdown,
            EndCause::LifeOver => Self::LifeOver,
            EndCause::MediaSocket => Self::MediaSocket,
        }
    }
}

/// Lines about media that a session may cause per minute; each of them once.
const MEDIA_LINES_MAX: usize = 32;

/// Which of them were written of late: what happened, to the stream of which name.
pub(super) type MediaLines = Told<(&'static str, String)>;

pub(super) fn media_lines() -> MediaLines {
    Told::new(MEDIA_LINES_MAX)
}

/// The session is over.
pub(super) fn ended(driver: &Driver) {
    let now = driver.shared.clock.now();
    let in_outage = driver.registered.mailbox.is_in_outage();
    let client_left = matches!(driver.end_cause, EndCause::Client(_) | EndCause::ClientLost);
    let counts = &driver.shared.counts;
    counts.sessions_ended.inc(driver.end_cause.into());
    if in_outage && client_left {
        counts.client_left_in_outage();
    }
    let is_loud = driver.shared.outages.ended(driver.id(), client_left, now);
    let cause = if in_outage && client_left {
        format!("{}: it gave up while its upstream was down", driver.end_cause)
    } else {
        driver.end_cause.to_string()
    };
    events::session_ended_as(driver.id(), &cause, now.since(driver.began), is_loud);
    driver.write_passage(&cause);
}

impl Driver {
    /// Writes a fact of the core to the log.
    pub(super) fn log(&mut self, event: &Event) {
        let mailbox = &self.registered.mailbox;
        match event {
            Event::UpstreamLost { .. } => mailbox.set_in_outage(true),
            Event::SessionRestored { .. } | Event::GaveUp { .. } => mailbox.set_in_outage(false),
            _ => {}
        }
        self.shared.counts.event(event);
        if let Some(passage) = &mut self.passage {
            passage.note(event);
        }
        let node = mailbox.node();
        let now = self.shared.clock.now();
        Timeline::note(&mut self.timeline, (event, now), node, |node| self.shared.pool.node_name(node));
        let is_loud = self.shared.outages.note(self.id(), node, event, now);
        let facts = events::facts(event);
        if let Some(stream) = facts.media_of {
            let line = (facts.name, events::clean(stream));
            match self.media_lines.may_tell(line, Instant::now()) {
                None => return,
                Some(0) => {}
                Some(withheld) => events::media_lines_withheld(self.id(), withheld),
            }
        }
        events::report_as(self.id(), &self.shared.pool.node_name(node), event, is_loud);
    }
}
