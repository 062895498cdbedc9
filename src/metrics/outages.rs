//! Outages: of nodes, and what became of the sessions and streams in them.

use std::fmt;

use crate::{
    net::View,
    telemetry::counts::{Label, StreamKind},
};

use super::page::{Page, of};

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let counts = view.counts();
    let begun = view.nodes().map(|node| (vec![("node", &*node.status.name)], node.outages.begun));
    page.counters("outages_begun", "Outages of a node that cost sessions their connection.", begun)?;
    let running =
        view.nodes().map(|node| (vec![("node", &*node.status.name)], u64::from(node.outages.is_running)));
    page.gauges(
        "outages_running",
        "1 while an outage of a node is not over: sessions of it are still to be restored, or to end.",
        running,
    )?;
    let help = "Outages that are over: `hurt` if a client was told bad news.";
    page.counts("outages_ended", help, &counts.outages_ended)?;
    let help = "From the first loss of an outage to its last outcome.";
    page.histogram("outage_seconds", help, &counts.outage)?;
    page.counts(
        "upstream_lost",
        "Connections of sessions to their server that were lost, by how.",
        &counts.upstream_lost,
    )?;
    let help = "Dials of sessions in an outage that failed.";
    page.count("restore_attempts_failed", help, &counts.attempts_failed)?;
    let help = "Times that a server took the connection of a session in an outage and refused the session.";
    page.count("restore_replays_refused", help, &counts.replays_refused)?;
    let help = "Sessions that left an outage, by how.";
    page.counts("outage_sessions", help, &counts.session_outcomes)?;
    let streams = StreamKind::ALL.iter().flat_map(|kind| {
        let outcomes = counts.outcomes(*kind).iter();
        outcomes.map(|(outcome, count)| (vec![of(*kind), of(outcome)], count))
    });
    page.counters("outage_streams", "Streams that left an outage, by how.", streams)?;
    let help = "From the loss to the proof, of streams that were restored.";
    page.histogram("restore_seconds", help, &counts.restore)?;
    page.count("outage_rooms_lost", "Rooms that did not take their client back.", &counts.rooms_lost)
}
