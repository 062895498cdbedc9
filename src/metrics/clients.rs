//! The clients' side: connections, sessions, what they have.

use std::fmt;

use crate::{milliseconds::since_1970, net::View, session::Tally};

use super::page::Page;

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    connections(page, view)?;
    sessions(page, view)?;
    streams(page, &view.census.tally)
}

fn connections(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let (facts, counts) = (&view.facts, view.counts());
    page.count("connections_accepted", "Connections of clients that were accepted.", &counts.connections)?;
    page.gauge("connections_closing", "Connections whose close frame is on its way.", facts.closing)?;
    page.gauge("handshakes", "Connections that have not become a session yet.", facts.handshakes)?;
    page.gauge("handshakes_held", "Handshakes held because no node answers.", facts.held)?;
    page.gauge("handshakes_held_limit", "Handshakes that may be held at once.", view.held_max())?;
    page.counts("refusals", "Connections that never became a session, by why.", &counts.refusals)?;
    page.counts("tls_handshakes", "TLS handshakes of clients, by how they ended.", &counts.tls_handshakes)?;
    certificates(page, view)
}

/// By file: there are as many as the configuration has.
fn certificates(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let certificates = view.certificates();
    if certificates.is_empty() {
        return Ok(());
    }
    let files: Vec<_> = certificates
        .iter()
        .map(|(one, is_stale)| (one.file().display().to_string(), one.ends(), u64::from(*is_stale)))
        .collect();
    let help = "When a certificate that clients are shown expires, or the first of its chain, in Unix time.";
    let ends = files.iter().filter_map(|(file, ends, _)| Some((vec![("file", file.as_str())], (*ends)?)));
    page.gauges("tls_certificate_expiry_timestamp_seconds", help, ends)?;
    let help =
        "1 while the file of a certificate holds a newer one that cannot be used; the former is still shown.";
    let stale = files.iter().map(|(file, _, is_stale)| (vec![("file", file.as_str())], *is_stale));
    page.gauges("tls_certificate_unusable", help, stale)?;
    let now = since_1970().as_secs();
    let staples: Vec<_> = certificates
        .iter()
        .filter_map(|(one, _)| one.staple(now))
        .map(|staple| {
            let is_unusable = staple.trouble.is_some() || !staple.is_shown;
            (staple.file.display().to_string(), u64::from(is_unusable))
        })
        .collect();
    if !staples.is_empty() {
        let help = "1 while the OCSP answer in a file is not shown with its certificate.";
        let unusable = staples.iter().map(|(file, value)| (vec![("file", file.as_str())], *value));
        page.gauges("tls_ocsp_unusable", help, unusable)?;
    }
    revocations(page, view)
}

/// Of the lists by which clients' certificates are checked.
fn revocations(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let lists = view.revocation_lists();
    let Some((lists, ends)) = lists.and_then(|lists| lists.until.map(|ends| (lists, ends))) else {
        return Ok(());
    };
    let file = lists.file.display().to_string();
    let help = "When the first list of revoked certificates of clients ends, in Unix time; from then on clients that show one are refused (listen.client_crl_ended).";
    page.gauges("tls_crl_expiry_timestamp_seconds", help, [(vec![("file", file.as_str())], ends)])
}

fn sessions(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let (facts, counts) = (&view.facts, view.counts());
    page.gauge("sessions", "Signaling sessions.", facts.sessions)?;
    page.gauge("sessions_in_outage", "Signaling sessions without their server.", facts.outages)?;
    page.count("sessions_begun", "Sessions that began, media sockets among them.", &counts.sessions_begun)?;
    page.counts("sessions_ended", "Sessions that ended, by how.", &counts.sessions_ended)?;
    let help = "Sessions relayed without being understood: nothing of them is restored.";
    page.count("sessions_passed_through", help, &counts.passed_through)?;
    page.counts("limits_reached", "Times that a setting bounded a client, by setting.", &counts.limits)?;
    let help = "Sessions that did not answer in time for this scrape: their streams, rooms, calls and held messages are not counted.";
    page.gauge("sessions_uncounted", help, view.census.silent)
}

fn streams(page: &mut Page<'_>, tally: &Tally) -> fmt::Result {
    let streams = tally.streams().map(|([kind, media, state], count)| {
        (vec![("kind", kind), ("media", media), ("state", state)], count)
    });
    page.gauges("streams", "Streams by direction, way of their media, and where they stand.", streams)?;
    page.gauge("rooms", "Rooms that clients have joined.", tally.rooms)?;
    page.gauge("calls", "Calls that are not over.", tally.calls)?;
    page.gauge("messages_held", "Messages of clients that wait for a server.", tally.messages_held)?;
    let help = "Ends said by servers, kept back until it is clear whether their connection dies as well.";
    page.gauge("events_held", help, tally.events_held)
}
