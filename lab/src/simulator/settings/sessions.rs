//! Handshakes, pings and sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::simulator::durations::millis;

/// How WebSocket handshakes are judged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandshakeSettings {
    /// Refuse handshakes with this HTTP status.
    pub refuse_status: Option<u16>,
    /// How many handshakes `refuse_status` applies to. Default: none, that is all.
    pub refuse_times: Option<u32>,
    /// Value of Retry-After in a refusal, in seconds.
    pub retry_after_s: Option<u32>,
    /// Origins that are let in; empty means all. A refused one gets 403.
    pub origins: Vec<String>,
    /// A cookie (`name=value`) without which the handshake gets 403.
    pub require_cookie: Option<String>,
    /// The Authorization value without which the handshake gets 401.
    pub require_authorization: Option<String>,
    /// A `Sec-WebSocket-Extensions` value put into the 101 whatever the client offered.
    pub answer_extension: Option<String>,
    /// A `Sec-WebSocket-Protocol` value put into the 101 whatever the client offered.
    pub answer_protocol: Option<String>,
    /// Wait this long before answering.
    #[serde(rename = "delay_ms", with = "millis")]
    pub delay: Duration,
}

/// Pings and pongs (protocol S6).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PingSettings {
    /// Between two JSON `ping`s; 0 sends none. Default: 5 s.
    #[serde(rename = "interval_ms", with = "millis")]
    pub interval: Duration,
    /// Missed pongs after which the session ends; 0 never. Default: 10.
    pub missed_max: u32,
    /// Send no pings at all although the interval says so.
    pub stalled: bool,
    /// Also send a WebSocket ping with each JSON one, as `keep_alive.algorithm=INTERNAL` would.
    pub websocket_pings: bool,
    /// Answer a client's `ping` with `pong`. Default: no.
    pub answer_client_pings: bool,
}

impl Default for PingSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            missed_max: 10,
            stalled: false,
            websocket_pings: false,
            answer_client_pings: false,
        }
    }
}

/// Sessions (protocol S7, S12.1, S12.8).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// How long a session whose socket was lost holds its names and ids. Default: 0.
    #[serde(rename = "linger_ms", with = "millis")]
    pub linger: Duration,
    /// Whether a session that was closed with a close frame lingers as well.
    pub linger_after_close: bool,
    /// Streams of a lingering session go on; otherwise they stop and only their names are held.
    pub streams_survive_loss: bool,
    /// What `keepAlive` and a token bring.
    pub resume: ResumeMode,
    /// How long a session that asked for `keepAlive` waits for its client. Default: 60 s.
    #[serde(rename = "keep_alive_linger_ms", with = "millis")]
    pub keep_alive_linger: Duration,
    /// Send the status of each living stream to a resumed session. Default: yes.
    pub status_after_resume: bool,
    /// An unknown `authToken` with `keepAlive`: a new session, or `fail` with this info.
    pub stale_token_info: Option<String>,
    /// Refuse connections.
    pub refuse: Option<ConnectRefusal>,
    /// Wait this long before `getUserData`.
    #[serde(rename = "user_data_delay_ms", with = "millis")]
    pub user_data_delay: Duration,
    /// Where `getVersion` stands. Default: after `getUserData`.
    pub version_order: VersionOrder,
    /// A `webRTCMetricsServerDescription` to put into `getUserData`.
    pub metrics_description: Option<Value>,
    /// Send `ping` with `data` of this form. Default: `[null]`.
    pub empty_data: EmptyData,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            linger_after_close: false,
            streams_survive_loss: false,
            resume: ResumeMode::Off,
            keep_alive_linger: Duration::from_secs(60),
            status_after_resume: true,
            stale_token_info: None,
            refuse: None,
            user_data_delay: Duration::ZERO,
            version_order: VersionOrder::After,
            metrics_description: None,
            empty_data: EmptyData::Null,
        }
    }
}

/// What a `connection` with `keepAlive` and a known token brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeMode {
    /// A new session; the old one ends or lingers as any other.
    #[default]
    Off,
    /// The old session under its token.
    SameToken,
    /// The old session under a new token.
    NewToken,
}

/// Where `getVersion` stands relative to `getUserData`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionOrder {
    /// Before it.
    Before,
    /// After it.
    #[default]
    After,
    /// Not at all.
    Never,
}

/// How a message without payload is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyData {
    /// `[null]`
    #[default]
    Null,
    /// `[]`
    Empty,
}

/// A refusal of `connection` by the backend's hook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectRefusal {
    /// The reason phrase or custom text. Default: Forbidden.
    pub info: String,
    /// Close the socket after `fail`.
    pub close: bool,
    /// Only connections with this `authToken`.
    pub token: Option<String>,
    /// Only connections whose `custom` contains all of this.
    pub custom: Option<Value>,
    /// Only this `appKey`.
    pub app_key: Option<String>,
    /// How many to refuse. Default: none, that is all.
    pub times: Option<u32>,
}

impl Default for ConnectRefusal {
    fn default() -> Self {
        Self {
            info: "Forbidden".to_owned(),
            close: false,
            token: None,
            custom: None,
            app_key: None,
            times: None,
        }
    }
}
