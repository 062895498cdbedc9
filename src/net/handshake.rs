//! From an accepted connection to a session: TLS, the request, the dial, the 101.
//!
//! There is no 101 before the upstream's 101. hyper reads the request and writes the answer and
//! then hands the socket back; nothing of it stays with the session.

use std::{
    convert::Infallible,
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    telemetry::events,
    upstream::{ClientRequest, DialFailure, Dialed, RequestHead},
};

use super::{
    closing,
    driver::{Beginning, Driver},
    health,
    live::{Note, Place},
    request::{self, Answer},
    shared::Shared,
    socket::Socket,
    websocket::accept_key,
};

/// The smallest buffer hyper works with.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;

/// A client that is to become a session.
struct Admitted {
    upstream: Dialed,
    request: ClientRequest,
    place: Place,
}

/// Answers the one request of a connection.
struct Handshake {
    shared: Arc<Shared>,
    peer: SocketAddr,
    tls: bool,
    /// The request is complete: the client has done its part in time.
    request_seen: Arc<AtomicBool>,
    admitted: Arc<Mutex<Option<Admitted>>>,
}

/// Sees a new connection through to its session, or to the answer that refuses it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
) {
    let counted = shared.handshakes.enter();
    let deadline = Instant::now() + shared.settings.listen.handshake_timeout;
    let is_tls = tls.is_some();
    let socket = match tls {
        None => Socket::Plain(stream),
        Some(config) => match timeout_at(deadline, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Socket::TlsServer(Box::new(stream)),
            Ok(Err(error)) if is_gone(error.kind()) => return went_away(peer),
            Ok(Err(error)) => return events::connection_refused(peer, &format_args!("TLS: {error}")),
            Err(_) => return events::connection_refused(peer, &"no TLS handshake in time"),
        },
    };
    let request_seen = Arc::new(AtomicBool::new(false));
    let admitted = Arc::new(Mutex::new(None));
    let service = Handshake {
        shared: Arc::clone(&shared),
        peer,
        tls: is_tls,
        request_seen: Arc::clone(&request_seen),
        admitted: Arc::clone(&admitted),
    };
    let head_bytes_max = shared.settings.listen.header_bytes_max.max(HYPER_BUFFER_BYTES_MIN);
    let connection = http1::Builder::new()
        .max_buf_size(head_bytes_max)
        .serve_connection(TokioIo::new(socket), service)
        .without_shutdown();
    tokio::pin!(connection);
    let result = match timeout_at(deadline, &mut connection).await {
        Ok(result) => result,
        Err(_) if request_seen.load(Ordering::Acquire) => connection.await,
        Err(_) => return events::connection_refused(peer, &"no complete request in time"),
    };
    let parts = match result {
        Ok(parts) => parts,
        Err(error) if io_kind(&error).is_some_and(is_gone) => return went_away(peer),
        Err(error) => return events::connection_refused(peer, &format_args!("no usable request: {error}")),
    };
    let socket = parts.io.into_inner();
    let admitted = admitted.lock().take();
    match admitted {
        Some(admitted) => begin(&shared, admitted, socket, parts.read_buf.to_vec(), peer),
        None => closing::close_http(&shared, socket),
    }
    drop(counted);
}

/// Balancers check a port by connecting and going away again, some with a reset.
fn went_away(peer: SocketAddr) {
    tracing::debug!(%peer, "gone before its request");
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    std::error::Error::source(error)?.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

fn begin(
    shared: &Arc<Shared>,
    admitted: Admitted,
    client: Socket,
    client_leftover: Vec<u8>,
    peer: SocketAddr,
) {
    let Admitted { upstream, request, place } = admitted;
    let node = shared.pool.node_name(upstream.node);
    let beginning = Beginning { client, client_leftover, upstream, request: Arc::new(request), place };
    let driver = Driver::new(shared, beginning);
    events::connected(driver.id(), peer, &node);
    // A shutdown that began before the session was registered has passed it by.
    if shared.is_stopping()
        && let Some(mailbox) = shared.live.mailbox(driver.id())
    {
        mailbox.post(Note::Shutdown);
    }
    tokio::spawn(driver);
}

impl Service<Request<Incoming>> for Handshake {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.request_seen.store(true, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        let admitted = Arc::clone(&self.admitted);
        let (peer, tls) = (self.peer, self.tls);
        Box::pin(async move { Ok(answer(&shared, &request, peer, tls, &admitted).await) })
    }
}

async fn answer(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    peer: SocketAddr,
    tls: bool,
    admitted: &Mutex<Option<Admitted>>,
) -> Answer {
    // Checks of balancers are no clients: no line of the log, no place, no word on what they lack.
    if let Some(answer) = health::answer(shared, request.method(), request.uri(), request.headers()) {
        return answer;
    }
    let refuse = |answer: Answer| {
        events::connection_refused(peer, &format_args!("answered {}", answer.status()));
        answer
    };
    let key = match request::check(request) {
        Ok(key) => key,
        Err(answer) => return refuse(answer),
    };
    if request::head_bytes(request) > shared.settings.listen.header_bytes_max {
        let status = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(request::text(status, "the request is too large"));
    }
    if shared.is_stopping() {
        return refuse(request::unavailable("shutting down"));
    }
    if shared.memory.is_short() {
        return refuse(request::unavailable("short of memory"));
    }
    let Some(place) = shared.live.take_place() else {
        events::connection_refused(peer, &"all places for sessions are taken");
        return request::unavailable("all places are taken");
    };
    let head = RequestHead {
        uri: request.uri(),
        headers: request.headers(),
        peer: peer.ip(),
        tls,
        trusted: shared.settings.listen.trusts(peer.ip()),
    };
    let mut client_request = ClientRequest::new(head);
    let dialed = tokio::select! {
        dialed = dial(shared, &client_request, peer) => dialed,
        () = shared.stopped() => return refuse(request::unavailable("shutting down")),
    };
    match dialed {
        Ok(upstream) => {
            client_request.choose_protocol(upstream.protocol.as_deref());
            let answer = request::switching(&accept_key(key.as_bytes()), upstream.protocol.as_deref());
            *admitted.lock() = Some(Admitted { upstream, request: client_request, place });
            answer
        }
        Err(failure) => {
            events::connection_refused(peer, &failure);
            request::dial_failed(&failure)
        }
    }
}

/// Dials; a client that comes while no node answers is held for a while (rule R13).
async fn dial(
    shared: &Arc<Shared>,
    request: &ClientRequest,
    peer: SocketAddr,
) -> Result<Dialed, DialFailure> {
    let failure = match shared.pool.connect(request).await {
        Err(failure) if failure.is_outage() => failure,
        result => return result,
    };
    let patience = shared.settings.listen.connect_hold;
    if patience.is_zero() || shared.held.count() >= shared.settings.listen.connect_hold_sessions_max {
        return Err(failure);
    }
    let _held = shared.held.enter();
    tracing::info!(%peer, %failure, "a client waits for an upstream");
    shared.pool.connect_when_up(request, patience, failure).await
}
