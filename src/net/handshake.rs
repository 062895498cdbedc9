//! From an accepted connection to a session: what a balancer says of it, TLS, its requests (`http`), and the pool of
//! its application where a route goes by that.
//!
//! There is no 101 before an upstream's 101. hyper reads requests and writes answers and then hands the socket back;
//! nothing of it stays with the session.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, rustls, server::TlsStream};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    session::Close,
    telemetry::{
        anonymous,
        counts::{Refusal, TlsOutcome},
        events,
    },
    upstream::Dialed,
    wire::{side::Side, socket::Socket, websocket::Role},
};

use super::{
    admission::{self, Entry, Newcomer, Refused},
    certificates, closing,
    driver::{Beginning, Driver},
    first_message::{self, Said},
    http::{Admitted, Becomes, Unserved, Visitor, converse, dial, is_gone, notice_balancer},
    live::Note,
    proxy_header::{self, HeaderError, Told},
    route::ByApp,
    shared::Shared,
};

/// What a client hears whose application is not served (RFC 6455 section 7.4.1), or whose upstream cannot be had.
const POLICY: u16 = 1008;
const TRY_AGAIN_LATER: u16 = 1013;

/// How long somebody who is refused may take to send the request that is answered.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(2);

/// Where a connection comes from, as far as it is known before its request.
#[derive(Clone, Copy, Debug)]
struct Hop {
    peer: SocketAddr,
    /// The address that it reached.
    reached: SocketAddr,
    is_tls: bool,
}

impl Hop {
    /// The one that a balancer tells of, which is the client's own.
    fn told(self, told: Told) -> Self {
        let (peer, reached) = told.addresses.unwrap_or((self.peer, self.reached));
        Self { peer, reached, is_tls: self.is_tls || told.is_tls }
    }
}

/// Sees a new connection through to its session, or to the answer that refuses it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    (peer, listener): (SocketAddr, SocketAddr),
    tls: bool,
    mut entry: Result<Entry, Refused>,
    counted: TaskTrackerToken,
) {
    let settings = shared.settings.load_full();
    let patience = settings.listen.handshake_timeout;
    let patience = if entry.is_ok() { patience } else { patience.min(REFUSAL_TIME_MAX) };
    let deadline = Instant::now() + patience;
    let reached = stream.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut hop = Hop { peer, reached, is_tls: tls };
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
    let mut socket = if tls {
        match shake_hands(&shared, peer, stream, deadline).await {
            Some(stream) => Socket::TlsServer(Box::new(stream)),
            None => return,
        }
    } else {
        Socket::Plain(stream)
    };
    let visitor = Arc::new(Visitor {
        listener,
        peer,
        reached: hop.reached,
        is_tls: hop.is_tls,
        entry: Mutex::new(Some(entry)),
        is_dialling: AtomicBool::new(false),
        becomes: Mutex::new(None),
    });
    // The socket is only lent: what hyper answers to nonsense must not be lost to a reset either.
    let served = converse(&shared, &mut socket, Arc::clone(&visitor), deadline).await;
    let becomes = visitor.becomes.lock().take();
    match (served, becomes) {
        (Ok(read), Some(Becomes::Session(admitted))) => begin(&shared, *admitted, socket, read).await,
        (Ok(read), Some(Becomes::Tunnel(tunnel))) => tunnel.run(shared, socket, read).await,
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
    deadline: Instant,
) -> Option<TlsStream<TcpStream>> {
    // There is one wherever a listener speaks TLS.
    let config = shared.certificates.config()?;
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
            events::connection_refused(&peer, &format_args!("TLS: {}", tls_cause(&error)));
        }
        Err(_) => {
            counts.refusals.inc(Refusal::Timeout);
            events::connection_refused(&peer, &"no TLS handshake in time");
        }
    }
    None
}

/// Why a TLS handshake failed, in words that name the setting where one has to do with it.
fn tls_cause(error: &io::Error) -> String {
    let of_rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_rustls {
        Some(rustls::Error::NoCertificatesPresented) => {
            "the client showed no certificate (listen.client_auth = \"required\")".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("the certificate of the client is refused (listen.client_ca, listen.client_crl): {why}")
        }
        Some(rustls::Error::General(text)) if text.contains("no server certificate chain") => {
            "no certificate has the name that the client asked for (listen.tls_unknown_names)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Balancers check a port by connecting and going away again, some with a reset.
fn went_away(peer: SocketAddr) {
    tracing::debug!(peer = %anonymous::shown(peer.ip()), "gone before its request");
}

/// Makes a session of a client that was answered 101.
async fn begin(
    shared: &Arc<Shared>,
    mut admitted: Admitted,
    mut socket: Socket,
    mut client_leftover: Vec<u8>,
) {
    if let Some(by_app) = admitted.by_app.take() {
        let bytes_max = shared.session_settings.load().bounds.stream_bytes_max;
        let patience = shared.settings.load().listen.idle_before_first_message;
        let said = tokio::select! {
            said = first_message::listen(&mut socket, &mut client_leftover, bytes_max, patience) => said,
            // The session will hear of it.
            () = shared.stopping.cancelled() => Said::MediaSocket,
        };
        match send_by_app(shared, &by_app, &said, admitted).await {
            Ok(sent) => admitted = sent,
            Err((close, held)) => {
                let side = Side::new(socket, Role::Client, &[]);
                return closing::close_holding(shared, side, close, held);
            }
        }
    }
    let Admitted { upstream, request, client: peer, place, newcomer, .. } = admitted;
    let node = shared.pool.node_name(upstream.node);
    let request = Arc::new(request);
    let certificate = socket.client_certificate().and_then(certificates::subject);
    let beginning =
        Beginning { client: socket, client_ip: peer.ip, client_leftover, upstream, request, place, newcomer };
    let driver = Driver::new(shared, beginning);
    events::connected(driver.id(), &peer, &node, certificate.as_deref());
    // A shutdown that began before the session was registered has passed it by.
    if shared.stopping.is_cancelled()
        && let Some(mailbox) = shared.live.mailbox(driver.id())
    {
        mailbox.post(Note::Shutdown);
    }
    tokio::spawn(driver);
}

/// The same client with a connection to the pool of its application; or how it is closed, and what it has until
/// then.
async fn send_by_app(
    shared: &Arc<Shared>,
    by_app: &ByApp,
    said: &Said,
    admitted: Admitted,
) -> Result<Admitted, (Close, Newcomer)> {
    let app_key = match said {
        Said::App(app_key) => Some(app_key.as_str()),
        Said::Other => None,
        Said::MediaSocket => return Ok(admitted),
        Said::Gone => return Err((Close::Abort, leave(shared, admitted))),
    };
    let Some(pool) = by_app.pool_of(app_key) else {
        shared.counts.refusals.inc(Refusal::Route);
        events::connection_refused(&admitted.client, &"its application is not served here ([[route]])");
        return Err((Close::Code(POLICY), leave(shared, admitted)));
    };
    let request = admitted.request.in_pool(pool.clone());
    if by_app.first_pool().flatten() == pool {
        return Ok(Admitted { request, ..admitted });
    }
    leave_upstream(shared, admitted.upstream);
    match dial(shared, &request, admitted.client).await {
        Ok(upstream) => Ok(Admitted { upstream, request, ..admitted }),
        Err(failure) => {
            shared.counts.refusals.inc(Refusal::Upstream);
            events::connection_refused(&admitted.client, &failure);
            Err((Close::Code(TRY_AGAIN_LATER), admitted.newcomer))
        }
    }
}

fn leave(shared: &Arc<Shared>, admitted: Admitted) -> Newcomer {
    leave_upstream(shared, admitted.upstream);
    admitted.newcomer
}

fn leave_upstream(shared: &Arc<Shared>, upstream: Dialed) {
    let side = Side::new(upstream.socket, Role::Server, &upstream.leftover);
    closing::close(shared, side, Close::NoCode);
}
