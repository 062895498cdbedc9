//! A silent upstream: its node is dialled a second time beside it, and the core hears what that says.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    net::live::Note,
    session::{Epoch, Evidence, Input, NodeId, Timestamp},
};

use super::Driver;

/// The question for one epoch.
pub(super) struct Looking {
    epoch: Epoch,
    /// Whose connection that is, wherever the session goes meanwhile.
    node: NodeId,
    task: Pin<Box<dyn Future<Output = Evidence> + Send>>,
}

impl Driver {
    pub(super) fn look_for_evidence(&mut self, epoch: Epoch) {
        let (pool, node) = (Arc::clone(&self.shared.pool), self.registered.mailbox.node());
        self.looking = Some(Box::new(Looking { epoch, node, task: Box::pin(pool.evidence(node)) }));
    }

    /// True if there is an answer. Others of a node that does not answer are told to look for themselves: not
    /// each of them has media that would show it.
    pub(super) fn poll_evidence(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(looking) = &mut self.looking else { return false };
        let Poll::Ready(evidence) = looking.task.as_mut().poll(cx) else { return false };
        let (epoch, node) = (looking.epoch, looking.node);
        self.looking = None;
        if evidence == Evidence::NodeSilent && self.shared.pool.may_alarm(node) {
            for mailbox in self.shared.live.all_on_node(node) {
                mailbox.post(Note::NodeDoubtful);
            }
        }
        self.tell(Input::Evidence(epoch, evidence), now);
        true
    }
}
