//! Of the commands that read or write files and leave a running proxy as it is: configurations, certificates, what
//! helpers, shells and manuals need.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::SettingsArgs;
use crate::cli::admin::AdminArgs;

const CHECK_EXAMPLES: &str = "\
The exit code is that of the worst finding:
  0   nothing, or warnings and notes     66  a file cannot be read
  64  the configuration, or a certificate that clients refuse
  69  a port is taken, a name is unknown, or a server does not answer (--connect)";

/// `holdfast check`.
#[derive(Args, Debug)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The settings to check, as for `run`.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Also open a WebSocket connection to each server, and close it.
    #[arg(long)]
    pub connect: bool,

    /// Also print every setting with its value. `holdfast config dump` tells where each comes from as well.
    #[arg(long)]
    pub print_settings: bool,

    /// Whether this user of the machine can read the files that are named. [default: holdfast, where root checks and
    /// there is such a user; then it is a warning]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// What was found as JSON: of each finding how bad it is, what it is about, and what to set.
    #[arg(long)]
    pub json: bool,
}

/// `holdfast support-bundle`.
#[derive(Args, Debug)]
pub struct SupportBundleArgs {
    /// The file to write, a compressed archive. [default: holdfast-support-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The proxy's configuration file. [default: HOLDFAST_CONFIG, else none]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,

    /// Where the proxy is asked; as the configuration has it, if nothing is said.
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl SupportBundleArgs {
    /// The settings of the proxy, as far as a file and the environment tell them.
    #[must_use]
    pub fn settings(&self) -> SettingsArgs {
        SettingsArgs { config: self.config.clone(), ..SettingsArgs::default() }
    }
}

/// `holdfast config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value and, as a comment, where that comes from: a flag, a variable of the
    /// environment, a line of the file, or the default. What it prints is a configuration file; secrets are not in it.
    Dump(DumpArgs),
}

/// `holdfast config dump`.
#[derive(Args, Debug)]
pub struct DumpArgs {
    /// The settings to print, as for `run`.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// JSON in place of TOML: of each setting its value and where that comes from.
    #[arg(long)]
    pub json: bool,
}

/// `holdfast certificate`.
#[derive(Args, Debug)]
pub struct CertificateArgs {
    /// Where to write cert.pem and key.pem.
    #[arg(long, value_name = "DIRECTORY", default_value = "certs")]
    pub directory: PathBuf,

    /// Host name or IP address the certificate is for. Repeatable, or separated by commas.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_values = ["localhost", "127.0.0.1", "::1"]
    )]
    pub name: Vec<String>,

    /// Days until it expires.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=3650)
    )]
    pub days: u32,

    /// Sign it with an authority of your own, ca.pem and ca-key.pem in DIRECTORY, which are made if they are not
    /// there: what trusts ca.pem trusts all that it signs.
    #[arg(long)]
    pub local_ca: bool,

    /// Make a certificate for a client of this name instead, client.pem and client-key.pem, signed by that authority:
    /// for listen.client_ca.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub client: Option<String>,

    /// Replace files that exist; an authority that is there stays.
    #[arg(long)]
    pub force: bool,
}

/// What `completions` takes.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// For this shell; written to standard output.
    #[arg(value_enum)]
    pub shell: Shell,
}

const COMPLETIONS_EXAMPLES: &str = "\
Where shells look for it:
  holdfast completions bash > /usr/share/bash-completion/completions/holdfast
  holdfast completions zsh > /usr/share/zsh/vendor-completions/_holdfast
  holdfast completions fish > /usr/share/fish/vendor_completions.d/holdfast.fish";

/// What `man` takes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Into this directory, which is made if it is not there, such as /usr/share/man/man1.
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
}
