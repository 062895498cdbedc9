//! What a running proxy knows, and what can be asked of it, over HTTP: as JSON for `holdfast status`, `holdfast
//! drain` and scripts, as `/metrics` for Prometheus, as a page for people.
//!
//! Whoever comes from loopback may read without a password; to change something takes the token or the Unix
//! socket (`access`). Pages of other sites are not answered; names and ids appear in answers, secrets do not.

mod access;
mod door;
mod feed;
mod page;
mod reload;
mod status;
mod v1;

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::Instant};

use crate::{
    config::{AdminSettings, HealthSettings},
    local_http::{self, Bounds, Peer},
    metrics,
    net::{
        Proxy,
        health::{self, Question},
    },
};

pub use access::{Access, TOKEN_VARIABLE, Token, TokenError};
pub use door::{Door, socket_path};
pub use reload::{Asked, Board, Reloading};
pub use status::Status;

/// Sessions described in one answer; the counts are always of all.
pub const SESSIONS_SHOWN_MAX: usize = 1_000;

/// A proxy that may still be starting.
pub type Starting = watch::Receiver<Option<Arc<Proxy>>>;

/// What the admin side goes by.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Its bounds and names.
    pub settings: AdminSettings,
    /// The paths that tell how the proxy is.
    pub health: HealthSettings,
    /// Who may do what.
    pub access: Access,
    /// Where its Unix socket is, for those who come to the port and may open it.
    pub socket: Option<PathBuf>,
    /// The whole configuration, in the shape of its file.
    pub config: Value,
    /// What a probe saw that makes a promise weaker, one sentence each.
    pub weaker: Vec<String>,
    /// Where a new one is asked for.
    pub reloading: Option<Reloading>,
}

/// What the handlers share.
struct Desk {
    board: Board,
    proxy: Starting,
    begun: Instant,
    feed: Arc<feed::Feed>,
}

/// Answers for a proxy until the task is aborted, with the settings of default.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    // The sender may go: its last word stays.
    let (_, proxy) = watch::channel(Some(proxy));
    serve_from_start(vec![Door::of(listener)], Setup::default(), proxy).await;
}

/// Answers until the task is aborted: for itself until the proxy has started, then for that.
pub async fn serve_from_start(doors: Vec<Door>, setup: impl Into<Board>, proxy: Starting) {
    let board = setup.into();
    let setup = Setup::clone(&board.now());
    let bounds = Bounds {
        connections_max: setup.settings.connections_max,
        idle_max: setup.settings.request_timeout,
        life_max: Some(setup.settings.request_timeout),
    };
    // Whoever only asks finds room as well.
    let listeners_max = setup.settings.event_listeners_max.min(bounds.connections_max / 2);
    let feed = feed::Feed::new(listeners_max);
    let desk = Arc::new(Desk { board, proxy, begun: Instant::now(), feed });
    let router = Router::new()
        .route("/status", get(status))
        .route("/health", get(live))
        .nest("/v1", v1::router())
        .route("/metrics", get(metrics))
        .fallback(others)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), own_only))
        .with_state(desk);
    let mut served = JoinSet::new();
    for Door(listener) in doors {
        let service = TowerToHyperService::new(router.clone());
        served.spawn(local_http::serve("admin", listener, bounds, service));
    }
    while served.join_next().await.is_some() {}
}

async fn own_only(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    if let Some(why) =
        local_http::stranger(request.uri(), request.headers(), &desk.board.now().settings.hosts)
    {
        return refuse(StatusCode::FORBIDDEN, why);
    }
    if let Some(page) = page::answer(request.method(), request.uri().path()) {
        return page;
    }
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return refuse(StatusCode::FORBIDDEN, "nobody knows who asks");
    };
    let changes = access::may_change(request.method(), request.uri().path());
    let judged = desk.board.now().access.judge(peer, changes, request.headers());
    match judged {
        Ok(allowed) => {
            request.extensions_mut().insert(allowed);
            next.run(request).await
        }
        Err(denied) => {
            let mut response = refuse(denied.status, denied.why);
            if denied.status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer realm=\"holdfast\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

/// An error, for people, in the shape that all errors have here.
fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

/// How much of the status is wanted.
#[derive(Debug, Deserialize)]
struct Wanted {
    /// Sessions described, at most [`SESSIONS_SHOWN_MAX`].
    #[serde(default = "all_shown")]
    sessions: usize,
}

const fn all_shown() -> usize {
    SESSIONS_SHOWN_MAX
}

async fn status(State(desk): State<Arc<Desk>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let sessions = match wanted {
        Ok(Query(wanted)) => wanted.sessions.min(SESSIONS_SHOWN_MAX),
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let Some(proxy) = desk.running() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "starting");
    };
    let weaker = desk.board.now().weaker.clone();
    Json(Status { weaker, ..Status::of(&proxy, desk.begun, sessions).await }).into_response()
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let Some(proxy) = desk.running() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    };
    match metrics::scrape(&proxy).await {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn live(State(desk): State<Arc<Desk>>, method: Method, headers: HeaderMap) -> Response {
    desk.say(Question::Live, &method, &headers)
}

/// The paths of `[health]` are settings; everything else there is not.
async fn others(State(desk): State<Arc<Desk>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let question = Question::of(uri.path(), &desk.board.now().health);
    match question {
        Some(question) => desk.say(question, &method, &headers),
        None => {
            let setup = desk.board.now();
            let health = &setup.health;
            let error = format!("there is / /status /metrics /v1 {} {}", health.live_path, health.ready_path);
            refuse(StatusCode::NOT_FOUND, error.trim_end())
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
