//! What a running proxy knows, as JSON over HTTP on loopback, for `holdfast status` and scripts.
//!
//! Reads only. It needs no password, so it never listens on anything but loopback; names and ids
//! appear in it, secrets do not.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::net::Proxy;

/// Requests at once; more wait.
const REQUESTS_MAX: usize = 8;
/// Sessions described in one answer; the counts are always of all.
pub const SESSIONS_SHOWN_MAX: usize = 1_000;
/// How long one request may take in all.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Binds the admin port.
///
/// # Errors
/// The port is taken.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the task is aborted.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let begun = Instant::now();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((socket, _)) = listener.accept().await else { continue };
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let proxy = Arc::clone(&proxy);
                async move { Ok::<_, Infallible>(answer(&proxy, &request, begun).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            let connection = http.keep_alive(false).serve_connection(TokioIo::new(socket), service);
            // Who asks and goes away, or takes too long, gets nothing.
            let _ = timeout(REQUEST_TIME_MAX, connection).await;
            drop(place);
        });
    }
}

async fn answer(proxy: &Proxy, request: &Request<Incoming>, begun: Instant) -> Response<Full<Bytes>> {
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/status") => {
            let sessions = proxy.describe(SESSIONS_SHOWN_MAX).await;
            let facts = proxy.facts();
            let outages = sessions.iter().filter(|session| session.outage_ms.is_some()).count();
            reply(
                StatusCode::OK,
                json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "uptime_s": begun.elapsed().as_secs(),
                    "listening": proxy.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "sessions": facts.sessions,
                    "places_taken": facts.places_taken,
                    "places": facts.places,
                    "handshakes_held": facts.held,
                    "outages": outages,
                    "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
                    "nodes": proxy.nodes(),
                    "media": proxy.media().map(crate::media::MediaHandle::counters),
                    "shown": sessions,
                })
                .to_string(),
            )
        }
        ("GET", "/health") => reply(StatusCode::OK, json!({"healthy": true}).to_string()),
        _ => reply(StatusCode::NOT_FOUND, json!({"error": "there is /status and /health"}).to_string()),
    }
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
