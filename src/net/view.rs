//! What a running proxy shows of itself to `metrics`, at one moment. Reads only; what is counted is lent, not
//! copied.

use std::sync::Arc;

use crate::{
    media::{MediaHandle, MediaStatus},
    telemetry::{counts::Counts, outages::NodeOutages},
    upstream::NodeStatus,
};

use super::{
    census::Census,
    certificates::{Identity, RevocationLists},
    mover::DrainStatus,
    proxy::{Facts, MemoryFacts, Proxy},
    reload::Reloads,
    route::Routes,
    shared::Shared,
};

/// All of it.
#[derive(Debug)]
pub(crate) struct View {
    shared: Arc<Shared>,
    pub(crate) facts: Facts,
    pub(crate) memory: MemoryFacts,
    pub(crate) census: Census,
    pub(crate) media: Option<MediaStatus>,
    nodes: Vec<(NodeOutages, Option<DrainStatus>, NodeStatus)>,
}

/// One node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeView<'a> {
    pub(crate) status: &'a NodeStatus,
    /// The drain of it that runs, or the last one.
    pub(crate) drain: Option<&'a DrainStatus>,
    pub(crate) outages: NodeOutages,
}

impl View {
    /// What this proxy is now.
    pub(crate) async fn of(proxy: &Proxy) -> Self {
        let shared = Arc::clone(proxy.shared());
        let census = shared.census.read(&shared.live).await;
        let nodes = proxy.nodes().into_iter();
        Self {
            facts: proxy.facts(),
            memory: proxy.memory(),
            census,
            media: proxy.media().map(MediaHandle::status),
            nodes: nodes
                .map(|status| (shared.outages.of(status.id), shared.movers.status(status.id), status))
                .collect(),
            shared,
        }
    }

    /// What happened.
    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What became of new configurations.
    pub(crate) fn reloads(&self) -> &Reloads {
        &self.shared.reloads
    }

    /// Bytes that all sessions keep to restore their clients, and the most of them.
    pub(crate) fn kept_bytes(&self) -> (usize, usize) {
        let kept = self.shared.registry.kept();
        (kept.bytes(), kept.bytes_max())
    }

    /// The certificates that clients are shown; with each whether its file holds a newer one that cannot be used.
    pub(crate) fn certificates(&self) -> Vec<(Arc<Identity>, bool)> {
        self.shared.certificates.identities()
    }

    /// The lists of revoked certificates of clients; `None` where none are looked at.
    pub(crate) fn revocation_lists(&self) -> Option<RevocationLists> {
        self.shared.certificates.revocation_lists()
    }

    /// The routes of now, with what was counted of them.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.shared.routes.load_full()
    }

    /// Requests that are passed on at this moment.
    pub(crate) fn http_in_flight(&self) -> usize {
        self.shared.http.in_flight()
    }

    /// Whether the proxy is to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leaving.is_ordered()
    }

    /// Handshakes that may be held at once.
    pub(crate) fn held_max(&self) -> usize {
        self.shared.settings.load().listen.connect_hold_sessions_max
    }

    /// The nodes, in the order of the settings.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes.iter().map(|(outages, drain, status)| NodeView {
            status,
            drain: drain.as_ref(),
            outages: *outages,
        })
    }
}
