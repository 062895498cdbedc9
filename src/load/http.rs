//! One request to an HTTP control port.

use std::{io, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// How long a control port may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Posts `body` to `path` at `authority` (`HOST:PORT`).
///
/// # Errors
/// Nobody answers in time, or the answer is no success; then its text is in the error.
pub(crate) async fn post(authority: &str, path: &str, body: &serde_json::Value) -> io::Result<()> {
    let answered = timeout(ANSWER_TIME_MAX, exchange(authority, path, body)).await;
    answered.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?
}

async fn exchange(authority: &str, path: &str, body: &serde_json::Value) -> io::Result<()> {
    let stream = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", authority)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let text = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let text = text.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    if status.is_success() {
        return Ok(());
    }
    Err(io::Error::other(format!("the server says {status}: {}", String::from_utf8_lossy(&text))))
}
