//! What the simulated server is told: every switch of protocol S12, all changeable at run time
//! except the addresses and the kind of media.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::durations::{millis, optional_millis};
use super::media::{AnswerShape, DtlsRole, MediaSettings, NetworkConditions, VideoCodec};

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

/// Where answers and media come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaMode {
    /// Answers that are well formed but lead nowhere; thousands of sessions are cheap.
    #[default]
    Fake,
    /// A media server of its own behind each answer.
    Real,
}

/// The media server. Loss, jitter and silence can be changed at run time; the rest holds from the
/// next simulated restart on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaServerSettings {
    /// Address that the media sockets bind. Default: 127.0.0.1.
    pub bind_ip: IpAddr,
    /// Address in the candidates. Default: the bound one.
    pub advertise_ip: Option<IpAddr>,
    /// Seed of loss, jitter and randomised numbers.
    pub seed: u64,
    /// Start sequence numbers, timestamps, SSRCs and picture ids towards players at random.
    pub randomise: bool,
    /// Present an RSA-2048 certificate instead of an ECDSA one.
    pub rsa_certificate: bool,
    /// Which side starts the DTLS handshake. Default: as the answer's shape says.
    pub dtls_role: DtlsRole,
    /// Packets lost each way, in percent.
    pub loss_percent: f64,
    /// Packets are held back by at most this many milliseconds.
    pub jitter_ms: u64,
    /// No packet passes in either direction.
    pub silent: bool,
    /// Streams at once. Default: 4096.
    pub streams_max: usize,
}

impl Default for MediaServerSettings {
    fn default() -> Self {
        let media = MediaSettings::default();
        Self {
            bind_ip: media.bind_ip,
            advertise_ip: None,
            seed: 0,
            randomise: false,
            rsa_certificate: false,
            dtls_role: DtlsRole::ByShape,
            loss_percent: 0.0,
            jitter_ms: 0,
            silent: false,
            streams_max: media.streams_max,
        }
    }
}

impl MediaServerSettings {
    pub(super) const fn network(&self) -> NetworkConditions {
        NetworkConditions { loss_percent: self.loss_percent, jitter_ms: self.jitter_ms, silent: self.silent }
    }

    pub(super) fn settings(&self) -> MediaSettings {
        MediaSettings {
            bind_ip: self.bind_ip,
            advertise_ip: self.advertise_ip,
            seed: self.seed,
            randomise: self.randomise,
            rsa_certificate: self.rsa_certificate,
            network: self.network(),
            dtls_role: self.dtls_role,
            streams_max: self.streams_max,
            ..MediaSettings::default()
        }
    }
}

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

/// Publishes and plays (protocol S2.3, S2.4, S8.3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// Form of the answers. Default: A.
    pub answer_shape: AnswerShape,
    /// Codecs that come first in the answers.
    pub prefer_codecs: Vec<VideoCodec>,
    /// Codecs left out of the answers.
    pub exclude_codecs: Vec<VideoCodec>,
    /// Publishes whose offer has one of these fail with "No common codecs".
    pub refuse_publish_codecs: Vec<VideoCodec>,
    /// The same for plays.
    pub refuse_play_codecs: Vec<VideoCodec>,
    /// Answer one payload type only.
    pub single_codec: bool,
    /// Leave retransmission (RTX) out of the answers; real media only.
    pub without_repair: bool,
    /// Wait this long before answering a publish.
    #[serde(rename = "publish_delay_ms", with = "millis")]
    pub publish_delay: Duration,
    /// Wait this long before answering a play.
    #[serde(rename = "play_delay_ms", with = "millis")]
    pub play_delay: Duration,
    /// Wait this long before confirming a stop.
    #[serde(rename = "stop_delay_ms", with = "millis")]
    pub stop_delay: Duration,
    /// Whether the status event comes before the remote SDP. Default: no.
    pub status_before_sdp: bool,
    /// Send a PENDING status first.
    pub pending_first: bool,
    /// Whether `setRemoteSDP` has its third element. Default: yes.
    pub third_sdp_argument: bool,
    /// Refusals of publishes and plays by name, first match wins.
    pub refuse: Vec<StreamRefusal>,
    /// How snapshots are answered.
    pub snapshot: SnapshotMode,
    /// Size of the base64 text of a snapshot, in bytes; 0 sends a 1×1 PNG.
    pub snapshot_bytes: usize,
    /// Between two fake media records. Default: 40 ms.
    #[serde(rename = "fake_frame_interval_ms", with = "millis")]
    pub fake_frame_interval: Duration,
    /// A play in a lost publisher's name is told so. Default: yes; no leaves players in peace.
    pub players_told: bool,
    /// Send `inboundVideoRate`/`outboundVideoRate` this often; 0 (default) never.
    #[serde(rename = "rate_interval_ms", with = "millis")]
    pub rate_interval: Duration,
    /// Media that never arrives fails a publish with "Failed by RTP activity" after this long;
    /// real media only. Default: none.
    #[serde(rename = "rtp_activity_ms", with = "optional_millis")]
    pub rtp_activity: Option<Duration>,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            answer_shape: AnswerShape::A,
            prefer_codecs: Vec::new(),
            exclude_codecs: Vec::new(),
            refuse_publish_codecs: Vec::new(),
            refuse_play_codecs: Vec::new(),
            single_codec: false,
            without_repair: false,
            publish_delay: Duration::ZERO,
            play_delay: Duration::ZERO,
            stop_delay: Duration::ZERO,
            status_before_sdp: false,
            pending_first: false,
            third_sdp_argument: true,
            refuse: Vec::new(),
            snapshot: SnapshotMode::Event,
            snapshot_bytes: 0,
            fake_frame_interval: Duration::from_millis(40),
            players_told: true,
            rate_interval: Duration::ZERO,
            rtp_activity: None,
        }
    }
}

/// A refusal of publishes or plays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamRefusal {
    /// Only this verb: `publish`, `play`, or both when absent.
    pub verb: Option<StreamVerb>,
    /// Only this name.
    pub name: Option<String>,
    /// What the status event says. Default: Failed by error.
    pub info: String,
    /// Say it by `fail` with `apiMethod` StreamStatusEvent, as a refusing hook does, instead of
    /// by a status event.
    pub by_fail: bool,
    /// How many to refuse. Default: none, that is all.
    pub times: Option<u32>,
}

impl Default for StreamRefusal {
    fn default() -> Self {
        Self { verb: None, name: None, info: "Failed by error".to_owned(), by_fail: false, times: None }
    }
}

/// Which way a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamVerb {
    /// From the client.
    Publish,
    /// To the client.
    Play,
}

/// How `snapshot` is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// `notifyStreamEvent` snapshotCompleted.
    #[default]
    Event,
    /// The older status SNAPSHOT_COMPLETE.
    Status,
    /// `notifyStreamEvent` snapshotFailed.
    Fail,
    /// No answer.
    Silent,
}

/// `sendData` and rooms (protocol S2.7).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Fail `sendData` with this info.
    pub fail_info: Option<String>,
    /// Wait this long before `DataStatusEvent`.
    #[serde(rename = "delay_ms", with = "millis")]
    pub delay: Duration,
    /// Send the payload back as `OnDataEvent`.
    pub echo: bool,
    /// The `appKey`s under which room commands are understood. Default: roomApp.
    pub room_app_keys: BTreeSet<String>,
    /// A login that is already in the room is refused; otherwise (default) the new one replaces it.
    pub refuse_second_login: bool,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            fail_info: None,
            delay: Duration::ZERO,
            echo: false,
            room_app_keys: BTreeSet::from(["roomApp".to_owned()]),
            refuse_second_login: false,
        }
    }
}

/// SIP (protocol S2.5, S2.6, S12.6).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SipSettings {
    /// Wait this long before `registered`.
    #[serde(rename = "register_delay_ms", with = "millis")]
    pub register_delay: Duration,
    /// Never send `registered`.
    pub register_never: bool,
    /// Between two steps of an outgoing call (trying, ring, answer). Default: 50 ms.
    #[serde(rename = "step_delay_ms", with = "millis")]
    pub step_delay: Duration,
    /// How outgoing calls go. Default: answered.
    pub outcome: CallOutcome,
}

impl Default for SipSettings {
    fn default() -> Self {
        Self {
            register_delay: Duration::from_millis(50),
            register_never: false,
            step_delay: Duration::from_millis(50),
            outcome: CallOutcome::Answered,
        }
    }
}

/// How outgoing calls go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Trying, ring, answered.
    #[default]
    Answered,
    /// Trying, then `finish` with BUSY.
    Busy,
    /// Trying, then `finish` with FAILED.
    Failed,
    /// Rings for ever.
    Rings,
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
