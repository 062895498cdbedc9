//! Waiting for a node: sessions between two dials, and handshakes that are held (rule R13).

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::Pool;
use crate::{
    session::SessionId,
    upstream::{
        dial::{DialFailure, Dialed},
        node::Wish,
        outage::{Awaits, Waits},
        request::ClientRequest,
    },
};

/// The waits of a handshake that is held behind a path that is refused: at most the first, doubled up to
/// the last.
const HELD_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));

impl Pool {
    /// Whether there is a node of this pool whose return would be news.
    fn is_any_away(&self, pool: &str) -> bool {
        let nodes = self.nodes.of(pool);
        nodes.iter().any(|node| node.is_gone() || node.wish() == Wish::Maintenance)
    }

    /// A session waits for its next dial after this failure: it hears when what it failed for
    /// has changed, and nodes are probed until then.
    pub(crate) fn wait_after(
        self: &Arc<Self>,
        failure: &DialFailure,
        id: SessionId,
        session: Arc<dyn Waits>,
        request: &ClientRequest,
    ) {
        let awaits = match failure {
            DialFailure::Unreachable(_) => Awaits::Node,
            DialFailure::Refused(_) | DialFailure::BadHandshake(_) => Awaits::Path(request.path().into()),
            DialFailure::Local(_) => return,
        };
        let for_node = awaits == Awaits::Node;
        self.outage.enter(id, session, awaits);
        if for_node && !self.is_any_away(request.pool()) {
            // It came back between the dial and now.
            self.announce(request.pool());
        }
        self.start_probes(request.pool());
    }

    /// A node of this pool answers: whoever waits for one of them waits no longer.
    pub(super) fn announce(&self, pool: &str) {
        self.outage.announce(|node| self.nodes.get(node).is_none_or(|node| *node.pool == *pool));
    }

    /// As [`Pool::wait_after`], for a session that has lost a connection which did not last: it hears
    /// of its node only if that was unreachable in between.
    pub(crate) fn wait_for_return(
        self: &Arc<Self>,
        id: SessionId,
        session: Arc<dyn Waits>,
        request: &ClientRequest,
    ) {
        self.outage.enter(id, session, Awaits::Return);
        self.start_probes(request.pool());
    }

    /// The session is connected or has ended.
    pub(crate) fn stop_waiting(&self, session: SessionId) {
        self.outage.leave(session);
    }

    /// Holds a client in its handshake (rule R13) until a dial succeeds or is refused for reasons
    /// of the client's own, for at most `patience`.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn connect_when_up(
        self: &Arc<Self>,
        request: &ClientRequest,
        patience: Duration,
        mut last: DialFailure,
    ) -> Result<Dialed, DialFailure> {
        let _held = Held::new(self, request.pool());
        let hold = async {
            let mut failures = 0;
            loop {
                self.may_have_changed(&last, request.pool(), failures).await;
                failures = failures.saturating_add(1);
                match self.connect_held(request).await {
                    Err(failure) if failure.is_outage() => last = failure,
                    result => return result,
                }
            }
        };
        match timeout(patience, hold).await {
            Ok(result) => result,
            Err(_) => Err(last),
        }
    }

    /// Waits until another dial of a handshake that is held may do better.
    async fn may_have_changed(&self, failure: &DialFailure, pool: &str, failures: u32) {
        if matches!(failure, DialFailure::Unreachable(_)) {
            let announced = self.outage.announced();
            tokio::pin!(announced);
            announced.as_mut().enable();
            if self.is_any_away(pool) {
                return announced.await;
            }
            // It came back between the dial and now.
            let interval = self.ways.load().probe_interval;
            return sleep(interval).await;
        }
        let (first, most) = HELD_BACKOFF;
        let most = first.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(most);
        let least = first.min(most / 2);
        let wait = least.saturating_add((most.saturating_sub(least)).mul_f64(rand::random::<f64>()));
        let opened = self.outage.opened();
        let _ = timeout(wait, opened).await;
    }
}

/// A handshake that is being held.
struct Held<'a>(&'a Arc<Pool>);

impl<'a> Held<'a> {
    fn new(pool: &'a Arc<Pool>, of: &str) -> Self {
        pool.outage.enter_handshake();
        pool.start_probes(of);
        Self(pool)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.outage.leave_handshake();
    }
}
