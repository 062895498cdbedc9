//! Section `[reload]`: when the configuration is read again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::Ms;

/// When a running proxy reads its configuration again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadSettings {
    /// Whether it does when a file of it is another one than it was. Default false: it does when it is told to, by
    /// SIGHUP or `holdfast reload`.
    pub watch: bool,
    /// How often the files are looked at for that; a change is believed when they were the same twice in a row.
    /// Default 1 s.
    #[serde(rename = "watch_interval_ms", with = "Ms::<50, 3_600_000>")]
    pub watch_interval: Duration,
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self { watch: false, watch_interval: Duration::from_secs(1) }
    }
}
