//! What a running proxy tells of itself: written once, by the admin port, and read back by
//! `holdfast status`.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    limits::FilesUsed,
    media::{MediaHandle, MediaStatus},
    net::{LeaveStatus, MemoryFacts, NodeStatus, Proxy},
    session::SessionSnapshot,
    telemetry,
};

/// A proxy at one moment. What one of another version does not tell is as good as nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Seconds since its admin port was opened.
    pub uptime_s: u64,
    /// How far its end is, if one was ordered.
    pub leaving: LeaveStatus,
    /// Addresses that clients reach.
    pub listening: Vec<String>,
    /// Signaling sessions, and sockets that have not sent their first message.
    pub sessions: usize,
    /// Places taken: sessions, media sockets, handshakes that wait for an upstream.
    pub places_taken: usize,
    /// Places there are.
    pub places: usize,
    /// Handshakes that are held because no upstream answers.
    pub handshakes_held: usize,
    /// File descriptors that are given out, by kind.
    pub descriptors: FilesUsed,
    /// The memory budget.
    pub memory: MemoryFacts,
    /// Publishes and plays of all sessions that answer within a second.
    pub streams: u64,
    /// Sessions in an outage.
    pub outages: usize,
    /// Log lines dropped since the start.
    pub log_lines_dropped: u64,
    /// What a probe saw of the servers that makes a promise weaker, one sentence each (section `[server]`).
    pub weaker: Vec<String>,
    /// Tasks of the runtime.
    pub tasks: usize,
    /// The upstream nodes.
    pub nodes: Vec<NodeStatus>,
    /// What the media workers count; `None` where media goes past the proxy.
    pub media: Option<MediaStatus>,
    /// At most [`super::SESSIONS_SHOWN_MAX`] sessions, those in an outage first.
    pub shown: Vec<SessionSnapshot>,
}

impl Status {
    /// What this proxy is now, with so many of its sessions; `begun` is when its admin port was opened.
    pub(super) async fn of(proxy: &Proxy, begun: Instant, sessions_shown: usize) -> Self {
        let shown = if sessions_shown > 0 { proxy.describe(sessions_shown).await } else { Vec::new() };
        let streams = proxy.count_streams().await;
        let facts = proxy.facts();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: begun.elapsed().as_secs(),
            leaving: proxy.leaving(),
            listening: proxy.addresses().iter().map(ToString::to_string).collect(),
            sessions: facts.sessions,
            places_taken: facts.places_taken,
            places: facts.places,
            handshakes_held: facts.held,
            descriptors: facts.files,
            memory: proxy.memory(),
            streams: streams.publish + streams.play,
            outages: facts.outages,
            log_lines_dropped: telemetry::lines_dropped(),
            weaker: Vec::new(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            nodes: proxy.nodes(),
            media: proxy.media().map(MediaHandle::status),
            shown,
        }
    }
}
