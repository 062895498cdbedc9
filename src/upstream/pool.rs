//! The nodes, tried in the configured order, those known to be down last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    config::UpstreamSettings,
    net::{live::Mailbox, side::Side, websocket::Role},
    session::{Close, Priority, SessionId, Timestamp},
};

use super::{
    budget::Budget,
    dial::{Address, DialFailure, Dialed},
    outage::Outage,
    request::ClientRequest,
};

/// How many restores within [`FALL_WINDOW`] make their sessions "fall together".
const FALL_TOGETHER_MIN: u32 = 16;
/// The window in which they are counted.
const FALL_WINDOW: Duration = Duration::from_secs(1);
/// A node that failed is tried after the others for this many probe intervals.
const AVOID_INTERVALS: u32 = 10;

/// Position of a node in the configuration.
pub(super) type NodeIndex = usize;

#[derive(Debug)]
struct Node {
    address: Address,
    budget: Arc<Budget>,
    /// In milliseconds since the pool began: until then other nodes are tried first.
    avoid_until_ms: AtomicU64,
}

#[derive(Debug)]
struct Falls {
    since: Instant,
    count: u32,
}

/// All upstream nodes.
#[derive(Debug)]
pub(crate) struct Pool {
    nodes: Vec<Node>,
    outage: Outage,
    began: Instant,
    probe_interval: Duration,
    fall_together_spread: Duration,
    falls: Mutex<Falls>,
}

impl Pool {
    /// The nodes of these settings.
    ///
    /// # Errors
    /// There is none, or a name cannot be used with TLS.
    pub(crate) fn new(settings: &UpstreamSettings, tls: &Arc<ClientConfig>) -> Result<Arc<Self>, String> {
        let node = |url: &crate::config::UpstreamUrl| {
            Ok(Node {
                address: Address::new(url.clone(), tls, settings.dial_timeout)?,
                budget: Budget::new(settings.restore_rate),
                avoid_until_ms: AtomicU64::new(0),
            })
        };
        let nodes = settings.url.iter().map(node).collect::<Result<Vec<_>, String>>()?;
        if nodes.is_empty() {
            return Err("no upstream is configured".to_owned());
        }
        Ok(Arc::new(Self {
            nodes,
            outage: Outage::default(),
            began: Instant::now(),
            probe_interval: settings.probe_interval,
            fall_together_spread: settings.fall_together_spread,
            falls: Mutex::new(Falls { since: Instant::now(), count: 0 }),
        }))
    }

    /// The address of a node, for logs.
    pub(crate) fn node_name(&self, node: NodeIndex) -> String {
        self.nodes.get(node).map_or_else(String::new, |node| node.address.url().to_string())
    }

    /// The nodes for people who look: `url` and `state`.
    pub(crate) fn describe(&self) -> Vec<serde_json::Value> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let describe = |node: &Node| {
            let avoided = node.avoid_until_ms.load(Ordering::Relaxed) > now_ms;
            let state = if avoided { "did not answer lately" } else { "in use" };
            serde_json::json!({"url": node.address.url().to_string(), "state": state})
        };
        self.nodes.iter().map(describe).collect()
    }

    /// Dials for a client that is in its handshake. Not limited by the budget: nothing is being
    /// restored.
    pub(crate) async fn connect(&self, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, None).await
    }

    /// As [`Pool::connect`], for a client that was held while no node answered: all of these come
    /// at once when one does, so the budget paces them.
    pub(crate) async fn connect_held(&self, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        self.try_in_turn(request, Some(Priority::Other)).await
    }

    /// Dials for a session that lost its upstream, when the budget allows.
    pub(crate) async fn redial(
        &self,
        request: &ClientRequest,
        priority: Priority,
    ) -> Result<Dialed, DialFailure> {
        sleep(self.spread()).await;
        self.try_in_turn(request, Some(priority)).await
    }

    /// Dials one node and no other: media sockets belong where their session is.
    pub(crate) async fn dial_node(
        &self,
        node: NodeIndex,
        request: &ClientRequest,
        budget: bool,
    ) -> Result<Dialed, DialFailure> {
        let target = self.nodes.get(node).ok_or_else(|| DialFailure::Unreachable("no such node".into()))?;
        if budget {
            target.budget.acquire(Priority::Other).await;
        }
        self.dial(node, target, request).await
    }

    async fn try_in_turn(
        &self,
        request: &ClientRequest,
        budget: Option<Priority>,
    ) -> Result<Dialed, DialFailure> {
        let mut last = None;
        let avoided = |node: &&(usize, &Node)| self.is_avoided(node.1);
        let nodes: Vec<_> = self.nodes.iter().enumerate().collect();
        let in_turn = nodes.iter().filter(|node| !avoided(node)).chain(nodes.iter().filter(avoided));
        for (index, node) in in_turn {
            if let Some(priority) = budget {
                node.budget.acquire(priority).await;
            }
            match self.dial(*index, node, request).await {
                Err(failure) if failure.is_of_the_node() => last = Some(failure),
                result => return result,
            }
        }
        Err(last.unwrap_or_else(|| DialFailure::Unreachable("no node".into())))
    }

    async fn dial(&self, index: usize, node: &Node, request: &ClientRequest) -> Result<Dialed, DialFailure> {
        let result = node.address.dial(index, request).await;
        match &result {
            Ok(_) => self.mark_up(node),
            Err(failure) if failure.is_of_the_node() => {
                self.avoid(index, node);
                tracing::debug!(node = %node.address.url(), %failure, "upstream dial failed");
            }
            Err(_) => {}
        }
        result
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_avoided(&self, node: &Node) -> bool {
        node.avoid_until_ms.load(Ordering::Relaxed) > self.now_ms()
    }

    fn avoid(&self, index: NodeIndex, node: &Node) {
        let span = self.probe_interval.saturating_mul(AVOID_INTERVALS);
        let until = self.now_ms().saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        node.avoid_until_ms.store(until, Ordering::Relaxed);
        self.outage.fell(index);
    }

    fn mark_up(&self, node: &Node) {
        if node.avoid_until_ms.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(node = %node.address.url(), "upstream answers again");
        }
        self.outage.announce();
    }

    /// How long a restore waits before its dial, so that many of them do not come at once.
    fn spread(&self) -> Duration {
        let mut falls = self.falls.lock();
        if falls.since.elapsed() > FALL_WINDOW {
            *falls = Falls { since: Instant::now(), count: 0 };
        }
        falls.count = falls.count.saturating_add(1);
        if falls.count <= FALL_TOGETHER_MIN {
            return Duration::ZERO;
        }
        self.fall_together_spread.mul_f64(rand::random::<f64>())
    }

    /// The mailbox gets `NodeUp` when a node answers; until then nodes are probed.
    pub(crate) fn wait_for_node(self: &Arc<Self>, session: SessionId, mailbox: Arc<Mailbox>) {
        if self.outage.enter(session, mailbox) {
            self.start_probes();
        }
    }

    /// As [`Pool::wait_for_node`], for a session that has lost a connection which did not last: it
    /// hears of its node only if that was unreachable in between.
    pub(crate) fn wait_for_return(self: &Arc<Self>, session: SessionId, mailbox: Arc<Mailbox>) {
        if self.outage.enter_flapped(session, mailbox) {
            self.start_probes();
        }
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
        let _held = Held::new(self);
        let hold = async {
            loop {
                self.outage.announced().await;
                match self.connect_held(request).await {
                    Err(failure @ DialFailure::Unreachable(_)) => last = failure,
                    result => return result,
                }
            }
        };
        match timeout(patience, hold).await {
            Ok(result) => result,
            Err(_) => Err(last),
        }
    }

    fn start_probes(self: &Arc<Self>) {
        if self.outage.start_probes(self.nodes.len()) {
            for index in 0..self.nodes.len() {
                tokio::spawn(Arc::clone(self).probe(index));
            }
        }
    }

    async fn probe(self: Arc<Self>, index: NodeIndex) {
        let request = ClientRequest::probe();
        let Some(node) = self.nodes.get(index) else { return };
        loop {
            sleep(self.probe_interval).await;
            if !self.outage.probe_again() {
                return;
            }
            node.budget.acquire(Priority::Publisher).await;
            match node.address.dial(index, &request).await {
                Ok(dialed) => {
                    self.mark_up(node);
                    close_probe(dialed).await;
                }
                // It may refuse us for want of an Origin or a cookie, but it answers.
                Err(failure) if !failure.is_of_the_node() => self.mark_up(node),
                Err(_) => self.avoid(index, node),
            }
        }
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

/// A handshake that is being held.
struct Held<'a>(&'a Arc<Pool>);

impl<'a> Held<'a> {
    fn new(pool: &'a Arc<Pool>) -> Self {
        if pool.outage.enter_handshake() {
            pool.start_probes();
        }
        Self(pool)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.outage.leave_handshake();
    }
}
