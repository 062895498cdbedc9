//! What the simulated server is told: every switch of protocol S12, all changeable at run time
//! except the addresses and the kind of media.

mod data;
mod media;
mod sessions;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::durations::millis;

pub use data::{CallOutcome, DataSettings, SipSettings};
pub use media::{MediaMode, MediaServerSettings};
pub use sessions::{
    ConnectRefusal, EmptyData, HandshakeSettings, PingSettings, ResumeMode, SessionSettings, VersionOrder,
};
pub use streams::{SnapshotMode, StreamRefusal, StreamSettings, StreamVerb};

/// Everything that can be set. Missing keys take their defaults, unknown keys are errors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// Addresses for plain WebSocket; port 0 takes a free one. Default: 127.0.0.1:0.
    pub listen: Vec<SocketAddr>,
    /// Addresses and files for TLS. Default: none.
    pub tls: Option<SimulatorTls>,
    /// Address of the control port. Default: none.
    pub control: Option<SocketAddr>,
    /// Address of the page of figures, `?action=stat`. Default: none.
    pub stat: Option<SocketAddr>,
    /// Address of the agent that HAProxy asks. Default: none.
    pub agent: Option<SocketAddr>,
    /// What that agent says: `up`, `75%`, `drain`, `maint`, `down` … Default: `up`.
    pub agent_says: String,
    /// Where answers and media come from. Default: fake.
    pub media: MediaMode,
    /// The media server, when media is real.
    pub media_server: MediaServerSettings,
    /// What `getVersion` says.
    pub server_version: String,
    /// Handshake policy.
    pub handshake: HandshakeSettings,
    /// Pings and pongs.
    pub pings: PingSettings,
    /// Sessions: refusals, linger, resume.
    pub sessions: SessionSettings,
    /// Publishes and plays.
    pub streams: StreamSettings,
    /// `sendData` and the room application.
    pub data: DataSettings,
    /// SIP registration and calls.
    pub sip: SipSettings,
    /// Bounds.
    pub limits: SimulatorLimits,
    /// Milliseconds by which messages of these names are held back; others overtake them.
    pub delay_ms: BTreeMap<String, u64>,
    /// Names of messages that are never sent.
    pub withhold: BTreeSet<String>,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            tls: None,
            control: None,
            stat: None,
            agent: None,
            agent_says: "up".to_owned(),
            media: MediaMode::Fake,
            media_server: MediaServerSettings::default(),
            server_version: "5.2.2000-simulator".to_owned(),
            handshake: HandshakeSettings::default(),
            pings: PingSettings::default(),
            sessions: SessionSettings::default(),
            streams: StreamSettings::default(),
            data: DataSettings::default(),
            sip: SipSettings::default(),
            limits: SimulatorLimits::default(),
            delay_ms: BTreeMap::new(),
            withhold: BTreeSet::new(),
        }
    }
}

impl SimulatorSettings {
    /// These settings with the keys of `changes` replaced; objects are merged, `null` brings back
    /// the default, anything else (lists too) is replaced whole.
    ///
    /// # Errors
    /// When a key is unknown or a value has the wrong form.
    pub fn with(&self, changes: &Value) -> Result<Self, serde_json::Error> {
        let mut merged = serde_json::to_value(self)?;
        overlay(&mut merged, changes);
        serde_json::from_value(merged)
    }
}

fn overlay(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    base.remove(key);
                } else {
                    overlay(base.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (base, changes) => *base = changes.clone(),
    }
}

/// A TLS listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatorTls {
    /// Addresses for WebSocket over TLS.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Bounds of the simulator's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorLimits {
    /// Connections at once; further ones are dropped. Default: 20,000.
    pub connections_max: usize,
    /// Messages waiting for one client; past it the connection is reset. Default: 4,096.
    pub queue_max: usize,
    /// Largest message from a client, in bytes. Default: 16 MiB.
    pub message_bytes_max: usize,
    /// Violations kept in full; all are counted. Default: 1,000.
    pub violations_max: usize,
    /// Events kept in the journal; older ones go. Default: 20,000.
    pub journal_max: usize,
    /// `mediaSessionId`s remembered to notice their reuse. Default: 1,000,000.
    pub ids_max: usize,
    /// Handshakes kept with their headers; older ones go. Default: 2,000.
    pub handshakes_max: usize,
    /// Different verbs, names or infos counted apart; further ones are counted as `other`.
    /// Default: 10,000.
    pub keys_max: usize,
    /// A stop that comes this soon after the end of its stream crossed the news of it and is no
    /// violation. Default: 3 s.
    #[serde(rename = "late_stop_ms_max", with = "millis")]
    pub late_stop_max: Duration,
    /// A handshake must be done within this. Default: 30 s.
    #[serde(rename = "handshake_ms_max", with = "millis")]
    pub handshake_time_max: Duration,
}

impl Default for SimulatorLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            queue_max: 4_096,
            message_bytes_max: 16 << 20,
            violations_max: 1_000,
            journal_max: 20_000,
            ids_max: 1_000_000,
            handshakes_max: 2_000,
            keys_max: 10_000,
            late_stop_max: Duration::from_secs(3),
            handshake_time_max: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_merged_into_nested_settings() {
        let changed = SimulatorSettings::default()
            .with(&json!({"pings": {"interval_ms": 250}, "sessions": {"resume": "new_token"}}))
            .unwrap();
        assert_eq!(changed.pings.interval, Duration::from_millis(250));
        assert_eq!(changed.pings.missed_max, 10);
        assert_eq!(changed.sessions.resume, ResumeMode::NewToken);
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = SimulatorSettings::default().with(&json!({"pings": {"interval": 1}})).unwrap_err();
        assert!(error.to_string().contains("interval"), "{error}");
    }

    #[test]
    fn null_brings_back_the_default() {
        let delayed = SimulatorSettings::default().with(&json!({"delay_ms": {"setRemoteSDP": 5}})).unwrap();
        assert_eq!(delayed.delay_ms.get("setRemoteSDP"), Some(&5));
        assert!(delayed.with(&json!({"delay_ms": null})).unwrap().delay_ms.is_empty());
        let refused =
            delayed.with(&json!({"sessions": {"refuse": {"info": "Bad Gateway", "times": 2}}})).unwrap();
        assert_eq!(refused.sessions.refuse.as_ref().unwrap().times, Some(2));
        assert!(refused.with(&json!({"sessions": {"refuse": null}})).unwrap().sessions.refuse.is_none());
    }
}
