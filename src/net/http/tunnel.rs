//! A WebSocket of another application, passed on as it is: bytes in both directions until one side ends it, or nobody
//! says anything for long. It is no session.

use std::{sync::Arc, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt as _, copy, split},
    time::{Instant, sleep_until},
};

use crate::{net::shared::Shared, wire::socket::Socket};

use super::{
    course::{Course, Patience},
    side::InFlight,
    watched::Watched,
};

/// The server's side of it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    server: Upgraded,
    _in_flight: InFlight,
}

impl Tunnel {
    pub(super) const fn new(server: Upgraded, in_flight: InFlight) -> Self {
        Self { server, _in_flight: in_flight }
    }

    /// Passes bytes on; the first ones of the client were read already.
    pub(crate) async fn run(self, shared: Arc<Shared>, mut socket: Socket, read: Vec<u8>) {
        let idle = shared.settings.load().limits.passthrough_idle_timeout;
        let idle = if idle.is_zero() { Duration::from_secs(365 * 24 * 3_600) } else { idle };
        let course = Course::new(Instant::now(), Patience { keep_alive: idle, idle });
        course.end_request();
        let mut server = TokioIo::new(self.server);
        let pass = async {
            server.write_all(&read).await?;
            let (mut from_client, mut to_client) = split(Watched { socket: &mut socket, course: &course });
            let (mut from_server, mut to_server) = split(&mut server);
            // Half of a WebSocket is none: what one side said before its end has gone to the other.
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => to_server.shutdown().await,
                _ = copy(&mut from_server, &mut to_client) => to_client.shutdown().await,
            }
        };
        let silence = async {
            loop {
                let until = course.last_moved() + idle;
                if until <= Instant::now() {
                    return;
                }
                sleep_until(until).await;
            }
        };
        tokio::select! {
            // Whoever ends it needs no word of ours.
            _ = pass => {}
            () = silence => tracing::debug!("a tunnel was silent (limits.passthrough_idle_timeout_ms)"),
            () = shared.stopping.cancelled() => {}
        }
    }
}
