//! Accepting connections.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

use crate::{
    activation,
    limits::{REFUSALS_MAX, is_shortage},
    wire::keepalive,
};

use super::{admission, handshake, listeners::Open, shared::Shared};

/// Connections that may wait to be accepted; the kernel has a limit of its own (`somaxconn`).
pub const BACKLOG: u32 = 4096;
/// How long accepting pauses when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket: the one that the service manager has opened at this address, or a new one. With `reuse_port`
/// other processes of this user that say the same may have the address as well, and share its clients.
///
/// # Errors
/// The address is in use or not ours.
pub(super) fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let listener = match activation::tcp(address)? {
        Some(given) => TcpListener::from_std(given)?,
        None => open(address, reuse_port)?,
    };
    // What is accepted inherits the options: four system calls less for each client.
    keepalive::configure(&listener);
    Ok(listener)
}

fn open(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the proxy takes no new sessions or the port is closed; live sessions are not touched by anything that
/// happens here.
pub(super) async fn accept_all(shared: Arc<Shared>, open: Open) {
    let mut short_of_files = false;
    loop {
        let accepted = tokio::select! {
            accepted = open.listener.accept() => accepted,
            () = shared.leaving.closed.cancelled() => {
                accept_waiting(&shared, &open);
                return shared.listeners.let_go();
            }
            () = open.closed.cancelled() => return accept_waiting(&shared, &open),
        };
        let is_tls = open.is_tls.load(Ordering::Acquire);
        match accepted {
            Ok((stream, peer)) => {
                short_of_files = false;
                accept(&shared, stream, (peer, open.written), is_tls);
            }
            Err(error) if is_shortage(&error) => {
                if !std::mem::replace(&mut short_of_files, true) {
                    tracing::warn!(%error, "accepting pauses: out of file descriptors or memory");
                }
                sleep(PAUSE).await;
            }
            // The client went away between its SYN and now.
            Err(error) => tracing::debug!(%error, "accept failed"),
        }
    }
}

/// Those that the kernel has taken for us already: nobody else gets them, and closing would cut them off.
fn accept_waiting(shared: &Arc<Shared>, open: &Open) {
    let is_tls = open.is_tls.load(Ordering::Acquire);
    for _ in 0..BACKLOG {
        let Some(Ok((stream, peer))) = open.listener.accept().now_or_never() else { return };
        accept(shared, stream, (peer, open.written), is_tls);
    }
}

fn accept(shared: &Arc<Shared>, stream: TcpStream, (peer, named): (SocketAddr, SocketAddr), is_tls: bool) {
    shared.counts.connections.inc();
    // Silent connections must not take what sessions need.
    let entry = admission::enter(shared, peer.ip());
    if let Err(refused) = entry {
        admission::tell(shared, peer.ip(), refused);
        if shared.refusing.len() >= REFUSALS_MAX {
            return;
        }
    }
    // Counted here: a burst is accepted before any of its tasks runs.
    let counted = if entry.is_ok() { shared.handshakes.token() } else { shared.refusing.token() };
    tokio::spawn(handshake::serve(Arc::clone(shared), stream, (peer, named), is_tls, entry, counted));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_has_the_options_of_its_listener() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (ours, other) = (SockRef::from(&accepted), SockRef::from(&client));
        assert!(ours.tcp_nodelay().unwrap() && !other.tcp_nodelay().unwrap());
        assert!(ours.keepalive().unwrap() && !other.keepalive().unwrap());
        assert!(ours.tcp_keepalive_time().unwrap() < other.tcp_keepalive_time().unwrap());
    }
}
