//! SIGTERM and SIGINT: the first ends the proxy in order, the second at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::net::Proxy;

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// How the end came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every session was closed on both sides.
    Clean,
    /// The time limit came first.
    TimedOut,
    /// A second signal came first.
    Forced,
}

impl Signals {
    /// Catches the signals from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes with the next signal; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal and shuts the proxy down, within its `shutdown_ms_max`.
    pub async fn run_until_signal(mut self, proxy: &Proxy) -> Ended {
        let name = self.next().await;
        tracing::info!(signal = name, "ending");
        tokio::select! {
            clean = proxy.shutdown() => if clean { Ended::Clean } else { Ended::TimedOut },
            name = self.next() => {
                tracing::warn!(signal = name, "ending at once");
                Ended::Forced
            }
        }
    }
}
