//! One HTTP request to a port of our own kind: the control port of a simulated server, the admin
//! port of a running proxy. Must not be used towards anybody else: it knows neither TLS nor redirects.

use std::{io, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// How long a control port may take to answer.
const CONTROL_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest answer of a control port that is read.
const CONTROL_BYTES_MAX: usize = 1024 * 1024;
/// Largest answer to [`get`] that is read: many times what the admin port tells of its thousand sessions.
const STATUS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Posts `body` to `path` at `authority` (`HOST:PORT`).
///
/// # Errors
/// Nobody answers in 10 s, or the answer is no success; then its text is in the error.
pub(crate) async fn post(authority: &str, path: &str, body: &Value) -> io::Result<()> {
    let request = Request::post(path)
        .header("host", authority)
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .map_err(io::Error::other)?;
    let answered = timeout(CONTROL_TIME_MAX, exchange(authority, request, CONTROL_BYTES_MAX)).await;
    let (status, text) = answered.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
    if status.is_success() {
        return Ok(());
    }
    Err(io::Error::other(format!("the server says {status}: {}", String::from_utf8_lossy(&text))))
}

/// Gets the JSON at `path` of `authority` (`HOST:PORT`), however long that takes.
///
/// # Errors
/// Nobody answers, or not with JSON.
pub(crate) async fn get(authority: &str, path: &str) -> io::Result<Value> {
    let request = Request::get(path).header("host", authority).body(Full::default());
    let request = request.map_err(io::Error::other)?;
    let (_, text) = exchange(authority, request, STATUS_BYTES_MAX).await?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

async fn exchange(
    authority: &str,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> io::Result<(StatusCode, Bytes)> {
    let stream = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let text = Limited::new(response.into_body(), bytes_max).collect().await;
    connection.abort();
    Ok((status, text.map_err(io::Error::other)?.to_bytes()))
}
