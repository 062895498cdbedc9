//! `holdfast demo`: two simulated servers, the proxy and a page, all in one command, to see a
//! stream survive the death of its server, and its drain. Without a browser, built-in clients take
//! the page's place.
//!
//! A showcase: nothing of the proxy depends on it.

mod action;
mod board;
mod error;
mod headless;
mod node;
mod record;
mod sdk;
mod stage;
mod web;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use crate::config::MediaMode;

pub(crate) use action::Action;
use sdk::Sdk;
use stage::Stage;

pub use error::DemoError;
pub use headless::Report;

/// Buttons pressed and not yet carried out; more are refused.
const ACTIONS_MAX: usize = 8;

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
        proxy: Arc::clone(&stage.proxy),
        servers: stage.nodes.each_ref().map(|node| node.address),
        sdk,
    };
    let page = tokio::spawn(web::serve(listener, site));
    ready(address);
    loop {
        tokio::select! {
            _ = async { stop.wait_for(|stopped| *stopped).await.map(|stopped| *stopped) } => break,
            Some(action) = pressed.recv() => {
                if let Err(error) = stage.act(action).await {
                    stage.board.note("note", format!("that did not work: {error}"));
                }
            }
        }
    }
    page.abort();
    stage.strike().await
}

/// Runs the demo with built-in clients: two outages and a drain, told in lines. Then the lines of what its sessions
/// were told and decided, if that is wanted.
///
/// # Errors
/// A part does not start, or the clients cannot.
pub async fn headless(
    media: MediaMode,
    is_recorded: bool,
    tell: impl FnMut(&str),
) -> Result<(Report, Vec<String>), DemoError> {
    let mut stage = Stage::set(media).await?;
    let recording = is_recorded.then(|| record::begin(&stage.proxy)).transpose()?;
    let report = headless::show(&mut stage, tell).await;
    stage.strike().await?;
    let recorded = match recording {
        Some(recording) => recording.end().await,
        None => Vec::new(),
    };
    Ok((report?, recorded))
}
