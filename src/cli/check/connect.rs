//! One WebSocket handshake with an upstream, closed again at once.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig,
        pki_types::{InvalidDnsNameError, ServerName},
    },
};
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::{
    config::{SendProxy, UpstreamUrl},
    upstream::proxy_header,
};

/// Why a server is not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("no connection: {0}")]
    Connection(io::Error),
    #[error("{0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("it refuses WebSockets: HTTP {0}")]
    Refused(StatusCode),
    #[error("it does not speak WebSocket: {0}")]
    Handshake(Box<WebSocketError>),
}

/// Opens and closes a connection; returns how long opening took, or why it failed. A wss server is asked for by
/// this name.
pub(super) async fn handshake(
    url: &UpstreamUrl,
    (config, name): (ClientConfig, &str),
    send_proxy: SendProxy,
    limit: Duration,
) -> Result<Duration, Unusable> {
    let started = Instant::now();
    match timeout(limit, dial(url, config, name, send_proxy)).await {
        Ok(result) => result.map(|()| started.elapsed()),
        Err(_) => Err(Unusable::Late(limit)),
    }
}

async fn dial(
    url: &UpstreamUrl,
    config: ClientConfig,
    name: &str,
    send_proxy: SendProxy,
) -> Result<(), Unusable> {
    let mut socket = TcpStream::connect((url.host(), url.port())).await.map_err(Unusable::Connection)?;
    let header = proxy_header::header(send_proxy, None).map_err(Unusable::Connection)?;
    socket.write_all(&header).await.map_err(Unusable::Connection)?;
    if !url.is_tls() {
        return upgrade(url, socket).await;
    }
    let name = ServerName::try_from(name.to_owned())?;
    let socket = TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(Unusable::Tls)?;
    upgrade(url, socket).await
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(url: &UpstreamUrl, socket: S) -> Result<(), Unusable> {
    let target = format!("{url}/");
    match tokio_tungstenite::client_async(target, socket).await {
        Ok((mut socket, _)) => {
            // The question is answered; how the other side takes the end does not matter.
            let _ = socket.close(None).await;
            Ok(())
        }
        Err(WebSocketError::Http(answer)) => Err(Unusable::Refused(answer.status())),
        Err(error) => Err(Unusable::Handshake(Box::new(error))),
    }
}
