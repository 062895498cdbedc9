//! The versioned interface, `/v1`: what scripts are written against. A field that is there stays there and
//! keeps its meaning; new ones may come. `openapi.json` describes all of it, and a test holds answers against it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Desk, Proxy, refuse};

mod build;
mod events;
mod leaving;
mod log;
mod nodes;
mod recordings;
mod reload;
mod sessions;

pub(super) use nodes::Node as NodeShown;

/// What an answer is: JSON, or why there is none.
type Answer<T> = Result<Json<T>, Refused>;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Why there is no answer.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

impl Refused {
    fn bad_request(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    fn conflict(why: impl Into<String>) -> Self {
        Self(StatusCode::CONFLICT, why.into())
    }

    fn not_found(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }
}

impl Desk {
    fn proxy(&self) -> Result<Arc<Proxy>, Refused> {
        self.running().ok_or_else(|| Refused(StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned()))
    }
}

/// What a request asks for; nothing is the same as `{}`.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refused> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| Refused::bad_request(error.to_string()))
}

pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(index))
        .route("/openapi.json", get(openapi))
        .route("/build", get(build::build))
        .route("/config", get(config))
        .route("/events", get(events::events))
        .route("/log", get(log::log))
        .route("/outages", get(outages))
        .route("/sessions", get(sessions::all))
        .route("/sessions/{id}", get(sessions::one))
        .route("/nodes", get(nodes::all))
        .route("/nodes/{name}", get(nodes::one))
        .route("/nodes/{name}/drain", get(nodes::drain_status).post(nodes::drain))
        .route("/nodes/{name}/maintenance", post(nodes::maintenance))
        .route("/nodes/{name}/undrain", post(nodes::undrain))
        .route("/drain-self", get(leaving::status).post(leaving::begin))
        .route("/drain-self/cancel", post(leaving::call_off))
        .route("/rebalance", post(nodes::rebalance))
        .route("/recordings", get(recordings::all).post(recordings::begin))
        .route("/recordings/{id}", delete(recordings::forget))
        .route("/recordings/{id}/lines", get(recordings::lines))
        .route("/reload", get(reload::last).post(reload::reload))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(async || Refused::not_found("there is no such path in /v1; GET /v1 lists them"))
}

/// Where to go from here. `socket` is for those who come to the port and may open it.
async fn index(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "socket": desk.board.now().socket,
        "paths": [
            "/v1/build", "/v1/config", "/v1/drain-self", "/v1/events", "/v1/log", "/v1/nodes",
            "/v1/openapi.json", "/v1/outages", "/v1/recordings", "/v1/reload", "/v1/sessions",
        ],
    }))
}

/// The description of all this.
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

/// The last outages that are over, the newest first, and those that go on.
async fn outages(State(desk): State<Arc<Desk>>) -> Answer<Value> {
    let proxy = desk.proxy()?;
    Ok(Json(json!({ "outages": proxy.past_outages(), "running": proxy.running_outages() })))
}

/// What is in force, in the shape of the file. There are no secrets in it: of those, the file has the names
/// of other files.
async fn config(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(desk.board.now().config.clone())
}
