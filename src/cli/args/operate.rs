//! Of the commands that look at a running proxy, or change what it does.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use crate::cli::admin::AdminArgs;

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

/// `holdfast record`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("recorded").required(true))]
pub struct RecordArgs {
    /// Where the proxy is asked.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// A session that lives, such as s12. What it was told before is not known: it is shown, and not replayed.
    #[arg(long, value_name = "ID", group = "recorded")]
    pub session: Option<String>,

    /// Whoever publishes or plays the stream of this name.
    #[arg(long, value_name = "NAME", group = "recorded")]
    pub stream: Option<String>,

    /// Whoever comes from this address.
    #[arg(long, value_name = "IP", group = "recorded")]
    pub address: Option<IpAddr>,

    /// It ends after so many seconds, at the latest.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,

    /// It ends when the proxy has so many bytes of it. [default: a quarter of admin.record_bytes_max]
    #[arg(long, value_name = "N")]
    pub bytes: Option<usize>,

    /// Placeholders for names of streams and rooms and for addresses, as well.
    #[arg(long)]
    pub anonymise: bool,

    /// The file that it is written to. It must not be there yet.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `holdfast replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The recording.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// What came of it as one line of JSON, instead of the timeline.
    #[arg(long)]
    pub json: bool,
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
