//! Takes a client's message apart and hands it to whatever answers it.

use serde_json::{Map, Value, json};

use super::counters::{ViolationKind, count};
use super::world::{ConnectionId, Role, SessionNumber, World};

/// The one argument of a message.
pub(super) type Argument = Map<String, Value>;

/// Messages that need no answer.
const SILENT_VERBS: [&str; 8] = [
    "pushLogs",
    "submitBugReport",
    "webRTCMetricsClientDescription",
    "webRTCMetricsBatch",
    "sendDtmf",
    "DataStatusEvent",
    "notificationResult",
    "setLTState",
];

/// Further verbs of older clients, known and not acted on (protocol S2.10).
const OLD_VERBS: [&str; 6] =
    ["sendMessage", "subscribe", "sendXcapRequest", "setUseProxy", "pauseStream", "resumeStream"];

/// `appKey`s whose clients speak a protocol of their own on top of the envelope (protocol S2.8).
const SFU_APP_KEYS: [&str; 2] = ["sfuApp", "sfuZClientApp"];

impl World {
    /// A text message from a client.
    pub(super) fn receive(&mut self, connection: ConnectionId, text: &str) {
        let Some(role) = self.connections.get(&connection).map(|connection| connection.role) else { return };
        let Ok(Value::Object(envelope)) = serde_json::from_str::<Value>(text) else {
            self.violation(connection, ViolationKind::MalformedEnvelope, "not a JSON object".to_owned());
            return;
        };
        let Some(verb) = envelope.get("message").and_then(Value::as_str).map(str::to_owned) else {
            self.violation(connection, ViolationKind::MalformedEnvelope, "no message name".to_owned());
            return;
        };
        count(&mut self.counters.asked, &verb, self.settings.limits.keys_max);
        match role {
            Role::Spent => {}
            Role::Media(_) => self.receive_on_media_socket(connection, &verb),
            Role::New | Role::Session(_) => {
                let argument = self.argument(connection, &verb, envelope);
                match role {
                    Role::Session(session) => self.receive_in_session(connection, session, &verb, &argument),
                    _ => self.receive_first(connection, &verb, argument),
                }
            }
        }
    }

    /// The one element of `data`; anything else is recorded and taken as well as it can be.
    fn argument(
        &mut self,
        connection: ConnectionId,
        verb: &str,
        mut envelope: Map<String, Value>,
    ) -> Argument {
        match envelope.remove("data") {
            Some(Value::Array(elements)) if elements.len() == 1 => match elements.into_iter().next() {
                Some(Value::Object(argument)) => argument,
                _ => Argument::new(),
            },
            other => {
                let form = match &other {
                    None => "no data".to_owned(),
                    Some(Value::Array(elements)) => format!("data of {} elements", elements.len()),
                    Some(_) => "data that is no array".to_owned(),
                };
                self.violation(connection, ViolationKind::MalformedEnvelope, format!("{verb}: {form}"));
                match other {
                    Some(Value::Object(argument)) => argument,
                    Some(Value::Array(elements)) => match elements.into_iter().next() {
                        Some(Value::Object(argument)) => argument,
                        _ => Argument::new(),
                    },
                    _ => Argument::new(),
                }
            }
        }
    }

    fn receive_first(&mut self, connection: ConnectionId, verb: &str, argument: Argument) {
        match verb {
            "connection" | "connect" => self.connect(connection, argument),
            "connectMediaTransport" => self.attach_media_socket(connection, &argument),
            _ => self.violation(connection, ViolationKind::MessageBeforeConnection, verb.to_owned()),
        }
    }

    fn receive_in_session(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: &str,
        argument: &Argument,
    ) {
        let keys_max = self.settings.limits.keys_max;
        if let Some(session) = self.sessions.get_mut(&session) {
            count(&mut session.asked, verb, keys_max);
        }
        match verb {
            "connection" | "connect" | "connectMediaTransport" => {
                self.violation(connection, ViolationKind::SecondConnection, verb.to_owned());
            }
            "pong" => self.pong(connection),
            "ping" => {
                if self.settings.pings.answer_client_pings {
                    let data = self.empty_data();
                    self.send_on(connection, "pong", &data);
                }
            }
            "sessionDebug" => self.session_debug(session, argument),
            "publishStream" => self.publish(connection, session, argument),
            "playStream" => self.play(connection, session, argument),
            "unPublishStream" | "stopStream" => self.stop(connection, session, verb, argument),
            "availableStream" => self.available(connection, session, argument),
            "snapshot" => self.snapshot(connection, session, argument),
            "sendStreamEvent" => self.stream_event(connection, session, argument),
            "sendData" => self.send_data(connection, session, argument),
            "call" | "answer" | "hangup" | "hold" | "unhold" | "transfer" => {
                self.call_verb(connection, session, verb, argument);
            }
            _ if SILENT_VERBS.contains(&verb) || OLD_VERBS.contains(&verb) => {}
            _ => self.receive_unknown(connection, session, verb, argument),
        }
    }

    /// SFU clients get an answer of their own form; from others the verb is a violation.
    fn receive_unknown(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: &str,
        argument: &Argument,
    ) {
        let sfu = self
            .sessions
            .get(&session)
            .is_some_and(|session| SFU_APP_KEYS.contains(&session.app_key.as_str()));
        if sfu {
            let answer = json!([{
                "type": "ACK",
                "request": verb,
                "internalMessageId": argument.get("internalMessageId"),
            }]);
            self.send_on(connection, "sfuCallback", &answer);
        } else {
            self.violation(connection, ViolationKind::UnknownVerb, verb.chars().take(100).collect());
        }
    }

    fn session_debug(&mut self, session: SessionNumber, argument: &Argument) {
        let status = match text(argument, "command") {
            Some("start") => "STARTED",
            _ => "STOPPED",
        };
        self.send(session, "notifySessionDebugEvent", &json!([{"status": status}]));
    }
}

/// A text field.
pub(super) fn text<'a>(argument: &'a Argument, key: &str) -> Option<&'a str> {
    argument.get(key).and_then(Value::as_str)
}

/// A yes-or-no field.
pub(super) fn flag(argument: &Argument, key: &str, default: bool) -> bool {
    argument.get(key).and_then(Value::as_bool).unwrap_or(default)
}
