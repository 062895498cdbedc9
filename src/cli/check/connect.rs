//! One WebSocket handshake with an upstream, closed again at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::config::UpstreamUrl;

/// Opens and closes a connection; returns how long opening took, or why it failed.
pub(super) async fn handshake(
    url: &UpstreamUrl,
    config: ClientConfig,
    limit: Duration,
) -> Result<Duration, String> {
    let started = Instant::now();
    match timeout(limit, dial(url, config)).await {
        Ok(result) => result.map(|()| started.elapsed()),
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}

async fn dial(url: &UpstreamUrl, config: ClientConfig) -> Result<(), String> {
    let socket = TcpStream::connect((url.host(), url.port()))
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    if !url.is_tls() {
        return upgrade(url, socket).await;
    }
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| error.to_string())?;
    let socket = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| format!("TLS failed: {error}"))?;
    upgrade(url, socket).await
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(url: &UpstreamUrl, socket: S) -> Result<(), String> {
    let target = format!("{url}/");
    match tokio_tungstenite::client_async(target, socket).await {
        Ok((mut socket, _)) => {
            // The question is answered; how the other side takes the end does not matter.
            let _ = socket.close(None).await;
            Ok(())
        }
        Err(WebSocketError::Http(answer)) => Err(format!("it refuses WebSockets: HTTP {}", answer.status())),
        Err(error) => Err(format!("it does not speak WebSocket: {error}")),
    }
}
