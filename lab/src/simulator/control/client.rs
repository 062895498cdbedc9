//! The other end of the control port: who starts a simulated server as a process of its own, or has its
//! address, orders faults by this. Not for any other HTTP server: it knows neither TLS nor redirects.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why an order was not carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens there.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// Somebody listens and did not answer within 10 s.
    #[error("no answer in {} s", ANSWER_TIME_MAX.as_secs())]
    Silent,
    /// What was said is no HTTP, or the address is none.
    #[error("not the control port of a simulated server: {0}")]
    Protocol(Box<dyn std::error::Error + Send + Sync>),
    /// The server knows the order and does not follow it.
    #[error("the server says {status}: {text}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// Its reason, as JSON.
        text: String,
    },
}

impl ControlError {
    fn protocol(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Protocol(error.into())
    }
}

/// The control port of a simulated server.
#[derive(Clone, Debug)]
pub struct ControlPort {
    /// `HOST:PORT`.
    authority: String,
}

impl ControlPort {
    /// The one at `authority` (`HOST:PORT`). Nothing is sent yet.
    pub fn at(authority: impl ToString) -> Self {
        Self { authority: authority.to_string() }
    }

    /// Posts `order` to `path`: a fault to `/fault`, settings to `/switch`.
    ///
    /// # Errors
    /// See [`ControlError`]. Whether the order was carried out is then unknown, unless it was refused.
    pub async fn post(&self, path: &str, order: &Value) -> Result<(), ControlError> {
        let request = Request::post(path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::from(order.to_string()))
            .map_err(ControlError::protocol)?;
        timeout(ANSWER_TIME_MAX, self.exchange(request)).await.map_err(|_| ControlError::Silent)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(), ControlError> {
        let stream = TokioIo::new(TcpStream::connect(&self.authority).await?);
        let handshake = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(ControlError::protocol)?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(ControlError::protocol)?;
        let status = response.status();
        let text = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        connection.abort();
        let text = text.map_err(ControlError::protocol)?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        Err(ControlError::Refused { status, text: String::from_utf8_lossy(&text).into_owned() })
    }
}

impl std::fmt::Display for ControlPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.authority)
    }
}
