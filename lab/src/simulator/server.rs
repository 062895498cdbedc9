//! The listeners. They let connections in, or not, as the faults say.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::SimulatorTls;
use super::shared::{Doors, Shared};
use super::{connection, health};

/// Connections that the kernel completes ahead of us. The kernel's own bound applies as well.
const BACKLOG: u32 = 4096;
/// Between two tries to bind or accept after an error.
const RETRY: Duration = Duration::from_millis(20);

/// Binds an address.
///
/// # Errors
/// Those of the operating system.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Reads the files of a TLS listener.
///
/// # Errors
/// When a file cannot be read or does not fit the other.
pub(super) fn tls_acceptor(tls: &SimulatorTls) -> io::Result<TlsAcceptor> {
    let invalid =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| invalid(&error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| invalid(&error))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| invalid(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Who is served behind an address.
#[derive(Clone)]
pub(super) enum Service {
    /// Clients, over TLS if there is an acceptor.
    Clients(Option<TlsAcceptor>),
    /// Those who want figures.
    Stat,
    /// Those who ask the agent.
    Agent,
}

impl Service {
    fn begin(&self, shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr, local: SocketAddr) {
        let shared = Arc::clone(shared);
        match self {
            Self::Clients(tls) => {
                tokio::spawn(connection::serve(shared, tcp, peer, local, tls.clone()));
            }
            Self::Stat => {
                tokio::spawn(health::stat(shared, tcp));
            }
            Self::Agent => {
                tokio::spawn(health::agent(shared, tcp));
            }
        }
    }
}

/// Keeps an address served until the simulator ends.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, local: SocketAddr, service: Service) {
    let mut listener = Some(listener);
    let mut doors = shared.doors.subscribe();
    loop {
        let Ok(state) = doors.wait_for(|doors| *doors != Doors::Shut).await.map(|doors| *doors) else {
            return;
        };
        if state == Doors::Gone {
            return;
        }
        match listener.take().map_or_else(|| bind(local), Ok) {
            Ok(listener) => accept_all(&shared, &listener, local, &service).await,
            Err(error) => {
                tracing::warn!(%error, %local, "listening again failed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Accepts until the doors are shut.
async fn accept_all(shared: &Arc<Shared>, listener: &TcpListener, local: SocketAddr, service: &Service) {
    let mut doors = shared.doors.subscribe();
    loop {
        shared.thawed().await;
        if !shared.doors_open().await {
            return;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%error, "the connection was gone at once");
                        continue;
                    }
                    service.begin(shared, tcp, peer, local);
                }
                Err(error) => {
                    // Most likely out of file descriptors: those who wait stay in the backlog.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(RETRY).await;
                }
            },
            changed = doors.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
