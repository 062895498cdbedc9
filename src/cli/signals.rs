//! Signals: those that ask a process to end, and those that must not end a proxy.

use std::{fmt, io, thread};

use signal_hook::{consts::signal, iterator::Signals as Caught, low_level::signal_name};
use tokio::signal::unix::{self, SignalKind};

use super::Failure;
use crate::telemetry;

/// A signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM, as service managers send it.
    Terminate,
    /// SIGQUIT, as some containers and service managers send it.
    Quit,
}

impl Signal {
    /// What a shell reports for a process that this signal ended.
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
        })
    }
}

/// Catches these signals from its creation on.
pub(super) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    quit: unix::Signal,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, Failure> {
        let catch = |kind| unix::signal(kind).map_err(|error| uncaught(&error));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            quit: catch(SignalKind::quit())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.quit.recv() => Signal::Quit,
        }
    }
}

/// Signals that end a process unless it says otherwise, and are no order to end. Those of a fault of the
/// process itself (SIGSEGV, SIGBUS, SIGFPE, SIGILL) cannot be survived, nor can SIGKILL. SIGPIPE is ignored
/// by the runtime of the language and must not be told: where nobody reads the log any more, each line
/// raises it.
const HARMLESS: [i32; 11] = [
    signal::SIGHUP,
    signal::SIGUSR1,
    signal::SIGUSR2,
    signal::SIGALRM,
    signal::SIGVTALRM,
    signal::SIGPROF,
    signal::SIGIO,
    signal::SIGXCPU,
    signal::SIGXFSZ,
    signal::SIGTRAP,
    signal::SIGABRT,
];

/// SIGSTKFLT and SIGPWR, which Linux alone has, and the realtime signals that the C library leaves to
/// programs.
const OF_LINUX: [i32; 2] = [16, 30];
const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;

/// From now on none of the signals that are no order to end the process ends it; each is told in the log but SIGHUP,
/// for which `hangup` is called.
pub(super) fn ignore_others(hangup: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let numbers = HARMLESS.into_iter().chain(OF_LINUX).chain(REALTIME);
    let mut caught = Caught::new(numbers).map_err(|error| uncaught(&error))?;
    let tell = move || {
        caught.forever().for_each(|number| if number == signal::SIGHUP { hangup() } else { tell(number) });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(tell).map_err(|error| uncaught(&error))?;
    Ok(())
}

fn tell(number: i32) {
    // Whoever has moved the files away asks for new ones.
    if number == signal::SIGUSR1 && telemetry::reopen() > 0 {
        return;
    }
    let signal = signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned);
    tracing::info!(event = "signal_ignored", signal, "a signal that means nothing here");
}

fn uncaught(error: &io::Error) -> Failure {
    Failure::Internal(format!("cannot catch signals: {error}"))
}
