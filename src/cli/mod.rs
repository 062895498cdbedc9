//! The command line: from what was typed to an exit code. Parses, starts the parts in their
//! order and tells how it went; it decides nothing about sessions.

mod admin;
mod args;
mod bundle;
mod certificate;
mod check;
mod config;
mod demo;
mod failure;
mod leave;
mod load;
mod manual;
mod media_reach;
mod operate;
mod probe;
mod record;
mod reload;
mod replay;
mod run;
mod service;
mod signals;
mod simulate;
mod status;
mod top;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    Parser,
    error::{ContextKind, ContextValue},
};

pub use args::{CertificateArgs, CheckArgs, Cli, Command, LoadArgs, ProbeArgs, SettingsArgs, SimulateArgs};
pub use failure::Failure;
pub use signals::Signal;

use crate::{signaling::redact::line_without_credentials, telemetry};

/// Runs the command line `arguments`, the name of the program first, and says how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(message) if message.use_stderr() => {
            told(write!(io::stderr(), "{}", wrong_usage(message)));
            return ExitCode::from(failure::USAGE);
        }
        Err(help) => {
            // Help and version come this way. If stdout is gone there is nobody to tell.
            told(help.print());
            return ExitCode::SUCCESS;
        }
    };
    // Not locked for good: whoever panics gives the terminal back, from any thread (`top`).
    let code = match run(&cli, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            telemetry::write(&format!("holdfast: {failure}\n"));
            failure.exit_code()
        }
    };
    telemetry::flush();
    code
}

/// What clap says, without the value that it does not accept if that may hold a password.
fn wrong_usage(mut message: clap::Error) -> String {
    if let Some(ContextValue::String(value)) = message.get(ContextKind::InvalidValue)
        && *value != line_without_credentials(value)
    {
        let hidden = ContextValue::String("(not shown: it may hold a password)".to_owned());
        message.insert(ContextKind::InvalidValue, hidden);
    }
    line_without_credentials(&message.render().to_string()).into_owned()
}

fn run(cli: &Cli, out: &mut impl Write) -> Result<(), Failure> {
    match &cli.command {
        Command::Check(args) => check::run(args, out),
        Command::SupportBundle(args) => bundle::run(args, out),
        Command::Config(args) => config::run(args, out),
        Command::Certificate(args) => certificate::run(args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::Drain(args) => operate::drain(args, out),
        Command::Undrain(args) => operate::undrain(args, out),
        Command::Maintenance(args) => operate::maintenance(args, out),
        Command::Rebalance(args) => operate::rebalance(args, out),
        Command::DrainSelf(args) => leave::run(args, out),
        Command::Record(args) => record::run(args, out),
        Command::Replay(args) => replay::run(args, out),
        Command::Reload(args) => reload::command(args, out),
        Command::Status(args) => status::run(args, out),
        Command::Top(args) => top::run(args, out),
        Command::Load(args) => load::run(args, out),
        Command::Probe(args) => probe::run(args, out),
        Command::Run(args) => run::run(args),
        Command::Simulate(args) => simulate::run(args, out),
        Command::Completions(args) => manual::completions(args, out),
        Command::Man(args) => manual::man(args, out),
    }
}

/// Output that nobody reads any more is no failure of the command.
fn told(_: io::Result<()>) {}

/// Installs the cryptography of this process for rustls; harmless when it is installed already.
fn install_crypto_provider() {
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Runs a future to its end on a runtime of its own, then ends the process without waiting for
/// what may still block (the resolver of the system knows no time limit).
fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
