//! One dial: name, TCP, TLS and the WebSocket handshake, within one time limit.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::{
    config::UpstreamUrl,
    net::{keepalive, socket::Socket, websocket},
    session::DialError,
};

use super::{request::ClientRequest, response};

/// What the client learns of an upstream that refused the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// `Retry-After`, as it came.
    pub(crate) retry_after: Option<String>,
    /// `WWW-Authenticate`, as it came.
    pub(crate) www_authenticate: Option<String>,
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialFailure {
    /// No connection, no TLS, or no answer in time.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// An HTTP status other than 101.
    #[error("refused with status {}", .0.status)]
    Refused(Refusal),
    /// A wrong 101.
    #[error("bad handshake: {0}")]
    BadHandshake(String),
}

impl DialFailure {
    pub(super) fn from_io(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }

    /// Whether another node, or the same one later, may do better: it is not the client's fault.
    pub(super) const fn is_of_the_node(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::BadHandshake(_) => true,
            Self::Refused(refusal) => refusal.status >= 500,
        }
    }
}

impl From<DialFailure> for DialError {
    fn from(failure: DialFailure) -> Self {
        match failure {
            DialFailure::Unreachable(why) => Self::Unreachable(why),
            DialFailure::Refused(refusal) => Self::Refused(refusal.status),
            DialFailure::BadHandshake(why) => Self::BadHandshake(why),
        }
    }
}

/// An upstream that answered 101.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The connection.
    pub(crate) socket: Socket,
    /// What was read after the handshake.
    pub(crate) leftover: Vec<u8>,
    /// The subprotocol it chose.
    pub(crate) protocol: Option<String>,
    /// Which node it is.
    pub(crate) node: usize,
}

/// How to reach one node.
#[derive(Debug)]
pub(super) struct Address {
    url: UpstreamUrl,
    authority: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    dial_timeout: Duration,
}

impl Address {
    /// `tls` is used for wss addresses only.
    ///
    /// # Errors
    /// The host cannot be named in TLS.
    pub(super) fn new(
        url: UpstreamUrl,
        tls: &Arc<ClientConfig>,
        dial_timeout: Duration,
    ) -> Result<Self, String> {
        let name = if url.is_tls() {
            let name = ServerName::try_from(url.host().to_owned())
                .map_err(|error| format!("`{}` is no name for TLS: {error}", url.host()))?;
            Some((Arc::clone(tls), name))
        } else {
            None
        };
        Ok(Self { authority: url.authority(), url, tls: name, dial_timeout })
    }

    /// The address as an operator wrote it.
    pub(super) const fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// Connects and shakes hands.
    pub(super) async fn dial(&self, node: usize, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        timeout(self.dial_timeout, self.dial_unbounded(node, request))
            .await
            .unwrap_or_else(|_| Err(DialFailure::Unreachable("no answer within the time limit".into())))
    }

    async fn dial_unbounded(&self, node: usize, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        let mut socket = self.connect().await.map_err(DialFailure::from_io)?;
        let key = websocket::new_key();
        let head = request.render(&self.authority, &key);
        socket.write_all(&head).await.map_err(DialFailure::from_io)?;
        socket.flush().await.map_err(DialFailure::from_io)?;
        let accepted = response::read(&mut socket, &key, request).await?;
        Ok(Dialed { socket, leftover: accepted.leftover, protocol: accepted.protocol, node })
    }

    async fn connect(&self) -> io::Result<Socket> {
        let (host, port) = (self.url.host(), self.url.port());
        // Names go through the resolver's threads; addresses must not wait for them.
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => TcpStream::connect((address, port)).await?,
            Err(_) => TcpStream::connect((host, port)).await?,
        };
        keepalive::configure(&stream);
        let Some((config, name)) = &self.tls else { return Ok(Socket::Plain(stream)) };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
        Ok(Socket::TlsClient(Box::new(stream)))
    }
}
