//! Protocol-true clients against any URL: Holdfast, a Web Call Server, or a plain proxy.
//!
//! Measures without coordinated omission: a message counts from the moment it was due. Bounded,
//! so that nobody melts a server by accident. It knows nothing of Holdfast: what it loads may be
//! anything that speaks the protocol.

mod caller;
mod client;
mod counters;
mod error;
mod incoming;
mod media;
mod messages;
mod settings;
mod socket;
mod stream;
mod summary;
mod tls;
mod upstream;
pub mod webrtc_client;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

pub use caller::{Caller, Told};
pub use error::{CallerError, LoadError, SettingsError, UpstreamError};
pub use media::MediaSummary;
pub use settings::{
    LoadSettings, MEDIA_KBPS_MAX, MEDIA_SESSIONS_MAX, MEDIA_THREADS_MAX, MESSAGE_BYTES_MAX, Media,
    OUTAGES_MAX, Outages, RAMP_MAX, RATE_MAX, SESSIONS_MAX, Scenario, Upstream,
};
pub use summary::{Percentiles, Summary, UpstreamSummary};

use client::Run;
use counters::{Counters, read};
use media::RunMedia;
use socket::Target;
use tokio_rustls::TlsConnector;
use upstream::{Control, Outage};

/// How long the sockets may take to close at the end.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// When it is told that no session is established.
const HINT_AFTER: Duration = Duration::from_secs(1);

/// Where a run stands, once per second.
#[derive(Clone, Debug)]
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
    /// With real media: how many pictures move, of how many players.
    pub pictures: Option<(u64, u64)>,
    /// Whether the upstream that we control is away.
    pub upstream_is_down: bool,
    /// What explains what is seen, as soon as it is known.
    pub hint: Option<String>,
}

/// Checks servers as the clients do: against the certificates in `ca`, or the public roots.
///
/// # Errors
/// Why the file cannot be used.
pub(crate) fn tls_connector(ca: Option<&std::path::Path>) -> Result<TlsConnector, String> {
    tls::connector(ca).map_err(|error| match ca {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_string(),
    })
}

/// Runs the load until its time is over or `stop` becomes true, and sums it up.
///
/// # Errors
/// The URL cannot be used (it does not resolve, or its certificates cannot be read), there are no
/// means for real media, or the upstream cannot be controlled. What goes wrong with single clients
/// is counted, not an error.
pub async fn run(
    settings: LoadSettings,
    mut stop: watch::Receiver<bool>,
    progress: impl Fn(Progress) + Send + 'static,
) -> Result<Summary, LoadError> {
    let mut target = Target::resolve(&settings).await?;
    let mut control = match &settings.upstream {
        None => None,
        Some(upstream) => tokio::select! {
            control = Control::start(upstream) => Some(control?),
            () = client::stopped(&mut stop) => None,
        },
    };
    target.reach(settings.local_addresses.first().copied()).await?;
    let bind_ip = settings.local_addresses.first().copied().map_or_else(|| target.local_ip(), Ok)?;
    let media = RunMedia::start(&settings, bind_ip).map_err(LoadError::Media)?.map(Arc::new);
    let (end, ended) = watch::channel(false);
    let (outage, outage_seen) = watch::channel(Outage::default());
    let groups = if settings.players_per_stream > 0 { settings.group(settings.sessions) + 1 } else { 0 };
    let published = (0..groups).map(|_| watch::Sender::new(false)).collect();
    let counters = Counters::new();
    let run =
        Arc::new(Run { settings, target, counters, media, published, outage: outage_seen, stop: ended });
    let reporter = tokio::spawn(report(Arc::clone(&run), progress));
    let pictures = tokio::spawn(watch_pictures(Arc::clone(&run)));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    tokio::select! {
        () = work(&run, &mut clients, control.as_mut(), &outage) => {}
        () = client::stopped(&mut stop) => {}
    }
    let summary = Summary::of(&run, begun.elapsed());
    pictures.abort();
    let _ = end.send(true);
    let _ =
        tokio::time::timeout(CLOSE_TIME_MAX, async { while clients.join_next().await.is_some() {} }).await;
    reporter.abort();
    if let Some(control) = control {
        control.finish().await;
    }
    Ok(summary)
}

/// The run itself: clients come, the upstream goes and comes back if that is ours to do, and the
/// clients stay for their time.
async fn work(
    run: &Arc<Run>,
    clients: &mut JoinSet<()>,
    control: Option<&mut Control>,
    outage: &watch::Sender<Outage>,
) {
    bring_clients(run, clients).await;
    if clients.is_empty() {
        // Nobody is left who could stay.
        return;
    }
    if let Some(control) = control {
        until_all_run(run).await;
        let note = |away: Duration| {
            run.counters.outages_ms.lock().push(u64::try_from(away.as_millis()).unwrap_or(u64::MAX));
        };
        if let Err(error) = control.storm(&run.settings.outages, outage, note).await {
            run.counters.error(&LoadError::from(error));
        }
    }
    sleep(run.settings.hold).await;
}

/// Waits until every stream runs and every picture moves, or until that has taken too long: an outage
/// before is no measurement.
async fn until_all_run(run: &Run) {
    let wanted = read(&run.counters.established);
    let patience = Instant::now() + run.settings.connect_timeout;
    let pictures_move = || run.media.as_ref().is_none_or(|media| media.moving_all());
    while (read(&run.counters.running) < wanted || !pictures_move()) && Instant::now() < patience {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Looks at all pictures again and again, until it is aborted.
async fn watch_pictures(run: Arc<Run>) {
    let Some(media) = &run.media else { return };
    let mut looks = interval(media::LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        looks.tick().await;
        media.look(*run.outage.borrow());
    }
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
    while read(&run.counters.established) < wanted && Instant::now() < patience && !clients.is_empty() {
        sleep(Duration::from_millis(20)).await;
        while clients.try_join_next().is_some() {}
    }
}

fn hint(run: &Run, elapsed: Duration) -> Option<String> {
    if run.settings.media == Media::Signaling && read(&run.counters.anchored) > 0 {
        return Some(summary::ANCHORED_WITHOUT_MEDIA.to_owned());
    }
    let nobody = read(&run.counters.established) == 0 && elapsed >= HINT_AFTER;
    nobody.then(|| {
        let errors = run.counters.errors();
        let why = errors.iter().max_by_key(|(_, count)| **count).map_or("no answer", |(kind, _)| kind);
        format!("no session is established yet ({why}): does the server behind it run?")
    })
}

async fn report(run: Arc<Run>, progress: impl Fn(Progress)) {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        progress(Progress {
            elapsed: begun.elapsed(),
            started: read(&run.counters.started),
            open: read(&run.counters.open),
            running: read(&run.counters.running),
            received: read(&run.counters.received),
            errors: run.counters.errors().values().sum(),
            pictures: run.media.as_ref().map(|media| media.moving()),
            upstream_is_down: run.outage.borrow().is_down(),
            hint: hint(&run, begun.elapsed()),
        });
    }
}
