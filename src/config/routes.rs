//! Whether the routes fit together, and with the rest.

use std::collections::BTreeSet;

use super::{
    check::{Conflict, conflict_in},
    file::ConfigFile,
    node::DEFAULT_POOL,
    route::{HttpUrl, RouteAction, RouteSettings},
};

/// Most routes: their names are labels of metrics.
pub const ROUTES_MAX: usize = 64;

/// Refuses routes that cannot work.
pub(super) fn check(file: &ConfigFile) -> Result<(), Conflict> {
    if file.route.len() > ROUTES_MAX {
        return conflict_in(("route", ROUTES_MAX), format!("there are more than {ROUTES_MAX} routes"));
    }
    let mut names = BTreeSet::new();
    for (nth, route) in file.route.iter().enumerate() {
        if let Err(message) = check_one(route, file) {
            return conflict_in(("route", nth), message);
        }
        let label = route.label(nth);
        if !names.insert(label.clone()) {
            return conflict_in(("route", nth), format!("the name {label} appears twice"));
        }
    }
    Ok(())
}

fn check_one(route: &RouteSettings, file: &ConfigFile) -> Result<(), String> {
    let [action] = route.actions()[..] else {
        let count = if route.actions().is_empty() { "nothing" } else { "more than one thing" };
        return Err(format!("does {count}, expected exactly one of pool, http, static, redirect, deny"));
    };
    if let Some(listener) = &route.listener
        && !file.listen.address.iter().any(|one| one.address == listener.address)
    {
        return Err(format!("listener {} is none of listen.address", listener.address));
    }
    if let RouteAction::Pool(pool) = action
        && pool.as_str() != DEFAULT_POOL
        && !file.pool.contains_key(pool)
    {
        return Err(format!("there is no pool {pool}: name one by [[pool.{pool}.node]]"));
    }
    let is_http = matches!(action, RouteAction::Http(_));
    let has_http_settings = route.replace_path.is_some()
        || route.keep_host.is_some()
        || route.tunnel.is_some()
        || route.rewrite_lb.is_some()
        || route.lb.is_some()
        || route.tls.is_some();
    if has_http_settings && !is_http {
        return Err("replace_path, keep_host, tunnel, rewrite_lb, lb and tls need http".to_owned());
    }
    if let RouteAction::Http(url) = action {
        check_http(route, url)?;
    }
    if let RouteAction::Static(answer) = action {
        answer.header_fields()?;
    }
    if let RouteAction::Redirect(url) = action {
        if url.has_query() && route.redirect_keep_path != Some(false) {
            return Err(format!(
                "{url} has a query, to which no path can be added: set redirect_keep_path = false"
            ));
        }
        if route.redirect_status.is_some_and(|status| matches!(status, 304..=306)) {
            return Err("redirect_status is none of 301, 302, 303, 307, 308".to_owned());
        }
    } else if route.redirect_status.is_some() || route.redirect_keep_path.is_some() {
        return Err("redirect_status and redirect_keep_path need redirect".to_owned());
    }
    match (&route.app_key, action) {
        (None, _) | (Some(_), RouteAction::Pool(_) | RouteAction::Deny(_)) => Ok(()),
        (Some(_), _) => Err("app_key is known of sessions only: it goes with pool or deny".to_owned()),
    }
}

fn check_http(route: &RouteSettings, url: &HttpUrl) -> Result<(), String> {
    if route.replace_path.is_some() && route.path.is_none() {
        return Err("replace_path needs the path that it replaces".to_owned());
    }
    if route.lb.is_some() && route.rewrite_lb != Some(true) {
        return Err("lb needs rewrite_lb = true".to_owned());
    }
    let Some(tls) = &route.tls else { return Ok(()) };
    if !url.is_tls() {
        return Err(format!("tls needs an https server, which {url} is not"));
    }
    if tls.client_cert.is_some() != tls.client_key.is_some() {
        return Err("tls.client_cert and tls.client_key belong together".to_owned());
    }
    Ok(())
}

/// What is accepted but probably not meant, one sentence for each route.
pub(super) fn warnings(routes: &[RouteSettings]) -> Vec<String> {
    let shadowed = routes.iter().enumerate().filter_map(|(nth, route)| {
        let earlier = routes.get(..nth).unwrap_or_default().iter().enumerate();
        let (by, other) = earlier.clone().find(|(_, other)| covers(other, route))?;
        let (route, by) = (told(route, nth), told(other, by));
        Some(format!("{route} is never reached: {by} comes first and takes all of its requests"))
    });
    shadowed.collect()
}

/// Which route it is, and where it stands.
fn told(route: &RouteSettings, nth: usize) -> String {
    let line = route.line.0.map_or_else(String::new, |line| format!(" (line {line})"));
    format!("route {}{line}", route.label(nth))
}

/// Whether whatever the second route could take is taken by the first.
fn covers(first: &RouteSettings, second: &RouteSettings) -> bool {
    let listener =
        first.listener.is_none_or(|one| second.listener.is_some_and(|other| one.address == other.address));
    let host =
        first.host.as_ref().is_none_or(|one| second.host.as_ref().is_some_and(|other| one.covers(other)));
    let path = first.path.as_ref().is_none_or(|one| {
        let other = second.path.as_ref().map_or("/", |other| other.as_str());
        one.rest(other.as_bytes()).is_some() || one.as_str() == "/"
    });
    let app_key = first.app_key.is_none() || first.app_key == second.app_key;
    let ((plain, sockets), (its_plain, its_sockets)) = (first.concerns(), second.concerns());
    listener && host && path && app_key && (plain || !its_plain) && (sockets || !its_sockets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::route::Line;

    fn route(text: &str) -> RouteSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_route_is_covered_by_one_that_takes_all_of_its_requests() {
        for (first, second, wanted) in [
            ("deny = 403", "path = '/x'\ndeny = 404", true),
            ("path = '/x'\ndeny = 403", "deny = 404", false),
            ("path = '/x'\ndeny = 403", "path = '/x/y'\npool = 'a'", true),
            ("path = '/x'\ndeny = 403", "path = '/xy'\npool = 'a'", false),
            ("path = '/'\ndeny = 403", "pool = 'a'", true),
            ("pool = 'a'", "deny = 403", false),
            ("redirect = 'https://a'", "pool = 'a'", false),
            ("redirect = 'https://a'", "static = {}", true),
            ("app_key = 'a'\ndeny = 403", "pool = 'a'", false),
            ("app_key = 'a'\npool = 'b'", "app_key = 'a'\npool = 'c'", true),
            ("host = '*.a'\npool = 'b'", "host = 'x.a'\npool = 'c'", true),
            ("host = 'x.a'\npool = 'b'", "pool = 'c'", false),
            ("listener = ':1'\npool = 'b'", "listener = ':2'\npool = 'c'", false),
        ] {
            assert_eq!(covers(&route(first), &route(second)), wanted, "{first} / {second}");
        }
        let mut late = route("name = 'late'\npool = 'a'");
        late.line = Line(Some(12));
        let warnings = warnings(&[route("deny = 403"), late]);
        let wanted =
            "route late (line 12) is never reached: route 1 comes first and takes all of its requests";
        assert_eq!(warnings, [wanted]);
    }
}
