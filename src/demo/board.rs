//! What happened, for the timeline: the proxy's log lines that matter to somebody who looks, and
//! the demo's own doings.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;
use tracing::{
    Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::milliseconds::ms;

/// Events kept for somebody who comes late.
const KEPT_MAX: usize = 200;
/// Events a slow reader may lag behind before it misses some.
const LAG_MAX: usize = 256;

/// One entry of the timeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    /// Milliseconds since the start of the demo.
    pub(super) at_ms: u64,
    /// What it is: `server` (one is gone), `up` (it is back), `drain` or `cut` of one; `attempt`, `session`,
    /// `stream` or `frame`; a mere `note`.
    pub(super) kind: &'static str,
    /// Which server it is about.
    pub(super) node: Option<&'static str>,
    pub(super) text: String,
}

/// Takes entries from everywhere and hands them to everybody. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Board {
    start: Instant,
    kept: Arc<Mutex<VecDeque<Entry>>>,
    readers: broadcast::Sender<Entry>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), kept: Arc::default(), readers: broadcast::Sender::new(LAG_MAX) }
    }

    /// Milliseconds since the start of the demo.
    pub(super) fn now_ms(&self) -> u64 {
        ms(self.start.elapsed())
    }

    pub(super) fn note(&self, kind: &'static str, text: impl Into<String>) {
        self.enter(kind, None, text.into());
    }

    /// Something about one of the servers.
    pub(super) fn note_of(&self, kind: &'static str, node: &'static str, text: impl Into<String>) {
        self.enter(kind, Some(node), text.into());
    }

    fn enter(&self, kind: &'static str, node: Option<&'static str>, text: String) {
        let entry = Entry { at_ms: self.now_ms(), kind, node, text };
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(entry.clone());
        // Nobody may be reading: then it is only kept.
        let _ = self.readers.send(entry);
    }

    /// Everything kept so far, and what comes from now on.
    pub(super) fn read(&self) -> (Vec<Entry>, broadcast::Receiver<Entry>) {
        let kept = self.kept.lock();
        (kept.iter().cloned().collect(), self.readers.subscribe())
    }
}

impl<S: Subscriber> Layer<S> for Board {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let kind = match &*line.event {
            "upstream_lost" | "moved" => "session",
            "attempt_failed" | "replay_refused" => "attempt",
            "restored" | "gave_up" | "session_up" => "session",
            "stream_outcome" | "stream_retry" | "retried_without_h264" | "codec_changed" | "no_video" => {
                "stream"
            }
            _ => return,
        };
        self.note(kind, line.text());
    }
}

/// A log line on its way to the board.
#[derive(Default)]
struct Line {
    event: String,
    message: String,
    fields: String,
}

impl Line {
    fn text(&self) -> String {
        format!("{}{}", self.message, self.fields)
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.event),
            // Nobody knows these here.
            "id" => {}
            name => {
                // Writing to a String cannot fail.
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "id" | "to_node" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn lines_that_matter_come_to_the_board() {
        let board = Board::new();
        let subscriber = tracing_subscriber::Registry::default().with(board.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(event = "restored", attempts = 3, outage_ms = 20, "session restored");
            tracing::info!("something else");
        });
        let (kept, _) = board.read();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].text, "session restored attempts=3 outage_ms=20");
        assert_eq!(kept[0].kind, "session");
    }

    #[test]
    fn the_board_forgets_the_oldest() {
        let board = Board::new();
        for n in 0..KEPT_MAX + 5 {
            board.note("server", n.to_string());
        }
        let (kept, _) = board.read();
        assert_eq!(kept.len(), KEPT_MAX);
        assert_eq!(kept[0].text, "5");
    }
}
