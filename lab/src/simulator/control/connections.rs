//! The connections of the control port, within bounds: who says nothing for long is cut off, and when there
//! are too many the oldest that is idle makes room, so that nobody is kept out by silent ones.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to say what it wants.
const IDLE_MAX: Duration = Duration::from_secs(60);

struct Open {
    task: AbortHandle,
    /// A request of it is being answered.
    is_busy: Arc<AtomicBool>,
}

/// Dropping it ends all of them.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first.
    open: Vec<Open>,
}

impl Connections {
    /// Serves one more, or drops it if all others are busy.
    pub(super) fn add<A, F>(&mut self, tcp: TcpStream, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|connection| !connection.task.is_finished());
        if self.open.len() >= CONNECTIONS_MAX {
            let idle = self.open.iter().position(|connection| !connection.is_busy.load(Ordering::Acquire));
            let Some(idle) = idle else {
                tracing::debug!("too many requests at once on the control port; a connection was dropped");
                return;
            };
            self.open.remove(idle).task.abort();
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(serve(tcp, Arc::clone(&is_busy), answer));
        self.open.push(Open { task, is_busy });
    }
}

async fn serve<A, F>(tcp: TcpStream, is_busy: Arc<AtomicBool>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(|request| async {
        is_busy.store(true, Ordering::Release);
        let response = answer(request).await;
        is_busy.store(false, Ordering::Release);
        Ok::<_, Infallible>(response)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(tcp), service);
    // Who asks and goes away, or takes too long, gets nothing.
    drop(served.await);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Connections::default();
        let mut clients = Vec::new();
        for _ in 0..=CONNECTIONS_MAX {
            clients.push(TcpStream::connect(address).await.unwrap());
            let (tcp, _) = listener.accept().await.unwrap();
            connections.add(tcp, |_| async { Response::default() });
        }
        assert_eq!(connections.open.len(), CONNECTIONS_MAX);
        assert_eq!(clients.remove(0).read(&mut [0]).await.unwrap(), 0, "the first was cut off");
    }
}
