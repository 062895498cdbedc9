//! Dials: counted, spaced, bounded in time. What comes of one is a WebSocket, or a reason why not.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::Engine as _;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    error::DialError,
    settings::{DIAL_INTERVAL, MESSAGE_BYTES_MAX, ProbeSettings},
};
use crate::load::tls_connector;

/// A name is looked up within this.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(3);
/// TCP and TLS stand within this, for each address that a name has.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// The handshake is answered within this.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(4);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 3;
/// What is read of an answer before it has to make sense, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The WebSocket of a dial.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What a dial leads to.
pub(super) struct Dialled {
    pub(super) socket: Socket,
    /// The same TCP connection, to reset it by.
    pub(super) tcp: std::net::TcpStream,
    /// Of the answer.
    pub(super) headers: HeaderMap,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Knows where to dial and how often it may.
pub(super) struct Dialler {
    addresses: Vec<SocketAddr>,
    request: RequestParts,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    max: u32,
    spent: Mutex<(u32, Instant)>,
}

struct RequestParts {
    path: String,
    host: String,
    origin: Option<String>,
    authorization: Option<String>,
}

impl Dialler {
    /// Looks up the name and reads the certificates; dials nothing.
    ///
    /// # Errors
    /// The URL, the name or the certificates cannot be used.
    pub(super) async fn new(settings: &ProbeSettings) -> Result<Self, DialError> {
        let url = &settings.url;
        let wrong = |why: &str| DialError::Url(why.to_owned());
        let secure = match url.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong("expected ws://HOST:PORT or wss://HOST:PORT")),
        };
        let host = url.host().ok_or_else(|| wrong("the URL has no host"))?;
        let bare = host.trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let found = timeout(LOOKUP_TIME_MAX, lookup_host((bare.as_str(), port))).await;
        let found = found.map_err(|_| DialError::Name(std::io::ErrorKind::TimedOut.into()))?;
        let addresses: Vec<SocketAddr> = found.map_err(DialError::Name)?.take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err(DialError::Name(std::io::ErrorKind::NotFound.into()));
        }
        let tls = if secure {
            let name = ServerName::try_from(bare).map_err(|_| wrong("the host is no name for TLS"))?;
            let connector = tls_connector(settings.ca.as_deref()).map_err(DialError::Certificates)?;
            Some((connector, name))
        } else {
            None
        };
        let authority = url.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let request = RequestParts {
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host: authority,
            origin: settings.origin.clone(),
            authorization: credentials(url).map(|credentials| {
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
            }),
        };
        let spent = Mutex::new((0, Instant::now()));
        Ok(Self { addresses, request, tls, max: settings.dials_max, spent })
    }

    /// Dials so far.
    pub(super) async fn dials(&self) -> u32 {
        self.spent.lock().await.0
    }

    /// The first address that is tried.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// Waits for its turn.
    async fn turn(&self) -> Result<(), DialError> {
        // Held while it waits: dials come one after the other.
        let mut spent = self.spent.lock().await;
        if spent.0 >= self.max {
            return Err(DialError::Spent(self.max));
        }
        sleep_until(spent.1).await;
        *spent = (spent.0 + 1, Instant::now() + DIAL_INTERVAL);
        Ok(())
    }

    /// One WebSocket.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn dial(&self) -> Result<Dialled, DialError> {
        let mut last = DialError::Connect(std::io::ErrorKind::AddrNotAvailable.into());
        for address in &self.addresses {
            self.turn().await?;
            match self.connect(*address).await {
                Ok((stream, tcp)) => return self.shake_hands(stream, tcp).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(
        &self,
        address: SocketAddr,
    ) -> Result<(Box<dyn Stream>, std::net::TcpStream), DialError> {
        let too_slow = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let stream = timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| DialError::Connect(too_slow()))?.map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        // Two handles of one connection: the second one outlives what the libraries make of the first.
        let stream = stream.into_std().map_err(DialError::Connect)?;
        let tcp = stream.try_clone().map_err(DialError::Connect)?;
        let stream = TcpStream::from_std(stream).map_err(DialError::Connect)?;
        let Some((connector, name)) = &self.tls else { return Ok((Box::new(stream), tcp)) };
        let secured = timeout(CONNECT_TIME_MAX, connector.connect(name.clone(), stream)).await;
        let secured = secured.map_err(|_| DialError::Tls(too_slow()))?.map_err(DialError::Tls)?;
        Ok((Box::new(secured), tcp))
    }

    async fn shake_hands(
        &self,
        stream: Box<dyn Stream>,
        tcp: std::net::TcpStream,
    ) -> Result<Dialled, DialError> {
        let key = generate_key();
        let request = self.request(&key)?;
        let shaken = async {
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(HEAD_BYTES_MAX)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| DialError::NoHttp(error.to_string()))?;
            let serving = tokio::spawn(connection.with_upgrades());
            let answer = sender.send_request(request).await;
            let mut answer = answer.map_err(|error| DialError::NoHttp(reason(&error)))?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                serving.abort();
                return Err(DialError::Status(answer.status()));
            }
            let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
            if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
                serving.abort();
                return Err(DialError::NoWebSocket("without the Sec-WebSocket-Accept that proves it"));
            }
            let headers = answer.headers().clone();
            let upgraded = hyper::upgrade::on(&mut answer).await;
            let upgraded = upgraded.map_err(|_| DialError::NoWebSocket("its connection is no WebSocket"))?;
            Ok((upgraded, headers))
        };
        let shaken = timeout(HANDSHAKE_TIME_MAX, shaken).await;
        let (upgraded, headers) = shaken.map_err(|_| DialError::Silent(HANDSHAKE_TIME_MAX.as_secs()))??;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await;
        Ok(Dialled { socket, tcp, headers })
    }

    fn request(&self, key: &str) -> Result<Request<Empty<bytes::Bytes>>, DialError> {
        let parts = &self.request;
        let mut request = Request::get(&parts.path)
            .header(header::HOST, &parts.host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, key);
        if let Some(origin) = &parts.origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(authorization) = &parts.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Empty::new()).map_err(|_| DialError::Url("the URL makes no HTTP request".to_owned()))
    }
}

/// `NAME:PASSWORD` of a URL.
pub(super) fn credentials(url: &Uri) -> Option<&str> {
    url.authority()?.as_str().rsplit_once('@').map(|(credentials, _)| credentials)
}

/// What hyper met, with its cause.
fn reason(error: &hyper::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Shares a dialler.
pub(super) type SharedDialler = Arc<Dialler>;
