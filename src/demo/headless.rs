//! The demo without a browser: built-in WebRTC clients publish and play, one server is killed, one drained, and then
//! both are killed; the same timeline is told in lines.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;
use tokio::{
    sync::broadcast::{Receiver, error::TryRecvError},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::load::{
    Caller, LoadSettings, Told,
    webrtc_client::{ClientOptions, ClientPool, PoolSettings},
};

use crate::milliseconds::ms;

use super::{
    DemoError,
    board::Entry,
    stage::{NAMES, Stage},
};

/// How long each step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a picture is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long servers stay away, and how long it is looked whether a picture goes on.
const AWAY: Duration = Duration::from_secs(2);

/// How it went.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether the viewer behind Holdfast saw new frames after each step.
    pub held_lives: bool,
    /// Whether the viewer straight at the server did after the first.
    pub bare_lives: bool,
    /// Longest time without a new frame behind Holdfast when the server in use was killed, in milliseconds.
    pub killed_gap_ms: u64,
    /// The same when the server in use was drained.
    pub drained_gap_ms: u64,
    /// After both servers were killed: from their listening again to the first new frame behind Holdfast.
    pub restored_after_ms: Option<u64>,
    /// Status events that the two clients behind Holdfast got meanwhile.
    pub events_seen: usize,
}

struct Cast {
    publisher: Caller,
    held: Caller,
    bare: Caller,
}

pub(super) async fn show(stage: &mut Stage, tell: impl FnMut(&str)) -> Result<Report, DemoError> {
    let (entries, coming) = stage.board.read();
    let mut teller = Teller { coming, folded: None, tell };
    entries.into_iter().for_each(|entry| teller.take(entry));
    let pool = ClientPool::start(PoolSettings::default())?;
    let cast = cast(stage, &pool).await?;
    stage.board.note("frame", "both viewers see the picture");
    let events = |cast: &Cast| cast.publisher.told().statuses.len() + cast.held.told().statuses.len();
    let before = events(&cast);
    teller.tell_all();
    let killed = kill_one(stage, &cast).await?;
    let bare_lives = watch(&cast.bare, AWAY).await.is_moving;
    let words = if bare_lives { "moves" } else { "dead" };
    stage.board.note("frame", format!("straight at the server: picture {words}"));
    teller.tell_all();
    let drained = drain(stage, &cast).await?;
    teller.tell_all();
    let restored_after_ms = kill_both(stage, &cast).await?;
    teller.tell_all();
    teller.end();
    Ok(Report {
        held_lives: killed.is_moving && drained.is_moving && restored_after_ms.is_some(),
        bare_lives,
        killed_gap_ms: ms(killed.longest_gap),
        drained_gap_ms: ms(drained.longest_gap),
        restored_after_ms,
        events_seen: events(&cast).saturating_sub(before),
    })
}

/// The server in use dies: the sessions go to the other one.
async fn kill_one(stage: &mut Stage, cast: &Cast) -> Result<Watched, DemoError> {
    let here = stage.in_use();
    let back_at = Instant::now() + AWAY;
    stage.kill(&[here], AWAY)?;
    let watched = watch(&cast.held, AWAY).await;
    let gap = ms(watched.longest_gap);
    stage.board.note("frame", format!("behind Holdfast: the picture stood still for {gap} ms"));
    sleep_until(back_at).await;
    stage.start_again().await?;
    Ok(watched)
}

/// The server in use is emptied: the sessions go to the other one while it lives.
async fn drain(stage: &Stage, cast: &Cast) -> Result<Watched, DemoError> {
    let here = NAMES.get(stage.in_use()).copied().unwrap_or_default();
    let (watched, drained) = tokio::join!(watch(&cast.held, 2 * AWAY), stage.drain(here));
    drained?;
    let gap = ms(watched.longest_gap);
    stage.board.note("frame", format!("behind Holdfast: no longer than {gap} ms without a new picture"));
    Ok(watched)
}

/// Both servers die: the sessions wait until one is back. How long after that the picture moved.
async fn kill_both(stage: &mut Stage, cast: &Cast) -> Result<Option<u64>, DemoError> {
    stage.kill(&[0, 1], AWAY)?;
    sleep(AWAY).await;
    let frames_before = frames(&cast.held);
    let back = async {
        let is_back = timeout(STEP_TIME_MAX, moves(&cast.held, frames_before)).await.is_ok();
        is_back.then(Instant::now)
    };
    let (listening, back) = tokio::join!(stage.start_again(), back);
    let listening = listening?;
    let after_ms = back.map(|at| ms(at.saturating_duration_since(listening)));
    stage.board.note(
        "frame",
        match after_ms {
            Some(ms) => format!("behind Holdfast: new picture {ms} ms after the servers came back"),
            None => "behind Holdfast: no new picture".to_owned(),
        },
    );
    Ok(after_ms)
}

/// What became of a picture while it was watched.
struct Watched {
    longest_gap: Duration,
    /// It moved at the end.
    is_moving: bool,
}

/// Watches a picture for so long.
async fn watch(viewer: &Caller, time: Duration) -> Watched {
    let begun = Instant::now();
    let (mut seen, mut seen_at) = (frames(viewer), begun);
    let mut longest_gap = Duration::ZERO;
    while begun.elapsed() < time {
        sleep(LOOK_INTERVAL).await;
        longest_gap = longest_gap.max(seen_at.elapsed());
        let now = frames(viewer);
        if now > seen {
            (seen, seen_at) = (now, Instant::now());
        }
    }
    // The built-in publisher sends many packets in half a second.
    Watched { longest_gap, is_moving: seen_at.elapsed() < Duration::from_millis(500) }
}

/// Tells what comes to the board in lines; dials that fail one after the other are one of them.
struct Teller<F> {
    coming: Receiver<Entry>,
    folded: Option<(Entry, usize)>,
    tell: F,
}

impl<F: FnMut(&str)> Teller<F> {
    /// Everything that came meanwhile.
    fn tell_all(&mut self) {
        loop {
            match self.coming.try_recv() {
                Ok(entry) => self.take(entry),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        match &mut self.folded {
            Some((first, count)) if entry.kind == "attempt" && first.kind == "attempt" => *count += 1,
            _ => {
                self.end();
                self.folded = Some((entry, 1));
            }
        }
    }

    fn end(&mut self) {
        if let Some((entry, count)) = self.folded.take() {
            let times = if count > 1 { format!(" (×{count})") } else { String::new() };
            (self.tell)(&line(entry.at_ms, entry.kind, &format!("{}{times}", entry.text)));
        }
    }
}

async fn cast(stage: &Stage, pool: &ClientPool) -> Result<Cast, DemoError> {
    let through = url(stage.proxy.address())?;
    let straight = url(stage.nodes.get(stage.in_use()).map_or(stage.proxy.address(), |node| node.address))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::board::Board;

    #[test]
    fn dials_that_fail_one_after_the_other_are_one_line() {
        let board = Board::new();
        let mut lines = Vec::new();
        let (_, coming) = board.read();
        let mut teller = Teller { coming, folded: None, tell: |line: &str| lines.push(line.to_owned()) };
        for kind in ["server", "attempt", "attempt", "attempt", "session", "attempt"] {
            board.note(kind, format!("a {kind}"));
        }
        teller.tell_all();
        teller.end();
        let texts: Vec<_> =
            lines.iter().filter_map(|line| line.split_once(" s  ")).map(|(_, text)| text).collect();
        let wanted =
            ["server   a server", "attempt  a attempt (×3)", "session  a session", "attempt  a attempt"];
        assert_eq!(texts, wanted);
    }
}
