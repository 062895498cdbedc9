//! The demo without a browser: built-in WebRTC clients publish and play, the server is killed
//! once, and the same timeline is told in lines.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::load::{
    Caller, LoadSettings, Told,
    webrtc_client::{ClientOptions, ClientPool, PoolSettings},
};

use super::{Action, DemoError, Stage};

/// How long each step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a picture is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How the outage went.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether the viewer behind Holdfast saw new frames after the outage.
    pub held_lives: bool,
    /// Whether the viewer straight at the server did.
    pub bare_lives: bool,
    /// From the server listening again to the first new frame behind Holdfast, in milliseconds.
    pub restored_after_ms: Option<u64>,
    /// Status events that the two clients behind Holdfast got during the outage.
    pub events_seen: usize,
}

struct Cast {
    publisher: Caller,
    held: Caller,
    bare: Caller,
}

pub(super) async fn show(stage: &mut Stage, mut tell: impl FnMut(&str)) -> Result<Report, DemoError> {
    let (entries, mut coming) = stage.board.read();
    for entry in entries {
        tell(&line(entry.at_ms, entry.kind, &entry.text));
    }
    let pool = ClientPool::start(PoolSettings::default())?;
    let cast = cast(stage, &pool).await?;
    stage.board.note("frame", "both viewers see the picture");
    let before = cast.publisher.told().statuses.len() + cast.held.told().statuses.len();
    let (held_frames, bare_frames) = (frames(&cast.held), frames(&cast.bare));
    stage.act(Action::Kill { back_after: Duration::from_secs(2) }).await?;
    let listening = Instant::now();
    let frames_at_return = frames(&cast.held);
    let held_lives = timeout(STEP_TIME_MAX, moves(&cast.held, frames_at_return)).await.is_ok();
    let restored_after_ms =
        held_lives.then(|| u64::try_from(listening.elapsed().as_millis()).unwrap_or(u64::MAX));
    if let Some(ms) = restored_after_ms {
        stage.board.note("frame", format!("behind Holdfast: new picture {ms} ms after the server came back"));
    } else {
        stage.board.note("frame", "behind Holdfast: no new picture");
    }
    let bare_at_return = frames(&cast.bare);
    let bare_lives = timeout(Duration::from_secs(2), moves(&cast.bare, bare_at_return)).await.is_ok();
    stage.board.note(
        "frame",
        format!("straight at the server: picture {}", if bare_lives { "moves" } else { "dead" }),
    );
    while let Ok(entry) = coming.try_recv() {
        tell(&line(entry.at_ms, entry.kind, &entry.text));
    }
    let after = cast.publisher.told().statuses.len() + cast.held.told().statuses.len();
    tell(&format!(
        "frames before the outage: {held_frames} behind Holdfast, {bare_frames} straight at the server"
    ));
    Ok(Report { held_lives, bare_lives, restored_after_ms, events_seen: after.saturating_sub(before) })
}

async fn cast(stage: &Stage, pool: &ClientPool) -> Result<Cast, DemoError> {
    let through = url(stage.proxy.address())?;
    let straight = url(stage.node.address)?;
    let mut publisher = Caller::start(&through, pool, ClientOptions::publish(), "demo").await?;
    running(&mut publisher, "PUBLISHING").await?;
    let mut held = Caller::start(&through, pool, ClientOptions::play(), "demo").await?;
    let mut bare = Caller::start(&straight, pool, ClientOptions::play(), "demo").await?;
    running(&mut held, "PLAYING").await?;
    running(&mut bare, "PLAYING").await?;
    for viewer in [&held, &bare] {
        timeout(STEP_TIME_MAX, moves(viewer, 0)).await.map_err(|_| DemoError::NoPicture)?;
    }
    Ok(Cast { publisher, held, bare })
}

async fn running(caller: &mut Caller, word: &'static str) -> Result<(), DemoError> {
    let is_told = |told: &Told| told.statuses.iter().any(|status| status == word);
    match caller.wait_until(STEP_TIME_MAX, is_told).await {
        Ok(_) => Ok(()),
        Err(told) => Err(DemoError::Status { status: word, told }),
    }
}

fn url(address: SocketAddr) -> Result<LoadSettings, DemoError> {
    let url = format!("ws://{address}").parse();
    let url = url.map_err(|error: http::uri::InvalidUri| DemoError::Address(error.to_string()))?;
    Ok(LoadSettings { connect_timeout: STEP_TIME_MAX, ..LoadSettings::new(url) })
}

fn frames(caller: &Caller) -> u64 {
    caller.stats().video.packets_received
}

/// Waits until more than `since` packets of video have come.
async fn moves(caller: &Caller, since: u64) {
    while frames(caller) <= since {
        sleep(LOOK_INTERVAL).await;
    }
}

fn line(at_ms: u64, kind: &str, text: &str) -> String {
    format!("{:>7.2} s  {kind:<8} {text}", at_ms as f64 / 1_000.0)
}
