//! What the session core goes by: plain data, no IO. Sections `[restore]`, `[hold]`,
//! `[keepalive]`, `[session]`, `[video]` and `[app."KEY"]`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    number::{Between, Ms},
    restore::{RestoreMode, RestoreSettings},
};

/// All settings of the session core; one value is shared by all sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// How sessions and streams come back.
    pub restore: RestoreSettings,
    /// What is kept for the next upstream during an outage.
    pub hold: HoldSettings,
    /// When silence counts as a loss.
    pub keepalive: KeepaliveSettings,
    /// How much one session may ask to remember.
    pub bounds: SessionBounds,
    /// The vendor's checks of published video.
    pub video: VideoSettings,
    /// Exceptions by `appKey`.
    pub apps: BTreeMap<String, AppSettings>,
    /// `upstream.locality`: a session goes to the node where the stream runs that it first asks for, or where
    /// the room is that it first joins (R16).
    pub locality: bool,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            restore: RestoreSettings::default(),
            hold: HoldSettings::default(),
            keepalive: KeepaliveSettings::default(),
            bounds: SessionBounds::default(),
            video: VideoSettings::default(),
            apps: BTreeMap::new(),
            locality: true,
        }
    }
}

impl SessionSettings {
    /// The restore mode for a session of this application, before `auto` is decided.
    #[must_use]
    pub fn restore_mode(&self, app_key: Option<&str>) -> RestoreMode {
        self.app(app_key).and_then(|app| app.restore_mode).unwrap_or(self.restore.mode)
    }

    /// The check of published video for a session of this application.
    #[must_use]
    pub fn check_bitrate(&self, app_key: Option<&str>) -> CheckBitrate {
        self.app(app_key).and_then(|app| app.check_bitrate).unwrap_or(self.video.check_bitrate)
    }

    fn app(&self, app_key: Option<&str>) -> Option<&AppSettings> {
        app_key.and_then(|key| self.apps.get(key))
    }

    /// Whether published video is checked for any application.
    #[must_use]
    pub fn checks_bitrate(&self) -> bool {
        let apps = self.apps.values().filter_map(|app| app.check_bitrate);
        apps.chain([self.video.check_bitrate]).any(|check| check != CheckBitrate::Off)
    }
}

/// What clients say during an outage is held for the next upstream, within these bounds; what
/// exceeds one of them is answered as lost (protocol S4.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldSettings {
    /// Longest time one message is held. Default 30 s.
    #[serde(rename = "ms_max", with = "Ms::<0, 600_000>")]
    pub time_max: Duration,
    /// Most messages held per session. Default 64.
    #[serde(with = "Between::<0, 65_536>")]
    pub count_max: usize,
    /// Most bytes held per session. Default 1 MiB.
    #[serde(with = "Between::<0, 1_073_741_824>")]
    pub bytes_max: usize,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self { time_max: Duration::from_secs(30), count_max: 64, bytes_max: 1024 * 1024 }
    }
}

/// Pings and patience in both directions (R12, protocol S6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveSettings {
    /// Vendor's "pings check period": time between two pings to the client, and the period at
    /// which pings of the upstream are expected. Default 5 s; zero = no pings, no checks.
    #[serde(rename = "ping_period_ms", with = "Ms::<0, 600_000>")]
    pub ping_period: Duration,
    /// Vendor's "missing pings": a client that answers no ping for the time of so many periods is
    /// gone. Default 10; 0 = never.
    #[serde(with = "Between::<0, 10_000>")]
    pub missing_pings: u32,
    /// After this many silent periods of the upstream it is probed (WebSocket ping, a new dial).
    /// Default 2; 0 = no probes.
    #[serde(with = "Between::<0, 10_000>")]
    pub probe_missed_pings: u32,
    /// How long an upstream that is probed may take to answer, until its node is dialled a second time
    /// beside the silent connection. Default 400 ms; zero = it is not.
    #[serde(rename = "probe_answer_ms", with = "Ms::<0, 600_000>")]
    pub probe_answer: Duration,
    /// A connection that is silent for this long while its node answers that second dial is lost. One
    /// whose node does not answer, while another node would, is lost at once. Default 3 s; zero = never
    /// by that.
    #[serde(rename = "stale_silence_ms", with = "Ms::<0, 3_600_000>")]
    pub stale_silence: Duration,
    /// An upstream without any byte for this long is lost. Default 15 s; zero = never.
    #[serde(rename = "upstream_silence_ms", with = "Ms::<0, 3_600_000>")]
    pub upstream_silence: Duration,
}

impl Default for KeepaliveSettings {
    fn default() -> Self {
        Self {
            ping_period: Duration::from_secs(5),
            missing_pings: 10,
            probe_missed_pings: 2,
            probe_answer: Duration::from_millis(400),
            stale_silence: Duration::from_secs(3),
            upstream_silence: Duration::from_secs(15),
        }
    }
}

/// Section `[session]`: how much one session may ask to remember. What exceeds a bound is passed
/// on but not restored, with a log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionBounds {
    /// Streams (publishes and plays) at the same time. Default 256.
    #[serde(with = "Between::<1, 65_536>")]
    pub streams_max: usize,
    /// Calls at the same time. Default 64.
    #[serde(with = "Between::<1, 65_536>")]
    pub calls_max: usize,
    /// Rooms at the same time. Default 64.
    #[serde(with = "Between::<1, 65_536>")]
    pub rooms_max: usize,
    /// Requests that wait for their answer. Default 256.
    #[serde(with = "Between::<1, 65_536>")]
    pub pending_requests_max: usize,
    /// Bytes kept for one stream, room or request. A message over it is passed on but not kept:
    /// its stream is reported after an outage, not restored. Default 64 KiB.
    #[serde(with = "Between::<1_024, 16_777_216>")]
    pub stream_bytes_max: usize,
    /// Bytes kept for one session. One whose `connection` is over it is only passed through.
    /// Default 1 MiB.
    #[serde(with = "Between::<16_384, 1_073_741_824>")]
    pub bytes_max: usize,
    /// Longest id or name that is kept. Default 1 KiB.
    #[serde(with = "Between::<64, 65_536>")]
    pub id_bytes_max: usize,
}

impl Default for SessionBounds {
    fn default() -> Self {
        Self {
            streams_max: 256,
            calls_max: 64,
            rooms_max: 64,
            pending_requests_max: 256,
            stream_bytes_max: 64 * 1024,
            bytes_max: 1024 * 1024,
            id_bytes_max: 1024,
        }
    }
}

/// Vendor's "check bitrate".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "clap", value(rename_all = "snake_case"))]
pub enum CheckBitrate {
    /// A publisher that sends no video is asked for key frames and told in the log, never FAILED:
    /// still canvases and slow cameras are legal. If it was answered H264 and ends without having
    /// sent any, its next publish is answered without H264.
    #[default]
    On,
    /// As `on`, and a publisher that never sent video is reported FAILED; one that did and pauses
    /// is not.
    NeverSent,
    /// Every pause of the video is FAILED, as in the vendor's example.
    Strict,
    /// No check.
    Off,
}

/// Section `[video]`: the vendor's checks of published video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoSettings {
    /// Vendor's "change codec": a publish that the upstream refuses is tried again without H264
    /// before the client hears of it. Default true.
    pub retry_without_h264: bool,
    /// Vendor's "check bitrate". Takes effect with anchored media only. Default `on`.
    pub check_bitrate: CheckBitrate,
    /// Vendor's "bitrate check interval". Default 500 ms; zero = no check.
    #[serde(rename = "bitrate_check_interval_ms", with = "Ms::<0, 60_000>")]
    pub bitrate_check_interval: Duration,
    /// Vendor's "bitrate max tries": checks without video until the verdict. Default 3;
    /// 0 = no check.
    #[serde(with = "Between::<0, 1_000>")]
    pub bitrate_max_tries: u32,
    /// For how long after the end of a publish that was answered H264 and sent no video the same
    /// client's next publish of that name is answered without H264, in whatever session.
    /// Default 60 s; zero = in the same session only.
    #[serde(rename = "h264_in_vain_ms", with = "Ms::<0, 3_600_000>")]
    pub h264_in_vain: Duration,
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self {
            retry_without_h264: true,
            check_bitrate: CheckBitrate::On,
            bitrate_check_interval: Duration::from_millis(500),
            bitrate_max_tries: 3,
            h264_in_vain: Duration::from_secs(60),
        }
    }
}

/// Section `[app."KEY"]`: exceptions for the sessions of one `appKey`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppSettings {
    /// Instead of `restore.mode`.
    pub restore_mode: Option<RestoreMode>,
    /// Instead of `video.check_bitrate`.
    pub check_bitrate: Option<CheckBitrate>,
}
