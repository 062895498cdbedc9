//! From a dial to an established session, and what can be seen on the way.

use std::time::Duration;

use serde_json::Value;

use super::{
    Probe,
    error::{DialError, End},
    messages::{self, Wishes},
    session::{Said, Session},
};

/// How long getUserData or `fail` may take.
const GREETING_TIME_MAX: Duration = Duration::from_secs(6);

/// An established session.
pub(super) struct Established {
    pub(super) session: Session,
    pub(super) user_data: Said,
    pub(super) token: Option<String>,
    /// From `connection` to getUserData.
    pub(super) took: Duration,
}

/// Why there is no session.
pub(super) enum NotEstablished {
    /// Not even a WebSocket.
    Dial(DialError),
    /// The server said `fail`; the socket is still there.
    Refused { session: Session, info: String },
    /// The socket ended.
    Ended(End),
    /// Nothing came, or nothing to the point.
    Silent {
        /// What came instead.
        instead: Option<String>,
    },
}

impl NotEstablished {
    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Dial(error) => error.to_string(),
            Self::Refused { info, .. } => format!("it refuses the connection: {info}"),
            Self::Ended(end) => format!("it answers `connection` with {}", end.text()),
            Self::Silent { instead: None } => {
                format!("it says nothing to `connection` within {} s", GREETING_TIME_MAX.as_secs())
            }
            Self::Silent { instead: Some(name) } => format!(
                "it answers `connection` with `{name}` and no getUserData within {} s",
                GREETING_TIME_MAX.as_secs()
            ),
        }
    }
}

/// Asks for a session.
///
/// # Errors
/// Why there is none.
pub(super) async fn establish(probe: &Probe, wishes: &Wishes<'_>) -> Result<Established, NotEstablished> {
    let session = probe.open().await.map_err(NotEstablished::Dial)?;
    let begun = std::time::Instant::now();
    session.say("connection", &messages::connection(&probe.settings, wishes)).await;
    let answer = session
        .next(probe.limit(GREETING_TIME_MAX), 0, |said| matches!(&*said.name, "getUserData" | "fail"))
        .await;
    match answer {
        Some(user_data) if user_data.name == "getUserData" => {
            let token = user_data.field("authToken").filter(|token| !token.is_empty()).map(str::to_owned);
            let took = user_data.at.saturating_duration_since(begun);
            Ok(Established { session, user_data, token, took })
        }
        Some(fail) => {
            let info = fail.field("info").unwrap_or("without a text").to_owned();
            Err(NotEstablished::Refused { session, info })
        }
        None => Err(match session.ended() {
            Some(end) => NotEstablished::Ended(end),
            None => NotEstablished::Silent {
                instead: session.look(|heard| heard.messages.first().map(|said| said.name.clone())),
            },
        }),
    }
}

impl Established {
    /// The text under `key` of the `custom` that getUserData repeats.
    pub(super) fn custom(&self, key: &str) -> Option<&str> {
        self.user_data.argument().get("custom")?.get(key)?.as_str()
    }
}

/// Notes what the handshake and getUserData of the first session showed.
pub(super) fn note(probe: &Probe, first: &Established) {
    let findings = &probe.findings;
    for (key, header) in [
        ("handshake_extension", "sec-websocket-extensions"),
        ("handshake_subprotocol", "sec-websocket-protocol"),
    ] {
        match first.session.headers.get(header) {
            None => findings.see(key, "none"),
            Some(value) => findings.see_with(key, "answered", String::from_utf8_lossy(value.as_bytes())),
        }
    }
    findings.measure_time("user_data_ms", first.took, "");
    let user_data = first.user_data.argument();
    let echoed = user_data.get("appKey").and_then(Value::as_str) == Some(&probe.settings.app_key)
        && user_data.get("clientVersion").is_some();
    findings.see("user_data_echo", if echoed { "echoed" } else { "missing" });
    findings.see("user_data_token", if first.token.is_some() { "given" } else { "missing" });
    let metrics = user_data.get("webRTCMetricsServerDescription").is_some_and(|value| !value.is_null());
    findings.see("metrics_description", if metrics { "present" } else { "absent" });
}
