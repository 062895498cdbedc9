//! The HTTP server of a route: connections to it, kept for further requests, each within the budget of descriptors.
//! Knows nothing of clients.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tower_service::Service;

use crate::{
    config::{HttpSettings, HttpTls, HttpUrl, RouteSettings, UpstreamSettings},
    limits::{Files, FilesHeld, Use, is_shortage},
    net::{StartError, tls},
    upstream::PoolError,
    wire::{keepalive, socket::Socket},
};

use super::request_body::RequestBody;

/// An HTTP server.
#[derive(Debug)]
pub(crate) struct HttpServer {
    client: Client<Connector, RequestBody>,
    url: HttpUrl,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// No connection in time.
    ConnectTimeout,
    /// This machine lacks something.
    Local(String),
    /// No connection.
    Connect(String),
    /// A connection that ended, or an answer that is none.
    Broken(String),
    /// The connection was an old one that had ended meanwhile: the request may be made again.
    Stale(String),
}

/// No connection within the time for it.
#[derive(Debug)]
struct TookTooLong;

impl fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection in time")
    }
}

impl Error for TookTooLong {}

impl HttpServer {
    /// That of a route.
    ///
    /// # Errors
    /// A certificate cannot be used, or a name is none for TLS.
    pub(crate) fn new(
        url: &HttpUrl,
        route: &RouteSettings,
        (upstream, http): (&UpstreamSettings, &HttpSettings),
        files: &Arc<Files>,
    ) -> Result<Self, StartError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = Connector {
            tcp,
            tls: connector_tls(url, route.tls.as_ref(), upstream)?,
            files: Arc::clone(files),
            patience: http.connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(http.server_connection_idle)
            .pool_max_idle_per_host(http.server_connections_idle_max)
            .http1_max_buf_size(http.response_header_bytes_max)
            .retry_canceled_requests(true)
            .set_host(false)
            .build(connector);
        Ok(Self { client, url: url.clone() })
    }

    /// Where it is.
    pub(crate) const fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// The whole address of a target on it.
    ///
    /// # Errors
    /// The target is none.
    pub(super) fn uri(&self, target: &str) -> Result<Uri, http::Error> {
        let scheme = if self.url.is_tls() { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.url.authority()).path_and_query(target).build()
    }

    /// The head of its answer.
    pub(super) async fn ask(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failed> {
        self.client.request(request).await.map_err(|error| failed(&error))
    }
}

fn connector_tls(
    url: &HttpUrl,
    tls: Option<&HttpTls>,
    upstream: &UpstreamSettings,
) -> Result<Option<(TlsConnector, ServerName<'static>)>, StartError> {
    if !url.is_tls() {
        return Ok(None);
    }
    let own = tls.map(|tls| tls.in_settings(upstream));
    let settings = own.as_ref().unwrap_or(upstream);
    // The name in [upstream] is that of its nodes.
    let name = tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or(url.host());
    let config = Arc::new(tls::client(settings)?);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|source| PoolError::Name { host: name.to_owned(), source })?;
    Ok(Some((TlsConnector::from(config), name)))
}

/// What is told of a failure: the last of its causes says it.
fn failed(error: &hyper_util::client::legacy::Error) -> Failed {
    let mut causes = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    let text = causes.last().map(ToString::to_string).unwrap_or_default();
    let is_short =
        |cause: &&(dyn Error + 'static)| cause.downcast_ref::<io::Error>().is_some_and(is_shortage);
    let hyper = causes.iter().find_map(|cause| cause.downcast_ref::<hyper::Error>());
    if causes.iter().any(|cause| cause.is::<TookTooLong>()) {
        Failed::ConnectTimeout
    } else if causes.iter().any(is_short) {
        Failed::Local(text)
    } else if error.is_connect() {
        Failed::Connect(text)
    } else if hyper
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed())
    {
        Failed::Stale(text)
    } else {
        Failed::Broken(text)
    }
}

/// Makes connections to one server.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    files: Arc<Files>,
    patience: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("patience", &self.patience).finish_non_exhaustive()
    }
}

type Wrong = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<ServerSocket>;
    type Error = Wrong;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Wrong>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut connector = self.clone();
        Box::pin(async move {
            let patience = connector.patience;
            timeout(patience, connector.connect(uri)).await.unwrap_or_else(|_| Err(Box::new(TookTooLong)))
        })
    }
}

impl Connector {
    async fn connect(&mut self, uri: Uri) -> Result<TokioIo<ServerSocket>, Wrong> {
        let short = || io::Error::from(rustix::io::Errno::MFILE);
        let file = self.files.take(Use::Http, 1).ok_or_else(short)?;
        let stream = self.tcp.call(uri).await?.into_inner();
        keepalive::configure(&stream);
        let socket = match &self.tls {
            None => Socket::Plain(stream),
            Some((tls, name)) => Socket::TlsClient(Box::new(tls.connect(name.clone(), stream).await?)),
        };
        Ok(TokioIo::new(ServerSocket { socket, _file: file }))
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct ServerSocket {
    socket: Socket,
    _file: FilesHeld,
}

impl Connection for ServerSocket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for ServerSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
