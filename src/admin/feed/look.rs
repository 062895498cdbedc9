//! What a proxy is at one moment, and what of it is news to whoever saw it a moment before.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    admin::v1::NodeShown,
    drain::Progress,
    net::{DrainStatus, Proxy, ReloadReport, RunningOutage},
    telemetry::past::PastOutage,
};

use super::News;

/// Outages that are over, as many as the first words to a listener have.
const PAST_SHOWN_MAX: usize = 20;

/// The present state.
#[derive(Debug, Serialize)]
struct State {
    version: &'static str,
    pid: u32,
    uptime_s: u64,
    sessions: usize,
    sessions_in_outage: usize,
    nodes: Vec<NodeShown>,
    outages_running: Vec<RunningOutage>,
    outages_over: Vec<PastOutage>,
}

/// All that a listener has to know to begin with.
pub(super) fn state(proxy: &Proxy, begun: Instant) -> News {
    let facts = proxy.facts();
    let mut over = proxy.past_outages();
    over.truncate(PAST_SHOWN_MAX);
    let state = State {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_s: begun.elapsed().as_secs(),
        sessions: facts.sessions,
        sessions_in_outage: facts.outages,
        nodes: NodeShown::all(proxy),
        outages_running: proxy.running_outages(),
        outages_over: over,
    };
    News::new("state", &state)
}

/// What is looked at for changes.
#[derive(Debug)]
pub(super) struct Look {
    nodes: Vec<NodeShown>,
    running: BTreeMap<String, RunningOutage>,
    over: Vec<PastOutage>,
    reload: Option<ReloadReport>,
}

impl Look {
    pub(super) fn of(proxy: &Proxy) -> Self {
        let running = proxy.running_outages().into_iter();
        Self {
            nodes: NodeShown::all(proxy),
            running: running.map(|outage| (outage.node.clone(), outage)).collect(),
            over: proxy.past_outages(),
            reload: proxy.last_reload(),
        }
    }

    /// What is new since that look.
    pub(super) fn since(&self, before: &Self) -> Vec<News> {
        let mut news = Vec::new();
        for node in &self.nodes {
            let known = before.nodes.iter().find(|known| known.status.name == node.status.name);
            if known.is_none_or(|known| !is_as_before(node, known)) {
                news.push(News::new("node", node));
            }
            let known_drain = known.and_then(|known| known.drain.as_ref());
            if let Some(drain) = node.drain.as_ref().filter(|drain| !is_as_far(drain, known_drain)) {
                news.push(News::new("drain", drain));
            }
        }
        let is_there = |name: &str| self.nodes.iter().any(|node| node.status.name == name);
        let gone = before.nodes.iter().map(|node| &*node.status.name).filter(|name| !is_there(name));
        news.extend(gone.map(|name| News::new("node_gone", &json!({ "name": name }))));
        let id = |look: &Self| look.reload.as_ref().map(|report| report.id);
        if let Some(report) = self.reload.as_ref().filter(|_| id(self) != id(before)) {
            news.push(News::new("reload", report));
        }
        let seen = before.over.first().map_or(0, |newest| newest.id);
        // The newest is first.
        let over = self.over.iter().take_while(|outage| outage.id > seen);
        news.extend(
            over.collect::<Vec<_>>().into_iter().rev().map(|outage| News::new("outage_over", outage)),
        );
        let begun = self.running.iter().filter(|(node, outage)| {
            // Of one node the next may have begun when the last was hardly over.
            before.running.get(*node).is_none_or(|known| known.summary.lasted_ms > outage.summary.lasted_ms)
        });
        news.extend(begun.map(|(_, outage)| News::new("outage_begun", outage)));
        news
    }
}

/// Whether nothing has changed that somebody acts on: figures are told once a second with others.
fn is_as_before(node: &NodeShown, known: &NodeShown) -> bool {
    let (now, then) = (&node.status, &known.status);
    (&now.url, now.weight, now.backup) == (&then.url, then.weight, then.backup)
        && (&now.state, &now.reason, &now.wish, &now.media, &now.transitions)
            == (&then.state, &then.reason, &then.wish, &then.media, &then.transitions)
}

/// Whether a drain is where it was, its clock aside.
fn is_as_far(drain: &DrainStatus, known: Option<&DrainStatus>) -> bool {
    let Some(known) = known else { return false };
    let now = &drain.progress;
    let then = Progress { rate: now.rate, remaining_s: now.remaining_s, ..known.progress.clone() };
    drain.purpose == known.purpose && drain.lasted_ms >= known.lasted_ms && *now == then
}
