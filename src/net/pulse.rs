//! What a running proxy is at one moment, in figures: for whoever watches it live.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    milliseconds::unix_ms,
    telemetry::{gaps::GapFigures, outages::OutageSummary},
};

use super::Proxy;

/// Streams by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamFigures {
    /// Published.
    pub publish: u64,
    /// Played.
    pub play: u64,
    /// Both, by where they stand.
    pub states: BTreeMap<String, u64>,
    /// Sessions that did not say in time what they have.
    pub sessions_silent: usize,
}

/// A node in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFigures {
    /// Its name.
    pub name: String,
    /// What it is used for.
    pub state: String,
    /// Sessions that are there or on their way.
    pub sessions: usize,
    /// What one in a hundred of the last dials exceeds, in milliseconds.
    pub dial_p99_ms: Option<f64>,
    /// Its load average, where it tells.
    pub load_average: Option<f64>,
}

/// An outage that goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunningOutage {
    /// The node that was lost.
    pub node: String,
    /// When the first session lost it, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// What came of it so far; `lasted_ms` is until now.
    #[serde(flatten)]
    pub summary: OutageSummary,
}

/// A proxy in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Signaling sessions.
    pub sessions: usize,
    /// Those of them that are in an outage.
    pub sessions_in_outage: usize,
    /// How often a session lost its upstream, since the start: most are back before the next sample.
    pub sessions_lost: u64,
    /// Handshakes that are held because no upstream answers.
    pub handshakes_held: usize,
    /// Streams.
    pub streams: StreamFigures,
    /// Gaps in media since the sample before.
    pub gaps: GapFigures,
    /// The nodes, in the order of the settings.
    pub nodes: Vec<NodeFigures>,
    /// Outages that go on.
    pub outages: Vec<RunningOutage>,
}

impl Proxy {
    /// Streams now. Asks all sessions, within a second.
    pub async fn count_streams(&self) -> StreamFigures {
        let shared = self.shared();
        let census = shared.census.read(&shared.live).await;
        let mut figures = StreamFigures { sessions_silent: census.silent, ..StreamFigures::default() };
        for ([kind, _, state], count) in census.tally.streams() {
            *(if kind == "publish" { &mut figures.publish } else { &mut figures.play }) += count;
            *figures.states.entry(state.to_owned()).or_default() += count;
        }
        figures
    }

    /// What there is now, with these streams. Gaps are those since this was asked last: for one who watches.
    #[must_use]
    pub fn sample(&self, streams: StreamFigures) -> Sample {
        let (shared, facts) = (self.shared(), self.facts());
        let nodes = shared.pool.nodes().into_iter().map(|node| NodeFigures {
            name: node.name,
            state: node.state.into_owned(),
            sessions: node.sessions,
            dial_p99_ms: node.dials.p99_ms,
            load_average: node.figures.load_average,
        });
        Sample {
            unix_ms: unix_ms(Duration::ZERO),
            sessions: facts.sessions,
            sessions_in_outage: facts.outages,
            sessions_lost: shared.counts.upstream_lost.iter().map(|(_, count)| count).sum(),
            handshakes_held: facts.held,
            streams,
            gaps: shared.counts.media.recent_gaps.take(),
            nodes: nodes.collect(),
            outages: self.running_outages(),
        }
    }

    /// The outages that go on, by the order of the nodes.
    #[must_use]
    pub fn running_outages(&self) -> Vec<RunningOutage> {
        let shared = self.shared();
        let running = shared.outages.running(shared.clock.now()).into_iter();
        let told = running.map(|(node, summary)| RunningOutage {
            node: shared.pool.node_name(node),
            began_unix_ms: unix_ms(Duration::from_millis(summary.lasted_ms)),
            summary,
        });
        told.collect()
    }
}
