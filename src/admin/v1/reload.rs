//! `/v1/reload`: the configuration is read again, and what became of that.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    super::{Desk, access::Allowed},
    Answer, Refused,
};
use crate::{net::ReloadOutcome, telemetry::events};

/// The last report, and what is in force.
pub(super) async fn last(State(desk): State<Arc<Desk>>) -> Answer<Value> {
    let proxy = desk.proxy()?;
    let (generation, config_hash) = proxy.configuration();
    Ok(Json(json!({ "generation": generation, "config_hash": config_hash, "last": proxy.last_reload() })))
}

/// Reads it again. One at a time: whoever comes meanwhile waits.
pub(super) async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
) -> Result<Response, Refused> {
    desk.proxy()?;
    let unavailable = |why: &str| Refused(StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    let (told, patience) = {
        let setup = desk.board.now();
        let reloading = setup.reloading.as_ref();
        let reloading =
            reloading.ok_or_else(|| unavailable("this proxy has no configuration to read again"))?;
        let told = reloading.ask().ok_or_else(|| unavailable("as many wait for a reload as may"))?;
        // The answer has to be written within the time of the request.
        (told, setup.settings.request_timeout / 5 * 4)
    };
    let report = match timeout(patience, told).await {
        Ok(Ok(report)) => report,
        Ok(Err(_)) => return Err(unavailable("the proxy ends")),
        Err(_) => {
            let text = "it goes on; GET /v1/reload tells what became of it";
            return Ok((StatusCode::ACCEPTED, Json(json!({ "pending": text }))).into_response());
        }
    };
    let is_refused = report.result == ReloadOutcome::Refused;
    events::admin_action("reload", "", &allowed, !is_refused);
    let status = if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Json(report)).into_response())
}
