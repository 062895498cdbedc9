//! Section `[limits]`: what the proxy as a whole, and one socket of it, may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::{Between, MaybeBetween, Ms};

/// What becomes of sessions when the process is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownMode {
    /// They are closed one after the other.
    #[default]
    Paced,
    /// They stay until they end by themselves, or `stay_ms_max` is over.
    Stay,
}

/// Bounds on sockets, messages and the end of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Most sessions at the same time, waiting handshakes included; more get 503. `None`: what
    /// the limit on open files allows.
    #[serde(with = "MaybeBetween::<1, 10_000_000>")]
    pub sessions_max: Option<usize>,
    /// Most sessions of one client address; more get 429. IPv6 addresses count by their /64, in this
    /// and the following. Default 0 = no limit.
    #[serde(with = "Between::<0, 10_000_000>")]
    pub address_sessions_max: usize,
    /// Most connections of one address that are no session yet: without a request, held, or open and
    /// not taken by the server. Never more than half of what fits in all. Default 10,000; 0 = that half
    /// alone.
    #[serde(with = "Between::<0, 10_000_000>")]
    pub address_unauthenticated_max: usize,
    /// Handshakes per second of one address; ten seconds' worth may come at once. Default 1000;
    /// 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub address_handshakes_per_second: u32,
    /// First messages per second of one address, alike. Default 1000; 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub address_first_messages_per_second: u32,
    /// Handshakes per second of all clients together, alike; more get 429. Default 0 = no limit.
    #[serde(with = "Between::<0, 10_000_000>")]
    pub handshakes_per_second: u32,
    /// Longest life of a session: then it is closed with 1012, and its page connects anew. Each has a life of
    /// its own, up to a tenth shorter, so that sessions that came together do not leave together. Default 0 = any.
    #[serde(rename = "session_life_max_ms", with = "Ms::<0, 31_536_000_000>")]
    pub session_life_max: Duration,
    /// Most addresses for which a rate is remembered; those that owe least are forgotten first.
    /// Default 100,000.
    #[serde(with = "Between::<1, 10_000_000>")]
    pub addresses_max: usize,
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
    /// A peer that has bytes waiting has to take `stall_bytes_min` of them in this time, or it is
    /// dropped. Default 30 s; zero = never.
    #[serde(rename = "stall_timeout_ms", with = "Ms::<0, 3_600_000>")]
    pub stall_timeout: Duration,
    /// What a peer that lags behind has to take in `stall_timeout`; all that waits, if that is less.
    /// Default 64 KiB.
    #[serde(with = "Between::<1, 1_073_741_824>")]
    pub stall_bytes_min: usize,
    /// A session that is only passed through, or a media socket of no session here, ends when
    /// nothing comes from either side for this long. Default 10 min; zero = never.
    #[serde(rename = "passthrough_idle_timeout_ms", with = "Ms::<0, 86_400_000>")]
    pub passthrough_idle_timeout: Duration,
    /// How long the media socket of an MSE or WSPlayer player stays open while its session has no
    /// upstream (protocol S2.9); then it is closed. Default 5 min.
    #[serde(rename = "media_socket_wait_ms", with = "Ms::<0, 3_600_000>")]
    pub media_socket_wait: Duration,
    /// The memory budget of the process, in bytes. `None`: 75 % of the memory of the machine or of
    /// the limit of its control group, whichever is lower.
    #[serde(with = "MaybeBetween::<16_777_216, 1_125_899_906_842_624>")]
    pub memory_bytes_max: Option<u64>,
    /// Percent of the budget from which new sessions get 503. Default 85.
    #[serde(with = "Between::<1, 100>")]
    pub memory_short_percent: u8,
    /// Percent of the budget from which the sessions with the largest unfinished message are closed
    /// with 1009. Default 95.
    #[serde(with = "Between::<1, 100>")]
    pub memory_full_percent: u8,
    /// Percent of the budget that all sessions together may keep to restore their clients.
    /// Default 10.
    #[serde(with = "Between::<1, 100>")]
    pub kept_memory_percent_max: u8,
    /// How often the upstream of a media socket is dialled again while its session stands, with the
    /// backoff of `[restore]`, until a connection lasts; then the player is closed. Default 10.
    #[serde(with = "Between::<0, 10_000>")]
    pub media_socket_tries_max: u32,
    /// From SIGTERM, SIGINT, SIGQUIT or `holdfast drain-self` on, for how long new sessions are still taken while
    /// balancers notice that they are not wanted any more. Default 0.
    #[serde(rename = "ready_grace_ms", with = "Ms::<0, 600_000>")]
    pub ready_grace: Duration,
    /// What becomes of the sessions that are there then. Default `paced`.
    pub shutdown_mode: ShutdownMode,
    /// How long sessions stay at most where `shutdown_mode` is `stay`. Default 1 h.
    #[serde(rename = "stay_ms_max", with = "Ms::<0, 604_800_000>")]
    pub stay_max: Duration,
    /// The time within which sessions that are left are closed, one after the other, and the process ends.
    /// Default 5 s.
    #[serde(rename = "shutdown_ms_max", with = "Ms::<0, 3_600_000>")]
    pub shutdown_max: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            sessions_max: None,
            address_sessions_max: 0,
            address_unauthenticated_max: 10_000,
            address_handshakes_per_second: 1_000,
            address_first_messages_per_second: 1_000,
            handshakes_per_second: 0,
            session_life_max: Duration::ZERO,
            addresses_max: 100_000,
            message_bytes_max: 16 * 1024 * 1024,
            client_buffer_bytes_max: 1024 * 1024,
            upstream_buffer_bytes_max: 1024 * 1024,
            stall_timeout: Duration::from_secs(30),
            stall_bytes_min: 64 * 1024,
            passthrough_idle_timeout: Duration::from_secs(600),
            media_socket_wait: Duration::from_secs(300),
            memory_bytes_max: None,
            memory_short_percent: 85,
            memory_full_percent: 95,
            kept_memory_percent_max: 10,
            media_socket_tries_max: 10,
            ready_grace: Duration::ZERO,
            shutdown_mode: ShutdownMode::default(),
            stay_max: Duration::from_secs(3_600),
            shutdown_max: Duration::from_secs(5),
        }
    }
}
