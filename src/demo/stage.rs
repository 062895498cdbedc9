//! What every form of the demo has: two simulated servers, the proxy before them, and the board. Does to the servers
//! what the buttons say.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing_subscriber::layer::SubscriberExt;

use super::{
    DemoError,
    action::{Action, FREEZE},
    board::Board,
    node::{self, Node},
};
use crate::{
    config::{Config, ListenAddress, MediaMode, Overrides, Policy},
    net::{DrainOrder, NodeStatus, Proxy},
};

/// What the two servers are called, in logs and on the page.
pub(super) const NAMES: [&str; 2] = ["a", "b"];
/// How long a drain may take until it is called off: with direct media sessions cannot move unseen.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the proxy may take to find out that a server is back.
const UP_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is looked how far that is.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) struct Stage {
    pub(super) board: Board,
    pub(super) nodes: [Node; NAMES.len()],
    pub(super) proxy: Arc<Proxy>,
}

impl Stage {
    pub(super) async fn set(media: MediaMode) -> Result<Self, DemoError> {
        let board = Board::new();
        let subscriber = tracing_subscriber::registry().with(board.clone());
        // A process that logs already keeps its log; the timeline then shows the servers only.
        let _ = tracing::subscriber::set_global_default(subscriber);
        let [a, b] = NAMES;
        let nodes = [Node::start(a).await?, Node::start(b).await?];
        for node in &nodes {
            board.note_of("up", node.name, format!("server {} listens on {}", node.name, node.address));
        }
        let url = |node: &Node| format!("{}=ws://{}", node.name, node.address).parse();
        let flags = Overrides {
            listen: vec![ListenAddress { address: node::free_port()?, tls: None }],
            upstream: nodes.iter().map(url).collect::<Result<_, _>>().map_err(DemoError::Address)?,
            media: Some(media),
            media_listen: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
            ..Overrides::default()
        };
        let mut config = Config::load(None, &flags)?;
        // All on one server, so that its loss is seen by all.
        config.net.upstream.policy = Policy::First;
        let proxy = Arc::new(Proxy::launch(config).await?);
        Ok(Self { board, nodes, proxy })
    }

    /// The server that has the sessions; the first where none has.
    pub(super) fn in_use(&self) -> usize {
        in_use(&self.proxy)
    }

    /// Does to the servers what the button says.
    pub(super) async fn act(&mut self, action: Action) -> Result<(), DemoError> {
        let here = self.in_use();
        let name = NAMES.get(here).copied().unwrap_or_default();
        match action {
            Action::Kill { back_after } => {
                self.kill(&[here], back_after)?;
                sleep(back_after).await;
                self.start_again().await.map(drop)
            }
            Action::KillBoth { back_after } => {
                self.kill(&[0, 1], back_after)?;
                sleep(back_after).await;
                self.start_again().await.map(drop)
            }
            Action::Drain => self.drain(name).await,
            Action::Freeze => {
                let text = format!("server {name} frozen for {} s", FREEZE.as_secs());
                self.board.note_of("server", name, text);
                self.order(here, action).await?;
                sleep(FREEZE).await;
                self.board.note_of("up", name, format!("server {name} thaws"));
                Ok(())
            }
            Action::Cut => {
                self.board.note_of("cut", name, format!("connections of server {name} cut"));
                self.order(here, action).await
            }
            Action::RefuseH264 => {
                self.board.note("note", "servers refuse H264 from now on");
                for index in 0..self.nodes.len() {
                    self.order(index, action).await?;
                }
                Ok(())
            }
        }
    }

    async fn order(&self, index: usize, action: Action) -> Result<(), DemoError> {
        if let (Some((path, order)), Some(node)) = (action.order(), self.nodes.get(index)) {
            node.control(path, &order).await?;
        }
        Ok(())
    }

    /// Kills these; they are told to be back after this time.
    pub(super) fn kill(&mut self, which: &[usize], back_after: Duration) -> Result<(), DemoError> {
        for (index, node) in self.nodes.iter_mut().enumerate().filter(|(index, _)| which.contains(index)) {
            let name = NAMES.get(index).copied().unwrap_or_default();
            let text = format!("server {name} killed, back in {} s", back_after.as_secs());
            self.board.note_of("server", name, text);
            node.kill()?;
        }
        Ok(())
    }

    /// Starts those that are dead, and waits until the proxy knows them as up; when the first of them listened.
    pub(super) async fn start_again(&mut self) -> Result<Instant, DemoError> {
        let mut listening = None;
        for node in &mut self.nodes {
            if node.start_again().await? {
                listening.get_or_insert_with(Instant::now);
                self.board.note_of("up", node.name, format!("server {} listens again", node.name));
            }
        }
        // Before the next button: whoever has not been reached yet is no way out when the other one goes.
        let is_up = || self.proxy.nodes().iter().all(|node| node.state == "up");
        self.until(UP_TIME_MAX, is_up).await;
        Ok(listening.unwrap_or_else(Instant::now))
    }

    /// Empties a server as an operator does, and puts it back into use.
    pub(super) async fn drain(&self, name: &'static str) -> Result<(), DemoError> {
        let Some(NodeStatus { id, .. }) = self.proxy.nodes().into_iter().find(|node| node.name == name)
        else {
            return Ok(());
        };
        self.board.note_of("drain", name, format!("server {name} is drained"));
        if let Err(refused) = self.proxy.drain(id, DrainOrder::default()) {
            self.board.note_of("up", name, format!("server {name} is not drained: {refused}"));
            return Ok(());
        }
        let is_over = || self.proxy.drain_status(id).is_none_or(|status| status.progress.stage.is_over());
        let words = if self.until(DRAIN_TIME_MAX, is_over).await {
            format!("server {name} was empty, and is in use again")
        } else {
            format!("server {name} does not become empty: its drain is called off")
        };
        self.proxy.undrain(id).map_err(|refused| DemoError::Drain(format!("server {name}: {refused}")))?;
        self.board.note_of("up", name, words);
        Ok(())
    }

    /// Waits until this is so, for so long.
    async fn until(&self, time_max: Duration, is_so: impl Fn() -> bool) -> bool {
        let wait = async {
            while !is_so() {
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(time_max, wait).await.is_ok()
    }

    /// The end of all of it.
    pub(super) async fn strike(mut self) -> Result<(), DemoError> {
        self.proxy.shutdown().await;
        for node in &mut self.nodes {
            node.kill()?;
        }
        Ok(())
    }
}

/// Which of the servers has the sessions of this proxy; the first where none has.
pub(super) fn in_use(proxy: &Proxy) -> usize {
    let nodes = proxy.nodes();
    let sessions = |name: &str| nodes.iter().find(|node| node.name == name).map_or(0, |node| node.sessions);
    let [a, b] = NAMES.map(sessions);
    usize::from(b > a)
}
