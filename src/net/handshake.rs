//! From an accepted connection to a session: TLS, the request, the dial, the 101.
//!
//! There is no 101 before the upstream's 101. hyper reads the request and writes the answer and
//! then hands the socket back; nothing of it stays with the session.

use std::{
    convert::Infallible,
    future::Future,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{
    Request,
    body::Incoming,
    server::conn::http1::{self, Parts},
    service::Service,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    config::NetSettings,
    telemetry::{
        counts::{Refusal, TlsOutcome},
        events,
    },
    upstream::{ClientRequest, CookieBounds, DialFailure, Dialed},
    wire::{
        forwarded::{self, Client, LastHop},
        socket::Socket,
    },
};

use super::{
    admission::{self, Entry, Newcomer, Refused},
    closing,
    driver::{Beginning, Driver},
    health,
    live::{Note, Place},
    proxy_header::{self, HeaderError, Told},
    request::{self, Answer},
    shared::Shared,
};

/// The smallest buffer hyper works with.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;

/// How long somebody who is refused may take to send the request that is answered.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(2);

/// A client that is to become a session.
struct Admitted {
    upstream: Dialed,
    request: ClientRequest,
    client: Client,
    place: Place,
    newcomer: Newcomer,
}

/// Where a connection comes from, as far as it is known before its request.
#[derive(Clone, Copy, Debug)]
struct Hop {
    peer: SocketAddr,
    /// The port it reached.
    port: u16,
    is_tls: bool,
}

impl Hop {
    /// The one that a balancer tells of, which is the client's own.
    fn told(self, told: Told) -> Self {
        let (peer, port) = told.addresses.map_or((self.peer, self.port), |(peer, at)| (peer, at.port()));
        Self { peer, port, is_tls: self.is_tls || told.is_tls }
    }
}

/// Answers the one request of a connection.
struct Handshake {
    shared: Arc<Shared>,
    hop: Hop,
    /// The request is complete: the client has done its part in time.
    request_seen: Arc<AtomicBool>,
    /// What it was let in with, or why it was not; taken by the first request.
    entry: Mutex<Option<Result<Entry, Refused>>>,
    admitted: Arc<Mutex<Option<Admitted>>>,
}

/// Sees a new connection through to its session, or to the answer that refuses it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    mut entry: Result<Entry, Refused>,
    counted: TaskTrackerToken,
) {
    let settings = shared.settings.load_full();
    let patience = settings.listen.handshake_timeout;
    let patience = if entry.is_ok() { patience } else { patience.min(REFUSAL_TIME_MAX) };
    let deadline = Instant::now() + patience;
    let port = stream.local_addr().map_or(0, |address| address.port());
    let mut hop = Hop { peer, port, is_tls: tls.is_some() };
    if settings.listen.proxy_protocol && settings.listen.trusts(peer.ip()) {
        let Some(told) = told_of(&shared, peer, &mut stream, deadline).await else { return };
        if told.addresses.is_some() {
            notice_balancer(&shared, peer.ip(), true);
        }
        hop = hop.told(told);
        entry = entry.and_then(|entry| admission::belongs_to(&shared, entry, hop.peer.ip()));
        if let Err(refused) = entry {
            admission::tell(&shared, hop.peer.ip(), refused);
        }
    }
    let (peer, of_address) = (hop.peer, entry.as_ref().ok().and_then(Entry::of_address));
    let mut socket = match tls {
        None => Socket::Plain(stream),
        Some(config) => match shake_hands(&shared, peer, stream, config, deadline).await {
            Some(stream) => Socket::TlsServer(Box::new(stream)),
            None => return,
        },
    };
    let request_seen = Arc::new(AtomicBool::new(false));
    let admitted = Arc::new(Mutex::new(None));
    let service = Handshake {
        shared: Arc::clone(&shared),
        hop,
        request_seen: Arc::clone(&request_seen),
        entry: Mutex::new(Some(entry)),
        admitted: Arc::clone(&admitted),
    };
    // The socket is only lent: what hyper answers to nonsense must not be lost to a reset either.
    let served = converse(&shared, &mut socket, service, deadline, &request_seen).await;
    let admitted = admitted.lock().take();
    match (served, admitted) {
        (Ok(read), Some(admitted)) => begin(&shared, admitted, socket, read),
        (Ok(_), None) => closing::close_http(&shared, socket, (counted, of_address)),
        (Err(None), _) => went_away(peer),
        (Err(Some(Unserved { refusal, cause })), _) => {
            shared.counts.refusals.inc(refusal);
            events::connection_refused(&peer, &cause);
            closing::close_http(&shared, socket, (counted, of_address));
        }
    }
}

/// What a balancer says of a connection before its first byte; `None` if that is all there is to it.
async fn told_of(
    shared: &Shared,
    peer: SocketAddr,
    stream: &mut TcpStream,
    deadline: Instant,
) -> Option<Told> {
    let cause = match timeout_at(deadline, proxy_header::read(stream)).await {
        Ok(Ok(told)) => return Some(told),
        Ok(Err(HeaderError::Io(error))) if is_gone(error.kind()) => {
            went_away(peer);
            return None;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no PROXY header in time (listen.proxy_protocol)".to_owned(),
    };
    shared.counts.refusals.inc(Refusal::ProxyHeader);
    events::connection_refused(&peer, &cause);
    None
}

/// The TLS handshake of a client; `None` if there is nobody to talk to after it.
async fn shake_hands(
    shared: &Shared,
    peer: SocketAddr,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    deadline: Instant,
) -> Option<TlsStream<TcpStream>> {
    let result = timeout_at(deadline, TlsAcceptor::from(config).accept(stream)).await;
    let counts = &shared.counts;
    counts.tls_handshakes.inc(match &result {
        Ok(Ok(_)) => TlsOutcome::Ok,
        Ok(Err(error)) if is_gone(error.kind()) => TlsOutcome::ClientLeft,
        Ok(Err(_)) => TlsOutcome::Failed,
        Err(_) => TlsOutcome::Timeout,
    });
    match result {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) if is_gone(error.kind()) => went_away(peer),
        Ok(Err(error)) => {
            counts.refusals.inc(Refusal::Tls);
            events::connection_refused(&peer, &format_args!("TLS: {error}"));
        }
        Err(_) => {
            counts.refusals.inc(Refusal::Timeout);
            events::connection_refused(&peer, &"no TLS handshake in time");
        }
    }
    None
}

/// Why a connection got no answer from us.
struct Unserved {
    refusal: Refusal,
    cause: String,
}

/// Lets hyper read the request and write the answer; what was read behind the request, or why there
/// was none, unless the peer just went away.
async fn converse(
    shared: &Shared,
    socket: &mut Socket,
    service: Handshake,
    deadline: Instant,
    request_seen: &AtomicBool,
) -> Result<Vec<u8>, Option<Unserved>> {
    let peer = service.hop.peer;
    let head_bytes_max = shared.settings.load().listen.header_bytes_max.max(HYPER_BUFFER_BYTES_MIN);
    let connection = http1::Builder::new()
        .max_buf_size(head_bytes_max)
        .serve_connection(TokioIo::new(socket), service)
        .without_shutdown();
    tokio::pin!(connection);
    let result = match timeout_at(deadline, &mut connection).await {
        Ok(result) => result,
        Err(_) if request_seen.load(Ordering::Acquire) => connection.await,
        Err(_) => {
            let cause = "no complete request in time".to_owned();
            return Err(Some(Unserved { refusal: Refusal::Timeout, cause }));
        }
    };
    match result {
        Ok(Parts { read_buf, .. }) => Ok(read_buf.to_vec()),
        Err(_) if request_seen.load(Ordering::Acquire) => {
            events::client_gave_up(&peer);
            Err(None)
        }
        Err(error) if io_kind(&error).is_some_and(is_gone) => Err(None),
        Err(error) => {
            let cause = format!("no usable request: {error}");
            Err(Some(Unserved { refusal: Refusal::BadRequest, cause }))
        }
    }
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

fn begin(shared: &Arc<Shared>, admitted: Admitted, socket: Socket, client_leftover: Vec<u8>) {
    let Admitted { upstream, request, client: peer, place, newcomer } = admitted;
    let node = shared.pool.node_name(upstream.node);
    let request = Arc::new(request);
    let beginning =
        Beginning { client: socket, client_ip: peer.ip, client_leftover, upstream, request, place, newcomer };
    let driver = Driver::new(shared, beginning);
    events::connected(driver.id(), &peer, &node);
    // A shutdown that began before the session was registered has passed it by.
    if shared.stopping.is_cancelled()
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
        let entry = self.entry.lock().take();
        let Hop { peer, port, is_tls: tls } = self.hop;
        Box::pin(async move {
            let settings = shared.settings.load_full();
            let hop = LastHop {
                uri: request.uri(),
                headers: request.headers(),
                peer: peer.ip(),
                port,
                tls,
                settings: &settings.listen,
            };
            Ok(answer(&shared, &settings, &request, hop, hop.client(peer), entry, &admitted).await)
        })
    }
}

async fn answer(
    shared: &Arc<Shared>,
    settings: &NetSettings,
    request: &Request<Incoming>,
    hop: LastHop<'_>,
    client: Client,
    entry: Option<Result<Entry, Refused>>,
    admitted: &Mutex<Option<Admitted>>,
) -> Answer {
    // Checks of balancers are no clients: no line of the log, no place, no word on what they lack.
    if let Some(answer) = health::answer(shared, request.method(), request.uri(), request.headers()) {
        return answer;
    }
    let entry = match entry {
        Some(Ok(entry)) => entry,
        Some(Err(refused)) => return refused.answer(),
        // A second request on a connection: it is answered one.
        None => return request::unavailable("one request per connection"),
    };
    let refuse = |refusal: Refusal, answer: Answer| {
        shared.counts.refusals.inc(refusal);
        events::connection_refused(&client, &format_args!("answered {}", answer.status()));
        answer
    };
    if let Err(answer) = request::check_host(request) {
        return refuse(Refusal::BadRequest, answer);
    }
    let key = match request::check(request) {
        Ok(key) => key,
        Err(answer) => return refuse(Refusal::BadRequest, answer),
    };
    if request::head_bytes(request) > settings.listen.header_bytes_max {
        let status = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(Refusal::BadRequest, request::text(status, "the request is too large"));
    }
    if shared.leaving.closed.is_cancelled() {
        return refuse(Refusal::Stopping, request::unavailable("shutting down"));
    }
    if forwarded::looks_like_a_balancer(hop.peer, hop.headers) {
        notice_balancer(shared, hop.peer, hop.is_trusted());
    }
    if let Err(refused) = admission::check_origin(shared, request.headers()) {
        admission::tell(shared, client.ip, refused);
        return refused.answer();
    }
    let (place, newcomer) = match admission::admit(shared, entry, client.ip) {
        Ok(admitted) => admitted,
        Err(refused) => {
            admission::tell(shared, client.ip, refused);
            return refused.answer();
        }
    };
    let upstream = &settings.upstream;
    let cookies = CookieBounds { count_max: upstream.cookies_max, bytes_max: upstream.cookie_bytes_max };
    let mut client_request = ClientRequest::new(hop, cookies);
    let dialed = tokio::select! {
        dialed = dial(shared, &client_request, client) => dialed,
        () = shared.leaving.closed.cancelled() => {
            return refuse(Refusal::Stopping, request::unavailable("shutting down"));
        }
    };
    match dialed {
        Ok(upstream) => {
            let protocol = upstream.protocol.as_deref();
            client_request.choose_protocol(protocol);
            let answer = request::switching(&derive_accept_key(key.as_bytes()), protocol, &upstream.headers);
            *admitted.lock() = Some(Admitted { upstream, request: client_request, client, place, newcomer });
            answer
        }
        Err(failure) => {
            shared.counts.refusals.inc(Refusal::Upstream);
            events::connection_refused(&client, &failure);
            request::dial_failed(&failure)
        }
    }
}

/// Clients behind a balancer reach us at an address of the balancer's choice: it is no address for
/// their media. Told once.
fn notice_balancer(shared: &Shared, peer: IpAddr, is_trusted: bool) {
    if shared.balancer_unnoticed.load(Ordering::Relaxed)
        && shared.balancer_unnoticed.swap(false, Ordering::Relaxed)
    {
        events::balancer_noticed(peer, is_trusted);
    }
}

/// Dials; a client that comes while no node answers is held for a while (rule R13).
async fn dial(shared: &Arc<Shared>, request: &ClientRequest, client: Client) -> Result<Dialed, DialFailure> {
    let failure = match shared.pool.connect(request).await {
        Err(failure) if failure.is_outage() => failure,
        result => return result,
    };
    let (patience, held_max) = {
        let listen = &shared.settings.load().listen;
        (listen.connect_hold, listen.connect_hold_sessions_max)
    };
    if patience.is_zero() || shared.held.len() >= held_max {
        return Err(failure);
    }
    let _held = shared.held.token();
    tracing::debug!(%client, %failure, "a client waits for an upstream");
    shared.pool.connect_when_up(request, patience, failure).await
}
