//! What passed through a session, for the line that is written when it ends. Kept only where somebody wants that line.

use std::time::Duration;

use crate::{
    session::{Close, Event, Outcome},
    telemetry::access::{self, Record},
};

use super::{Driver, events::EndCause, reading::From};

/// Longest appKey that is kept, in bytes; it is cut for the line anyway.
const APP_KEY_BYTES_MAX: usize = 256;

/// Messages of one side.
#[derive(Debug, Default)]
struct Flow {
    messages: u64,
    bytes: u64,
}

/// What passed and befell.
#[derive(Debug, Default)]
pub(super) struct Passage {
    client: Flow,
    server: Flow,
    app_key: Option<Box<str>>,
    outages: u64,
    worst_outage: Option<Duration>,
    worst_gap: Option<Duration>,
    /// What the client's socket was closed with by us.
    told: Option<u16>,
    /// Because the server had closed.
    by_server: bool,
}

impl Passage {
    /// One, if somebody wants it.
    pub(super) fn wanted() -> Option<Box<Self>> {
        access::is_wanted().then(Box::default)
    }

    /// A message came.
    pub(super) const fn came(&mut self, from: From, bytes: usize) {
        let flow = match from {
            From::Client => &mut self.client,
            From::Upstream(_) => &mut self.server,
        };
        flow.messages += 1;
        flow.bytes += bytes as u64;
    }

    /// Something befell the session.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::SessionUp { app_key, .. } => {
                let max = app_key.len().min(APP_KEY_BYTES_MAX);
                let end = (0..=max).rev().find(|end| app_key.is_char_boundary(*end)).unwrap_or_default();
                self.app_key = app_key.get(..end).map(Into::into);
            }
            Event::SessionRestored { outage, .. } => {
                self.outages += 1;
                self.worst_outage = self.worst_outage.max(Some(*outage));
            }
            // Measured by its media; which is known late, so that a session may end before.
            Event::MediaGap { gap, .. } => self.stood_still(*gap),
            Event::StreamOutcome { outcome: Outcome::Restored, after, .. } => self.stood_still(*after),
            _ => {}
        }
    }

    fn stood_still(&mut self, gap: Duration) {
        self.worst_gap = self.worst_gap.max(Some(gap));
    }

    /// The client's socket is closed by us.
    pub(super) const fn closes(&mut self, close: Close) {
        if let Close::Code(code) = close {
            self.told = Some(code);
        }
    }

    /// The server had closed, and with that the client's socket is.
    pub(super) const fn closed_by_server(&mut self) {
        self.by_server = true;
    }

    fn closed_by(&self, cause: EndCause) -> (Option<u16>, &'static str) {
        match cause {
            EndCause::Client(code) => (code, "client"),
            EndCause::ClientLost => (None, "client"),
            EndCause::Closed if self.by_server => (self.told, "server"),
            _ => (self.told, "proxy"),
        }
    }
}

impl Driver {
    /// Writes the line of the session, which is over.
    pub(super) fn write_passage(&self, cause: &str) {
        let Some(passage) = self.passage.as_deref() else { return };
        // A player's media socket was no session.
        if matches!(self.end_cause, EndCause::MediaSocket) {
            return;
        }
        let mailbox = &self.registered.mailbox;
        let [published, played] = self.core.tally().streams_asked;
        let (close_code, closed_by) = passage.closed_by(self.end_cause);
        access::write(&Record {
            session: self.id(),
            client: mailbox.client(),
            node: &self.shared.pool.node_name(mailbox.node()),
            app_key: passage.app_key.as_deref(),
            duration: self.shared.clock.now().since(self.began),
            client_messages: passage.client.messages,
            client_bytes: passage.client.bytes,
            server_messages: passage.server.messages,
            server_bytes: passage.server.bytes,
            published,
            played,
            outages: passage.outages,
            worst_outage: passage.worst_outage,
            worst_gap: passage.worst_gap,
            close_code,
            closed_by,
            cause,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_what_befell_is_kept() {
        let mut passage = Passage::default();
        let ms = Duration::from_millis;
        let outcome = |outcome, after| Event::StreamOutcome {
            name: "cam".to_owned(),
            stream: "p1".to_owned(),
            kind: "publish",
            outcome,
            after: ms(after),
        };
        let gap = |gap| Event::MediaGap { name: "cam".to_owned(), kind: "publish", gap: ms(gap) };
        let restored = |outage| Event::SessionRestored { outage: ms(outage), tries: 1 };
        passage.note(&Event::SessionUp { app_key: "\u{e4}".repeat(1_000), mode: "auto" });
        for event in [
            restored(900),
            outcome(Outcome::Restored, 950),
            gap(940),
            restored(300),
            outcome(Outcome::Reported, 5_000),
        ] {
            passage.note(&event);
        }
        assert_eq!((passage.outages, passage.worst_outage), (2, Some(ms(900))));
        assert_eq!(passage.worst_gap, Some(ms(950)), "what was reported did not go on");
        assert_eq!(passage.app_key.as_ref().map(|key| key.len()), Some(APP_KEY_BYTES_MAX));
        passage.closes(Close::Code(1_012));
        assert_eq!(passage.told, Some(1_012));
        let by = |cause| Passage { told: Some(1_012), ..Passage::default() }.closed_by(cause);
        assert_eq!(by(EndCause::Shutdown), (Some(1_012), "proxy"));
        assert_eq!(by(EndCause::Client(Some(1_000))), (Some(1_000), "client"));
        assert_eq!(by(EndCause::ClientLost), (None, "client"));
        let of_server = Passage { told: Some(1_001), by_server: true, ..Passage::default() };
        assert_eq!(of_server.closed_by(EndCause::Closed), (Some(1_001), "server"));
    }
}
