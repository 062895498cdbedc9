//! From what was seen of a server to the switches of the simulated one, so that outages can be tried against a
//! stand-in that behaves as that server did.

use serde_json::{Map, Value, json};

use super::transcript::{Head, Position, TRANSCRIPT_SCHEMA};

/// Longest first line of a transcript, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why a file gives no switches.
#[derive(Debug, thiserror::Error)]
pub enum LikeError {
    /// Its first line is no head.
    #[error("its first line is not that of a transcript of `holdfast probe --save`: {0}")]
    NoHead(String),
    /// It is of another version.
    #[error(
        "it has the form {0}; this version reads {TRANSCRIPT_SCHEMA}: save it again with `holdfast probe --save`"
    )]
    Schema(u32),
}

/// The switches that a transcript stands for, as changes of the simulator's settings. What was not seen stays as
/// it is.
///
/// # Errors
/// The text is no transcript.
pub fn switches(transcript: &str) -> Result<Value, LikeError> {
    let first = transcript.lines().next().unwrap_or_default();
    if first.len() > HEAD_BYTES_MAX {
        return Err(LikeError::NoHead(format!("it is longer than {HEAD_BYTES_MAX} bytes")));
    }
    let head: Head = serde_json::from_str(first).map_err(|error| LikeError::NoHead(error.to_string()))?;
    if head.schema != TRANSCRIPT_SCHEMA {
        return Err(LikeError::Schema(head.schema));
    }
    let mut changes = json!({});
    for (key, position) in &head.positions {
        for (path, value) in of(key, position) {
            put(&mut changes, path, value);
        }
    }
    refusals(&head, &mut changes);
    Ok(changes)
}

/// Puts a value at a path.
fn put(changes: &mut Value, path: &str, value: Value) {
    let nested =
        path.rsplit('.').fold(value, |inner, name| Value::Object(Map::from_iter([(name.to_owned(), inner)])));
    merge(changes, nested);
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The switches of one position; none where there is none for it.
fn of(key: &str, position: &Position) -> Vec<(&'static str, Value)> {
    let word = position.position.as_str();
    let number = position.value.clone();
    let one = |path, value| vec![(path, value)];
    let is = |wanted| json!(word == wanted);
    match (key, number) {
        ("server_version", _) => one("server_version", json!(word)),
        ("handshake_extension", _) if word == "answered" => {
            one("handshake.answer_extension", json!("x-holdfast-probe"))
        }
        ("handshake_subprotocol", _) if word == "answered" => {
            one("handshake.answer_protocol", json!("x-holdfast-probe"))
        }
        ("user_data_ms", Some(ms)) if ms.as_u64() > Some(50) => one("sessions.user_data_delay_ms", ms),
        ("metrics_description", _) if word == "present" => one("sessions.metrics_description", json!({})),
        ("version_order", _) => one("sessions.version_order", json!(word)),
        ("ping_interval_ms", Some(ms)) => one("pings.interval_ms", ms),
        ("ping_interval_ms", None) if word == "none" => one("pings.stalled", json!(true)),
        ("ping_form", _) => one("pings.websocket_pings", json!(matches!(word, "both" | "websocket"))),
        ("ping_data", _) if matches!(word, "empty" | "null") => one("sessions.empty_data", json!(word)),
        ("client_ping", _) => one("pings.answer_client_pings", is("pong")),
        ("keep_alive_resume", _) if word != "refused" => one("sessions.resume", json!(word)),
        ("keep_alive_linger_ms", Some(ms)) => one("sessions.keep_alive_linger_ms", ms),
        ("stale_token", _) if word == "fail" => {
            one("sessions.stale_token_info", json!("Session does not exist"))
        }
        ("status_after_resume", _) => one("sessions.status_after_resume", is("sent")),
        ("missed_pongs", Some(count)) => one("pings.missed_max", count),
        ("name_after_loss_ms", Some(ms)) => one("sessions.linger_ms", ms),
        ("name_after_close_ms", Some(ms)) => {
            one("sessions.linger_after_close", json!(ms.as_u64().is_some_and(|ms| ms > 0)))
        }
        ("streams_after_loss", _) => one("sessions.streams_survive_loss", is("go_on")),
        ("room_app", _) if word == "fails" => one("data.fail_info", json!("Failed by error")),
        _ => of_streams(key, word),
    }
}

fn of_streams(key: &str, word: &str) -> Vec<(&'static str, Value)> {
    let one = |path, value| vec![(path, value)];
    let is = |wanted| json!(word == wanted);
    match key {
        "pending_status" => one("streams.pending_first", json!(word != "absent")),
        "status_order" => one("streams.status_before_sdp", is("status_first")),
        "third_sdp_argument" => one("streams.third_sdp_argument", json!(word != "missing")),
        "answer_shape" if word != "other" => one("streams.answer_shape", json!(word)),
        "answer_payload_types" => one("streams.own_payload_types", is("own")),
        "answer_rtx" => one("streams.without_repair", is("absent")),
        "answer_fingerprints" if word != "none" && word != "sha-256" => {
            one("streams.answer_fingerprints", json!(word.split(", ").collect::<Vec<_>>()))
        }
        "answer_sections" if word == "video" => one("streams.reject_sections", json!(["audio"])),
        "answer_sections" if word == "audio" => one("streams.reject_sections", json!(["video"])),
        "answer_codecs" => codecs(word),
        "key_frame_on_play" => one("media_server.asks_key_frames", json!(word != "not_asked")),
        "dtls_certificate" => one("media_server.rsa_certificate", is("rsa")),
        "dtls_role" => {
            one("media_server.dtls_role", json!(if word == "starts" { "active" } else { "passive" }))
        }
        "snapshot" => match word {
            "event" | "status" | "silent" => one("streams.snapshot", json!(word)),
            "failed" => one("streams.snapshot", json!("fail")),
            _ => Vec::new(),
        },
        "players_told" => one("streams.players_told", is("told")),
        "rate_messages" if word == "present" => one("streams.rate_interval_ms", json!(1000)),
        _ => Vec::new(),
    }
}

/// The order of the codecs that the simulated server has; those that it has and the other one has not are left out.
fn codecs(word: &str) -> Vec<(&'static str, Value)> {
    let answered: Vec<&str> = word.split(", ").collect();
    let known = ["VP8", "H264"];
    let first: Vec<&&str> = answered.iter().filter(|codec| known.contains(*codec)).collect();
    if first.is_empty() {
        return Vec::new();
    }
    let missing: Vec<&&str> = known.iter().filter(|codec| !answered.contains(*codec)).collect();
    vec![("streams.prefer_codecs", json!(first)), ("streams.exclude_codecs", json!(missing))]
}

/// What is refused, and how.
fn refusals(head: &Head, changes: &mut Value) {
    let word = |key: &str| head.positions.get(key).map(|position| position.position.as_str());
    if let Some(socket) = word("connect_refusal") {
        // That of the real server is asked for by what nobody asks for here.
        let refuse = json!({
            "info": word("connect_refusal_info").unwrap_or("Forbidden"),
            "close": socket == "closes",
            "app_key": super::messages::UNKNOWN_APP_KEY,
        });
        put(changes, "sessions.refuse", refuse);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::simulator::SimulatorSettings;

    fn head(positions: &Value) -> String {
        json!({"schema": 1, "version": "1.0", "positions": positions}).to_string()
    }

    #[test]
    fn positions_become_switches_that_the_simulator_knows() {
        let text = head(&json!({
            "version_order": {"position": "never"},
            "ping_interval_ms": {"position": "2500", "value": 2500},
            "keep_alive_resume": {"position": "new_token"},
            "name_after_loss_ms": {"position": "50000", "value": 50_000},
            "answer_shape": {"position": "B"},
            "answer_codecs": {"position": "H264"},
            "dtls_certificate": {"position": "rsa"},
            "key_frame_on_play": {"position": "not_asked"},
            "answer_fingerprints": {"position": "sha-512, sha-256"},
            "connect_refusal": {"position": "closes"},
            "a_key_of_a_later_version": {"position": "x"},
        }));
        let changes = switches(&text).unwrap();
        let settings = SimulatorSettings::default().with(&changes).unwrap();
        assert_eq!(settings.pings.interval.as_millis(), 2_500);
        assert_eq!(settings.sessions.linger.as_secs(), 50);
        assert_eq!(settings.streams.exclude_codecs.len(), 1);
        assert!(settings.media_server.rsa_certificate && settings.sessions.refuse.unwrap().close);
        assert!(!settings.media_server.asks_key_frames);
        assert_eq!(changes["sessions"]["resume"], "new_token");
    }

    /// Every word that a question may be answered by makes settings that are accepted.
    #[test]
    fn no_position_breaks_the_simulator() {
        for key in super::super::QUESTIONS.iter().map(|question| question.key) {
            for word in
                ["", "none", "answered", "present", "other", "fail", "fails", "closes", "refused", "both"]
            {
                let position = Position { position: word.to_owned(), value: None };
                for (path, value) in of(key, &position) {
                    // A word that is not one of its own cannot come from a probe.
                    if ["version_order", "keep_alive_resume", "answer_shape", "answer_fingerprints"]
                        .contains(&key)
                    {
                        continue;
                    }
                    let mut changes = json!({});
                    put(&mut changes, path, value);
                    let settings = SimulatorSettings::default().with(&changes);
                    assert!(settings.is_ok(), "{key} {word}: {changes}: {settings:?}");
                }
            }
        }
    }

    #[test]
    fn other_files_are_refused_with_what_to_do() {
        for wrong in ["", "{}", "not json", "[1]"] {
            assert!(switches(wrong).unwrap_err().to_string().contains("--save"), "{wrong}");
        }
        let other = json!({"schema": 9, "version": "9", "positions": {}}).to_string();
        assert!(switches(&other).unwrap_err().to_string().contains("form 9"));
    }
}
