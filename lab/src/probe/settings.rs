//! What a probe is told, and its bounds: it may hurt nobody.

use std::{path::PathBuf, time::Duration};

use http::Uri;
use serde_json::Value;

/// Dials of a run, by default.
pub const DIALS_MAX: u32 = 24;
/// The fewest dials that a run can do anything with.
pub const DIALS_MIN: u32 = 1;
/// Between two dials, at least.
pub(super) const DIAL_INTERVAL: Duration = Duration::from_millis(100);
/// All of a run that waits for nothing.
pub const QUICK_TIME_MAX: Duration = Duration::from_secs(19);
/// What a publish may add to that.
pub const PUBLISH_TIME_MAX: Duration = Duration::from_secs(20);
/// All of a run with patience.
pub const PATIENT_TIME_MAX: Duration = Duration::from_secs(88);
/// Longest message that is read, in bytes (protocol S1).
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Messages that are read on one connection; a server that says more floods.
pub(super) const MESSAGES_MAX: usize = 5_000;
/// What is kept of one connection, in bytes.
pub(super) const HEARD_BYTES_MAX: usize = 32 << 20;
/// How long a name to publish may be, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// One run.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// What to ask: ws:// or wss://, with path, query and credentials.
    pub url: Uri,
    /// File of certificates to trust; none: the public roots.
    pub ca: Option<PathBuf>,
    /// The name to publish; none: nothing is published.
    pub publish: Option<String>,
    /// Wait for what takes time.
    pub patient: bool,
    /// `appKey` of the connections. Default: defaultApp.
    pub app_key: String,
    /// `custom` of the connections, for servers whose hooks ask for it.
    pub custom: Option<Value>,
    /// `Origin` of the handshakes.
    pub origin: Option<String>,
    /// The page of figures: http://HOST:8081/?action=stat.
    pub stat: Option<Uri>,
    /// The agent for HAProxy, as HOST:PORT.
    pub agent: Option<String>,
    /// Dials of all kinds together. Default: [`DIALS_MAX`].
    pub dials_max: u32,
    /// Addresses are hidden in transcripts and reports.
    pub anonymise: bool,
    /// How long a kept session is left, twice, where there is patience. Default: 10 s and 45 s.
    pub kept_looks: [Duration; 2],
}

impl ProbeSettings {
    /// A quick run against `url`.
    #[must_use]
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            ca: None,
            publish: None,
            patient: false,
            app_key: "defaultApp".to_owned(),
            custom: None,
            origin: None,
            stat: None,
            agent: None,
            dials_max: DIALS_MAX,
            anonymise: false,
            kept_looks: [Duration::from_secs(10), Duration::from_secs(45)],
        }
    }

    /// How long the run may take in all.
    #[must_use]
    pub fn time_max(&self) -> Duration {
        match (self.patient, &self.publish) {
            (true, _) => PATIENT_TIME_MAX,
            (false, Some(_)) => QUICK_TIME_MAX + PUBLISH_TIME_MAX,
            (false, None) => QUICK_TIME_MAX,
        }
    }
}
