//! Section `[log]`.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Default `text`.
    pub format: LogFormat,
    /// Default `info`. The environment variable `HOLDFAST_LOG` (a `tracing` filter such as
    /// `holdfast::session=debug`) goes before it.
    pub level: LogLevel,
}
