//! What a request is answered: health first, then what its route says; a WebSocket handshake becomes a session
//! once its upstream has answered 101.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use http::Response;
use hyper::{Request, body::Incoming};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    config::NetSettings,
    telemetry::{
        anonymous,
        counts::{Refusal, StatusClass},
        events,
    },
    upstream::{ClientRequest, CookieBounds, DialFailure, Dialed},
    wire::forwarded::{self, Client, LastHop, split_port},
};

use super::{body::Inner, conversation::Visitor, course::Course, pass};
use crate::net::{
    admission::{self, Entry, Newcomer},
    health,
    live::Place,
    request::{self, Answer},
    route::{Action, Asked, ByApp, PoolName, Route, Routes, Verdict, denied},
    shared::Shared,
};

/// A client that is to become a session.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) upstream: Dialed,
    pub(crate) request: ClientRequest,
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) newcomer: Newcomer,
    /// Where it goes is decided by its first message.
    pub(crate) by_app: Option<ByApp>,
}

/// One request.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) settings: &'a NetSettings,
    pub(super) request: &'a Request<()>,
    pub(super) hop: LastHop<'a>,
    pub(super) visitor: &'a Visitor,
    /// It asks for a WebSocket.
    pub(super) is_websocket: bool,
}

/// What a WebSocket is to become.
enum Way {
    Pool(PoolName),
    ByApp(ByApp),
}

/// The answer to a request; `body` is what it sends, on this connection.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    asking: Asking<'_>,
    body: (Incoming, Arc<Course>),
) -> Response<Inner> {
    if let Some(answer) = answer_at_once(shared, asking) {
        return answer.map(Inner::Own);
    }
    let routes = shared.routes.load_full();
    let way = match routed(&routes, asking) {
        Verdict::None => Way::Pool(None),
        Verdict::ByApp(by_app) => Way::ByApp(by_app),
        Verdict::Ambiguous => {
            let answer = request::bad("the path can be read in more than one way");
            return refuse(shared, asking, Refusal::BadRequest, answer).map(Inner::Own);
        }
        Verdict::Route(route) => match route.action() {
            Action::Pool(pool) => Way::Pool(pool.clone()),
            Action::Http(server) => return pass::pass_on(shared, asking, (route, server), body).await,
            Action::Deny(status) => return plain(shared, asking, route, || denied(*status)).map(Inner::Own),
            Action::Answer(fixed) => {
                return plain(shared, asking, route, || fixed.answer(asking.hop)).map(Inner::Own);
            }
        },
    };
    websocket(shared, asking, way).await.map(Inner::Own)
}

/// What is answered whatever the routes say.
fn answer_at_once(shared: &Shared, asking: Asking<'_>) -> Option<Answer> {
    let Asking { request, visitor, .. } = asking;
    // Checks of balancers are no clients: no line of the log, no place, no word on what they lack.
    let health = health::answer(shared, request.method(), request.uri(), request.headers());
    if health.is_some() {
        return health;
    }
    match visitor.entry.lock().as_ref() {
        Some(Ok(_)) => {}
        Some(Err(refused)) => return Some(refused.answer()),
        // Nothing follows a handshake that was taken.
        None => return Some(request::unavailable("one request per connection")),
    }
    let wrong = request::check_host(request).err()?;
    Some(refuse(shared, asking, Refusal::BadRequest, wrong))
}

pub(super) fn client_of(asking: Asking<'_>) -> Client {
    asking.hop.client(asking.visitor.peer)
}

pub(super) fn refuse(shared: &Shared, asking: Asking<'_>, refusal: Refusal, answer: Answer) -> Answer {
    shared.counts.refusals.inc(refusal);
    events::connection_refused(&client_of(asking), &format_args!("answered {}", answer.status()));
    answer
}

/// What the routes say of a request.
fn routed<'r>(routes: &'r Routes, asking: Asking<'_>) -> Verdict<'r> {
    let Asking { hop, visitor, is_websocket, .. } = asking;
    let host = split_port(hop.authority().unwrap_or_default()).0;
    routes.find(Asked { listener: visitor.listener, host, path: hop.uri.path(), is_websocket })
}

/// An answer of the configuration, for whoever is admitted at all.
fn plain(shared: &Shared, asking: Asking<'_>, route: &Route, answer: impl FnOnce() -> Answer) -> Answer {
    let answer = admitted_or(shared, asking, answer);
    route.counts().inc(StatusClass::of(answer.status().as_u16()));
    answer
}

fn admitted_or(shared: &Shared, asking: Asking<'_>, answer: impl FnOnce() -> Answer) -> Answer {
    if request::head_bytes(asking.request) > asking.settings.listen.header_bytes_max {
        return refuse(shared, asking, Refusal::BadRequest, request::head_too_large());
    }
    let client = client_of(asking);
    let admitted = admission::check_origin(shared, asking.request.headers())
        .and_then(|()| admission::check_request(shared, client.ip));
    match admitted {
        Ok(()) => answer(),
        Err(refused) => {
            admission::tell(shared, client.ip, refused);
            refused.answer()
        }
    }
}

/// A handshake, or what should have been one.
async fn websocket(shared: &Arc<Shared>, asking: Asking<'_>, way: Way) -> Answer {
    let Asking { settings, request, hop, visitor, .. } = asking;
    let refuse = |refusal, answer| refuse(shared, asking, refusal, answer);
    let client = client_of(asking);
    let key = match request::check(request) {
        Ok(key) => key,
        Err(answer) => return refuse(Refusal::BadRequest, answer),
    };
    if request::head_bytes(request) > settings.listen.header_bytes_max {
        return refuse(Refusal::BadRequest, request::head_too_large());
    }
    if shared.leaving.refusing.is_cancelled() {
        return refuse(Refusal::Stopping, request::unavailable("shutting down"));
    }
    if forwarded::looks_like_a_balancer(hop.peer.ip(), hop.headers) {
        notice_balancer(shared, hop.peer.ip(), hop.is_trusted());
    }
    if let Err(refused) = admission::check_origin(shared, request.headers()) {
        admission::tell(shared, client.ip, refused);
        return refused.answer();
    }
    let Some(Ok(entry)) = visitor.entry.lock().take() else {
        return request::unavailable("one request per connection");
    };
    let (place, newcomer) = match admit(shared, entry, client.ip) {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let (pool, by_app) = match way {
        Way::Pool(pool) => (pool, None),
        Way::ByApp(by_app) => (by_app.first_pool().flatten(), Some(by_app)),
    };
    let upstream = &settings.upstream;
    let cookies = CookieBounds { count_max: upstream.cookies_max, bytes_max: upstream.cookie_bytes_max };
    let mut client_request = ClientRequest::new(hop, cookies).in_pool(pool);
    visitor.is_dialling.store(true, Ordering::Release);
    let dialed = tokio::select! {
        dialed = dial(shared, &client_request, client) => dialed,
        () = shared.leaving.refusing.cancelled() => {
            return refuse(Refusal::Stopping, request::unavailable("shutting down"));
        }
    };
    match dialed {
        Ok(upstream) => {
            let protocol = upstream.protocol.as_deref();
            client_request.choose_protocol(protocol);
            let answer = request::switching(&derive_accept_key(key.as_bytes()), protocol, &upstream.headers);
            let request = client_request;
            visitor.session(Admitted { upstream, request, client, place, newcomer, by_app });
            answer
        }
        Err(failure) => {
            shared.counts.refusals.inc(Refusal::Upstream);
            events::connection_refused(&client, &failure);
            request::dial_failed(&failure)
        }
    }
}

#[allow(clippy::result_large_err)] // Once per connection, and it is sent at once.
fn admit(shared: &Shared, entry: Entry, client: IpAddr) -> Result<(Place, Newcomer), Answer> {
    admission::admit(shared, entry, client).map_err(|refused| {
        admission::tell(shared, client, refused);
        refused.answer()
    })
}

/// Clients behind a balancer reach us at an address of the balancer's choice: it is no address for
/// their media. Told once.
pub(crate) fn notice_balancer(shared: &Shared, peer: IpAddr, is_trusted: bool) {
    if shared.balancer_unnoticed.load(Ordering::Relaxed)
        && shared.balancer_unnoticed.swap(false, Ordering::Relaxed)
    {
        events::balancer_noticed(peer, is_trusted);
    }
}

/// Dials; a client that comes while no node answers is held for a while (rule R13).
pub(crate) async fn dial(
    shared: &Arc<Shared>,
    request: &ClientRequest,
    client: Client,
) -> Result<Dialed, DialFailure> {
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
    tracing::debug!(client = %anonymous::text(&client), %failure, "a client waits for an upstream");
    shared.pool.connect_when_up(request, patience, failure).await
}
