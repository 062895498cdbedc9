//! Nodes that answer and pass no media: the pool says which sessions hear nothing there, and these are told to
//! leave. Decides nothing.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use crate::upstream::ClientRequest;

use super::{live::Note, shared::Shared};

/// How often it is looked at what legs hear.
const PACE: Duration = Duration::from_millis(250);

/// Looks until the proxy is gone.
pub(super) async fn watch(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        look(&shared);
        drop(shared);
        sleep(PACE).await;
    }
}

/// Those who belong together go to one node.
fn look(shared: &Arc<Shared>) {
    for (node, sessions) in shared.pool.judge_media() {
        let asks = ClientRequest::probe("/").in_pool(shared.pool.pool_of(node));
        let Some(to) = shared.pool.place(&asks, &[node]) else { continue };
        for mailbox in sessions.into_iter().filter_map(|session| shared.live.mailbox(session)) {
            mailbox.post(Note::LeaveForMedia { to });
        }
    }
}
