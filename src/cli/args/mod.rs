//! What can be typed: commands, flags and their help. Only parsing; what follows from it lives
//! with each command.

mod files;
mod operate;
mod probe;
mod settings;
mod trial;

use clap::{Parser, Subcommand};

pub use files::{CertificateArgs, CheckArgs};
pub(super) use files::{CompletionsArgs, ConfigArgs, ConfigCommand, DumpArgs, ManArgs, SupportBundleArgs};
pub(super) use operate::{
    EmptyArgs, LeaveArgs, RebalanceArgs, RecordArgs, ReloadArgs, ReplayArgs, StatusArgs, TopArgs, UndrainArgs,
};
pub use probe::ProbeArgs;
pub use settings::SettingsArgs;
pub(super) use trial::DemoArgs;
pub use trial::{LoadArgs, SimulateArgs};

const EXAMPLES: &str = "\
Examples:
  holdfast run --listen 0.0.0.0:8080 --upstream ws://wcs:8080
      Clients connect to port 8080 of this machine instead of wcs; that is all they change.

  holdfast certificate
  holdfast run --listen wss://0.0.0.0:8443 --tls-cert certs/cert.pem --tls-key certs/key.pem \\
      --upstream ws://wcs:8080
      The same over TLS, with a certificate for development.

  holdfast check --config config/holdfast.toml --connect
      Is the configuration right, and does the server answer?

Exit codes:
  0  success            64  wrong usage or configuration    66  a file cannot be read
  1  other failure      69  server or address unavailable   73  a file cannot be written
 65  nothing to replay  78  a running proxy refuses its new configuration";

/// Keeps WebSocket sessions and streams alive across restarts of a Web Call Server.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(subcommand_required = true, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy.
    Run(SettingsArgs),
    /// Check the configuration and its files, say what would run, and start nothing.
    Check(CheckArgs),
    /// Make a self-signed certificate and its key, for development.
    Certificate(CertificateArgs),
    /// Load a server with protocol-true clients, and sum up how it went.
    Load(LoadArgs),
    /// Ask a server what it does, harmlessly, and compare that with what Holdfast assumes.
    Probe(ProbeArgs),
    /// Show a stream that survives the death and the drain of its server: simulated servers, proxy and page
    /// in one command.
    Demo(DemoArgs),
    /// Show what a running proxy knows: sessions, streams, outages, nodes.
    Status(StatusArgs),
    /// Watch a running proxy on the terminal: nodes, outages, and sessions, the worst first.
    Top(TopArgs),
    /// Take a node out of use: its sessions move to other nodes, unseen by their clients.
    Drain(EmptyArgs),
    /// Use a node again, and call off a drain of it.
    Undrain(UndrainArgs),
    /// As drain, and then let nothing go to the node any more, not even probes.
    Maintenance(EmptyArgs),
    /// End the proxy itself in good order: balancers are told, no new sessions come, those that are there end.
    DrainSelf(LeaveArgs),
    /// Even out sessions among the nodes, as after the return of one.
    Rebalance(RebalanceArgs),
    /// Have a running proxy read its configuration again: what changed is put in force, and no session ends.
    Reload(ReloadArgs),
    /// Record what sessions of a running proxy are told and decide, without secrets, into a file.
    Record(RecordArgs),
    /// Show a recording, and whether its sessions decide the same when they are told the same again.
    Replay(ReplayArgs),
    /// Run a stand-in for a Web Call Server, for trials and tests.
    Simulate(SimulateArgs),
    /// Put together what somebody needs to know who is to help, without secrets.
    SupportBundle(SupportBundleArgs),
    /// Show the configuration that would be in force, and where each value comes from.
    Config(ConfigArgs),
    /// Write what a shell needs to complete commands and flags.
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands.
    Man(ManArgs),
}
