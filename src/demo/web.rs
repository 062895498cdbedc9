//! The demo's page, its events and its buttons over HTTP.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, broadcast::error::RecvError, mpsc},
};

use super::{
    Action,
    board::Board,
    sdk::Sdk,
    stage::{NAMES, in_use},
};
use crate::net::Proxy;

/// Browsers connected at once.
const CONNECTIONS_MAX: usize = 64;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const TIMELINE_SCRIPT: &str = include_str!("timeline.js");
const SDK_SCRIPT: &str = include_str!("sdk.js");

type Body = BoxBody<Bytes, Infallible>;

/// What the page needs to know and to reach.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) board: Board,
    pub(super) actions: mpsc::Sender<Action>,
    pub(super) proxy: Arc<Proxy>,
    /// The servers, in the order of their names.
    pub(super) servers: [SocketAddr; NAMES.len()],
    /// The vendor's SDK, if it is there.
    pub(super) sdk: Option<Sdk>,
}

/// Serves the page until the task is aborted.
pub(super) async fn serve(listener: TcpListener, site: Site) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (socket, _) = listener.accept().await?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let site = site.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let site = site.clone();
                async move { Ok::<_, Infallible>(answer(&site, &request).await) }
            });
            // A browser that goes away in the middle of an answer is no event.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
            drop(place);
        });
    }
}

async fn answer(site: &Site, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text("text/html; charset=utf-8", PAGE),
        (&Method::GET, "/page.js") => text("text/javascript", SCRIPT),
        (&Method::GET, "/config") => text("application/json", config(site).to_string()),
        (&Method::GET, "/timeline.js") => text("text/javascript", TIMELINE_SCRIPT),
        (&Method::GET, "/sdk.js") => text("text/javascript", SDK_SCRIPT),
        (&Method::GET, path) if path.starts_with("/sdk/") => {
            sdk_file(site.sdk.clone(), path.trim_start_matches("/sdk/")).await
        }
        (&Method::GET, "/events") => events(&site.board),
        (&Method::POST, path) => act(site, path.trim_start_matches("/action/")),
        _ => plain(StatusCode::NOT_FOUND, "nothing here; the demo is at /"),
    }
}

/// What the page connects to: whoever goes straight to a server goes to the one that is in use now.
fn config(site: &Site) -> Value {
    let here = in_use(&site.proxy);
    json!({
        "proxy": format!("ws://{}", site.proxy.address()),
        "server": site.servers.get(here).map(|address| format!("ws://{address}")),
        "node": NAMES.get(here),
        "nodes": NAMES,
        "now_ms": site.board.now_ms(),
        "sdk": site.sdk.is_some(),
    })
}

async fn sdk_file(sdk: Option<Sdk>, name: &str) -> Response<Body> {
    let name = name.to_owned();
    let read = tokio::task::spawn_blocking(move || sdk.and_then(|sdk| sdk.file(&name).ok()));
    match read.await {
        Ok(Some(content)) => text("text/javascript", content),
        _ => plain(StatusCode::NOT_FOUND, "no such file of the SDK"),
    }
}

fn act(site: &Site, name: &str) -> Response<Body> {
    let Some(action) = Action::named(name) else {
        return plain(StatusCode::NOT_FOUND, "no such button");
    };
    match site.actions.try_send(action) {
        Ok(()) => plain(StatusCode::ACCEPTED, "done"),
        Err(_) => plain(StatusCode::TOO_MANY_REQUESTS, "one thing at a time"),
    }
}

/// Server-sent events: what was, and then what happens.
fn events(board: &Board) -> Response<Body> {
    let (kept, reader) = board.read();
    let past = stream::iter(kept);
    let coming = stream::unfold(reader, |mut reader| async move {
        loop {
            match reader.recv().await {
                Ok(entry) => return Some((entry, reader)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let entries = futures_util::StreamExt::chain(past, coming);
    let frames = futures_util::StreamExt::map(entries, |entry| {
        let line = format!("data: {}\n\n", serde_json::to_string(&entry).unwrap_or_default());
        Ok::<_, Infallible>(Frame::data(Bytes::from(line)))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream"));
    response
}

fn text(kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = text("text/plain", body);
    *response.status_mut() = status;
    response
}
