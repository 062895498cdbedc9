//! The control port: state as JSON, faults and switches by POST. It trusts whoever reaches it from this
//! machine, so it belongs on a loopback address; pages of other sites are turned away.

mod client;
mod connections;
mod guard;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use client::{ControlError, ControlPort};

use super::faults::Fault;
use super::shared::Shared;
use connections::Connections;

/// Largest body of a request. A raw message to send may be large.
const BODY_BYTES_MAX: usize = 32 << 20;
/// How long accepting pauses when it fails (out of descriptors).
const RETRY: Duration = Duration::from_millis(100);

/// Serves requests until the task is aborted.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let shared = shared.clone();
                connections.add(tcp, move |request| answer(shared.clone(), request));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting on the control port pauses");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    if guard::is_foreign(&parts.uri, &parts.headers) {
        let why = "pages of other sites are not served here: ask by an address of loopback";
        return reply(StatusCode::FORBIDDEN, &json!({"error": why}));
    }
    let path = parts.uri.path();
    let result = match (&parts.method, path) {
        (&Method::GET, "/") => Ok(index()),
        (&Method::GET, "/health") => Ok(json!({"ok": true})),
        (&Method::GET, "/state") => Ok(shared.state()),
        (&Method::GET, "/summary") => Ok(shared.summary()),
        (&Method::GET, "/violations") => Ok(shared.world().violations.state()),
        (&Method::GET, "/journal") => Ok(json!(shared.world().journal.entries)),
        (&Method::GET, "/settings") => serde_json::to_value(&*shared.world().settings).map_err(bad_request),
        (&Method::POST, "/fault") => commit(&shared, body).await,
        (&Method::POST, "/switch") => switch(&shared, body).await,
        (
            _,
            "/" | "/health" | "/state" | "/summary" | "/violations" | "/journal" | "/settings" | "/fault"
            | "/switch",
        ) => Err((StatusCode::METHOD_NOT_ALLOWED, "GET what is read, POST /fault and /switch".to_owned())),
        _ => Err((StatusCode::NOT_FOUND, "no such path; see GET /".to_owned())),
    };
    let (status, value) = match result {
        Ok(value) => (StatusCode::OK, value),
        Err((status, error)) => (status, json!({"error": error})),
    };
    reply(status, &value)
}

fn reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

type Refusal = (StatusCode, String);

fn bad_request(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

async fn read(body: Incoming) -> Result<Value, Refusal> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(bad_request)?;
    serde_json::from_slice(&body.to_bytes()).map_err(bad_request)
}

async fn commit(shared: &Arc<Shared>, body: Incoming) -> Result<Value, Refusal> {
    let fault: Fault = serde_json::from_value(read(body).await?).map_err(bad_request)?;
    shared.fault(fault).map_err(|error| (StatusCode::CONFLICT, error.to_string()))
}

async fn switch(shared: &Arc<Shared>, body: Incoming) -> Result<Value, Refusal> {
    let changes = read(body).await?;
    shared.switch(&changes).map_err(bad_request)?;
    serde_json::to_value(&*shared.world().settings).map_err(bad_request)
}

fn index() -> Value {
    json!({
        "GET /state": "everything: sessions, streams, rooms, calls, connections, handshakes, counters",
        "GET /summary": "counters alone",
        "GET /violations": "what clients did wrong",
        "GET /journal": "the last events",
        "GET /settings": "the settings in force",
        "POST /switch": "part of the settings; null brings back a default",
        "POST /fault": "{\"fault\": NAME, ...}: drop, kill_sessions, close, black_hole, heal, freeze, thaw, \
            stop_listening, listen, restart, fail_stream, send, send_raw, incoming_call, end_call, \
            room_event, ping_stall, withhold, reset_counters",
    })
}
