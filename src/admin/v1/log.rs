//! `GET /v1/log`: the newest lines of the log, for those alone who may change things: what the log tells of clients is
//! more than the present state.

use axum::{Extension, Json, http::StatusCode};
use serde_json::{Value, json};

use crate::{admin::access::Allowed, telemetry};

use super::{Answer, Refused};

pub(super) async fn log(Extension(allowed): Extension<Allowed>) -> Answer<Value> {
    if allowed == Allowed::Loopback {
        let why = "the log takes the token (Authorization: Bearer …) or the Unix socket (admin.socket)";
        return Err(Refused(StatusCode::FORBIDDEN, why.to_owned()));
    }
    Ok(Json(json!({ "lines": telemetry::recent_lines() })))
}
