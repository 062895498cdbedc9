//! `GET /v1/build`: which program this is.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use super::super::Desk;

/// Which program answers, and since when.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Build {
    /// Version of the program.
    version: &'static str,
    /// For which it was built.
    target: &'static str,
    /// With debug assertions: slower.
    debug: bool,
    /// Seconds since its admin port was opened.
    uptime_s: u64,
    /// Its process.
    pid: u32,
}

pub(super) async fn build(State(desk): State<Arc<Desk>>) -> Json<Build> {
    Json(Build {
        version: env!("CARGO_PKG_VERSION"),
        target: std::env::consts::ARCH,
        debug: cfg!(debug_assertions),
        uptime_s: desk.begun.elapsed().as_secs(),
        pid: std::process::id(),
    })
}
