//! `holdfast status`: what a running proxy knows, for people or as JSON.

use std::{fmt::Write as _, io::Write, time::Duration};

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{Failure, admin::Admin, args::StatusArgs, leave, signals::Signals, told};
use crate::{
    admin::Status,
    config::DEFAULT_POOL,
    limits::FilesUsed,
    media::{MediaHealth, MediaStatus, StreamStats},
    net::{LeaveStage, MemoryFacts, NodeStatus},
    session::SessionSnapshot,
    telemetry::events::clean,
};

/// Sessions in one screen.
const LINES_MAX: usize = 20;
const MIB: usize = 1024 * 1024;

pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(async { if args.watch { watch(args, out).await } else { once(args, out).await } })
}

async fn once(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    let status = ask(&Admin::new(&args.admin)?).await?;
    if args.json {
        told(writeln!(out, "{status}"));
    } else {
        told(write!(out, "{}", screen(&read(status)?)));
    }
    Ok(())
}

/// A new screen every second until Ctrl-C.
async fn watch(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let admin = Admin::new(&args.admin)?;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut has_answered = false;
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let answer = tokio::select! {
            _ = signals.next() => return Ok(()),
            answer = ask(&admin) => answer,
        };
        let screen = match answer.and_then(read) {
            Ok(status) => screen(&status),
            // It may be restarted: the screen waits for it.
            Err(error) if has_answered => {
                format!("{error}\nIt is asked again every second; Ctrl-C ends this.\n")
            }
            Err(error) => return Err(error),
        };
        has_answered = true;
        // Nobody looks any more: there is nothing to watch for.
        if write!(out, "\u{1b}[H\u{1b}[2J{screen}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}

async fn ask(admin: &Admin) -> Result<Value, Failure> {
    admin.get("/status").await.and_then(accept)
}

/// Takes an answer unless it says why there is no status: the proxy starts, or does not answer under this
/// name.
fn accept(answer: Value) -> Result<Value, Failure> {
    match answer.get("error").and_then(Value::as_str) {
        Some(why) => Err(Failure::Unavailable(format!("there is no status yet or here: {}", clean(why)))),
        None => Ok(answer),
    }
}

/// Reads what was answered. What a proxy of another version tells besides is not looked at.
fn read(answer: Value) -> Result<Status, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::Unavailable(format!(
            "the answer is no status: {error}\nIs a proxy of this version ({}) at this address?",
            env!("CARGO_PKG_VERSION")
        ))
    })
}

fn screen(status: &Status) -> String {
    let mut text = format!(
        "holdfast {} · up {} s · {} sessions, {} in an outage · {} streams · {} of {} places taken\n",
        clean(&status.version),
        status.uptime_s,
        status.sessions,
        status.outages,
        status.streams,
        status.places_taken,
        status.places,
    );
    text.push_str(&room(&status.descriptors, &status.memory));
    if status.log_lines_dropped > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "log     {} lines dropped: they were not taken or could not be written",
            status.log_lines_dropped
        );
    }
    if status.leaving.stage != LeaveStage::Serving {
        let _ = writeln!(text, "ends    {}", leave::words(&status.leaving));
    }
    for sentence in &status.weaker {
        let _ = writeln!(text, "server  {}", clean(sentence));
    }
    for node in &status.nodes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", node_line(node));
    }
    text.push_str(&status.media.as_ref().map(media_trouble).unwrap_or_default());
    // The proxy puts those in trouble first, and each kind in the order of its coming.
    for session in status.shown.iter().take(LINES_MAX) {
        text.push_str(&session_line(session));
    }
    let more = status.sessions.saturating_sub(status.shown.len().min(LINES_MAX));
    if more > 0 {
        let _ = writeln!(text, "… and {more} more; --json shows up to 1,000");
    }
    text
}

/// A node: what it is used for, for how long and why, and what there is on it.
fn node_line(node: &NodeStatus) -> String {
    let pool = if node.pool == DEFAULT_POOL { "" } else { &node.pool };
    let slash = if pool.is_empty() { "" } else { "/" };
    format!(
        "node    {}{slash}{} {} · {} for {} s · {} sessions{} · {}",
        clean(pool),
        clean(&node.name),
        clean(&node.url),
        clean(&node.state),
        node.for_ms / 1_000,
        node.sessions,
        if node.backup { " · backup" } else { "" },
        clean(&node.reason),
    )
}

fn session_line(session: &SessionSnapshot) -> String {
    let mut line = format!("{:<7} {:<10}", clean(&session.id), clean(&session.state));
    if let Some(outage_ms) = session.outage_ms {
        // Writing to a String cannot fail.
        let _ = write!(line, " for {:.1} s", outage_ms as f64 / 1_000.0);
    }
    for stream in &session.streams {
        let (kind, name, state) = (clean(&stream.kind), clean(&stream.name), clean(&stream.state));
        let numbers = stream.numbers.as_ref().map(media_words).unwrap_or_default();
        let _ = write!(line, " · {kind} {name}: {state} ({}{numbers})", clean(&stream.media));
    }
    line.push('\n');
    line
}

/// How much of the descriptors and of the memory is taken.
fn room(files: &FilesUsed, memory: &MemoryFacts) -> String {
    let kinds = [files.sessions, files.handshakes, files.attempts, files.closing, files.http];
    format!(
        "room    {} of {} descriptors taken, {} of {} MiB of memory{}\n",
        kinds.into_iter().fold(0, usize::saturating_add),
        files.capacity,
        memory.bytes / MIB,
        memory.bytes_max / MIB,
        if memory.is_short { ": short, new sessions get 503" } else { "" },
    )
}

/// Media workers that are not at work, or had to start again.
fn media_trouble(media: &MediaStatus) -> String {
    let (MediaHealth { workers, workers_alive, worker_restarts }, broken) =
        (media.health, media.counted.streams_broken);
    if media.health.is_healthy() && worker_restarts == 0 && broken == 0 {
        return String::new();
    }
    format!(
        "media   {workers_alive} of {workers} workers alive, {worker_restarts} restarts, {broken} streams broken\n"
    )
}

/// Codec, bitrate and last gap of an anchored stream.
fn media_words(numbers: &StreamStats) -> String {
    let mut text = String::new();
    for codec in [&numbers.video_codec, &numbers.audio_codec].into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {}", clean(codec));
    }
    // Only one side receives.
    let bits = numbers.client.bitrate_received.max(numbers.upstream.bitrate_received);
    let _ = write!(text, ", {:.2} Mbit/s", bits as f64 / 1_000_000.0);
    if let Some(gap_ms) = numbers.gaps_ms.last() {
        let _ = write!(text, ", last gap {:.1} s", *gap_ms as f64 / 1_000.0);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::media::{LegStats, Tally};

    #[test]
    fn media_that_works_is_not_spoken_of() {
        let status = |workers_alive, worker_restarts| MediaStatus {
            health: MediaHealth { workers: 2, workers_alive, worker_restarts },
            counted: Tally { streams_broken: 3 * worker_restarts, ..Tally::default() },
            kernel_drops: None,
        };
        assert_eq!(media_trouble(&status(2, 0)), "");
        assert_eq!(
            media_trouble(&status(1, 1)),
            "media   1 of 2 workers alive, 1 restarts, 3 streams broken\n"
        );
    }

    #[test]
    fn the_room_that_is_left_is_told() {
        let files = FilesUsed { capacity: 630, sessions: 6, handshakes: 1, attempts: 2, closing: 3, http: 0 };
        let memory = |is_short| MemoryFacts {
            bytes: 52 * MIB + 1,
            bytes_max: 3_000 * MIB,
            buffered_bytes: 0,
            is_short,
        };
        let told = "room    12 of 630 descriptors taken, 52 of 3000 MiB of memory";
        assert_eq!(room(&files, &memory(false)), format!("{told}\n"));
        assert_eq!(room(&files, &memory(true)), format!("{told}: short, new sessions get 503\n"));
    }

    #[test]
    fn a_node_is_told_with_its_state_and_reason() {
        let node = NodeStatus {
            name: "a".to_owned(),
            pool: DEFAULT_POOL.to_owned(),
            url: "ws://wcs:8080".to_owned(),
            state: "down".into(),
            reason: "connection refused".to_owned(),
            for_ms: 61_500,
            sessions: 7,
            ..NodeStatus::default()
        };
        let told = "node    a ws://wcs:8080 · down for 61 s · 7 sessions · connection refused";
        assert_eq!(node_line(&node), told);
        let spare = NodeStatus { pool: "edge".to_owned(), backup: true, ..node };
        assert!(node_line(&spare).starts_with("node    edge/a ws://"), "{}", node_line(&spare));
        assert!(node_line(&spare).contains("7 sessions · backup"), "{}", node_line(&spare));
    }

    #[test]
    fn media_is_told_in_words() {
        let numbers = StreamStats {
            video_codec: Some("VP8".to_owned()),
            gaps_ms: vec![3_000, 1_250],
            client: LegStats { bitrate_received: 2_500_000, ..LegStats::default() },
            ..StreamStats::default()
        };
        assert_eq!(media_words(&numbers), ", VP8, 2.50 Mbit/s, last gap 1.2 s");
    }

    #[test]
    fn a_proxy_that_starts_has_no_status() {
        let starting = serde_json::json!({"error": "starting"});
        let failure = accept(starting).unwrap_err().to_string();
        assert!(failure.contains("starting"), "{failure}");
        let status = serde_json::to_value(Status::default()).unwrap();
        assert_eq!(accept(status.clone()).unwrap(), status);
    }

    #[test]
    fn what_the_admin_port_writes_is_read_back() {
        let status = Status {
            version: "1".to_owned(),
            media: Some(MediaStatus {
                health: MediaHealth { workers: 2, workers_alive: 1, worker_restarts: 3 },
                counted: Tally { packets_forwarded: 4, ..Tally::default() },
                kernel_drops: Some(5),
            }),
            shown: vec![SessionSnapshot { state: "up".into(), ..SessionSnapshot::default() }],
            ..Status::default()
        };
        let written = serde_json::to_value(&status).unwrap();
        assert_eq!(written["media"]["workers_alive"], 1);
        assert_eq!(written["media"]["packets_forwarded"], 4);
        assert_eq!(read(written).unwrap(), status);
        let older = serde_json::json!({"sessions": 7, "of a later version": 1});
        assert_eq!(read(older).unwrap(), Status { sessions: 7, ..Status::default() });
        assert!(read(serde_json::json!({"sessions": "many"})).is_err());
    }
}
