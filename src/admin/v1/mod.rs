//! The versioned interface, `/v1`: what scripts are written against. A field that is there stays there and
//! keeps its meaning; new ones may come. [`openapi`] describes all of it, and a test compares the two.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{Desk, refuse};

mod build;

/// Why there is no answer.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

impl Refused {
    fn not_found(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }
}

pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(index))
        .route("/build", get(build::build))
        .route("/config", get(config))
        .fallback(async || Refused::not_found("there is no such path in /v1; GET /v1 lists them"))
}

/// Where to go from here. `socket` is for those who come to the port and may open it.
async fn index(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "socket": desk.setup.socket,
        "paths": ["/v1/build", "/v1/config"],
    }))
}

/// What is in force, in the shape of the file. There are no secrets in it: of those, the file has the names
/// of other files.
async fn config(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(desk.setup.config.clone())
}
