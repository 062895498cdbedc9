//! Section `[limits]`: what the proxy as a whole, and one socket of it, may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::{Between, MaybeBetween, Ms};

/// Bounds on sockets, messages and the end of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Most sessions at the same time, waiting handshakes included; more get 503. `None`: what
    /// the limit on open files allows.
    #[serde(with = "MaybeBetween::<1, 10_000_000>")]
    pub sessions_max: Option<usize>,
    /// Largest message in either direction, in bytes; a larger one closes its socket with 1009.
    /// Default 16 MiB.
    #[serde(with = "Between::<65_536, 1_073_741_824>")]
    pub message_bytes_max: usize,
    /// Bytes that may wait to be written to one client before reading from its upstream pauses;
    /// a single message may exceed it. Default 1 MiB.
    #[serde(with = "Between::<4_096, 1_073_741_824>")]
    pub client_buffer_bytes_max: usize,
    /// Bytes that may wait to be written to one upstream connection before reading from its
    /// client pauses; a single message may exceed it. Default 1 MiB.
    #[serde(with = "Between::<4_096, 1_073_741_824>")]
    pub upstream_buffer_bytes_max: usize,
    /// A peer that has bytes waiting and takes none of them for this long is dropped.
    /// Default 30 s; zero = never.
    #[serde(rename = "stall_timeout_ms", with = "Ms::<0, 3_600_000>")]
    pub stall_timeout: Duration,
    /// How long the media socket of an MSE or WSPlayer player stays open while its session has no
    /// upstream (protocol S2.9); then it is closed. Default 5 min.
    #[serde(rename = "media_socket_wait_ms", with = "Ms::<0, 3_600_000>")]
    pub media_socket_wait: Duration,
    /// Longest time from SIGTERM, SIGINT or SIGQUIT to the end of the process. Default 5 s.
    #[serde(rename = "shutdown_ms_max", with = "Ms::<0, 600_000>")]
    pub shutdown_max: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            sessions_max: None,
            message_bytes_max: 16 * 1024 * 1024,
            client_buffer_bytes_max: 1024 * 1024,
            upstream_buffer_bytes_max: 1024 * 1024,
            stall_timeout: Duration::from_secs(30),
            media_socket_wait: Duration::from_secs(300),
            shutdown_max: Duration::from_secs(5),
        }
    }
}
