//! Flags that stand for settings, of `run` and of whatever looks at a configuration.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

use crate::config::{
    AdminAddress, Config, ConfigError, Environment, ListenAddress, LogFormat, LogLevel, LogTarget, MediaMode,
    NodeUrl, Overrides, RestoreMode, media_address,
};

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
