//! Publishes, plays, and what is asked of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulator::durations::{millis, optional_millis};
use crate::simulator::media::{AnswerShape, VideoCodec};

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
    /// The hashes of the fingerprints in the answers, as `sha-512`; empty: SHA-256 alone. Real
    /// media only, as the next two.
    pub answer_fingerprints: Vec<String>,
    /// Answer with payload types of the server's own.
    pub own_payload_types: bool,
    /// Reject sections of these kinds: `audio`, `video`.
    pub reject_sections: Vec<String>,
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
            answer_fingerprints: Vec::new(),
            own_payload_types: false,
            reject_sections: Vec::new(),
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
