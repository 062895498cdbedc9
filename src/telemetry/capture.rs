//! Log lines collected in memory, for tests that prove what is logged and what never is.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use tracing::subscriber::{DefaultGuard, SetGlobalDefaultError};
use tracing_subscriber::{Layer, Registry, fmt::MakeWriter, layer::SubscriberExt};

/// Most bytes kept; what comes later is dropped, and [`LogCapture::text`] says so.
const CAPTURED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Collects every line this process would write at level `trace`, as JSON. Clones share what
/// they collect.
#[derive(Clone, Debug, Default)]
pub struct LogCapture {
    captured: Arc<Mutex<Captured>>,
}

#[derive(Debug, Default)]
struct Captured {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl LogCapture {
    /// Nothing collected yet, and not yet collecting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects the lines of the current thread until the guard is dropped.
    #[must_use = "collecting ends when the guard is dropped"]
    pub fn on_this_thread(&self) -> DefaultGuard {
        tracing::subscriber::set_default(self.subscriber())
    }

    /// Collects the lines of the whole process from now on; once per process.
    ///
    /// # Errors
    /// Logging was set up before.
    pub fn everywhere(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::subscriber::set_global_default(self.subscriber())
    }

    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let lines = tracing_subscriber::fmt::layer().json().with_writer(self.clone());
        Registry::default().with(lines.with_filter(super::filter::own_lines_only()))
    }

    /// Everything collected so far.
    #[must_use]
    pub fn text(&self) -> String {
        let captured = self.captured.lock();
        let mut text = String::from_utf8_lossy(&captured.bytes).into_owned();
        if captured.overflowed {
            text.push_str("(more lines were dropped)\n");
        }
        text
    }

    /// The lines collected so far that contain `part`.
    #[must_use]
    pub fn lines_with(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl io::Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut captured = self.captured.lock();
        if captured.bytes.len() + bytes.len() <= CAPTURED_BYTES_MAX {
            captured.bytes.extend_from_slice(bytes);
        } else {
            captured.overflowed = true;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogCapture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn own_lines_are_collected_at_every_level_and_others_from_warn() {
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        tracing::trace!(stream = "cam", "own line");
        tracing::debug!(target: "tungstenite::protocol", "message with a token");
        tracing::warn!(target: "rustls::server", "a warning of others");
        tracing::warn!(target: "str0m::rtp_::srtp", "one per packet");
        tracing::error!(target: "is::agent", "one per packet");
        drop(guard);
        tracing::error!("after the end");
        let text = capture.text();
        assert_eq!(capture.lines_with("own line").len(), 1, "{text}");
        assert!(text.contains(r#""stream":"cam""#), "{text}");
        assert!(text.contains("a warning of others"), "{text}");
        assert!(!text.contains("token"), "{text}");
        assert!(!text.contains("one per packet"), "{text}");
        assert!(!text.contains("after the end"), "{text}");
    }
}
