//! Answers that routes give by themselves: a text, another URL, a refusal.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{
    config::{RedirectUrl, RouteSettings, StaticAnswer},
    wire::forwarded::{LastHop, split_port},
};

use crate::net::request::{self, Answer};

/// An answer that is ready.
#[derive(Debug)]
pub(crate) enum Fixed {
    /// The same for all.
    Static { status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes },
    /// Another URL.
    Redirect { status: StatusCode, to: RedirectUrl, keeps_path: bool },
}

impl Fixed {
    pub(super) fn of_static(answer: &StaticAnswer) -> Option<Self> {
        Some(Self::Static {
            status: StatusCode::from_u16(answer.status).ok()?,
            headers: answer.header_fields().ok()?,
            body: answer.body.clone().into(),
        })
    }

    pub(super) fn of_redirect(to: &RedirectUrl, route: &RouteSettings) -> Option<Self> {
        Some(Self::Redirect {
            status: StatusCode::from_u16(route.redirect_status.unwrap_or(302)).ok()?,
            to: to.clone(),
            keeps_path: route.redirect_keep_path.unwrap_or(true),
        })
    }

    /// The answer to this request. Its connection goes on.
    pub(crate) fn answer(&self, hop: LastHop<'_>) -> Answer {
        match self {
            Self::Static { status, headers, body } => {
                let mut answer = Response::new(Full::new(body.clone()));
                *answer.status_mut() = *status;
                for (name, value) in headers {
                    answer.headers_mut().append(name, value.clone());
                }
                answer
            }
            Self::Redirect { status, to, keeps_path } => redirect(hop, *status, to, *keeps_path),
        }
    }
}

fn redirect(hop: LastHop<'_>, status: StatusCode, to: &RedirectUrl, keeps_path: bool) -> Answer {
    let host = hop.asked_host().unwrap_or_default();
    if to.needs_host() && host.is_empty() {
        return request::text(StatusCode::BAD_REQUEST, "the request names no host to redirect to");
    }
    let target = hop.uri.path_and_query().map(http::uri::PathAndQuery::as_str).filter(|_| keeps_path);
    let target = target.filter(|target| target.starts_with('/'));
    let url = to.for_request(split_port(&host).0, target);
    let Ok(location) = HeaderValue::from_str(&url) else {
        return request::text(StatusCode::BAD_REQUEST, "the request cannot be redirected");
    };
    let mut answer = request::text(status, &format!("see {url}"));
    answer.headers_mut().insert(header::LOCATION, location);
    answer.headers_mut().remove(header::CONNECTION);
    answer
}

/// What a refused request hears.
pub(crate) fn denied(status: StatusCode) -> Answer {
    let mut answer = request::text(status, "this is not served here");
    answer.headers_mut().remove(header::CONNECTION);
    answer
}
