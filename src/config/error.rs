//! What can be wrong with a configuration, told so that it can be mended.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a configuration was not accepted. The text names the place, the key and what is expected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the file is no TOML, has an unknown key, or a value that is not accepted.
    #[error("{}:{line}:{column}: {}{message}{}", path.display(), named(key), hinted(hint))]
    InFile {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The key with its section, such as `listen.tls_cert`; empty where none is known.
        key: String,
        /// What is wrong and what is accepted.
        message: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A variable of the environment is no setting, or its value is not accepted.
    #[error("{variable}: {}{message}{}", named(key), hinted(hint))]
    Environment {
        /// Its name.
        variable: String,
        /// The key with its section; empty where none is known.
        key: String,
        /// What is wrong and what is accepted.
        message: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// The file that a variable of the environment names cannot be read.
    #[error("{variable}: cannot read {}: {source}", path.display())]
    EnvironmentFile {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Each value is acceptable, but not together.
    #[error("{place}: {key}: {message}")]
    Conflict {
        /// File and line, the variable of the environment, the flag, or "command line".
        place: String,
        /// The key with its section.
        key: String,
        /// What is wrong and what is accepted.
        message: String,
    },
}

fn named(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"))
}
