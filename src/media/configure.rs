//! The workers' settings out of the configuration.

use std::num::NonZeroUsize;

use crate::config::{CheckBitrate, Config};

use super::MediaSettings;

impl MediaSettings {
    /// What the configuration says of the workers; everything it does not speak of keeps its
    /// default.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let video = &config.session.video;
        let defaults = Self::default();
        // Two on one core would make each other's packets wait.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            listen: config.media.listen,
            advertise: config.media.advertise.clone(),
            check_bitrate: video.check_bitrate != CheckBitrate::Off,
            bitrate_check_interval: video.bitrate_check_interval,
            bitrate_max_tries: video.bitrate_max_tries,
            change_codec: video.retry_without_h264,
            workers: defaults.workers.min(cores),
            ..defaults
        }
    }
}
