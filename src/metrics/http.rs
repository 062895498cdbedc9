//! Requests that are no WebSocket: what routes answered and passed on.

use std::fmt;

use crate::net::View;

use super::page::{Page, of};

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let routes = view.routes();
    let samples = routes.iter().flat_map(|route| {
        let counts = route.counts().iter();
        counts.map(|(class, count)| (vec![of(class), ("route", route.name())], count))
    });
    page.counters("http_requests", "Plain requests by route and kind of answer.", samples)?;
    let help = "Requests, and tunnels, that are being passed on to HTTP servers.";
    page.gauge("http_requests_in_flight", help, view.http_in_flight())?;
    let help = "Requests passed on to HTTP servers that got no whole answer, by why.";
    page.counts("http_failures", help, &view.counts().http_failures)
}
