//! Outages end to end: a simulated server as a process of its own, the proxy, and pages over real
//! sockets. Many cases run side by side, because each of them mostly waits.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../common/mod.rs"]
mod common;

mod anchor;
mod codecs;
mod credentials;
mod direct;
mod first_answer;
mod ghosts;
mod intents;
mod long;
mod matrix;
mod mse;
mod requests;
mod rooms;
mod sip;
mod verdicts;

use tokio::task::JoinSet;

/// Runs the cases side by side; fails with all that failed.
async fn side_by_side<F>(cases: impl IntoIterator<Item = F>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running: JoinSet<()> = cases.into_iter().collect();
    let mut failed = Vec::new();
    while let Some(result) = running.join_next().await {
        if let Err(error) = result {
            failed.push(match error.try_into_panic() {
                Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                    (Some(text), _) => text.clone(),
                    (_, Some(text)) => (*text).to_owned(),
                    _ => "a panic without words".to_owned(),
                },
                Err(error) => error.to_string(),
            });
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n--\n"));
}
