//! The workers' settings out of the configuration.

use std::{num::NonZeroUsize, time::Duration};

use crate::config::{self, Config, SessionSettings};

use super::MediaSettings;

impl MediaSettings {
    /// What the configuration says of the workers.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let settings = Self::of(&config.media, &config.session);
        // Two on one core would make each other's packets wait.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { workers: settings.workers.min(cores), ..settings }
    }

    fn of(media: &config::MediaSettings, session: &SessionSettings) -> Self {
        let video = &session.video;
        Self {
            listen: media.listen,
            advertise: media.advertise.clone(),
            tcp: media.tcp,
            tcp_connections_max: media.tcp_connections_max,
            tcp_output_bytes_max: media.tcp_output_bytes_max,
            tcp_unchecked_max: media.tcp_unchecked_max,
            tcp_unchecked_bytes_max: media.tcp_unchecked_bytes_max,
            tcp_unchecked_connections_max: media.tcp_unchecked_connections_max,
            tcp_unchecked_per_address_max: media.tcp_unchecked_per_address_max,
            socket_buffer_bytes: media.socket_buffer_bytes,
            upstream_sockets_max: media.upstream_sockets_max,
            workers: media.workers,
            streams_max: media.streams_max,
            rtx_cache_bytes_max: media.rtx_cache_bytes_max,
            bitrate_max: media.stream_bits_per_second_max,
            addresses_per_transport_max: media.addresses_per_transport_max,
            checks_per_second_max: media.checks_per_second_max,
            check_bitrate: session.checks_bitrate(),
            bitrate_check_interval: video.bitrate_check_interval,
            bitrate_max_tries: video.bitrate_max_tries,
            change_codec: video.retry_without_h264,
            upstream_connect_max: media.upstream_connect_timeout,
            client_silence: media.client_silence,
            client_revive_tries_max: media.client_revive_tries_max,
            client_connect_max: media.client_connect_timeout,
            // Of these the configuration does not speak.
            upstream_silence: Duration::from_millis(1_200),
            media_pause: Duration::from_secs(2),
            play_pause: Duration::from_secs(2),
            publish_pause: Duration::from_secs(1),
            idle_proof: Duration::from_millis(1500),
            key_frame_retry: Duration::from_millis(100),
            stats_interval: Duration::from_secs(5),
        }
    }
}

impl Default for MediaSettings {
    /// What an empty configuration says.
    fn default() -> Self {
        Self::of(&config::MediaSettings::default(), &SessionSettings::default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    #[test]
    fn the_defaults_of_both_are_the_same() {
        let text = "[upstream]\nurl = [\"ws://127.0.0.1:1\"]\n";
        let config = Config::parse(text, Path::new("x.toml"), &Overrides::default()).unwrap();
        let (ours, theirs) = (MediaSettings::from_config(&config), MediaSettings::default());
        let ours = MediaSettings { workers: theirs.workers, ..ours };
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
