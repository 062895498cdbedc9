//! Options of every TCP socket we use.

use std::{os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);

/// No delay of small frames; and TCP's own keepalive, the last resort where the signaling has no
/// pings of its own (passed-through protocols, media sockets).
pub(crate) fn configure(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL);
    // Without these options the connection works, only worse.
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "socket options not set");
    }
}
