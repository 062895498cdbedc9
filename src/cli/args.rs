//! What can be typed: commands, flags and their help. Only parsing; what follows from it lives
//! with each command.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::admin::AdminArgs;
use crate::config::{
    AdminAddress, Config, ConfigError, Environment, ListenAddress, LogFormat, LogLevel, LogTarget, MediaMode,
    NodeUrl, Overrides, RestoreMode, loopback_address, media_address,
};
use crate::load::{Media, Scenario};

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
 78  a running proxy refuses its new configuration";

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

/// The environment variable that names the configuration file.
const CONFIG_VARIABLE: &str = "HOLDFAST_CONFIG";

/// Flags that stand for settings; they go before the environment, and that before the configuration file.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Configuration file; config/holdfast.toml shows every setting. Each can be set by the environment as well:
    /// HOLDFAST_SECTION__KEY. [default: HOLDFAST_CONFIG, else none]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address for clients: IP:PORT, :PORT or localhost:PORT, or with ws:// or wss:// in front. Repeatable.
    /// [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", help_heading = "Clients")]
    pub listen: Vec<ListenAddress>,

    /// PEM file with the certificate chain for wss, leaf first.
    #[arg(long, value_name = "FILE", help_heading = "Clients")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", help_heading = "Clients")]
    pub tls_key: Option<PathBuf>,

    /// Web Call Server to pass clients on to: ws://HOST:PORT or wss://HOST:PORT, with NAME= before it
    /// to give it a name. Repeatable.
    #[arg(short, long, value_name = "[NAME=]URL", help_heading = "Servers")]
    pub upstream: Vec<NodeUrl>,

    /// PEM file with the certificates that sign those of wss servers. [default: public roots]
    #[arg(long, value_name = "FILE", help_heading = "Servers")]
    pub upstream_ca: Option<PathBuf>,

    /// What becomes of a running WebRTC stream when its server is lost. [default: auto]
    #[arg(long, value_name = "MODE", help_heading = "Restore")]
    pub restore_mode: Option<RestoreMode>,

    /// Sessions per second that restores may dial per server; 0 = no limit. [default: 1000]
    #[arg(
        long,
        value_name = "N",
        help_heading = "Restore",
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub restore_rate: Option<u32>,

    /// Who carries WebRTC media. [default: anchor]
    #[arg(long, value_name = "MODE", help_heading = "Media")]
    pub media: Option<MediaMode>,

    /// UDP address for the media of clients (anchor). [default: [::]:20900, which is IPv4 as well]
    // The help shows the address as it is typed, where rustdoc sees a link.
    #[allow(rustdoc::broken_intra_doc_links)]
    #[arg(long, value_name = "IP:PORT", value_parser = media_address, help_heading = "Media")]
    pub media_listen: Option<SocketAddr>,

    /// Addresses to give to clients for their media (anchor), separated by commas.
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = "Media")]
    pub media_advertise: Vec<IpAddr>,

    /// Where `holdfast status` asks, and /v1 is: IP:PORT, or off. [default: 127.0.0.1:8089]
    #[arg(long, value_name = "IP:PORT", help_heading = "Admin")]
    pub admin: Option<AdminAddress>,

    /// Where log lines go; the file is log.file. [default: stderr]
    #[arg(long, value_name = "TARGET", help_heading = "Log")]
    pub log_target: Option<LogTarget>,

    /// How log lines look. [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: Option<LogFormat>,

    /// The least important lines to write. The environment variable HOLDFAST_LOG (a filter such
    /// as holdfast::session=debug,info) goes before it. [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    pub log_level: Option<LogLevel>,
}

impl SettingsArgs {
    /// The configuration that these flags, the environment and the file they name make.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.file().as_deref(), &self.overrides())
    }

    /// The configuration file: that of the flag, else that of `HOLDFAST_CONFIG`.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        self.config.clone().or_else(|| variable().map(PathBuf::from))
    }

    /// What flags and environment say over the file, for a first load and for each that follows.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            environment: Environment::of_process(),
            listen: self.listen.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            upstream: self.upstream.clone(),
            upstream_ca: self.upstream_ca.clone(),
            restore_rate: self.restore_rate,
            restore_mode: self.restore_mode,
            media: self.media,
            media_listen: self.media_listen,
            media_advertise: self.media_advertise.clone(),
            admin: self.admin,
            log_target: self.log_target,
            log_format: self.log_format,
            log_level: self.log_level,
        }
    }
}

/// `holdfast drain` and `holdfast maintenance`.
#[derive(Args, Debug)]
pub struct EmptyArgs {
    /// Name of the node, as `holdfast status` shows it.
    pub node: String,

    /// Sessions that move per second, at most. [default: 20]
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,

    /// Show how far it is until the node is empty. Ctrl-C ends the looking, not the drain.
    #[arg(long)]
    pub wait: bool,

    /// After so long (such as 30s or 10m) restore those that cannot move unseen elsewhere, as after an outage.
    /// [default: they stay until they end]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub force_after: Option<std::time::Duration>,

    /// Also if no other node of its pool is up.
    #[arg(long)]
    pub force: bool,

    /// One line of JSON in place of words.
    #[arg(long)]
    pub json: bool,

    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `holdfast undrain`.
#[derive(Args, Debug)]
pub struct UndrainArgs {
    /// Name of the node.
    pub node: String,

    /// One line of JSON in place of words.
    #[arg(long)]
    pub json: bool,

    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `holdfast drain-self`.
#[derive(Args, Debug)]
pub struct LeaveArgs {
    /// For so long (such as 10s) new sessions are still taken, while balancers notice that they are not wanted.
    /// [default: limits.ready_grace_ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub grace: Option<std::time::Duration>,

    /// Then for so long (such as 1h) sessions that are there stay, unless they end by themselves; 0s closes them.
    /// [default: as limits.shutdown_mode says]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub stay_for: Option<std::time::Duration>,

    /// The rest is closed within this time, one after the other. [default: limits.shutdown_ms_max]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub over: Option<std::time::Duration>,

    /// Call it off. Only while new sessions are still taken.
    #[arg(long, conflicts_with_all = ["grace", "stay_for", "over", "wait"])]
    pub cancel: bool,

    /// Return when the proxy has ended, and tell each stage. Ctrl-C ends the looking, not the drain.
    #[arg(long)]
    pub wait: bool,

    /// One line of JSON in place of words.
    #[arg(long)]
    pub json: bool,

    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `holdfast rebalance`.
#[derive(Args, Debug)]
pub struct RebalanceArgs {
    /// Sessions that move per second, at most, all nodes together. [default: 20]
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,

    /// Show how far it is until it is done.
    #[arg(long)]
    pub wait: bool,

    /// One line of JSON in place of words.
    #[arg(long)]
    pub json: bool,

    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

const RELOAD_EXIT_CODES: &str = "\
Exit codes:
   0  the new configuration is in force, or nothing changed
  69  no proxy answers, or it does not let this change anything
  78  the new configuration is refused; everything stays as it was";

/// `holdfast reload`.
#[derive(Args, Debug)]
#[command(after_help = RELOAD_EXIT_CODES)]
pub struct ReloadArgs {
    /// One line of JSON in place of words.
    #[arg(long)]
    pub json: bool,

    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `holdfast status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// One line of JSON with everything.
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,

    /// A new screen every second, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// `holdfast top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// Print it once, as text.
    #[arg(long)]
    pub once: bool,
}

/// `holdfast demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where the page is.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback_address, default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,

    /// Without a browser: built-in clients, a server killed, one drained, both killed, told in lines.
    #[arg(long)]
    pub headless: bool,

    /// Who carries WebRTC media.
    #[arg(long, value_name = "MODE", default_value = "anchor")]
    pub media: MediaMode,

    /// Directory of the npm package @flashphoner/websdk: the page can then be switched to the
    /// vendor's SDK. [default: looked for in node_modules and tests/browser/node_modules]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "headless")]
    pub sdk: Option<PathBuf>,
}

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

/// `holdfast simulate`.
#[derive(Args, Debug, Default)]
pub struct SimulateArgs {
    /// TOML file with settings of the simulated server.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address for clients. Repeatable. [default: 127.0.0.1:18080]
    #[arg(long, value_name = "IP:PORT", value_parser = loopback_address)]
    pub listen: Vec<SocketAddr>,

    /// Address of the HTTP port for faults, switches and counters. [default: 127.0.0.1:18081]
    #[arg(long, value_name = "IP:PORT", value_parser = loopback_address)]
    pub control: Option<SocketAddr>,

    /// Address of the page of figures that WCS has on port 8081: `GET /?action=stat`.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback_address)]
    pub stat: Option<SocketAddr>,

    /// Address of the agent that HAProxy asks, as on port 9707 of WCS. What it says:
    /// `--set agent_says=drain`, or a switch of the control port.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback_address)]
    pub agent: Option<SocketAddr>,

    /// Set anything else by its path: sessions.linger_ms=20000, media=fake. Repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// How log lines look; they go to stderr. [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The least important lines to write. [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

const LOAD_EXAMPLES: &str = "\
Examples:
  holdfast load ws://proxy:8080 --scenario echo --sessions 1000 --rate 2000
      2,000 messages per second over 1,000 sessions, each timed until its answer.

  holdfast load ws://proxy:8080 --scenario publish-play --media real --sessions 30 --players 2
      10 publishers and 20 players of their streams, with audio and video.

  holdfast load ws://proxy:8080 --scenario storm --sessions 500 --hold 60
      500 publishers that watch: restart the server yourself meanwhile.

  holdfast run --listen 127.0.0.1:8080 --upstream ws://127.0.0.1:18080 --media direct &
  holdfast load ws://127.0.0.1:8080 --scenario storm --sessions 100 \\
      --upstream-listens 127.0.0.1:18080 \\
      --upstream-command 'holdfast simulate --listen 127.0.0.1:18080 --set media=fake'
      A storm with a server that is started, killed (SIGKILL) and started again, and the time to
      restore counted from the moment it listens. For a server that runs already as
      `holdfast simulate`: --upstream-control http://127.0.0.1:18081.

Exit codes:
  0   as many sessions and streams were there at the end as --min-survived asks
  1   fewer were
  69  nothing listens at the URL, or the server of --upstream-* cannot be controlled";

/// `holdfast load`.
#[derive(Args, Debug)]
#[command(after_help = LOAD_EXAMPLES)]
pub struct LoadArgs {
    /// What to load: ws://HOST:PORT or wss://HOST:PORT, any server or proxy.
    #[arg(value_name = "URL")]
    pub url: http::Uri,

    /// What the clients do once they are established.
    #[arg(long, value_name = "SCENARIO", default_value = "idle")]
    pub scenario: Scenario,

    /// Number of clients.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub sessions: usize,

    /// New clients per second while they come.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub ramp: u32,

    /// Seconds to stay after the last client came, or after the last outage of --upstream-*.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub hold: u64,

    /// Messages (echo) or publish cycles (publish) per second, all clients together; 0 = none.
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Size of one message (echo).
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub message_bytes: usize,

    /// Messages that a client sends back to back (echo).
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub in_flight: usize,

    /// Local addresses to connect from, in turn; one has about 28,000 ports.
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub from: Vec<IpAddr>,

    /// PEM file with the certificates to trust for wss. [default: public roots]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// How long a client may take to be established.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub connect_timeout_ms: u64,

    /// Players of each published stream (publish-play, storm); they are among --sessions.
    /// [default: 1 in publish-play, 0 in storm]
    #[arg(long, value_name = "N", help_heading = "Streams")]
    pub players: Option<usize>,

    /// What streams carry.
    #[arg(long, value_name = "MEDIA", default_value = "signaling", help_heading = "Streams")]
    pub media: Media,

    /// Video of each publisher (real media), in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 500, help_heading = "Streams")]
    pub video_kbps: u32,

    /// Threads that carry real media.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Streams")]
    pub media_threads: usize,

    /// Server to start, to kill (SIGKILL to its process group) and to start again: a command line
    /// for the shell that stays in the foreground.
    #[arg(long, value_name = "COMMAND", help_heading = "Storm", conflicts_with = "upstream_control")]
    pub upstream_command: Option<String>,

    /// Where the server of --upstream-command listens when it is ready.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Storm", requires = "upstream_command")]
    pub upstream_listens: Option<String>,

    /// Control port of a `holdfast simulate` to restart instead: http://IP:PORT.
    #[arg(long, value_name = "URL", help_heading = "Storm")]
    pub upstream_control: Option<http::Uri>,

    /// Seconds from when all streams run to the first kill.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, help_heading = "Storm")]
    pub kill_after: f64,

    /// Seconds from a kill to the start.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds, help_heading = "Storm")]
    pub down: f64,

    /// How many kills.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Storm")]
    pub kills: u32,

    /// Seconds from a kill to the next one, at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = seconds, help_heading = "Storm")]
    pub kill_every: f64,

    /// Share of sessions (and of streams, in scenarios that keep them) that must be there at the end,
    /// in percent; with fewer the exit code is 1.
    #[arg(long, value_name = "PERCENT", default_value_t = 99, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub min_survived: u8,

    /// Pass the bounds that keep a server from being melted by accident.
    #[arg(long)]
    pub no_limit: bool,

    /// Print the summary as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "expected a number that is not negative".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds, 0 to 86400".to_owned())
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
