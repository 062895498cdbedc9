//! The nodes: how each is, and what came of dialling it.

use std::{collections::BTreeMap, fmt};

use prometheus_client::encoding::NoLabelSet;

use crate::net::{DIAL_BUCKETS_MS, DialCounts, DrainStatus, NodeState, NodeStatus, View};

use super::page::Page;

/// The states of a node.
const STATES: [NodeState; 5] =
    [NodeState::Up, NodeState::Suspect, NodeState::Down, NodeState::Draining, NodeState::Maintenance];
/// What leads to each, as [`NodeStatus::transitions`] calls it: these are there from 0 on, others from their first
/// time on.
const REASONS: [(&str, &[&str]); 5] = [
    ("up", &["answered", "check", "agent", "operator"]),
    ("suspect", &["unreachable", "overtaken", "silent", "check", "refusals", "flapping"]),
    ("down", &["unreachable", "check", "agent"]),
    ("draining", &["operator", "agent", "leaving"]),
    ("maintenance", &["operator", "agent"]),
];

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let nodes = || view.nodes().map(|node| node.status);
    let infos = nodes().map(|node| {
        let backup = if node.backup { "true" } else { "false" };
        (vec![("node", &*node.name), ("pool", &*node.pool), ("backup", backup)], 1_u64)
    });
    page.gauges("node_info", "The nodes of the configuration; always 1.", infos)?;
    let states = nodes().flat_map(|node| {
        STATES.map(|state| {
            let labels = vec![("node", &*node.name), ("state", state.as_str())];
            (labels, u64::from(node.state == state.as_str()))
        })
    });
    page.gauges("node_state", "1 for the state that a node is in, 0 for the others.", states)?;
    let transitions = nodes().flat_map(|node| {
        let of = |(to, reason)| vec![("node", &*node.name), ("to", to), ("reason", reason)];
        transitions(node).into_iter().map(move |(step, count)| (of(step), count))
    });
    page.counters("node_transitions", "Times that a node came to a state, by why.", transitions)?;
    let sessions = nodes().map(|node| (vec![("node", &*node.name)], node.sessions));
    page.gauges("node_sessions", "Sessions that are on a node or on their way there.", sessions)?;
    let passes = nodes().map(|node| (vec![("node", &*node.name)], u64::from(node.media == "healthy")));
    let help = "0 while a node answers and passes no media: it gets no new sessions then.";
    page.gauges("node_media_healthy", help, passes)?;
    let parts = nodes().map(|node| (vec![("node", &*node.name)], node.weight_percent / 100.0));
    let help = "The part of its weight that a node has now: less after it was down, or as its agent says.";
    page.gauges("node_weight_ratio", help, parts)?;
    drains(page, view)?;
    let counts = view.counts();
    let help = "Moves of sessions to another node while the old one stands, by how they ended.";
    page.counts("session_moves", help, &counts.moves)?;
    let help = "How long such a move took that came there.";
    page.histogram("session_move_seconds", help, &counts.move_time)?;
    let help = "Requests refused because their stream runs on another node, where the session could not go.";
    page.count("streams_elsewhere", help, &counts.streams_elsewhere)?;
    let help = "Joins of rooms whose other participants are on another node, where the session could not go.";
    page.count("rooms_elsewhere", help, &counts.rooms_elsewhere)?;
    dials(page, view)
}

fn transitions(node: &NodeStatus) -> BTreeMap<(&str, &str), u64> {
    let all = REASONS.iter().flat_map(|(to, reasons)| reasons.iter().map(|reason| ((*to, *reason), 0)));
    let mut steps: BTreeMap<(&str, &str), u64> = all.collect();
    for step in &node.transitions {
        *steps.entry((&*step.to, &*step.reason)).or_default() += step.count;
    }
    steps
}

/// Of each node the drain that runs, or the last one.
fn drains(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let none = DrainStatus::default();
    let running = view.nodes().map(|node| {
        let runs = node.drain.is_some_and(|drain| !drain.progress.stage.is_over());
        (vec![("node", &*node.status.name)], u64::from(runs))
    });
    page.gauges("drain_running", "1 while sessions are taken off a node.", running)?;
    let sessions = view.nodes().flat_map(|node| {
        let progress = &node.drain.unwrap_or(&none).progress;
        let counts = [
            ("moved", progress.moved),
            ("forced", progress.forced),
            ("ended", progress.ended),
            ("failed", progress.failed),
            ("under_way", progress.under_way),
            ("remaining", progress.remaining),
        ];
        counts.map(|(state, count)| (vec![("node", &*node.status.name), ("state", state)], count))
    });
    let help = "What became of the sessions of a node in the drain that runs, or the last one.";
    page.gauges("drain_sessions", help, sessions)
}

fn dials(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let nodes = || view.nodes().map(|node| node.status);
    let dials = nodes().flat_map(|node| {
        outcomes(&node.dials)
            .map(|(outcome, count)| (vec![("node", &*node.name), ("outcome", outcome)], count))
    });
    page.counters("dials", "Dials of a node for sessions, by how they ended.", dials)?;
    let help = "How long a node took to answer a dial, whatever it said.";
    let mut family = page.histogram_family("dial_seconds", help)?;
    for node in nodes() {
        let dials = &node.dials;
        let buckets = buckets(dials);
        let answered = dials.buckets.iter().sum();
        let labels = vec![("node", &*node.name)];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(seconds(dials.sum_us), answered, &buckets, None)?;
    }
    Ok(())
}

const fn outcomes(dials: &DialCounts) -> [(&'static str, u64); 6] {
    [
        ("ok", dials.accepted),
        ("refused", dials.refused),
        ("bad_handshake", dials.bad_handshake),
        ("unreachable", dials.unreachable),
        ("local", dials.local),
        ("overtaken", dials.overtaken),
    ]
}

/// The buckets with their ends in seconds; the last has none.
#[allow(clippy::cast_precision_loss)] // They are small.
fn buckets(dials: &DialCounts) -> Vec<(f64, u64)> {
    let ends = DIAL_BUCKETS_MS.iter().map(|ms| *ms as f64 / 1_000.0).chain([f64::INFINITY]);
    ends.zip(dials.buckets.iter().copied()).collect()
}

#[allow(clippy::cast_precision_loss)] // After a hundred years of dialling.
fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::StepCount;

    #[test]
    fn transitions_are_counted_from_zero_and_by_where_they_lead() {
        let step = |from: &'static str, reason: &'static str, count| StepCount {
            from: from.into(),
            to: "down".into(),
            reason: reason.into(),
            count,
        };
        let transitions_of = vec![
            step("up", "unreachable", 2),
            step("suspect", "unreachable", 3),
            step("up", "of tomorrow", 1),
        ];
        let node = NodeStatus { transitions: transitions_of, ..NodeStatus::default() };
        let steps = transitions(&node);
        assert_eq!(steps.get(&("down", "unreachable")), Some(&5));
        assert_eq!(steps.get(&("up", "answered")), Some(&0));
        assert_eq!(steps.get(&("down", "of tomorrow")), Some(&1));
        let likely: usize = REASONS.iter().map(|(_, reasons)| reasons.len()).sum();
        assert_eq!(steps.len(), likely + 1, "and one more");
        assert!(STATES.iter().all(|state| REASONS.iter().any(|(to, _)| *to == state.as_str())));
    }
}
