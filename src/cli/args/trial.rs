//! Of the commands for trials: the demo, the stand-in for a server, and the load.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

use crate::{
    config::{LogFormat, LogLevel, MediaMode, loopback_address},
    load::{Media, Scenario},
};

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

    /// File for a recording of what its sessions are told and decide; `holdfast replay` shows it.
    #[arg(long, value_name = "FILE", requires = "headless")]
    pub record: Option<PathBuf>,

    /// Directory of the npm package @flashphoner/websdk: the page can then be switched to the
    /// vendor's SDK. [default: looked for in node_modules and tests/browser/node_modules]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "headless")]
    pub sdk: Option<PathBuf>,
}

/// `holdfast simulate`.
#[derive(Args, Debug, Default)]
pub struct SimulateArgs {
    /// TOML file with settings of the simulated server.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Behave as the server of this transcript did, as far as it was seen: `holdfast probe --save FILE`.
    #[arg(long, value_name = "FILE")]
    pub like: Option<PathBuf>,

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
