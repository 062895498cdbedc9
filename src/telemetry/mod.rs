//! Logs: one line per event an operator acts on, to stderr, by a thread of their own: nobody who logs
//! waits for the reader of stderr.
//!
//! The level is a flag, a setting, or the environment variable `HOLDFAST_LOG` (levels by
//! module). Other libraries never get below `warn`, whatever the filter says: their lines of lower levels repeat messages word by word, with tokens and passwords in them. Our own lines
//! hold names, ids, lengths and durations only.

mod capture;
pub(crate) mod counts;
pub mod events;
mod filter;
mod flood;
pub(crate) mod gaps;
mod json;
pub(crate) mod outages;
mod panics;
pub(crate) mod past;
mod queue;
pub(crate) mod timeline;
mod told;

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::{
    Layer, Registry,
    filter::FilterExt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

pub use capture::LogCapture;
pub(crate) use told::Told;

use crate::{
    config::{LogFormat, LogSettings},
    signaling::redact::line_without_credentials,
};

use queue::{Queue, QueueWriter};

/// The environment variable that goes before `log.level`.
pub const FILTER_VARIABLE: &str = "HOLDFAST_LOG";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter in the environment cannot be read.
    #[error(
        "{FILTER_VARIABLE}: {0}; expected a level (error, warn, info, debug, trace) or a filter \
         such as holdfast::session=debug,info"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber is set already.
    #[error("logging is set up already: {0}")]
    AlreadySet(#[from] TryInitError),
    /// There is no thread to write with.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// Where the lines of this process wait, and how long its end waits for them.
static LINES: OnceLock<(Queue, Duration)> = OnceLock::new();

/// Sets up logging for the process.
///
/// # Errors
/// The filter in the environment cannot be read, or logging was set up before.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let variable = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let wanted = match variable {
        Some(text) => filter::parse(&text)?,
        None => filter::from_level(settings.level),
    };
    let (queue, _) = LINES.get_or_init(|| (Queue::new(settings.queue_bytes_max), settings.flush_max));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Box::new(tracing_subscriber::fmt::layer().with_writer(QueueWriter(queue)).with_ansi(colours))
        }
        LogFormat::Json => Box::new(
            tracing_subscriber::fmt::layer().with_writer(QueueWriter(queue)).event_format(json::JsonLine),
        ),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted.and(filter::own_lines_only())))
        .try_init()?;
    queue.start()?;
    panics::log_panics();
    Ok(())
}

/// Writes a text to stderr as it is, passwords cut out, behind the log lines that wait; at once where
/// logging was not set up. Never waits for the reader of stderr once it is.
pub fn write(text: &str) {
    match LINES.get() {
        Some((queue, _)) => queue.push(text.as_bytes()),
        None => eprint!("{}", line_without_credentials(text)),
    }
}

/// Waits for what was logged to be read, for at most `log.flush_ms_max`.
pub fn flush() {
    if let Some((queue, patience)) = LINES.get() {
        queue.flush(*patience);
    }
}

/// Log lines that were dropped since the start of the process.
#[must_use]
pub fn lines_dropped() -> u64 {
    LINES.get().map_or(0, |(queue, _)| queue.dropped())
}

/// Log lines written since the start of the process, by level; dropped ones among them.
pub(crate) fn lines_logged() -> Vec<(counts::Level, u64)> {
    match LINES.get() {
        Some((queue, _)) => queue.logged().iter().collect(),
        None => counts::By::<counts::Level>::default().iter().collect(),
    }
}
