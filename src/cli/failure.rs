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
    /// A running proxy has read its configuration again and refuses it.
    #[error(
        "{0}\nEverything stays as it was. Put it right and reload again; `holdfast check` tells when it is."
    )]
    NotReloaded(String),
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
    /// Whoever looked at the end of a proxy looks no more.
    #[error("ended by {0}; the proxy goes on ending: `holdfast status` shows how far it is")]
    StillLeaving(Signal),
    /// A load was survived by too little.
    #[error("{0}")]
    NotSurvived(String),
    /// A recording replays to other decisions, or a server that was probed is not as assumed.
    #[error("{0}")]
    Differs(String),
    /// A recording has nothing that can be replayed.
    #[error("{0}")]
    NotReplayable(String),
    /// What was probed is no WCS, or nothing was reached.
    #[error("{0}")]
    NoWcs(String),
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
            ConfigError::Read { .. } | ConfigError::EnvironmentFile { .. } => {
                Self::Unreadable(error.to_string())
            }
            error => Self::Config(error),
        }
    }
}

impl Failure {
    /// The code of `sysexits.h` that fits; 1 for what has none.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The same as a number, one of [`EXIT_CODES`].
    #[must_use]
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Telemetry(TelemetryError::Target { .. }) => UNWRITABLE,
            Self::Telemetry(TelemetryError::NoJournal { .. }) => UNAVAILABLE,
            Self::Config(_) | Self::Telemetry(_) | Self::Usage(_) => USAGE,
            Self::Unreadable(_) => UNREADABLE,
            Self::NotReplayable(_) => NOT_REPLAYABLE,
            Self::Unavailable(_) => UNAVAILABLE,
            Self::Unwritable(_) => UNWRITABLE,
            Self::NotReloaded(_) => NOT_RELOADED,
            Self::Interrupted(signal) | Self::StillLeaving(signal) | Self::StillDraining { signal, .. } => {
                signal.exit_code()
            }
            Self::NoWcs(_) => NO_WCS,
            Self::NotSurvived(_) | Self::Differs(_) | Self::Refused(_) | Self::Internal(_) => OTHER,
        }
    }
}

/// What has no code of its own.
pub(super) const OTHER: u8 = 1;
/// What was probed is no WCS.
pub(super) const NO_WCS: u8 = 2;
/// `EX_USAGE`: also what clap's own errors exit with.
pub(super) const USAGE: u8 = 64;
/// `EX_DATAERR`.
pub(super) const NOT_REPLAYABLE: u8 = 65;
/// `EX_NOINPUT`.
pub(super) const UNREADABLE: u8 = 66;
/// `EX_UNAVAILABLE`.
pub(super) const UNAVAILABLE: u8 = 69;
/// `EX_CANTCREAT`.
pub(super) const UNWRITABLE: u8 = 73;
/// `EX_CONFIG`.
pub(super) const NOT_RELOADED: u8 = 78;

/// Every code that a command exits with, and what it means: as in the README, in the manual pages, and in `--help`.
pub(super) const EXIT_CODES: [(u8, &str); 12] = [
    (0, "success; a proxy that ended in order after SIGTERM, SIGINT or SIGQUIT"),
    (
        OTHER,
        "another failure: a running proxy refused, a load was not survived, a recording replays otherwise, a probed server differs, a defect",
    ),
    (NO_WCS, "`holdfast probe`: what answers there is no WCS, or nothing answers"),
    (USAGE, "wrong usage or configuration: a flag, a variable of the environment, a setting, a certificate"),
    (NOT_REPLAYABLE, "a recording has no session from its beginning, so that nothing can be replayed"),
    (UNREADABLE, "a file cannot be read"),
    (
        UNAVAILABLE,
        "a server, a name, an address or a port is not available, or a running proxy does not answer",
    ),
    (UNWRITABLE, "a file cannot be written"),
    (NOT_RELOADED, "a running proxy refuses its new configuration (`holdfast reload`)"),
    (130, "ended at once by a second signal, the last one SIGINT; or the looking at a drain was ended"),
    (131, "the same with SIGQUIT"),
    (143, "the same with SIGTERM"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_code_is_told() {
        let text = || "x".to_owned();
        let path = || std::path::PathBuf::from("x");
        let mut codes: Vec<u8> = [
            Failure::from(ConfigError::Read { path: path(), source: io::Error::other("x") }),
            Failure::from(ConfigError::Conflict { place: text(), key: text(), message: text() }),
            Failure::Telemetry(TelemetryError::Thread(io::Error::other("x"))),
            Failure::Usage(text()),
            Failure::Unreadable(text()),
            Failure::Unavailable(text()),
            Failure::Refused(text()),
            Failure::StillDraining { node: text(), signal: Signal::Interrupt },
            Failure::NotSurvived(text()),
            Failure::Differs(text()),
            Failure::NotReplayable(text()),
            Failure::NoWcs(text()),
            Failure::Unwritable(text()),
            Failure::NotReloaded(text()),
            Failure::Interrupted(Signal::Terminate),
            Failure::Interrupted(Signal::Quit),
            Failure::Internal(text()),
        ]
        .iter()
        .map(Failure::code)
        .collect();
        codes.push(0);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, EXIT_CODES.map(|(code, _)| code));
    }

    #[test]
    fn the_readme_has_them_word_by_word() {
        let readme = include_str!("../../README.md");
        let table = readme.split_once("### Exit codes").unwrap().1;
        let table = table.split_once("\n#").map_or(table, |(table, _)| table);
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> =
            EXIT_CODES.iter().map(|(code, meaning)| format!("| `{code}` | {meaning} |")).collect();
        assert_eq!(rows, expected);
    }
}
