//! `[[route]]`: what becomes of a request, by where it came in and what it asks for. Shape and ranges only; whether
//! routes fit together is checked in `routes`.

mod answer;
mod place;
mod server;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use answer::{RedirectUrl, StaticAnswer};
pub use place::{HostPattern, PathPrefix};
pub use server::{HttpTls, HttpUrl, LbPublic};

use super::{address::ListenAddress, node::Name, number::MaybeBetween};

/// One route: whom it is for, and exactly one thing that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// What it goes by in log and metrics. Default: its number, from 1.
    pub name: Option<Name>,
    /// Only requests that came in at this address of `listen.address`. Default all.
    pub listener: Option<ListenAddress>,
    /// Only requests for this host, or any below it (`*.example.org`). Default all.
    pub host: Option<HostPattern>,
    /// Only requests for this path and what is below it. Default all.
    pub path: Option<PathPrefix>,
    /// Only sessions of this application; plain requests have none. Default all.
    pub app_key: Option<String>,
    /// WebSockets become sessions on the nodes of this pool. Plain requests are none of its business.
    pub pool: Option<Name>,
    /// Plain requests are passed on to this server.
    pub http: Option<HttpUrl>,
    /// What stands there for `path`; `/` takes it off. Default `path` itself.
    pub replace_path: Option<PathPrefix>,
    /// Whether the server gets the `Host` of the request, or its own. Default true.
    pub keep_host: Option<bool>,
    /// Whether WebSockets are passed on to this server as they are; they are no sessions. Default false: they go on to
    /// the next route.
    pub tunnel: Option<bool>,
    /// Whether answers for `lbUrl` are made to name this proxy (protocol S1). Default false.
    pub rewrite_lb: Option<bool>,
    /// How clients reach this proxy, for these. Default as the request itself says.
    pub lb: Option<LbPublic>,
    /// How an https server is checked. Default as those of `[upstream]`.
    pub tls: Option<HttpTls>,
    /// Plain requests get this answer.
    #[serde(rename = "static")]
    pub fixed: Option<StaticAnswer>,
    /// Plain requests are sent to this URL.
    pub redirect: Option<RedirectUrl>,
    /// How they are told. Default 302.
    #[serde(with = "MaybeBetween::<301, 308>")]
    pub redirect_status: Option<u16>,
    /// Whether path and query of the request are added to the URL. Default true.
    pub redirect_keep_path: Option<bool>,
    /// Plain requests and WebSockets are refused with this status.
    #[serde(with = "MaybeBetween::<400, 599>")]
    pub deny: Option<u16>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub line: Line,
}

/// The line of a file; where two settings stand is no difference between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line(pub Option<usize>);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Line {}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction<'a> {
    /// WebSockets go to a pool.
    Pool(&'a Name),
    /// Passed on to an HTTP server.
    Http(&'a HttpUrl),
    /// An answer of the configuration.
    Static(&'a StaticAnswer),
    /// Another URL is named.
    Redirect(&'a RedirectUrl),
    /// Refused with this status.
    Deny(u16),
}

impl RouteSettings {
    /// All that it does: one thing, where it is right.
    #[must_use]
    pub fn actions(&self) -> Vec<RouteAction<'_>> {
        let pool = self.pool.as_ref().map(RouteAction::Pool);
        let http = self.http.as_ref().map(RouteAction::Http);
        let fixed = self.fixed.as_ref().map(RouteAction::Static);
        let redirect = self.redirect.as_ref().map(RouteAction::Redirect);
        let deny = self.deny.map(RouteAction::Deny);
        [pool, http, fixed, redirect, deny].into_iter().flatten().collect()
    }

    /// What it goes by: its name, or its number.
    #[must_use]
    pub fn label(&self, nth: usize) -> String {
        self.name.as_ref().map_or_else(|| nth.saturating_add(1).to_string(), Name::to_string)
    }

    /// Whether it concerns plain requests, and WebSockets.
    #[must_use]
    pub fn concerns(&self) -> (bool, bool) {
        match self.actions().first() {
            Some(RouteAction::Pool(_)) | None => (false, true),
            Some(RouteAction::Deny(_)) => (self.app_key.is_none(), true),
            Some(RouteAction::Http(_)) => (true, self.tunnel == Some(true)),
            Some(RouteAction::Static(_) | RouteAction::Redirect(_)) => (true, false),
        }
    }
}

impl fmt::Display for RouteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut conditions = Vec::new();
        conditions.extend(self.listener.as_ref().map(|listener| format!("at {}", listener.address)));
        conditions.extend(self.host.as_ref().map(|host| format!("host {host}")));
        conditions.extend(self.path.as_ref().map(|path| format!("path {path}")));
        conditions.extend(self.app_key.as_ref().map(|app_key| format!("appKey {app_key:?}")));
        let whom = if conditions.is_empty() { "all".to_owned() } else { conditions.join(", ") };
        let what = match self.concerns() {
            (true, false) => "requests",
            (false, _) => "WebSockets",
            (true, true) => "requests and WebSockets",
        };
        let action = match self.actions().first() {
            Some(RouteAction::Pool(pool)) => format!("pool {pool}"),
            Some(RouteAction::Http(url)) => format!("passed on to {url}"),
            Some(RouteAction::Static(answer)) => format!("static answer {}", answer.status),
            Some(RouteAction::Redirect(url)) => format!("redirect to {url}"),
            Some(RouteAction::Deny(status)) => format!("denied with {status}"),
            None => "nothing".to_owned(),
        };
        write!(f, "{what}, {whom}: {action}")
    }
}
