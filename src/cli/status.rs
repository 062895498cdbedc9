//! `holdfast status`: what a running proxy knows, for people or as JSON.

use std::{fmt::Write as _, io::Write, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Failure, args::StatusArgs, signals::Signals, told};
use crate::http;

/// How long the proxy may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Sessions in one screen.
const LINES_MAX: usize = 20;
const MIB: u64 = 1024 * 1024;

pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(async { if args.watch { watch(args, out).await } else { once(args, out).await } })
}

async fn once(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    let status = ask(args.admin).await?;
    if args.json {
        told(writeln!(out, "{status}"));
    } else {
        told(write!(out, "{}", screen(&status)));
    }
    Ok(())
}

/// A new screen every second until Ctrl-C.
async fn watch(args: &StatusArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
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
            answer = ask(args.admin) => answer,
        };
        let screen = match answer {
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

async fn ask(admin: SocketAddr) -> Result<Value, Failure> {
    match timeout(ANSWER_TIME_MAX, http::get(&admin.to_string(), "/status")).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(Failure::Unavailable(format!(
            "no status from {admin}: {error}\nIs holdfast running, with admin.listen at this address?"
        ))),
        Err(_) => Err(Failure::Unavailable(format!("{admin} does not answer"))),
    }
}

fn screen(status: &Value) -> String {
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!(
        "holdfast {} · up {} s · {} sessions, {} in an outage · {} of {} places taken\n",
        status.get("version").and_then(Value::as_str).unwrap_or("?"),
        number("uptime_s"),
        number("sessions"),
        number("outages"),
        number("places_taken"),
        number("places"),
    );
    text.push_str(&room(status));
    if number("log_lines_dropped") > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "log     {} lines dropped: nobody reads stderr", number("log_lines_dropped"));
    }
    for node in list(status, "nodes") {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "node    {} · {}", word(node, "url"), word(node, "state"));
    }
    text.push_str(&media_trouble(status));
    let shown = list(status, "shown");
    // The proxy puts those in trouble first, and each kind in the order of its coming.
    for session in shown.iter().take(LINES_MAX) {
        let _ = write!(text, "{:<7} {:<10}", word(session, "id"), word(session, "state"));
        if let Some(outage_ms) = session.get("outage_ms").and_then(Value::as_u64) {
            let _ = write!(text, " for {:.1} s", outage_ms as f64 / 1_000.0);
        }
        for stream in list(session, "streams") {
            let (kind, name) = (word(stream, "kind"), word(stream, "name"));
            let _ = write!(text, " · {kind} {name}: {} ({}", word(stream, "state"), word(stream, "media"));
            let _ = write!(text, "{})", media_words(stream));
        }
        text.push('\n');
    }
    let lines = u64::try_from(shown.len().min(LINES_MAX)).unwrap_or_default();
    let more = number("sessions").saturating_sub(lines);
    if more > 0 {
        let _ = writeln!(text, "… and {more} more; --json shows up to 1,000");
    }
    text
}

/// How much of the descriptors and of the memory is taken.
fn room(status: &Value) -> String {
    let number = |part: &str, key: &str| {
        status.get(part).and_then(|part| part.get(key)).and_then(Value::as_u64).unwrap_or(0)
    };
    let kinds = ["sessions", "handshakes", "attempts", "closing"];
    let taken: u64 = kinds.iter().map(|kind| number("descriptors", kind)).sum();
    let is_short = status.get("memory").and_then(|memory| memory.get("is_short")) == Some(&Value::Bool(true));
    format!(
        "room    {taken} of {} descriptors taken, {} of {} MiB of memory{}\n",
        number("descriptors", "capacity"),
        number("memory", "bytes") / MIB,
        number("memory", "bytes_max") / MIB,
        if is_short { ": short, new sessions get 503" } else { "" },
    )
}

/// Media workers that are not at work, or had to start again.
fn media_trouble(status: &Value) -> String {
    let number =
        |key: &str| status.get("media").and_then(|m| m.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let (workers, alive, restarts) = (number("workers"), number("workers_alive"), number("worker_restarts"));
    if alive == workers && restarts == 0 && number("streams_broken") == 0 {
        return String::new();
    }
    let broken = number("streams_broken");
    format!("media   {alive} of {workers} workers alive, {restarts} restarts, {broken} streams broken\n")
}

/// Codec, bitrate and last gap of an anchored stream, once there are numbers.
fn media_words(stream: &Value) -> String {
    let Some(numbers) = stream.get("numbers").filter(|numbers| numbers.is_object()) else {
        return String::new();
    };
    let mut text = String::new();
    for codec in
        ["video_codec", "audio_codec"].iter().filter(|c| numbers.get(**c).is_some_and(Value::is_string))
    {
        let _ = write!(text, ", {}", word(numbers, codec));
    }
    // Only one side receives.
    let bits = ["client", "upstream"]
        .iter()
        .filter_map(|leg| numbers.get(*leg)?.get("bitrate_received")?.as_u64())
        .max()
        .unwrap_or_default();
    let _ = write!(text, ", {:.2} Mbit/s", bits as f64 / 1_000_000.0);
    if let Some(gap_ms) = list(numbers, "gaps_ms").last().and_then(Value::as_u64) {
        let _ = write!(text, ", last gap {:.1} s", gap_ms as f64 / 1_000.0);
    }
    text
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A word from outside, without control characters.
fn word(value: &Value, key: &str) -> String {
    crate::telemetry::events::clean(value.get(key).and_then(Value::as_str).unwrap_or("?"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn media_that_works_is_not_spoken_of() {
        let status = |alive: u64, restarts: u64| json!({"media": {"workers": 2, "workers_alive": alive, "worker_restarts": restarts, "streams_broken": 3 * restarts}});
        assert_eq!(media_trouble(&status(2, 0)), "");
        assert_eq!(media_trouble(&json!({"media": null})), "");
        assert_eq!(
            media_trouble(&status(1, 1)),
            "media   1 of 2 workers alive, 1 restarts, 3 streams broken\n"
        );
    }

    #[test]
    fn the_room_that_is_left_is_told() {
        let status = |is_short: bool| {
            json!({
                "descriptors": {"capacity": 630, "sessions": 6, "handshakes": 1, "attempts": 2, "closing": 3},
                "memory": {"bytes": 52 * MIB + 1, "bytes_max": 3_000 * MIB, "buffered_bytes": 0, "is_short": is_short}
            })
        };
        let told = "room    12 of 630 descriptors taken, 52 of 3000 MiB of memory";
        assert_eq!(room(&status(false)), format!("{told}\n"));
        assert_eq!(room(&status(true)), format!("{told}: short, new sessions get 503\n"));
    }

    #[test]
    fn media_is_told_in_words() {
        let stream = json!({"numbers": {"video_codec": "VP8", "audio_codec": null, "gaps_ms": [3000, 1250],
            "client": {"bitrate_received": 2_500_000}, "upstream": {"bitrate_received": 0}}});
        assert_eq!(media_words(&stream), ", VP8, 2.50 Mbit/s, last gap 1.2 s");
        assert_eq!(media_words(&json!({"numbers": null})), "");
    }
}
