//! Why the demo does not run.

use std::io;

use thiserror::Error;

use crate::{
    config::ConfigError,
    load::{CallerError, Told},
    net::StartError,
    simulator::ControlError,
};

/// Why the demo does not start or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A socket, a process or a file of it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The address of the server is none that a proxy takes.
    #[error("{0}")]
    Address(String),
    /// The settings of the proxy do not fit together.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The proxy does not start.
    #[error("{0}")]
    Proxy(#[from] StartError),
    /// The simulated server does not listen in time.
    #[error("the simulated server does not start")]
    ServerSilent,
    /// The simulated server ended before it listened.
    #[error("the simulated server ended at its start")]
    ServerEnded,
    /// The simulated server did not do what a button says.
    #[error("the simulated server: {0}")]
    Order(#[from] ControlError),
    /// The proxy does not drain a server.
    #[error("{0}")]
    Drain(String),
    /// The proxy does not record.
    #[error("{0}")]
    Record(String),
    /// A built-in client does not come through.
    #[error("{0}")]
    Caller(#[from] CallerError),
    /// A built-in client was not told this status in time.
    #[error("not {status}: {told:?}")]
    Status {
        /// What was waited for.
        status: &'static str,
        /// What it was told instead.
        told: Box<Told>,
    },
    /// A built-in viewer got no picture.
    #[error("no picture came")]
    NoPicture,
}
