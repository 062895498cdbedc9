//! Logs: one line per event an operator acts on, to stderr, the journal or a file, by a thread of their own: nobody
//! who logs waits for whoever takes the lines.
//!
//! The level is a flag, a setting, or the environment variable `HOLDFAST_LOG` (levels by
//! module). Other libraries never get below `warn`, whatever the filter says: their lines of lower levels repeat messages word by word, with tokens and passwords in them. Our own lines
//! hold names, ids, lengths and durations only.

pub(crate) mod access;
pub(crate) mod anonymous;
mod capture;
pub(crate) mod counts;
pub mod events;
mod filter;
mod flood;
pub(crate) mod gaps;
mod journal;
mod json;
pub(crate) mod outages;
mod panics;
pub(crate) mod past;
mod queue;
mod recent;
mod sink;
pub(crate) mod timeline;
mod told;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets},
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

pub use capture::LogCapture;
pub(crate) use told::Told;

use crate::{
    config::{AccessSettings, AccessTarget, LogFormat, LogLevel, LogSettings, LogTarget},
    signaling::redact::line_without_credentials,
};

use journal::Journal;
use queue::{Queue, QueueWriter};
use sink::{LogFile, Sink, Stream};

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
    /// What lines are to go to cannot be opened.
    #[error(
        "cannot write to {}: {source}; is the directory there, and may the user of the proxy write in it?",
        target.display()
    )]
    Target {
        /// The file.
        target: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody listens where the journal should.
    #[error("no journal at {}: {source}; log.target = \"stderr\" works without one", socket.display())]
    NoJournal {
        /// Its socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no thread to write with.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// The lines of this process.
#[derive(Debug)]
struct Lines {
    /// Where they wait.
    queue: Queue,
    /// How long the end of the process waits for them.
    patience: Duration,
    target: LogTarget,
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// What decides which lines there are; none: `HOLDFAST_LOG` does.
static FILTER: OnceLock<Option<reload::Handle<Targets, Registry>>> = OnceLock::new();

/// Sets up logging for the process.
///
/// # Errors
/// The filter in the environment cannot be read, lines cannot go where they are to, or logging was set up before.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let variable = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let is_fixed = variable.is_some();
    let wanted = match variable {
        Some(text) => filter::parse(&text)?,
        None => filter::from_level(settings.level),
    };
    anonymous::set(settings.anonymise_addresses);
    let sink = sink(settings)?;
    let Lines { queue, .. } = LINES.get_or_init(|| Lines {
        queue: Queue::new(settings.queue_bytes_max, settings.recent_bytes_max),
        patience: settings.flush_max,
        target: settings.target,
    });
    // The journal's entries are made of JSON.
    let is_json = settings.format == LogFormat::Json || settings.target == LogTarget::Journald;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if is_json {
        let layer = tracing_subscriber::fmt::layer().with_writer(QueueWriter(queue));
        Box::new(layer.event_format(json::JsonLine))
    } else {
        let is_terminal = settings.target == LogTarget::Stderr && io::stderr().is_terminal();
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Box::new(tracing_subscriber::fmt::layer().with_writer(QueueWriter(queue)).with_ansi(colours))
    };
    let (wanted, handle) = reload::Layer::new(wanted);
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted.and(filter::own_lines_only())))
        .try_init()?;
    FILTER.get_or_init(|| (!is_fixed).then_some(handle));
    queue.start("log", sink)?;
    panics::log_panics();
    Ok(())
}

/// What takes the lines.
fn sink(settings: &LogSettings) -> Result<Box<dyn Sink>, TelemetryError> {
    Ok(match (settings.target, &settings.file) {
        (LogTarget::Stderr, _) | (LogTarget::File, None) => Box::new(Stream(io::stderr())),
        (LogTarget::File, Some(path)) => {
            let opened = LogFile::open(path);
            Box::new(opened.map_err(|source| TelemetryError::Target { target: path.clone(), source })?)
        }
        (LogTarget::Journald, _) => {
            let socket = settings.journald_socket.clone();
            Box::new(Journal::open(&socket).map_err(|source| TelemetryError::NoJournal { socket, source })?)
        }
    })
}

/// Sets up the line of each session that ended, for the process.
///
/// # Errors
/// Its file cannot be opened.
pub fn init_access(settings: &AccessSettings) -> Result<(), TelemetryError> {
    access::init(settings)
}

/// Whether lines could go where these settings say, without writing one.
///
/// # Errors
/// As [`init`] and [`init_access`] would have them.
pub fn try_targets(log: &LogSettings, access: &AccessSettings) -> Result<(), TelemetryError> {
    if log.target == LogTarget::Journald {
        sink(log).map(drop)?;
    }
    let log_file = log.file.as_ref().filter(|_| log.target == LogTarget::File);
    let access_file = match &access.target {
        AccessTarget::File(path) => Some(path),
        AccessTarget::Off | AccessTarget::Log => None,
    };
    for path in log_file.into_iter().chain(access_file) {
        sink::may_write(path).map_err(|source| TelemetryError::Target { target: path.clone(), source })?;
    }
    Ok(())
}

/// Has lines of this level and above written from now on. False: `HOLDFAST_LOG` decides, or logging was not set up.
pub fn set_level(level: LogLevel) -> bool {
    let handle = FILTER.get().and_then(Option::as_ref);
    handle.is_some_and(|handle| handle.reload(filter::from_level(level)).is_ok())
}

/// Cuts addresses of clients from now on, or shows them whole.
pub fn set_anonymise_addresses(is_on: bool) {
    anonymous::set(is_on);
}

/// Opens the files anew that lines go to, as after logrotate has moved them. How many there are.
pub fn reopen() -> usize {
    let log = LINES.get().filter(|lines| lines.target == LogTarget::File).map(|lines| &lines.queue);
    let files = log.into_iter().chain(access::queue());
    files.map(Queue::reopen).count()
}

/// Writes a text to where the log goes as it is, passwords cut out, behind the lines that wait; to stderr at once where
/// logging was not set up. Where the log is elsewhere, stderr gets it as well. Never waits long for whoever reads.
pub fn write(text: &str) {
    let Some(lines) = LINES.get() else {
        eprint!("{}", line_without_credentials(text));
        return;
    };
    lines.queue.push(text.as_bytes());
    if lines.target != LogTarget::Stderr {
        let text = line_without_credentials(text).into_owned();
        let (done, is_done) = mpsc::sync_channel::<()>(1);
        // A reader of stderr that stalls keeps this thread and nobody else.
        let told = thread::Builder::new().name("stderr".to_owned()).spawn(move || {
            eprint!("{text}");
            let _ = done.send(());
        });
        if told.is_ok() {
            let _ = is_done.recv_timeout(lines.patience);
        }
    }
}

/// Waits for what was logged to be read, for at most `log.flush_ms_max`.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.queue.flush(lines.patience);
        if let Some(access) = access::queue() {
            access.flush(lines.patience);
        }
    }
}

/// The newest lines of the log, the oldest of them first.
#[must_use]
pub fn recent_lines() -> Vec<String> {
    LINES.get().map_or_else(Vec::new, |lines| lines.queue.recent())
}

/// Lines of the log and of sessions that ended that were dropped since the start of the process.
#[must_use]
pub fn lines_dropped() -> u64 {
    let log = LINES.get().map(|lines| &lines.queue);
    log.into_iter().chain(access::queue()).map(Queue::dropped).sum()
}

/// Log lines written since the start of the process, by level; dropped ones among them.
pub(crate) fn lines_logged() -> Vec<(counts::Level, u64)> {
    match LINES.get() {
        Some(lines) => lines.queue.logged().iter().collect(),
        None => counts::By::<counts::Level>::default().iter().collect(),
    }
}
