//! A WebSocket to the server under load, plain or over TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};

use super::{
    LoadSettings,
    error::{ClientEnd, LoadError},
    tls,
};

/// Buffer per socket, in bytes: thousands of clients live in one process.
const BUFFER_BYTES: usize = 4 * 1024;

/// How long it may take to find out that nobody listens, and the time between two looks.
const REACH_TIME_MAX: Duration = Duration::from_millis(1_500);
const REACH_INTERVAL: Duration = Duration::from_millis(100);

/// Where to connect and how, resolved once.
#[derive(Clone)]
pub(super) struct Target {
    /// The first that answered, in front; all that the name has.
    addresses: Vec<SocketAddr>,
    url: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Either kind of connection.
pub(super) trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}

impl Stream for TcpStream {}
impl Stream for TlsStream<TcpStream> {}

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

impl Target {
    pub(super) async fn resolve(settings: &LoadSettings) -> Result<Self, LoadError> {
        let url = &settings.url;
        let wrong = |why| LoadError::Url { url: url.clone(), why };
        let host = url.host().ok_or_else(|| wrong("no host"))?.trim_matches(['[', ']']).to_owned();
        let secure = match url.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong("not a ws:// or wss:// URL")),
        };
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let found = timeout(REACH_TIME_MAX, lookup_host((host.as_str(), port))).await;
        let found = found.map_err(|_| wrong("the name is not resolved in time"))?;
        let addresses: Vec<SocketAddr> = found.map_err(LoadError::Resolve)?.collect();
        if addresses.is_empty() {
            return Err(wrong("the name has no address"));
        }
        let tls = if secure {
            let name = ServerName::try_from(host).map_err(|_| wrong("not a name for TLS"))?;
            let connector = tls::connector(settings.ca.as_deref());
            Some((connector.map_err(|error| LoadError::certificates(settings.ca.clone(), error))?, name))
        } else {
            None
        };
        Ok(Self { addresses, url: url.to_string(), tls })
    }

    pub(super) async fn connect(&self, from: Option<IpAddr>) -> Result<Socket, ClientEnd> {
        let address = self.address().map_err(ClientEnd::Connect)?;
        let stream = tcp(address, from).await.map_err(ClientEnd::Connect)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                Box::new(stream.map_err(ClientEnd::Tls)?)
            }
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(super::settings::MESSAGE_BYTES_MAX));
        let handshake = client_async_with_config(&self.url, stream, Some(config)).await;
        handshake.map(|(socket, _)| socket).map_err(|error| match error {
            tungstenite::Error::Http(response) => ClientEnd::Refused(response.status()),
            other => ClientEnd::Handshake(other),
        })
    }

    /// Finds out whether anybody listens, before thousands try; a server that is just being started has
    /// a moment to.
    ///
    /// # Errors
    /// Nobody does; told within [`REACH_TIME_MAX`].
    pub(super) async fn reach(&mut self, from: Option<IpAddr>) -> Result<(), LoadError> {
        let mut last =
            io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {REACH_TIME_MAX:?}"));
        let look = async {
            loop {
                for index in 0..self.addresses.len() {
                    let Some(address) = self.addresses.get(index).copied() else { continue };
                    match tcp(address, from).await {
                        Ok(_) => return self.addresses.swap(0, index),
                        Err(error) => {
                            last =
                                io::Error::new(error.kind(), format!("nobody listens at {address}: {error}"))
                        }
                    }
                }
                sleep(REACH_INTERVAL).await;
            }
        };
        let reached = timeout(REACH_TIME_MAX, look).await;
        reached.map_err(|_| LoadError::Unreachable(last))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.addresses.first().copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The local address from which the server is reached.
    pub(super) fn local_ip(&self) -> Result<IpAddr, LoadError> {
        self.way_out().map_err(LoadError::Unreachable)
    }

    fn way_out(&self) -> io::Result<IpAddr> {
        let address = self.address()?;
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let probe = std::net::UdpSocket::bind(any)?;
        // Sends nothing; it only asks the system for the way.
        probe.connect(address)?;
        Ok(probe.local_addr()?.ip())
    }
}

async fn tcp(address: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
