//! Section `[log]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::number::{Between, Ms};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The least important kind of line that is written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs somebody's hand.
    Error,
    /// What went wrong and was dealt with.
    Warn,
    /// What an operator follows: sessions, outages, outcomes.
    #[default]
    Info,
    /// What a developer follows.
    Debug,
    /// Every message by name.
    Trace,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// Whatever stderr is.
    #[default]
    Stderr,
    /// The journal of systemd, with fields of its own.
    Journald,
    /// The file that `log.file` names.
    File,
}

/// What is written, how, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Default `stderr`.
    pub target: LogTarget,
    /// The file of target `file`, which has to be there then. Default none.
    pub file: Option<PathBuf>,
    /// The socket of target `journald`. Default `/run/systemd/journal/socket`.
    pub journald_socket: PathBuf,
    /// Default `text`. The journal has fields whatever this says.
    pub format: LogFormat,
    /// Default `info`. The environment variable `HOLDFAST_LOG` (a filter such as
    /// `holdfast::session=debug`) goes before it.
    pub level: LogLevel,
    /// Whether addresses of clients are cut in the log and in the access line: IPv4 to its /24, IPv6 to its /48.
    /// Default false.
    pub anonymise_addresses: bool,
    /// The newest lines, which are kept in memory for `holdfast support-bundle`, in bytes. Default 256 KiB; zero = none.
    #[serde(with = "Between::<0, 67_108_864>")]
    pub recent_bytes_max: usize,
    /// Lines that wait for whoever reads stderr (or the journal, or the disk), in bytes; what does not fit is dropped and counted.
    /// Default 1 MiB.
    #[serde(with = "Between::<4_096, 1_073_741_824>")]
    pub queue_bytes_max: usize,
    /// How long the end of the process waits for its last lines to be read. Default 1 s.
    #[serde(rename = "flush_ms_max", with = "Ms::<0, 60_000>")]
    pub flush_max: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            target: LogTarget::default(),
            file: None,
            journald_socket: PathBuf::from("/run/systemd/journal/socket"),
            anonymise_addresses: false,
            recent_bytes_max: 262_144,
            format: LogFormat::default(),
            level: LogLevel::default(),
            queue_bytes_max: 1_048_576,
            flush_max: Duration::from_secs(1),
        }
    }
}
