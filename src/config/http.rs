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
            address_requests_per_second: 1_000,
        }
    }
}
