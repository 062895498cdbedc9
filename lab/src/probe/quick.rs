//! What one session shows within seconds: pings, versions, refusals of plays. Publishes nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Probe,
    session::{Heard, Said, Session},
};
use crate::messages;

/// How long pings are waited for: two of a server that says one every 5 s, and some.
const PING_WATCH_MAX: Duration = Duration::from_millis(15_500);
/// Pings after which their interval is known, where they come often and where not.
const PINGS_OFTEN: usize = 4;
const PINGS_SELDOM: usize = 2;
/// What is often.
const OFTEN: Duration = Duration::from_secs(2);
/// How long an answer that may never come is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(1_500);
/// How long a refusal of a play may take.
const PLAY_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a stop may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// Asks what can be asked of a session on which nothing is published.
pub(super) async fn ask(probe: &Probe, session: &Session) {
    client_ping(probe, session).await;
    unknown_name(probe, session).await;
    available(probe, session).await;
    pings(probe, session).await;
    version(probe, session);
}

async fn client_ping(probe: &Probe, session: &Session) {
    let from = session.count();
    session.say("ping", &Value::Null).await;
    let pong = session.next(probe.limit(ANSWER_TIME_MAX), from, |said| said.name == "pong").await;
    match (pong, session.ended()) {
        (Some(_), _) => probe.findings.see("client_ping", "pong"),
        (None, None) => {
            let waited = format!("none within {} ms", ANSWER_TIME_MAX.as_millis());
            probe.findings.see_with("client_ping", "silent", waited);
        }
        (None, Some(end)) => {
            probe.findings.see_with("client_ping", "ends", format!("the server answers by {}", end.text()));
        }
    }
}

async fn unknown_name(probe: &Probe, session: &Session) {
    let id = uuid::Uuid::new_v4().to_string();
    let name = format!("holdfast-probe-{}", uuid::Uuid::new_v4().simple());
    let Some(offer) = probe.play_offer().await else {
        probe.findings.miss("unknown_name_verb", "no offer could be made");
        return;
    };
    let from = session.count();
    session.say("playStream", &messages::stream(false, &id, &name, "WebRTC", offer.offer())).await;
    let answer = session.next(probe.limit(PLAY_TIME_MAX), from, |said| is_answer(said, &id)).await;
    let (verb, info) = match &answer {
        Some(said) if said.name == "fail" => ("fail", said.field("info")),
        Some(said) if said.field("status").is_some_and(is_end) => ("status", said.field("info")),
        Some(_) => {
            probe.findings.see_with(
                "unknown_name_verb",
                "accepted",
                "the play of a name that nobody published",
            );
            stop(probe, session, false, &id, &name).await;
            return;
        }
        None => {
            let why = format!("no answer within {} s", PLAY_TIME_MAX.as_secs());
            probe.findings.miss("unknown_name_verb", why.clone());
            probe.findings.miss("unknown_name_info", why);
            // It may be looked for elsewhere still; with its session it ends.
            return;
        }
    };
    probe.findings.see("unknown_name_verb", verb);
    match info {
        Some(info) => probe.findings.see("unknown_name_info", info),
        None => probe.findings.miss("unknown_name_info", "the refusal has no text"),
    }
}

/// Whether it decides on a stream that was asked for.
fn is_answer(said: &Said, id: &str) -> bool {
    said.is_fail_of(id)
        || said.is_status_of(id)
            && said.field("status").is_some_and(|status| is_end(status) || is_running(status))
}

/// Whether a status ends a stream.
pub(super) fn is_end(status: &str) -> bool {
    matches!(status, "FAILED" | "STOPPED" | "UNPUBLISHED")
}

/// Whether a status says that a stream runs.
pub(super) fn is_running(status: &str) -> bool {
    matches!(status, "PLAYING" | "PUBLISHING")
}

/// Stops a stream and waits for the server's word; the word and how long it took.
pub(super) async fn stop(
    probe: &Probe,
    session: &Session,
    publish: bool,
    id: &str,
    name: &str,
) -> Option<(String, Duration)> {
    let from = session.count();
    let begun = Instant::now();
    let verb = if publish { "unPublishStream" } else { "stopStream" };
    session.say(verb, &messages::stop(publish, id, name)).await;
    let said = session
        .next(probe.cleaning_limit(STOP_TIME_MAX), from, |said| {
            said.is_status_of(id) && said.field("status").is_some_and(is_end)
        })
        .await?;
    let status = said.field("status").unwrap_or_default().to_owned();
    Some((status, said.at.saturating_duration_since(begun)))
}

async fn available(probe: &Probe, session: &Session) {
    let id = uuid::Uuid::new_v4().to_string();
    let name = format!("holdfast-probe-{}", uuid::Uuid::new_v4().simple());
    let from = session.count();
    session.say("availableStream", &json!({"mediaSessionId": id, "name": name})).await;
    let answer =
        session.next(probe.limit(ANSWER_TIME_MAX), from, |said| said.name == "availableStream").await;
    match answer.as_ref().map(|said| said.argument().get("status")) {
        Some(Some(Value::String(_))) => probe.findings.see("available_stream", "string"),
        Some(Some(Value::Bool(_))) => probe.findings.see("available_stream", "boolean"),
        Some(_) => probe.findings.see("available_stream", "other"),
        None => probe
            .findings
            .miss("available_stream", format!("no answer within {} ms", ANSWER_TIME_MAX.as_millis())),
    }
}

/// Enough pings to tell their interval.
fn enough(times: &[Instant]) -> bool {
    let often = match times {
        [first, .., last] => last.duration_since(*first) < OFTEN,
        _ => true,
    };
    times.len() >= if often { PINGS_OFTEN } else { PINGS_SELDOM }
}

async fn pings(probe: &Probe, session: &Session) {
    let limit = probe.limit(PING_WATCH_MAX.saturating_sub(session.opened.elapsed()));
    let _ = session
        .wait(limit, |heard| (enough(&heard.times("ping")) || enough(&heard.pings)).then_some(()))
        .await;
    let watched = session.opened.elapsed().as_secs();
    if session.ended().is_some() {
        probe.findings.miss("ping_interval_ms", "the server ended the session before");
        probe.findings.miss("ping_form", "the server ended the session before");
        return;
    }
    session.look(|heard| {
        let (json, websocket) = (heard.times("ping"), heard.pings.clone());
        let form = match (json.is_empty(), websocket.is_empty()) {
            (false, true) => "json",
            (true, false) => "websocket",
            (false, false) => "both",
            (true, true) => "none",
        };
        probe.findings.see_with("ping_form", form, format!("watched for {watched} s"));
        interval(probe, if json.is_empty() { &websocket } else { &json }, watched);
        if let Some(ping) = heard.named("ping") {
            probe.findings.see("ping_data", data_form(ping));
        } else {
            probe.findings.miss("ping_data", "no `ping` came");
        }
    });
}

fn interval(probe: &Probe, times: &[Instant], watched: u64) {
    match times {
        [] => probe.findings.see_with("ping_interval_ms", "none", format!("none within {watched} s")),
        [_] => probe.findings.miss("ping_interval_ms", format!("a single ping within {watched} s")),
        times => {
            let mut steps: Vec<Duration> =
                times.windows(2).filter_map(|two| Some(two.get(1)?.duration_since(*two.first()?))).collect();
            steps.sort_unstable();
            let middle = steps.get(steps.len() / 2).copied().unwrap_or_default();
            probe.findings.measure_time("ping_interval_ms", middle, format!("{} pings", times.len()));
        }
    }
}

fn data_form(said: &Said) -> &'static str {
    match &said.data {
        None => "missing",
        Some(Value::Null) => "bare_null",
        Some(Value::Array(elements)) => match elements.as_slice() {
            [] => "empty",
            [Value::Null] => "null",
            _ => "other",
        },
        Some(_) => "other",
    }
}

fn version(probe: &Probe, session: &Session) {
    let place = |heard: &Heard, name| heard.messages.iter().position(|said| said.name == name);
    session.look(|heard| match (place(heard, "getVersion"), place(heard, "getUserData")) {
        (Some(version), Some(user_data)) => {
            probe.findings.see("version_order", if version < user_data { "before" } else { "after" });
            let said = heard.messages.get(version).map(|said| match said.argument() {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            probe.findings.see("server_version", said.unwrap_or_default());
        }
        _ => {
            let watched = session.opened.elapsed().as_secs();
            probe.findings.see_with("version_order", "never", format!("none within {watched} s"));
            probe.findings.miss("server_version", "the server does not say it");
        }
    });
}
