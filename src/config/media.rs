//! Section `[media]`: whether WebRTC media passes through the proxy, and by which door.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// Who carries the media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MediaMode {
    /// Media flows between client and upstream; only signaling passes through the proxy.
    Direct,
    /// Media ends at the proxy and goes on from there: the picture survives its server.
    #[default]
    Anchor,
}

impl fmt::Display for MediaMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_word(*self, f)
    }
}

/// The media side of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaSettings {
    /// Default `anchor`.
    pub mode: MediaMode,
    /// UDP address of the client legs; worker *n* takes this port + *n*. Default `[::]:30900`
    /// (IPv6 and IPv4, or IPv4 alone on a system without IPv6), below the ports that WCS uses for
    /// media. Only used with `anchor`.
    pub listen: SocketAddr,
    /// Addresses to give to clients instead of the one their TCP connection arrived at.
    /// Default none. Only used with `anchor`.
    pub advertise: Vec<IpAddr>,
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self {
            mode: MediaMode::Anchor,
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 30_900)),
            advertise: Vec::new(),
        }
    }
}
