//! Where answers and media come from.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::simulator::durations::as_millis;
use crate::simulator::media::{DtlsRole, MediaSettings, NetworkConditions};

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
    /// Publishers are asked for key frames when a player wants one. Default: yes.
    pub asks_key_frames: bool,
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
    /// A key frame is asked for when an MSE player has had none for this many milliseconds; 0: only
    /// when one is needed. Default: 2000.
    pub mse_key_frame_ms: u64,
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
            asks_key_frames: media.asks_key_frames,
            dtls_role: DtlsRole::ByShape,
            loss_percent: 0.0,
            jitter_ms: 0,
            silent: false,
            streams_max: media.streams_max,
            mse_key_frame_ms: as_millis(media.mse_key_frame),
        }
    }
}

impl MediaServerSettings {
    pub(in crate::simulator) const fn network(&self) -> NetworkConditions {
        NetworkConditions { loss_percent: self.loss_percent, jitter_ms: self.jitter_ms, silent: self.silent }
    }

    pub(in crate::simulator) fn settings(&self) -> MediaSettings {
        MediaSettings {
            bind_ip: self.bind_ip,
            advertise_ip: self.advertise_ip,
            seed: self.seed,
            randomise: self.randomise,
            rsa_certificate: self.rsa_certificate,
            asks_key_frames: self.asks_key_frames,
            network: self.network(),
            dtls_role: self.dtls_role,
            streams_max: self.streams_max,
            mse_key_frame: Duration::from_millis(self.mse_key_frame_ms),
            ..MediaSettings::default()
        }
    }
}
