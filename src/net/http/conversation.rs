//! Lets hyper read requests and write answers on a connection, for as long as there is patience with it.

use std::{
    convert::Infallible,
    error::Error as _,
    future::{Future, poll_fn},
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1::{self, Parts},
    service::Service,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::{
    telemetry::{anonymous, counts::Refusal, events},
    wire::{
        forwarded::{LastHop, has_token},
        socket::Socket,
    },
};

use super::{
    body::ReplyBody,
    course::{Course, Patience},
    respond::{self, Admitted, Asking},
    tunnel::Tunnel,
    watched::Watched,
};
use crate::net::{
    admission::{Entry, Refused},
    shared::Shared,
};

/// The smallest buffer hyper works with.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;

/// Whoever talks on a connection.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// Where the connection came in, as the settings name it.
    pub(crate) listener: SocketAddr,
    /// Its other end.
    pub(crate) peer: SocketAddr,
    /// The address that it reached.
    pub(crate) reached: SocketAddr,
    /// Whether it speaks TLS.
    pub(crate) is_tls: bool,
    /// What it was let in with, or why it was not; taken by what makes it a session.
    pub(crate) entry: Mutex<Option<Result<Entry, Refused>>>,
    /// It waits for an upstream.
    pub(crate) is_dialling: AtomicBool,
    /// What it has become.
    pub(crate) becomes: Mutex<Option<Becomes>>,
}

/// What a connection has become that is no conversation any more.
#[derive(Debug)]
pub(crate) enum Becomes {
    /// A session, once it is begun.
    Session(Box<Admitted>),
    /// Another application's WebSocket.
    Tunnel(Tunnel),
}

impl Visitor {
    /// It is a session from now on.
    pub(super) fn session(&self, admitted: Admitted) {
        *self.becomes.lock() = Some(Becomes::Session(Box::new(admitted)));
    }

    /// It is a tunnel from now on.
    pub(super) fn tunnel(&self, tunnel: Tunnel) {
        *self.becomes.lock() = Some(Becomes::Tunnel(tunnel));
    }
}

/// Why a connection got no answer from us.
#[derive(Debug)]
pub(crate) struct Unserved {
    pub(crate) refusal: Refusal,
    pub(crate) cause: String,
}

/// Answers requests until one of them makes a session of the connection, or the end: what was read behind the last
/// one, or why there was none, unless the peer just went away. The first one is to be complete by the deadline.
///
/// # Errors
/// See above.
pub(crate) async fn converse(
    shared: &Arc<Shared>,
    socket: &mut Socket,
    visitor: Arc<Visitor>,
    deadline: Instant,
) -> Result<Vec<u8>, Option<Unserved>> {
    let (head_bytes_max, http) = {
        let settings = shared.settings.load();
        (settings.listen.header_bytes_max.max(HYPER_BUFFER_BYTES_MIN), settings.http.clone())
    };
    let patience = Patience { keep_alive: http.keep_alive, idle: http.idle_timeout };
    let course = Arc::new(Course::new(deadline, patience));
    let service =
        Answering { shared: Arc::clone(shared), visitor: Arc::clone(&visitor), course: Arc::clone(&course) };
    let mut connection = http1::Builder::new()
        .max_buf_size(head_bytes_max)
        .keep_alive(!http.keep_alive.is_zero())
        .serve_connection(TokioIo::new(Watched { socket, course: &course }), service);
    let mut life_ends =
        (!http.connection_life_max.is_zero()).then(|| Instant::now() + http.connection_life_max);
    let mut is_last = false;
    let result = loop {
        let (due, is_over) = course.look(Instant::now());
        if is_over {
            break None;
        }
        let due = life_ends.map_or(due, |ends| ends.min(due));
        tokio::select! {
            result = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break Some(result),
            () = course.turned() => {}
            () = sleep_until(due) => {}
            () = shared.leaving.closed.cancelled(), if !is_last && course.was_answered() => {
                is_last = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
        if life_ends.is_some_and(|ends| ends <= Instant::now()) {
            life_ends = None;
            Pin::new(&mut connection).graceful_shutdown();
        }
    };
    match result {
        Some(Ok(())) => {
            let Parts { read_buf, .. } = connection.into_parts();
            Ok(read_buf.to_vec())
        }
        Some(Err(error)) => Err(unserved(&course, &visitor, &error)),
        None if course.was_answered() => Ok(Vec::new()),
        None if course.is_busy() => {
            tracing::debug!(peer = %anonymous::shown(visitor.peer.ip()), "a request stood still (http.idle_timeout_ms)");
            Err(None)
        }
        None => {
            let cause = "no complete request in time".to_owned();
            Err(Some(Unserved { refusal: Refusal::Timeout, cause }))
        }
    }
}

fn unserved(course: &Course, visitor: &Visitor, error: &hyper::Error) -> Option<Unserved> {
    if course.is_busy() {
        if visitor.is_dialling.load(Ordering::Acquire) {
            events::client_gave_up(&visitor.peer);
        }
        return None;
    }
    if io_kind(error).is_some_and(is_gone) {
        return None;
    }
    let cause = format!("no usable request: {error}");
    Some(Unserved { refusal: Refusal::BadRequest, cause })
}

/// Whether an error only means that the other side has left.
pub(crate) fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    error.source()?.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

/// Answers the requests of a connection.
struct Answering {
    shared: Arc<Shared>,
    visitor: Arc<Visitor>,
    course: Arc<Course>,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.course.begin_request();
        let (shared, visitor) = (Arc::clone(&self.shared), Arc::clone(&self.visitor));
        let course = Arc::clone(&self.course);
        Box::pin(async move {
            let settings = shared.settings.load_full();
            let (parts, body) = request.into_parts();
            let request = Request::from_parts(parts, ());
            let hop = LastHop {
                uri: request.uri(),
                headers: request.headers(),
                peer: visitor.peer,
                reached: visitor.reached,
                tls: visitor.is_tls,
                settings: &settings.listen,
            };
            let is_websocket = has_token(request.headers(), &http::header::UPGRADE, "websocket");
            let asking =
                Asking { settings: &settings, request: &request, hop, visitor: &visitor, is_websocket };
            let reply = respond::answer(&shared, asking, (body, Arc::clone(&course))).await;
            Ok(reply.map(|body| ReplyBody::new(body, course)))
        })
    }
}
