//! `holdfast demo`: a simulated server, the proxy and a page, all in one command, to see a
//! stream survive the death of its server. Without a browser, built-in clients take the page's
//! place.
//!
//! A showcase: nothing of the proxy depends on it.

mod board;
mod error;
mod headless;
mod node;
mod sdk;
mod web;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, sync::watch, time::sleep};
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    config::{Config, ListenAddress, MediaMode, Overrides},
    net::Proxy,
};

use board::Board;
use node::Node;
use sdk::Sdk;

pub use error::DemoError;
pub use headless::Report;

/// Buttons pressed and not yet carried out; more are refused.
const ACTIONS_MAX: usize = 8;
/// How long `freeze` lasts.
const FREEZE: Duration = Duration::from_secs(5);

/// What the demo shows.
#[derive(Clone, Debug)]
pub struct DemoSettings {
    /// Where the page is; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who carries the media: with `anchor` nobody notices, with `direct` streams are reported.
    pub media: MediaMode,
    /// Directory of the npm package `@flashphoner/websdk`; `None` looks into `node_modules` and
    /// goes without it if it is not there.
    pub sdk: Option<PathBuf>,
}

/// What a button does to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill { back_after: Duration },
    Freeze,
    Cut,
    RefuseH264,
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "kill-2" => Self::Kill { back_after: Duration::from_secs(2) },
            "kill-20" => Self::Kill { back_after: Duration::from_secs(20) },
            "freeze" => Self::Freeze,
            "cut" => Self::Cut,
            "refuse-h264" => Self::RefuseH264,
            _ => return None,
        })
    }

    /// What the control port of the server is told, and by which path; none for a kill.
    fn order(self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Kill { .. } => return None,
            Self::Freeze => {
                let for_ms = u64::try_from(FREEZE.as_millis()).unwrap_or(u64::MAX);
                ("/fault", json!({"fault": "freeze", "for_ms": for_ms}))
            }
            Self::Cut => ("/fault", json!({"fault": "drop", "how": "reset"})),
            Self::RefuseH264 => ("/switch", json!({"streams": {"refuse_publish_codecs": ["H264"]}})),
        })
    }
}

/// The parts that every form of the demo has.
pub(crate) struct Stage {
    board: Board,
    node: Node,
    proxy: Proxy,
}

impl Stage {
    async fn set(media: MediaMode) -> Result<Self, DemoError> {
        let board = Board::new();
        let subscriber = tracing_subscriber::registry().with(board.clone());
        // A process that logs already keeps its log; the timeline then shows the server only.
        let _ = tracing::subscriber::set_global_default(subscriber);
        let node = Node::start().await?;
        board.note("up", format!("server listens on {}", node.address));
        let flags = Overrides {
            listen: vec![ListenAddress { address: node::free_port()?, tls: None }],
            upstream: vec![format!("ws://{}", node.address).parse().map_err(DemoError::Address)?],
            media: Some(media),
            media_listen: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
            ..Overrides::default()
        };
        let config = Config::load(None, &flags)?;
        let proxy = Proxy::launch(config).await?;
        Ok(Self { board, node, proxy })
    }

    /// Does to the server what the button says.
    async fn act(&mut self, action: Action) -> Result<(), DemoError> {
        match action {
            Action::Kill { back_after } => {
                self.board.note("server", format!("server killed, back in {} s", back_after.as_secs()));
                self.node.kill()?;
                sleep(back_after).await;
                self.node.start_again().await?;
                self.board.note("up", "server listens again");
            }
            Action::Freeze => {
                self.board.note("server", format!("server frozen for {} s", FREEZE.as_secs()));
            }
            Action::Cut => self.board.note("server", "connections of the server cut"),
            Action::RefuseH264 => self.board.note("server", "server refuses H264 from now on"),
        }
        if let Some((path, order)) = action.order() {
            self.node.control(path, &order).await?;
        }
        Ok(())
    }
}

/// Serves the page until `stop` becomes true; `ready` is told its address.
///
/// # Errors
/// A part does not start: the message says which.
pub async fn run(
    settings: &DemoSettings,
    mut stop: watch::Receiver<bool>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), DemoError> {
    let sdk = settings.sdk.as_deref().map_or_else(|| Ok(Sdk::find()), |path| Sdk::open(path).map(Some))?;
    let mut stage = Stage::set(settings.media).await?;
    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let (actions, mut pressed) = mpsc::channel(ACTIONS_MAX);
    let site = web::Site {
        board: stage.board.clone(),
        actions,
        proxy: stage.proxy.address(),
        server: stage.node.address,
        sdk,
    };
    let page = tokio::spawn(web::serve(listener, site));
    ready(address);
    loop {
        tokio::select! {
            _ = async { stop.wait_for(|stopped| *stopped).await.map(|stopped| *stopped) } => break,
            Some(action) = pressed.recv() => {
                if let Err(error) = stage.act(action).await {
                    stage.board.note("server", format!("that did not work: {error}"));
                }
            }
        }
    }
    page.abort();
    stage.proxy.shutdown().await;
    Ok(stage.node.kill()?)
}

/// Runs the demo with built-in clients: one outage, told in lines.
///
/// # Errors
/// A part does not start, or the clients cannot.
pub async fn headless(media: MediaMode, tell: impl FnMut(&str)) -> Result<Report, DemoError> {
    let mut stage = Stage::set(media).await?;
    let report = headless::show(&mut stage, tell).await;
    stage.proxy.shutdown().await;
    stage.node.kill()?;
    report
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::simulator::{Fault, SimulatorSettings};

    #[test]
    fn the_server_understands_every_button() {
        for name in ["kill-2", "kill-20", "freeze", "cut", "refuse-h264"] {
            match Action::named(name).unwrap().order() {
                None => assert!(name.starts_with("kill"), "{name}"),
                Some(("/fault", order)) => drop(serde_json::from_value::<Fault>(order).unwrap()),
                Some(("/switch", order)) => drop(SimulatorSettings::default().with(&order).unwrap()),
                Some((path, _)) => unreachable!("{path}"),
            }
        }
    }
}
