//! Section `[health]`: what balancers and service managers ask.

use serde::{Deserialize, Serialize};

/// Where a proxy says how it is: paths of the client port and of the admin port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// 200 as long as the runtime and the media workers live. Default `/healthz`; empty = off.
    pub live_path: String,
    /// 200 as long as new clients are welcome. Default `/readyz`; empty = off.
    pub ready_path: String,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { live_path: "/healthz".to_owned(), ready_path: "/readyz".to_owned() }
    }
}

impl HealthSettings {
    /// Each setting by its key.
    pub(super) fn paths(&self) -> [(&'static str, &str); 2] {
        [("health.live_path", &self.live_path), ("health.ready_path", &self.ready_path)]
    }
}
