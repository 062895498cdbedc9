//! What becomes of a request: the routes of the configuration in their order, made ready to be asked. Decides and
//! answers; dials nobody.

mod answer;
mod path;

use std::{net::SocketAddr, sync::Arc};

use http::StatusCode;

use crate::{
    config::{
        DEFAULT_POOL, HttpSettings, LbPublic, NetSettings, PathPrefix, RouteAction, RouteSettings,
        UpstreamSettings,
    },
    limits::{Division, Files},
    telemetry::counts::{By, StatusClass},
};

pub(crate) use answer::denied;

use super::{StartError, http::HttpServer};

/// All routes. It never changes: another configuration is another table.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Vec<Route>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Route {
    settings: RouteSettings,
    /// Whether it concerns plain requests, and WebSockets.
    concerns: (bool, bool),
    action: Action,
    label: Arc<str>,
    counts: Arc<By<StatusClass>>,
}

/// What it does.
#[derive(Debug)]
pub(crate) enum Action {
    /// WebSockets are sessions of this pool; `None` is the pool `default`.
    Pool(Option<Arc<str>>),
    /// Plain requests are passed on to this server.
    Http(HttpServer),
    /// An answer of ours.
    Answer(answer::Fixed),
    /// Refused.
    Deny(StatusCode),
}

/// What is asked of the routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Where it came in, as the settings name it.
    pub(crate) listener: SocketAddr,
    /// The host that is asked for, without its port.
    pub(crate) host: &'a str,
    /// The path, without its query.
    pub(crate) path: &'a str,
    /// A WebSocket handshake.
    pub(crate) is_websocket: bool,
}

/// What was found for a WebSocket or a plain request.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Those that are for single applications, which only the first message of a session tells.
    by_app_key: Vec<usize>,
    /// The first that is for all.
    first: Option<usize>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// Nothing is said of it.
    None,
    /// This.
    Route(&'a Route),
    /// That is decided by the application that the first message names.
    ByApp(ByApp),
    /// Not to be told: its path means different things to different servers, and the routes of these differ.
    Ambiguous,
}

/// What the application of a session decides.
#[derive(Clone, Debug)]
pub(crate) struct ByApp {
    /// What becomes of these applications: a pool, or `Err` where they are refused.
    apps: Vec<(Box<str>, AppAction)>,
    /// Where it goes before that is known, and all others go; `None`: they are refused.
    others: Option<PoolName>,
}

/// The name of a pool; `None` is the pool `default`.
pub(crate) type PoolName = Option<Arc<str>>;
/// A pool, or a refusal.
type AppAction = Result<PoolName, StatusCode>;

impl ByApp {
    /// Where the first dial goes.
    pub(crate) fn first_pool(&self) -> Option<PoolName> {
        let of_apps = || self.apps.iter().find_map(|(_, action)| action.clone().ok());
        self.others.clone().or_else(of_apps)
    }

    /// Where sessions of this application go; `None`: they are refused.
    pub(crate) fn pool_of(&self, app_key: Option<&str>) -> Option<PoolName> {
        let is_it = |name: &str| app_key == Some(name);
        match self.apps.iter().find(|(name, _)| is_it(name)) {
            Some((_, action)) => action.clone().ok(),
            None => self.others.clone(),
        }
    }
}

impl Routes {
    /// Those of these settings; what was counted of those of the same names before goes on.
    ///
    /// # Errors
    /// A certificate of a route cannot be used.
    pub(crate) fn new(
        settings: &NetSettings,
        (files, division): (&Arc<Files>, Division),
        before: Option<&Self>,
    ) -> Result<Self, StartError> {
        let http = &within(settings, division);
        let mut routes = Vec::new();
        for (nth, route) in settings.routes.iter().enumerate() {
            let Some(first) = route.actions().first().copied() else { continue };
            let Some(action) = Action::of(first, route, (&settings.upstream, http), files)? else { continue };
            let label = route.label(nth);
            let known = before.and_then(|before| before.routes.iter().find(|known| *known.label == *label));
            let counts = known.map_or_else(Arc::default, |known| Arc::clone(&known.counts));
            let (concerns, label) = (route.concerns(), label.into());
            routes.push(Route { concerns, action, settings: route.clone(), label, counts });
        }
        Ok(Self { routes })
    }

    /// All of them, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// What becomes of a request.
    pub(crate) fn find(&self, asked: Asked<'_>) -> Verdict<'_> {
        if self.routes.is_empty() {
            return Verdict::None;
        }
        let Ok(forms) = path::forms(asked.path) else { return Verdict::Ambiguous };
        let mut found = forms.iter().map(|form| self.find_by(asked, form));
        let Some(first) = found.next() else { return Verdict::None };
        if found.any(|other| other != first) {
            return Verdict::Ambiguous;
        }
        self.verdict(&first)
    }

    fn find_by(&self, asked: Asked<'_>, path: &[u8]) -> Found {
        let mut by_app_key = Vec::new();
        for (nth, route) in self.routes.iter().enumerate() {
            if !route.matches(asked, path) {
                continue;
            }
            if route.settings.app_key.is_none() {
                return Found { by_app_key, first: Some(nth) };
            }
            by_app_key.push(nth);
        }
        Found { by_app_key, first: None }
    }

    fn verdict(&self, found: &Found) -> Verdict<'_> {
        let first = found.first.and_then(|nth| self.routes.get(nth));
        if found.by_app_key.is_empty() {
            return first.map_or(Verdict::None, Verdict::Route);
        }
        let routes = found.by_app_key.iter().filter_map(|nth| self.routes.get(*nth));
        let apps: Vec<_> = routes
            .filter_map(|route| Some((route.settings.app_key.as_deref()?.into(), route.for_app()?)))
            .collect();
        let others = match first {
            None => Some(None),
            Some(route) => route.for_app().and_then(Result::ok),
        };
        let by_app = ByApp { apps, others };
        if by_app.first_pool().is_none() {
            // Whoever it is will be refused.
            return first.map_or(Verdict::None, Verdict::Route);
        }
        Verdict::ByApp(by_app)
    }
}

/// The settings for servers, of which each route may keep its share of idle connections and no more.
fn within(settings: &NetSettings, division: Division) -> HttpSettings {
    let has_server = |route: &&RouteSettings| matches!(route.actions().first(), Some(RouteAction::Http(_)));
    let servers = settings.routes.iter().filter(has_server).count();
    let mut http = settings.http.clone();
    http.server_connections_idle_max =
        http.server_connections_idle_max.min(division.idle_http() / servers.max(1));
    http
}

impl Route {
    fn matches(&self, asked: Asked<'_>, path: &[u8]) -> bool {
        let (plain, sockets) = self.concerns;
        let RouteSettings { listener, host, path: prefix, .. } = &self.settings;
        (if asked.is_websocket { sockets } else { plain })
            && listener.is_none_or(|listener| listener.address == asked.listener)
            && host.as_ref().is_none_or(|host| host.matches(asked.host))
            && prefix.as_ref().is_none_or(|prefix| prefix.rest(path).is_some())
    }

    /// What it does with a session.
    fn for_app(&self) -> Option<AppAction> {
        match &self.action {
            Action::Pool(pool) => Some(Ok(pool.clone())),
            Action::Deny(status) => Some(Err(*status)),
            Action::Answer(_) | Action::Http(_) => None,
        }
    }

    /// The same, lent.
    pub(crate) fn name(&self) -> &str {
        &self.label
    }

    /// What it goes by.
    pub(crate) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// Its plain requests, by the kind of their answer.
    pub(crate) fn counts(&self) -> &By<StatusClass> {
        &self.counts
    }

    /// The path that it is for.
    pub(crate) const fn path(&self) -> Option<&PathPrefix> {
        self.settings.path.as_ref()
    }

    /// What stands for that path at an HTTP server.
    pub(crate) const fn replace_path(&self) -> Option<&PathPrefix> {
        self.settings.replace_path.as_ref()
    }

    /// Whether an HTTP server gets the `Host` of the request.
    pub(crate) fn keeps_host(&self) -> bool {
        self.settings.keep_host.unwrap_or(true)
    }

    /// Whether answers of an HTTP server for `lbUrl` are made to name this proxy.
    pub(crate) fn rewrites_lb(&self) -> bool {
        self.settings.rewrite_lb == Some(true)
    }

    /// How clients reach it, for these, as far as the settings say.
    pub(crate) const fn lb(&self) -> Option<&LbPublic> {
        self.settings.lb.as_ref()
    }

    /// What it does.
    pub(crate) const fn action(&self) -> &Action {
        &self.action
    }
}

impl Action {
    fn of(
        action: RouteAction<'_>,
        route: &RouteSettings,
        settings: (&UpstreamSettings, &HttpSettings),
        files: &Arc<Files>,
    ) -> Result<Option<Self>, StartError> {
        if let RouteAction::Http(url) = action {
            let server = HttpServer::new(url, route, settings, files)?;
            return Ok(Some(Self::Http(server)));
        }
        Ok(Self::of_own(action, route))
    }

    fn of_own(action: RouteAction<'_>, route: &RouteSettings) -> Option<Self> {
        match action {
            RouteAction::Http(_) => None,
            RouteAction::Pool(pool) if pool.as_str() == DEFAULT_POOL => Some(Self::Pool(None)),
            RouteAction::Pool(pool) => Some(Self::Pool(Some(pool.as_str().into()))),
            RouteAction::Static(answer) => answer::Fixed::of_static(answer).map(Self::Answer),
            RouteAction::Redirect(url) => answer::Fixed::of_redirect(url, route).map(Self::Answer),
            RouteAction::Deny(status) => StatusCode::from_u16(status).ok().map(Self::Deny),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn routes(texts: &[&str]) -> Routes {
        let routes = texts.iter().map(|text| toml::from_str(text).unwrap()).collect();
        let division = Division::new(1_024, 0, 0);
        let files = (&Files::new(division), division);
        Routes::new(&NetSettings { routes, ..NetSettings::default() }, files, None).unwrap()
    }

    fn asked(path: &str, is_websocket: bool) -> Asked<'_> {
        Asked { listener: "0.0.0.0:8080".parse().unwrap(), host: "wcs.example.org", path, is_websocket }
    }

    fn found(routes: &Routes, asked: Asked<'_>) -> String {
        match routes.find(asked) {
            Verdict::None => "none".to_owned(),
            Verdict::Ambiguous => "ambiguous".to_owned(),
            Verdict::Route(route) => match route.action() {
                Action::Pool(pool) => pool.as_deref().unwrap_or("default").to_owned(),
                Action::Answer(_) => "answer".to_owned(),
                Action::Http(_) => "http".to_owned(),
                Action::Deny(status) => status.as_u16().to_string(),
            },
            Verdict::ByApp(by_app) => {
                let told = |app| {
                    by_app
                        .pool_of(app)
                        .map_or("refused".to_owned(), |pool| pool.as_deref().unwrap_or("default").to_owned())
                };
                format!("{} {}", told(Some("room")), told(None))
            }
        }
    }

    #[test]
    fn the_first_that_fits_decides() {
        let routes = routes(&[
            "path = '/admin'\ndeny = 404",
            "host = 'other.example.org'\npool = 'other'",
            "listener = ':9090'\ndeny = 503",
            "path = '/edge'\npool = 'edge'",
            "static = { body = 'hello' }",
        ]);
        for (path, plain, socket) in [
            ("/admin/x", "404", "404"),
            ("/administration", "answer", "none"),
            ("/edge", "answer", "edge"),
            ("/", "answer", "none"),
        ] {
            assert_eq!(found(&routes, asked(path, false)), plain, "{path}");
            assert_eq!(found(&routes, asked(path, true)), socket, "{path}");
        }
        let other = Asked { host: "OTHER.example.org", ..asked("/", true) };
        assert_eq!(found(&routes, other), "other");
        let other = Asked { listener: "0.0.0.0:9090".parse().unwrap(), ..asked("/", true) };
        assert_eq!(found(&routes, other), "503");
    }

    #[test]
    fn a_path_that_means_two_routes_is_none_of_them() {
        let routes = routes(&["path = '/admin'\ndeny = 403", "static = {}"]);
        for path in ["/%61dmin", "/x/../admin", "/x/..;/admin/y", "//admin", "/admin%2f..", "/%00"] {
            assert_eq!(found(&routes, asked(path, false)), "ambiguous", "{path}");
        }
        for path in ["/a%20b", "/x//y", "/x/../y", "/x;v=1", "/%2e%2e/y"] {
            assert_eq!(found(&routes, asked(path, false)), "answer", "{path}");
        }
        assert_eq!(found(&routes, asked("/admin/%61", false)), "403");
    }

    #[test]
    fn applications_decide_where_only_they_can() {
        let room = "app_key = 'room'\npool = 'rooms'";
        assert_eq!(found(&routes(&[room]), asked("/", true)), "rooms default");
        assert_eq!(found(&routes(&[room, "pool = 'edge'"]), asked("/", true)), "rooms edge");
        assert_eq!(found(&routes(&[room, "deny = 403"]), asked("/", true)), "rooms refused");
        assert_eq!(found(&routes(&["pool = 'edge'", room]), asked("/", true)), "edge");
        let deny = "app_key = 'room'\ndeny = 403";
        assert_eq!(found(&routes(&[deny]), asked("/", true)), "refused default");
        assert_eq!(found(&routes(&[deny, "deny = 404"]), asked("/", true)), "404");
        assert_eq!(found(&routes(&[deny]), asked("/", false)), "none");
    }
}
