//! Section `[upstream]`: the nodes behind, and how fast they may be dialled.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    address::UpstreamUrl,
    number::{Between, Ms},
};

/// The upstream nodes and the pace of dialling them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// The nodes, tried in this order; at least one. No default.
    pub url: Vec<UpstreamUrl>,
    /// PEM file with the certificates that sign the upstreams' own. `None`: the public roots.
    pub ca: Option<PathBuf>,
    /// Longest time for one dial: name, TCP, TLS and the answer to the handshake. Default 5 s.
    #[serde(rename = "dial_timeout_ms", with = "Ms::<100, 600_000>")]
    pub dial_timeout: Duration,
    /// While a node is down and somebody waits for it: time between two probes. Default 100 ms.
    #[serde(rename = "probe_interval_ms", with = "Ms::<50, 60_000>")]
    pub probe_interval: Duration,
    /// Dials per second and node that restores may cause, all sessions together, publishers
    /// first. Default 1000; 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub restore_rate: u32,
    /// When many sessions lose a node at once, their first tries are spread over this time.
    /// Default 100 ms; zero = all at once.
    #[serde(rename = "fall_together_spread_ms", with = "Ms::<0, 60_000>")]
    pub fall_together_spread: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            url: Vec::new(),
            ca: None,
            dial_timeout: Duration::from_secs(5),
            probe_interval: Duration::from_millis(100),
            restore_rate: 1_000,
            fall_together_spread: Duration::from_millis(100),
        }
    }
}
