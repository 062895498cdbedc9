//! Probing: a node that is in question, for as long as it is or somebody waits.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::Pool;
use crate::{
    ids::NodeId,
    session::{Close, Priority, Timestamp},
    upstream::{
        dial::{DialFailure, Dialed},
        node::{Node, state::Input},
        request::ClientRequest,
    },
    wire::{side::Side, websocket::Role},
};

/// Where it is not urgent, probes are this many intervals apart.
const QUIET_INTERVALS: u32 = 10;

impl Pool {
    /// Probes the nodes of a pool that sessions may wait for.
    pub(super) fn start_probes(self: &Arc<Self>, pool: &str) {
        for node in self.nodes.of(pool) {
            self.start_probe(node.id);
        }
    }

    pub(super) fn start_probe(self: &Arc<Self>, node: NodeId) {
        if self.outage.start_probe(node) {
            tokio::spawn(Arc::clone(self).probe(node));
        }
    }

    /// Probes a node for as long as it is in question or somebody waits.
    async fn probe(self: Arc<Self>, id: NodeId) {
        loop {
            let Some(node) = self.nodes.get(id) else { return };
            self.pause(&node).await;
            let in_question = || node.is_in_question();
            // Whoever found it down since it was asked left the probing to this task.
            let again =
                self.outage.probe_again(id, in_question()) || (in_question() && self.outage.start_probe(id));
            if !again {
                return;
            }
            if !node.takes_probes() {
                continue;
            }
            let targets = node.paths.lock().targets(self.outage.wanted_paths());
            join_all(targets.iter().map(|path| self.probe_for_news(&node, path))).await;
        }
    }

    /// The time between two probes: short only for a node that is down while somebody waits, after a loss,
    /// or where there is doubt. One that answers is not to be burdened.
    async fn pause(&self, node: &Node) {
        let interval = self.ways.load().probe_interval;
        sleep(interval).await;
        let is_urgent = || {
            node.is_doubtful()
                || self.outage.anybody_waits() && (node.is_gone() || self.outage.take_lost(node.id))
        };
        let until = Instant::now() + interval.saturating_mul(QUIET_INTERVALS - 1);
        loop {
            let changed = self.outage.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_urgent() || timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }

    /// A probe of a node that is in question, or that somebody waits for.
    async fn probe_for_news(self: &Arc<Self>, node: &Node, path: &str) {
        node.budget.acquire(Priority::Publisher).await;
        // What came of it was told.
        let _ = self.probe_and_tell(node, path).await;
    }

    /// A probe whose failure is news of the node.
    pub(super) async fn probe_and_tell(self: &Arc<Self>, node: &Node, path: &str) -> Result<(), DialFailure> {
        let asked = self.now();
        let result = self.probe_path(node, path).await;
        if let Err(failure @ DialFailure::Unreachable(_)) = &result {
            self.unreachable(node, failure, asked);
        }
        result
    }

    /// A probe at the interval of a check, for this path or that of the last client.
    ///
    /// # Errors
    /// Why it did not reach the node.
    pub(in crate::upstream) async fn probe_once(
        self: &Arc<Self>,
        node: &Node,
        path: Option<&str>,
    ) -> Result<(), String> {
        let path = path.map_or_else(|| node.paths.lock().last(), Arc::from);
        match self.probe_path(node, &path).await {
            Err(failure @ DialFailure::Unreachable(_)) => Err(failure.to_string()),
            _ => Ok(()),
        }
    }

    /// Dials a path; what the node answers is taken in.
    async fn probe_path(self: &Arc<Self>, node: &Node, path: &str) -> Result<(), DialFailure> {
        let (begin, asked) = (Instant::now(), self.now());
        let result = node.address.dial(node.id, &ClientRequest::probe(path), None).await;
        if let Err(failure @ (DialFailure::Unreachable(_) | DialFailure::Local(_))) = result {
            return Err(failure);
        }
        // It may refuse us for want of an Origin or a cookie, but it answers.
        node.dials.observe(begin.elapsed());
        self.tell_dated(node, Input::Answered, asked);
        let opened = node.paths.lock().probed(path, result.is_ok());
        if opened {
            self.outage.open(path);
        }
        if let Ok(dialed) = result {
            close_probe(dialed).await;
        }
        Ok(())
    }
}

/// Says goodbye, so that the node sees no broken connection.
async fn close_probe(dialed: Dialed) {
    let mut side = Side::new(dialed.socket, Role::Server, &dialed.leftover);
    side.queue_close(Close::NoCode);
    std::future::poll_fn(|cx| {
        side.send(cx, &[], Timestamp::ZERO);
        side.poll_shutdown(cx)
    })
    .await
    .unwrap_or_default();
}
