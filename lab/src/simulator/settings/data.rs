//! `sendData`, rooms and calls.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulator::durations::millis;

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
