//! What a running proxy knows, as JSON over HTTP on loopback, for `holdfast status` and scripts.
//!
//! Reads only. It needs no password, so it never listens on anything but loopback, and answers no page of
//! another site; names and ids appear in it, secrets do not.

mod status;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, time::Instant};

use crate::{
    config::{AdminSettings, HealthSettings},
    local_http::{self, Bounds},
    net::{
        Proxy,
        health::{self, Question},
    },
};

pub use status::Status;

/// Sessions described in one answer; the counts are always of all.
pub const SESSIONS_SHOWN_MAX: usize = 1_000;

/// A proxy that may still be starting.
pub type Starting = watch::Receiver<Option<Arc<Proxy>>>;

/// What the handlers share.
struct Desk {
    settings: AdminSettings,
    health: HealthSettings,
    proxy: Starting,
    begun: Instant,
}

/// Binds the admin port.
///
/// # Errors
/// The port is taken.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for a proxy until the task is aborted, with the settings of default.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    // The sender may go: its last word stays.
    let (_, proxy) = watch::channel(Some(proxy));
    serve_from_start(listener, AdminSettings::default(), HealthSettings::default(), proxy).await;
}

/// Answers until the task is aborted: for itself until the proxy has started, then for that.
pub async fn serve_from_start(
    listener: TcpListener,
    settings: AdminSettings,
    health: HealthSettings,
    proxy: Starting,
) {
    let bounds = Bounds {
        connections_max: settings.connections_max,
        idle_max: settings.request_timeout,
        life_max: Some(settings.request_timeout),
    };
    let desk = Arc::new(Desk { settings, health, proxy, begun: Instant::now() });
    let router = Router::new()
        .route("/status", get(status))
        .route("/health", get(live))
        .fallback(others)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), own_only))
        .with_state(desk);
    local_http::serve("admin", listener, bounds, TowerToHyperService::new(router)).await;
}

async fn own_only(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match local_http::stranger(request.uri(), request.headers(), &desk.settings.hosts) {
        Some(why) => (StatusCode::FORBIDDEN, Json(json!({"error": why}))).into_response(),
        None => next.run(request).await,
    }
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    let Some(proxy) = desk.running() else {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": "starting"}))).into_response();
    };
    Json(Status::of(&proxy, desk.begun).await).into_response()
}

async fn live(State(desk): State<Arc<Desk>>, method: Method, headers: HeaderMap) -> Response {
    desk.say(Question::Live, &method, &headers)
}

/// The paths of `[health]` are settings; everything else there is not.
async fn others(State(desk): State<Arc<Desk>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    match Question::of(uri.path(), &desk.health) {
        Some(question) => desk.say(question, &method, &headers),
        None => {
            let error = format!("there is /status {} {}", desk.health.live_path, desk.health.ready_path);
            (StatusCode::NOT_FOUND, Json(json!({"error": error.trim_end()}))).into_response()
        }
    }
}

impl Desk {
    fn running(&self) -> Option<Arc<Proxy>> {
        self.proxy.borrow().clone()
    }

    fn say(&self, question: Question, method: &Method, headers: &HeaderMap) -> Response {
        match self.running() {
            Some(proxy) => proxy.say_health(question, method, headers).map(Body::new),
            None => {
                let reasons: &[&str] = if question == Question::Ready { &["starting"] } else { &[] };
                health::said(question, reasons, method, headers, Vec::new).map(Body::new)
            }
        }
    }
}
