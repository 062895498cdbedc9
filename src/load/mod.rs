//! Protocol-true clients against any URL: Holdfast, a Web Call Server, or a plain proxy.
//!
//! Measures without coordinated omission: a message counts from the moment it was due. Bounded,
//! so that nobody melts a server by accident. It knows nothing of Holdfast: what it loads may be
//! anything that speaks the protocol.

mod caller;
mod client;
mod messages;
mod settings;
mod socket;
mod summary;
mod tally;
pub mod webrtc_client;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

pub use caller::{Caller, Told};
pub use settings::{LoadSettings, MESSAGE_BYTES_MAX, RAMP_MAX, RATE_MAX, SESSIONS_MAX, Scenario};
pub use summary::{Percentiles, Summary};

use client::Run;
use socket::Target;
use tally::{Tally, read};

/// How long the sockets may take to close at the end.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Where a run stands, once per second.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Clients told to come.
    pub started: u64,
    /// Sockets open.
    pub open: u64,
    /// Streams running.
    pub running: u64,
    /// Messages received.
    pub received: u64,
    /// Errors of any kind.
    pub errors: u64,
}

/// Runs the load until its time is over or `stop` becomes true, and sums it up.
///
/// # Errors
/// The URL cannot be used: it does not resolve, or its certificates cannot be read. What goes
/// wrong with single clients is counted, not an error.
pub async fn run(
    settings: LoadSettings,
    mut stop: watch::Receiver<bool>,
    progress: impl Fn(Progress) + Send + 'static,
) -> io::Result<Summary> {
    let target = Target::resolve(&settings).await?;
    let (end, ended) = watch::channel(false);
    let run = Arc::new(Run { settings, target, tally: Tally::new(), stop: ended });
    let reporter = tokio::spawn(report(Arc::clone(&run), progress));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    tokio::select! {
        () = bring_clients(&run, &mut clients) => {}
        () = client::stopped(&mut stop) => {}
    }
    let _ = tokio::time::timeout(run.settings.hold, client::stopped(&mut stop)).await;
    let summary = Summary::of(&run.tally, begun.elapsed());
    let _ = end.send(true);
    let _ =
        tokio::time::timeout(CLOSE_TIME_MAX, async { while clients.join_next().await.is_some() {} }).await;
    reporter.abort();
    Ok(summary)
}

/// Lets the clients come at their rate. Ends when all are there.
async fn bring_clients(run: &Arc<Run>, clients: &mut JoinSet<()>) {
    let begun = Instant::now();
    for number in 0..run.settings.sessions {
        let due = begun + Duration::from_secs_f64(number as f64 / f64::from(run.settings.ramp_per_s));
        if due > Instant::now() {
            sleep(due.duration_since(Instant::now())).await;
        }
        clients.spawn(client::run(Arc::clone(run), number));
    }
    let wanted = run.settings.sessions as u64;
    let patience = Instant::now() + run.settings.connect_timeout;
    // Nobody signals the last arrival; a run may well wait a tick for it.
    while read(&run.tally.established) < wanted && Instant::now() < patience && !clients.is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn report(run: Arc<Run>, progress: impl Fn(Progress)) {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        progress(Progress {
            elapsed: begun.elapsed(),
            started: read(&run.tally.started),
            open: read(&run.tally.open),
            running: read(&run.tally.running),
            received: read(&run.tally.received),
            errors: run.tally.errors().values().sum(),
        });
    }
}
