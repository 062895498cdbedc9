//! What a load run does, and the bounds that keep it from melting a server by accident.

use std::{net::IpAddr, path::PathBuf, time::Duration};

/// What the clients do once they are established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Connect, answer pings, nothing else.
    Idle,
    /// Send `sendData` at the given rate and time its `DataStatusEvent`.
    Echo,
    /// Publish one stream each (signaling only) and keep it; with `--rate`, stop and publish
    /// again at the given rate.
    Publish,
    /// Publish, and watch an outage: a stream that is reported is published again, and what came
    /// back is counted.
    Storm,
}

/// A load run.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// `ws://` or `wss://` URL of what is to be loaded.
    pub url: http::Uri,
    /// Certificates to trust for wss instead of the public roots.
    pub ca: Option<PathBuf>,
    /// What the clients do.
    pub scenario: Scenario,
    /// Number of clients.
    pub sessions: usize,
    /// New clients per second while they come.
    pub ramp_per_s: u32,
    /// How long to stay after the last client came.
    pub hold: Duration,
    /// Messages (echo) or publish cycles per second, over all clients; 0 = none.
    pub rate_per_s: f64,
    /// Size of one `sendData` message, in bytes.
    pub message_bytes: usize,
    /// Messages sent back to back at each turn of a client.
    pub in_flight: usize,
    /// Local addresses to connect from, in turn: one address has about 28,000 ports.
    pub local_addresses: Vec<IpAddr>,
    /// How long a client may take to be established.
    pub connect_timeout: Duration,
}

/// Most clients without `--no-limit`.
pub const SESSIONS_MAX: usize = 20_000;
/// Most messages per second without `--no-limit`.
pub const RATE_MAX: f64 = 50_000.0;
/// Most new clients per second without `--no-limit`.
pub const RAMP_MAX: u32 = 5_000;
/// Largest message, in bytes: what servers and proxies take at most.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

impl LoadSettings {
    /// Checks the run against the bounds.
    ///
    /// # Errors
    /// A sentence that says which bound is passed and how to pass it on purpose.
    pub fn check(&self, no_limit: bool) -> Result<(), String> {
        if self.message_bytes > MESSAGE_BYTES_MAX {
            return Err(format!("--message-bytes may be at most {MESSAGE_BYTES_MAX}"));
        }
        if self.sessions == 0 || self.ramp_per_s == 0 || self.in_flight == 0 {
            return Err("--sessions, --ramp and --in-flight must be at least 1".to_owned());
        }
        if no_limit {
            return Ok(());
        }
        let passed = if self.sessions > SESSIONS_MAX {
            format!("more than {SESSIONS_MAX} sessions")
        } else if self.rate_per_s > RATE_MAX {
            format!("more than {RATE_MAX} messages per second")
        } else if self.ramp_per_s > RAMP_MAX {
            format!("more than {RAMP_MAX} new sessions per second")
        } else {
            return Ok(());
        };
        Err(format!("{passed} can bring a server down; add --no-limit if that is what you want"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn settings(url: &str) -> LoadSettings {
        LoadSettings {
            url: url.parse().unwrap(),
            ca: None,
            scenario: Scenario::Idle,
            sessions: 2,
            ramp_per_s: 100,
            hold: Duration::from_millis(200),
            rate_per_s: 0.0,
            message_bytes: 200,
            in_flight: 1,
            local_addresses: Vec::new(),
            connect_timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn nobody_melts_a_server_by_accident() {
        let mut too_many = settings("ws://127.0.0.1:1");
        too_many.sessions = SESSIONS_MAX + 1;
        assert!(too_many.check(false).unwrap_err().contains("--no-limit"));
        assert_eq!(too_many.check(true), Ok(()));
        let mut too_fast = settings("ws://127.0.0.1:1");
        too_fast.rate_per_s = RATE_MAX * 2.0;
        assert!(too_fast.check(false).is_err());
        too_fast.rate_per_s = 1.0;
        too_fast.ramp_per_s = RAMP_MAX + 1;
        assert!(too_fast.check(false).is_err());
        too_fast.ramp_per_s = 0;
        assert!(too_fast.check(true).is_err(), "nonsense stays nonsense");
        let mut too_big = settings("ws://127.0.0.1:1");
        too_big.message_bytes = MESSAGE_BYTES_MAX + 1;
        assert!(too_big.check(true).is_err());
    }
}
