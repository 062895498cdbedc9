//! `holdfast probe`.

use std::path::PathBuf;

use clap::Args;

use crate::probe::{DIALS_MAX, DIALS_MIN};

const PROBE_EXAMPLES: &str = "\
Examples:
  holdfast probe --upstream ws://wcs:8080
      Within 20 seconds, without publishing anything.

  holdfast probe --upstream wss://wcs.example.com:8443 --publish trial --patient
      Asks before it publishes, and takes up to 90 seconds: media, patience, names after a lost socket.

Exit codes:
  0   all that was seen is as Holdfast assumes
  1   something differs
  2   what answers there is no WCS, or nothing answers";

/// `holdfast probe`.
#[derive(Args, Debug)]
#[command(after_help = PROBE_EXAMPLES)]
pub struct ProbeArgs {
    /// What to ask: ws://HOST:PORT or wss://HOST:PORT, with a path, and with NAME:PASSWORD@ if it wants that.
    #[arg(long, value_name = "URL")]
    pub upstream: http::Uri,

    /// PEM file with the certificates to trust for wss. [default: public roots]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Publish under this name and play it, to see what streams and media do. Asks before.
    #[arg(long, value_name = "NAME")]
    pub publish: Option<String>,

    /// Do not ask before publishing.
    #[arg(long, requires = "publish")]
    pub yes: bool,

    /// Take up to 90 seconds, for what shows only then.
    #[arg(long)]
    pub patient: bool,

    /// `appKey` of the connections.
    #[arg(long, value_name = "KEY", default_value = "defaultApp")]
    pub app_key: String,

    /// File with a JSON object for `custom`, where the hooks of the server want one; it is told to nobody else.
    #[arg(long, value_name = "FILE")]
    pub custom: Option<PathBuf>,

    /// `Origin` of the handshakes, where the server lets in some only.
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,

    /// Page of figures to look at: http://HOST:8081/?action=stat.
    #[arg(long, value_name = "URL")]
    pub stat: Option<http::Uri>,

    /// Agent for HAProxy to ask: HOST:9707.
    #[arg(long, value_name = "HOST:PORT")]
    pub agent: Option<String>,

    /// Connections of all kinds together; what is left over is unknown.
    #[arg(long, value_name = "N", default_value_t = DIALS_MAX, value_parser = clap::value_parser!(u32).range(i64::from(DIALS_MIN)..=i64::from(DIALS_MAX)))]
    pub dials_max: u32,

    /// Hide IP addresses in what is printed and saved.
    #[arg(long)]
    pub anonymise: bool,

    /// Write what both sides said, without secrets; `holdfast simulate --like FILE` behaves as that server did.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Write the settings that fit this server, with what was seen of it: a configuration file for `holdfast run`.
    #[arg(long, value_name = "FILE")]
    pub toml: Option<PathBuf>,

    /// Print the report as one line of JSON; docs/probe.md has its keys.
    #[arg(long)]
    pub json: bool,
}
