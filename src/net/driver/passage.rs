//! What passed through a session, for the line that is written when it ends. Kept only where somebody wants that line.

use std::time::Duration;

use crate::{
    session::{Close, Event},
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
            Event::MediaGap { gap, .. } => self.worst_gap = self.worst_gap.max(Some(*gap)),
            _ => {}
        }
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
