//! How a command fails: what it says and what code it exits with, decided in one place.

use std::process::ExitCode;

use thiserror::Error;

use super::signals::Signal;
use crate::{config::ConfigError, telemetry::TelemetryError};

/// Why a command did not do what it was asked to. The text says what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration is not accepted.
    #[error("{0}\nNothing was started. `holdfast check` tells when it is right.")]
    Config(#[source] ConfigError),
    /// The environment is not accepted.
    #[error("{0}")]
    Telemetry(#[from] TelemetryError),
    /// A setting or flag names something that does not work.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A server does not answer, a name is unknown, an address cannot be used.
    #[error("{0}")]
    Unavailable(String),
    /// A running proxy refuses what it was asked to do.
    #[error("{0}")]
    Refused(String),
    /// Whoever looked at a drain looks no more.
    #[error(
        "ended by {signal}; the drain of {node} goes on: `holdfast drain {node} --wait` shows how far it is, \
             `holdfast undrain {node}` calls it off"
    )]
    StillDraining {
        /// The node.
        node: String,
        /// What ended the looking.
        signal: Signal,
    },
    /// A load was survived by too little.
    #[error("{0}")]
    NotSurvived(String),
    /// A file cannot be written.
    #[error("{0}")]
    Unwritable(String),
    /// A second signal came before the end was done.
    #[error("ended at once by a second signal ({0})")]
    Interrupted(Signal),
    /// Something that should not happen.
    #[error("{0}\nThis is a defect of Holdfast; please report it with the lines above.")]
    Internal(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Read { .. } => Self::Unreadable(error.to_string()),
            error => Self::Config(error),
        }
    }
}

impl Failure {
    /// The code of `sysexits.h` that fits; 1 for what has none.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Telemetry(_) | Self::Usage(_) => USAGE,
            Self::Unreadable(_) => 66,
            Self::Unavailable(_) => 69,
            Self::Unwritable(_) => 73,
            Self::Interrupted(signal) | Self::StillDraining { signal, .. } => signal.exit_code(),
            Self::NotSurvived(_) | Self::Refused(_) | Self::Internal(_) => 1,
        })
    }
}

/// `EX_USAGE`: also what clap's own errors exit with.
pub(super) const USAGE: u8 = 64;
