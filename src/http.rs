//! One HTTP request to a port of our own kind: the admin side of a running proxy. Must not be used
//! towards anybody else: it knows neither TLS nor redirects.

use std::{fmt, io, path::PathBuf};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Largest answer that is read where nobody says otherwise: many times what the admin port tells of its thousand
/// sessions.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the admin side of a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `HOST:PORT`.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// `Authorization`, if there is a token.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) body: Option<&'a Value>,
    /// Largest answer that is read.
    pub(crate) answer_bytes_max: usize,
}

impl<'a> Question<'a> {
    /// What is at this path.
    pub(crate) const fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            authorization: None,
            body: None,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// Gets the JSON at `path` of `authority` (`HOST:PORT`), however long that takes.
///
/// # Errors
/// Nobody answers, or not with JSON.
pub(crate) async fn get(authority: &str, path: &str) -> io::Result<Value> {
    let (_, answer) = ask(&Place::Tcp(authority.to_owned()), &Question::get(path)).await?;
    Ok(answer)
}

/// Asks, however long the answer takes; an empty answer is null.
///
/// # Errors
/// Nobody answers, or not with JSON.
pub(crate) async fn ask(place: &Place, question: &Question<'_>) -> io::Result<(StatusCode, Value)> {
    let (status, text) = ask_for_text(place, question).await?;
    let value = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&text).map_err(io::Error::other)?
    };
    Ok((status, value))
}

/// Asks, however long the answer takes, for what need not be JSON.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn ask_for_text(place: &Place, question: &Question<'_>) -> io::Result<(StatusCode, Bytes)> {
    match place {
        Place::Tcp(authority) => {
            exchange(TcpStream::connect(authority.as_str()).await?, authority, question).await
        }
        Place::Unix(path) => exchange(UnixStream::connect(path).await?, "localhost", question).await,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    question: &Question<'_>,
) -> io::Result<(StatusCode, Bytes)> {
    let mut request =
        Request::builder().method(&question.method).uri(question.path).header(header::HOST, host);
    if let Some(authorization) = question.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let mut body = Bytes::new();
    if let Some(value) = question.body {
        request = request.header(header::CONTENT_TYPE, "application/json");
        body = value.to_string().into();
    }
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let text = Limited::new(response.into_body(), question.answer_bytes_max).collect().await;
    connection.abort();
    Ok((status, text.map_err(io::Error::other)?.to_bytes()))
}
