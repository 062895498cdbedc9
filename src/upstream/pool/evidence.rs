//! A session has a connection that is silent and answered no ping: does its node answer a second dial beside it?
//! All sessions that ask at once share one dial, and its answer is good for a moment.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::Pool;
use crate::{
    ids::NodeId,
    session::Evidence,
    upstream::{dial::DialFailure, node::Node},
};

/// The least that a node has for its answer, however quick it usually is.
const TIME_MIN: Duration = Duration::from_millis(800);
/// What it has as long as nobody knows what is usual for it.
const TIME_UNKNOWN: Duration = Duration::from_secs(2);
/// So much of what is usual for it, where that is more.
const USUAL_TIMES: u32 = 4;

impl Pool {
    /// A session of this node has heard nothing for a while, and got no answer to a ping: what else speaks
    /// for or against the node. It is suspect from now on, until it answers somebody.
    pub(crate) async fn evidence(self: Arc<Self>, id: NodeId) -> Evidence {
        let Some(node) = self.nodes.get(id) else { return Evidence::None };
        self.silent(id);
        let (pool, target) = (Arc::clone(&self), Arc::clone(&node));
        let ask = move || async move { pool.ask_anew(&target).await }.boxed();
        let asked = node.inquiry.lock().join(ask);
        match asked.await {
            Some(true) => Evidence::NodeAnswers,
            Some(false) if self.usable_elsewhere(id) => Evidence::NodeSilent,
            _ => Evidence::None,
        }
    }

    /// Whether the sessions of this node are to be told that it does not answer: not again and again.
    pub(crate) fn may_alarm(&self, id: NodeId) -> bool {
        let Some(node) = self.nodes.get(id) else { return false };
        node.inquiry.lock().may_alarm()
    }

    async fn ask_anew(self: &Arc<Self>, node: &Arc<Node>) -> Option<bool> {
        let path = node.paths.lock().last();
        let usual = node.dials.usual().map(|usual| usual.saturating_mul(USUAL_TIMES));
        let time = usual.unwrap_or(TIME_UNKNOWN).max(TIME_MIN);
        match timeout(time, self.probe_and_tell(node, &path)).await {
            Ok(Ok(())) => Some(true),
            Ok(Err(DialFailure::Unreachable(_))) | Err(_) => Some(false),
            // This machine lacks something: that says nothing of the node.
            Ok(Err(_)) => None,
        }
    }
}
