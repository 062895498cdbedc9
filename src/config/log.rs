//! Section `[log]`.

use std::time::Duration;

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

/// Where `tracing` writes to is fixed (stderr); this is how and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Default `text`.
    pub format: LogFormat,
    /// Default `info`. The environment variable `HOLDFAST_LOG` (a filter such as
    /// `holdfast::session=debug`) goes before it.
    pub level: LogLevel,
    /// Lines that wait for whoever reads stderr, in bytes; what does not fit is dropped and counted.
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
            format: LogFormat::default(),
            level: LogLevel::default(),
            queue_bytes_max: 1_048_576,
            flush_max: Duration::from_secs(1),
        }
    }
}
