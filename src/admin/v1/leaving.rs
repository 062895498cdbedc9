//! `/v1/drain-self`: the end of the proxy itself, ordered, looked at, and called off.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Json, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;

use super::{
    super::{Desk, access::Allowed},
    Answer, Refused, read,
};
use crate::{
    net::{LeaveCause, LeaveOrder, LeaveStatus, StayRefused},
    telemetry::events,
};

/// Longest times that can be ordered; those of the settings.
const GRACE_MS_MAX: u64 = 600_000;
const STAY_MS_MAX: u64 = 604_800_000;
const OVER_MS_MAX: u64 = 3_600_000;

/// How the proxy is to end. What is left out is as `[limits]` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Leave {
    /// For so long new sessions are still taken.
    grace_ms: Option<u64>,
    /// Then for so long those that are there stay.
    stay_ms: Option<u64>,
    /// The rest is closed within this time.
    over_ms: Option<u64>,
}

impl Leave {
    fn order(&self, settings: LeaveOrder) -> Result<LeaveOrder, Refused> {
        let time = |given: Option<u64>, name: &str, most: u64, default: Duration| match given {
            Some(given) if given > most => {
                Err(Refused::bad_request(format!("{name}: expected milliseconds, 0 to {most}")))
            }
            given => Ok(given.map_or(default, Duration::from_millis)),
        };
        Ok(LeaveOrder {
            grace: time(self.grace_ms, "grace_ms", GRACE_MS_MAX, settings.grace)?,
            stay: time(self.stay_ms, "stay_ms", STAY_MS_MAX, settings.stay)?,
            over: time(self.over_ms, "over_ms", OVER_MS_MAX, settings.over)?,
        })
    }
}

pub(super) async fn status(State(desk): State<Arc<Desk>>) -> Answer<LeaveStatus> {
    Ok(Json(desk.proxy()?.leaving()))
}

pub(super) async fn begin(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
    body: Bytes,
) -> Result<(StatusCode, Json<LeaveStatus>), Refused> {
    let proxy = desk.proxy()?;
    let order = read::<Leave>(&body)?.order(proxy.order_to_leave())?;
    events::admin_action("drain-self", "", &allowed, true);
    let status = proxy.leave(order, LeaveCause::Operator(&allowed.to_string()));
    Ok((StatusCode::ACCEPTED, Json(status)))
}

pub(super) async fn call_off(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
) -> Answer<LeaveStatus> {
    let proxy = desk.proxy()?;
    let done = proxy.stay();
    events::admin_action("drain-self cancel", "", &allowed, done.is_ok());
    done.map_err(|refused: StayRefused| Refused::conflict(refused.to_string()))?;
    Ok(Json(proxy.leaving()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{config::LimitSettings, milliseconds::ms};

    #[test]
    fn what_is_left_out_is_as_the_settings_say_and_times_are_bounded() {
        let limits = LimitSettings::default();
        let settings = LeaveOrder::of(&limits);
        let of = |text: &str| read::<Leave>(text.as_bytes()).and_then(|leave| leave.order(settings));
        assert_eq!(of("").ok(), Some(settings));
        let hour = of(r#"{"stay_ms":3600000,"grace_ms":0}"#).ok().unwrap();
        assert_eq!((ms(hour.stay), ms(hour.over)), (3_600_000, ms(limits.shutdown_max)));
        for wrong in
            [r#"{"grace_ms":600001}"#, r#"{"stay_ms":604800001}"#, r#"{"over_ms":3600001}"#, r#"{"x":1}"#]
        {
            assert_eq!(of(wrong).err().unwrap().0, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
