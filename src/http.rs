//! One HTTP request to a port of our own kind: the admin port of a running proxy. Must not be used
//! towards anybody else: it knows neither TLS nor redirects.

use std::io;

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Largest answer to [`get`] that is read: many times what the admin port tells of its thousand sessions.
const STATUS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Gets the JSON at `path` of `authority` (`HOST:PORT`), however long that takes.
///
/// # Errors
/// Nobody answers, or not with JSON.
pub(crate) async fn get(authority: &str, path: &str) -> io::Result<Value> {
    let request = Request::get(path).header("host", authority).body(Full::<Bytes>::default());
    let request = request.map_err(io::Error::other)?;
    let stream = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let text = Limited::new(response.into_body(), STATUS_BYTES_MAX).collect().await;
    connection.abort();
    let text = text.map_err(io::Error::other)?.to_bytes();
    serde_json::from_slice(&text).map_err(io::Error::other)
}
