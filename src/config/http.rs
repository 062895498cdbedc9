//! Section `[http]`: requests that are no WebSocket, which routes answer or pass on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::{Between, Ms};

/// What a client may cost that asks by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// How long a connection stays open for its next request. Default 15 s; zero = one request for each.
    #[serde(rename = "keep_alive_ms", with = "Ms::<0, 3_600_000>")]
    pub keep_alive: Duration,
    /// How long a client's connection may last: its last answer says that it is. Default 1 h; zero = any time.
    #[serde(rename = "connection_life_ms_max", with = "Ms::<0, 86_400_000>")]
    pub connection_life_max: Duration,
    /// How long a request or an answer that has begun may stand still on either side. Default 60 s.
    #[serde(rename = "idle_timeout_ms", with = "Ms::<100, 3_600_000>")]
    pub idle_timeout: Duration,
    /// Largest body of a request that is passed on, in bytes; a larger one gets 413. Default 0 = any.
    #[serde(with = "Between::<0, 1_125_899_906_842_624>")]
    pub body_bytes_max: u64,
    /// Requests that are passed on at the same time, tunnels among them; more get 503. Default 10,000.
    #[serde(with = "Between::<1, 10_000_000>")]
    pub requests_max: usize,
    /// The same of one address, IPv6 by /64; more get 429. Default 1000; 0 = no limit.
    #[serde(with = "Between::<0, 10_000_000>")]
    pub address_requests_max: usize,
    /// Longest time to connect to a server: name, TCP and TLS. Default 5 s.
    #[serde(rename = "connect_timeout_ms", with = "Ms::<10, 600_000>")]
    pub connect_timeout: Duration,
    /// How long a server may take for its answer from the last of the request on. Default 60 s.
    #[serde(rename = "response_timeout_ms", with = "Ms::<10, 3_600_000>")]
    pub response_timeout: Duration,
    /// Largest head of an answer, in bytes. Default 64 KiB.
    #[serde(with = "Between::<8_192, 1_048_576>")]
    pub response_header_bytes_max: usize,
    /// Connections to the server of one route that are kept for further requests, and for how long. Those of all routes
    /// together take at most a sixteenth of the descriptors for clients. Default 64 and 15 s.
    #[serde(with = "Between::<0, 100_000>")]
    pub server_connections_idle_max: usize,
    /// See before.
    #[serde(rename = "server_connection_idle_ms", with = "Ms::<1, 3_600_000>")]
    pub server_connection_idle: Duration,
    /// Whether servers are told in `Via` that a proxy stands between (RFC 9110 section 7.6.3). Default true.
    pub via: bool,
    /// Requests per second of one address, IPv6 by /64; ten seconds' worth may come at once, more get 429. Default
    /// 1000; 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub address_requests_per_second: u32,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            connection_life_max: Duration::from_secs(3_600),
            idle_timeout: Duration::from_secs(60),
            body_bytes_max: 0,
            requests_max: 10_000,
            address_requests_max: 1_000,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            response_header_bytes_max: 64 * 1024,
            server_connections_idle_max: 64,
            server_connection_idle: Duration::from_secs(15),
            via: true,
            address_requests_per_second: 1_000,
        }
    }
}
