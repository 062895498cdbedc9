//! Accepting on a port of our own, within bounds: idle connections end, and when there are too many the
//! oldest idle one makes room, so that nobody is kept out by connections that say nothing.

use std::{
    error::Error,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{task::AbortHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::listener::{Listener, Peer, Stream};

/// How long accepting pauses when it fails (out of descriptors).
const PAUSE: Duration = Duration::from_millis(100);

/// What is kept of a request, or of an answer that is not taken.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What asking may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// How long a connection may take for its request.
    pub(crate) idle_max: Duration,
    /// How long one may take in all; it is then good for one request. `None`: for many, for ever.
    pub(crate) life_max: Option<Duration>,
}

/// With an answer, as an extension: it goes on for as long as it likes, or until this is cancelled. Its connection
/// makes no room for others.
#[derive(Clone, Debug)]
pub(crate) struct Lasting(pub(crate) CancellationToken);

/// A connection, and whether a request of it is being answered.
struct Open {
    task: AbortHandle,
    is_busy: Arc<AtomicBool>,
}

/// Answers until the task is aborted; `name` is for the log. Each request carries who asks ([`Peer`]) as an
/// extension.
pub(crate) async fn serve<S, B>(name: &'static str, listener: Listener, bounds: Bounds, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut open: Vec<Open> = Vec::new();
    let mut is_short = false;
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut is_short, true) {
                    tracing::warn!(port = name, %error, "accepting pauses");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        is_short = false;
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= bounds.connections_max {
            let idle = open.iter().position(|connection| !connection.is_busy.load(Ordering::Acquire));
            let Some(idle) = idle else {
                tracing::debug!(port = name, "too many requests at once; a connection was dropped");
                continue;
            };
            open.remove(idle).task.abort();
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(connection((socket, peer), bounds, Arc::clone(&is_busy), service.clone()));
        open.push(Open { task: task.abort_handle(), is_busy });
    }
}

async fn connection<S, B>(
    (socket, peer): (Stream, Peer),
    bounds: Bounds,
    is_busy: Arc<AtomicBool>,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let lasting = Arc::new(OnceLock::new());
    let is_lasting = Arc::clone(&lasting);
    let watched = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        is_busy.store(true, Ordering::Release);
        let (answer, is_busy) = (service.call(request), Arc::clone(&is_busy));
        let is_lasting = Arc::clone(&is_lasting);
        async move {
            let answer = answer.await;
            match answer.as_ref().ok().and_then(|answer| answer.extensions().get::<Lasting>()) {
                Some(Lasting(over)) => drop(is_lasting.set(over.clone())),
                None => is_busy.store(false, Ordering::Release),
            }
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle_max)
        .max_buf_size(BUFFER_BYTES_MAX)
        .keep_alive(bounds.life_max.is_none())
        .serve_connection(TokioIo::new(socket), watched);
    // Who asks and goes away, or takes too long, gets nothing.
    match bounds.life_max {
        Some(life_max) => tokio::select! {
            _ = served => {}
            () = over(life_max, &lasting) => {}
        },
        None => drop(served.await),
    }
}

/// Completes when a connection has had its time: later where its answer lasts.
async fn over(life_max: Duration, lasting: &OnceLock<CancellationToken>) {
    sleep(life_max).await;
    if let Some(over) = lasting.get() {
        over.cancelled().await;
    }
}
