//! Passing a request on to the server of its route, and its answer back. Both bodies flow as fast as the other side
//! takes them; nothing of them is kept.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    config::PathPrefix,
    telemetry::counts::{HttpFailure, Refusal, StatusClass},
    wire::forwarded::has_token,
};

use super::{
    body::{Inner, Passed, Told},
    course::Course,
    headers,
    lb::{self, Here},
    request_body::{Progress, RequestBody},
    respond::{Asking, client_of, refuse},
    side::InFlight,
    tunnel::Tunnel,
    upstream::{Failed, HttpServer},
};
use crate::net::{
    admission,
    request::{self, Answer},
    route::Route,
    shared::Shared,
};

/// What a client hears.
pub(super) type Reply = Response<Inner>;

/// Why there is no answer of the server's.
struct Failure {
    kind: HttpFailure,
    cause: String,
    answer: Answer,
}

impl Failure {
    fn new(kind: HttpFailure, cause: impl Into<String>, status: StatusCode, line: &str) -> Self {
        Self { kind, cause: cause.into(), answer: request::text(status, line) }
    }
}

/// Answers a request by the server of its route.
pub(super) async fn pass_on(
    shared: &Arc<Shared>,
    asking: Asking<'_>,
    (route, server): (&Route, &HttpServer),
    (body, course): (Incoming, Arc<Course>),
) -> Reply {
    let reply = answer(shared, asking, (route, server), (body, course)).await;
    route.counts().inc(StatusClass::of(reply.status().as_u16()));
    reply
}

async fn answer(
    shared: &Arc<Shared>,
    asking: Asking<'_>,
    (route, server): (&Route, &HttpServer),
    (body, course): (Incoming, Arc<Course>),
) -> Reply {
    if let Err(answer) = check(shared, asking) {
        return answer.map(Inner::Own);
    }
    let client = client_of(asking);
    let admitted = admission::check_origin(shared, asking.request.headers())
        .and_then(|()| admission::pass_on(shared, client.ip));
    let in_flight = match admitted {
        Ok(in_flight) => in_flight,
        Err(refused) => {
            admission::tell(shared, client.ip, refused);
            return refused.answer().map(Inner::Own);
        }
    };
    let told = Told::new(Arc::clone(shared), route.label(), server.url().to_string());
    let target = match target(asking, route) {
        Some(target) => target,
        None => return request::bad("the path can be read in more than one way").map(Inner::Own),
    };
    match exchange(shared, asking, (route, server), &target, (body, Arc::clone(&course))).await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            switch(asking, answer, in_flight, told).await
        }
        Ok(answer) => {
            let is_lb =
                route.rewrites_lb() && asking.request.method() == Method::GET && lb::is_likely(&answer);
            let here = || Here::of(asking.hop, &asking.settings.listen, route.lb());
            match is_lb.then(here).flatten() {
                Some(here) => balanced(asking, answer, &here, (in_flight, told)).await,
                None => passed(asking, answer, (in_flight, told)),
            }
        }
        Err(failure) => {
            told.failed(failure.kind, &failure.cause);
            failure.answer.map(Inner::Own)
        }
    }
}

#[allow(clippy::result_large_err)] // Once per request, and it is sent at once.
fn check(shared: &Shared, asking: Asking<'_>) -> Result<(), Answer> {
    let Asking { request, settings, .. } = asking;
    let wrong = |answer| Err(refuse(shared, asking, Refusal::BadRequest, answer));
    if request.method() == Method::CONNECT {
        return wrong(request::text(StatusCode::NOT_IMPLEMENTED, "CONNECT is not served here"));
    }
    if let Err(why) = request::check_plain(request).and_then(|()| headers::check_framing(request.headers())) {
        return wrong(request::bad(why));
    }
    if request::head_bytes(request) > settings.listen.header_bytes_max {
        return wrong(request::head_too_large());
    }
    let expects = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if request.headers().get_all(header::EXPECT).iter().any(expects) {
        return wrong(request::text(
            StatusCode::EXPECTATION_FAILED,
            "only 100-continue can be expected here",
        ));
    }
    Ok(())
}

/// Path and query for the server; none if the prefix that is to be replaced cannot be found in what the client wrote.
fn target(asking: Asking<'_>, route: &Route) -> Option<String> {
    let uri = asking.hop.uri;
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let path = match (route.path(), route.replace_path()) {
        (Some(prefix), Some(other)) => replaced(path, prefix, other)?,
        _ => path.to_owned(),
    };
    Some(uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
}

fn replaced(path: &str, prefix: &PathPrefix, other: &PathPrefix) -> Option<String> {
    let rest = std::str::from_utf8(prefix.rest(path.as_bytes())?).ok()?;
    let joined = format!("{}/{}", other.as_str().trim_end_matches('/'), rest.trim_start_matches('/'));
    // What ended with the prefix ends with what stands for it.
    let is_end = rest.is_empty() && other.as_str() != "/" && !other.as_str().ends_with('/');
    Some(if is_end { joined.trim_end_matches('/').to_owned() } else { joined })
}

/// The answer of the server, its body still to come.
async fn exchange(
    shared: &Arc<Shared>,
    asking: Asking<'_>,
    to: (&Route, &HttpServer),
    target: &str,
    (body, course): (Incoming, Arc<Course>),
) -> Result<Response<Incoming>, Failure> {
    let settings = &asking.settings.http;
    let vias = asking.request.headers().get_all(header::VIA);
    if shared.http.was_here(vias.iter()) {
        let line = "the request has been here before: the server of this route is this proxy";
        return Err(Failure::new(HttpFailure::Loop, line, StatusCode::LOOP_DETECTED, line));
    }
    let bytes_max = (settings.body_bytes_max > 0).then_some(settings.body_bytes_max);
    if bytes_max.is_some_and(|max| body.size_hint().lower() > max) {
        return Err(too_large());
    }
    let is_repeatable = body.is_end_stream()
        && matches!(*asking.request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let (body, progress) = RequestBody::new(body, bytes_max, Arc::clone(&course));
    let first = ask(shared, asking, to, target, (body, &progress)).await;
    match first {
        Err(Wrong::Failed(Failed::Stale(_))) if is_repeatable => {
            let body = RequestBody::empty(course, Arc::clone(&progress));
            ask(shared, asking, to, target, (body, &progress)).await
        }
        result => result,
    }
    .map_err(|wrong| failure(&wrong, &progress))
}

enum Wrong {
    Failed(Failed),
    NoAnswer,
    /// What is passed on cannot be said.
    Unsayable(String),
}

async fn ask(
    shared: &Shared,
    asking: Asking<'_>,
    to: (&Route, &HttpServer),
    target: &str,
    (mut body, progress): (RequestBody, &Progress),
) -> Result<Response<Incoming>, Wrong> {
    let (route, server) = to;
    let uri = server.uri(target).map_err(|error| Wrong::Unsayable(error.to_string()))?;
    let headers = request_headers(shared, asking, (route, server)).map_err(Wrong::Unsayable)?;
    let asked = headers.contains_key(header::EXPECT).then(oneshot::channel);
    let (asks, asked) = asked.map_or((None, None), |(asks, asked)| (Some(asks), Some(asked)));
    if let Some(asked) = asked {
        body = body.expecting(asked);
    }
    let mut request = Request::new(body);
    *request.method_mut() = asking.request.method().clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    if let Some(asks) = asks {
        let asks = parking_lot::Mutex::new(Some(asks));
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE
                && let Some(asks) = asks.lock().take()
            {
                // It may have given up waiting.
                let _ = asks.send(());
            }
        });
    }
    let patience = asking.settings.http.response_timeout;
    let connecting = asking.settings.http.connect_timeout;
    tokio::select! {
        answer = server.ask(request) => answer.map_err(Wrong::Failed),
        () = no_answer(progress, patience, Instant::now() + connecting) => Err(Wrong::NoAnswer),
    }
}

/// Completes when the server has had its time since the last of the request.
async fn no_answer(progress: &Progress, patience: Duration, not_before: Instant) {
    loop {
        let until = (progress.moved_at() + patience).max(not_before);
        if Instant::now() >= until && progress.is_over() {
            return;
        }
        // A body that the server does not take counts as well: its client has patience of its own.
        if Instant::now() >= until + patience {
            return;
        }
        sleep_until(until.max(Instant::now() + Duration::from_millis(50))).await;
    }
}

fn request_headers(
    shared: &Shared,
    asking: Asking<'_>,
    (route, server): (&Route, &HttpServer),
) -> Result<HeaderMap, String> {
    let Asking { hop, settings, .. } = asking;
    let mut headers = headers::for_server(hop);
    let own = server.url().authority();
    let host = if route.keeps_host() { hop.authority().unwrap_or(&own) } else { &own };
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
    if route.rewrites_lb() {
        lb::ask_plainly(&mut headers);
    }
    if settings.http.via
        && let Some(via) = shared.http.via()
    {
        headers.append(header::VIA, via);
    }
    if asking.is_websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    Ok(headers)
}

fn too_large() -> Failure {
    let line = "the body of the request is too large";
    Failure::new(
        HttpFailure::TooLarge,
        "too large (http.body_bytes_max)",
        StatusCode::PAYLOAD_TOO_LARGE,
        line,
    )
}

fn failure(wrong: &Wrong, progress: &Progress) -> Failure {
    use StatusCode as S;
    if progress.is_too_large() {
        return too_large();
    }
    match wrong {
        Wrong::NoAnswer => Failure::new(
            HttpFailure::Timeout,
            "no answer in time (http.response_timeout_ms)",
            S::GATEWAY_TIMEOUT,
            "the server did not answer in time",
        ),
        Wrong::Failed(Failed::ConnectTimeout) => Failure::new(
            HttpFailure::ConnectTimeout,
            "no connection in time (http.connect_timeout_ms)",
            S::GATEWAY_TIMEOUT,
            "the server cannot be reached in time",
        ),
        Wrong::Failed(Failed::Connect(why)) => {
            Failure::new(HttpFailure::Connect, why.as_str(), S::BAD_GATEWAY, "the server cannot be reached")
        }
        Wrong::Failed(Failed::Local(why)) => Failure {
            kind: HttpFailure::Local,
            cause: why.clone(),
            answer: request::unavailable("the proxy is short of something"),
        },
        Wrong::Failed(Failed::Broken(why) | Failed::Stale(why)) => Failure::new(
            HttpFailure::Broken,
            why.as_str(),
            S::BAD_GATEWAY,
            "the server broke off, or its answer was wrong",
        ),
        Wrong::Unsayable(why) => {
            Failure::new(HttpFailure::Broken, why.as_str(), S::BAD_REQUEST, "the request cannot be passed on")
        }
    }
}

/// The answer for `lbUrl`, if it is one; else the same as it is.
async fn balanced(
    asking: Asking<'_>,
    answer: Response<Incoming>,
    here: &Here,
    (in_flight, told): (InFlight, Told),
) -> Reply {
    let idle = asking.settings.http.idle_timeout;
    let (mut parts, incoming) = answer.into_parts();
    headers::take_out_hop(&mut parts.headers);
    parts.extensions.clear();
    let length = incoming.size_hint().exact();
    match lb::read(incoming, idle).await {
        lb::Read::Whole(text) => {
            told.done();
            let text = lb::rewritten(&text, here).map_or(text, Into::into);
            parts.headers.insert(header::CONTENT_LENGTH, (text.len() as u64).into());
            Response::from_parts(parts, Inner::Own(Full::new(text)))
        }
        lb::Read::Begun(before, rest) => {
            headers::for_client(&mut parts.headers, length, false);
            let body = Passed::new(rest, idle, in_flight, told).behind(before);
            Response::from_parts(parts, Inner::Passed(Box::new(body)))
        }
        lb::Read::Broken => {
            told.failed(HttpFailure::Broken, "the server broke off its answer");
            request::text(StatusCode::BAD_GATEWAY, "the server broke off its answer").map(Inner::Own)
        }
    }
}

/// The answer for the client.
fn passed(asking: Asking<'_>, answer: Response<Incoming>, (in_flight, told): (InFlight, Told)) -> Reply {
    let idle = asking.settings.http.idle_timeout;
    let (mut parts, incoming) = answer.into_parts();
    let is_bodiless = asking.request.method() == Method::HEAD
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    headers::for_client(&mut parts.headers, incoming.size_hint().exact(), is_bodiless);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Response::from_parts(parts, Inner::Passed(Box::new(Passed::new(incoming, idle, in_flight, told))))
}

/// The server speaks WebSocket from now on.
async fn switch(
    asking: Asking<'_>,
    mut answer: Response<Incoming>,
    in_flight: InFlight,
    told: Told,
) -> Reply {
    let is_wanted = asking.is_websocket && has_token(answer.headers(), &header::UPGRADE, "websocket");
    let upgraded = if is_wanted { hyper::upgrade::on(&mut answer).await.ok() } else { None };
    let Some(upgraded) = upgraded else {
        told.failed(HttpFailure::Broken, "an answer 101 to what was no upgrade");
        return request::text(StatusCode::BAD_GATEWAY, "the answer of the server was wrong").map(Inner::Own);
    };
    told.done();
    let (mut parts, _) = answer.into_parts();
    headers::take_out_hop(&mut parts.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    parts.extensions.clear();
    asking.visitor.tunnel(Tunnel::new(upgraded, in_flight));
    Response::from_parts(parts, Inner::Own(Full::default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_another_or_by_none() {
        let replaced = |path: &str, prefix: &str, other: &str| {
            replaced(path, &prefix.parse().unwrap(), &other.parse().unwrap())
        };
        for (path, prefix, other, wanted) in [
            ("/wcs/a/b", "/wcs", "/", Some("/a/b")),
            ("/wcs", "/wcs", "/", Some("/")),
            ("/wcs//evil", "/wcs", "/", Some("/evil")),
            ("/wcs/a", "/wcs", "/new", Some("/new/a")),
            ("/wcs", "/wcs", "/new", Some("/new")),
            ("/wcs/", "/wcs", "/new", Some("/new/")),
            ("/wcs/", "/wcs/", "/new/", Some("/new/")),
            ("/wcs/%20a", "/wcs/", "/", Some("/%20a")),
            ("/a", "/", "/new", Some("/new/a")),
            ("/%77cs/a", "/wcs", "/", None),
        ] {
            assert_eq!(replaced(path, prefix, other).as_deref(), wanted, "{path} {prefix} {other}");
        }
    }
}
