//! What is asked of a server: each question with the key it has in reports, what Holdfast assumes, and what it
//! takes to see the answer. Only the list; how an answer is found is elsewhere.

use serde::Serialize;
use serde_json::Value;

/// What it takes to see the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// A connection: seen within 20 seconds, without publishing.
    Nothing,
    /// A publish of the operator's choice (`--publish`).
    Publish,
    /// Waiting (`--patient`).
    Patience,
    /// Both.
    PublishAndPatience,
    /// The address of a page or an agent (`--stat`, `--agent`).
    Address,
}

/// What Holdfast assumes: what its defaults are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumed {
    /// This position.
    Position(&'static str),
    /// A number within these bounds, both included.
    Between(u64, u64),
    /// Whatever it is, nothing depends on it.
    Anything,
}

/// One question.
#[derive(Debug)]
pub struct Question {
    /// Its name in reports and transcripts; never changes its meaning.
    pub key: &'static str,
    /// What is asked, for people.
    pub about: &'static str,
    /// What it takes.
    pub needs: Needs,
    /// What Holdfast assumes.
    pub assumed: Assumed,
    /// The unit of its number; empty where the answer is a word.
    pub unit: &'static str,
}

/// How an answer compares with what is assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was seen, and it is what Holdfast assumes.
    AsAssumed,
    /// It was seen, and it is something else.
    Differs,
    /// It was not seen.
    Unknown,
}

impl Question {
    /// Compares a position and its number, if it has one, with what is assumed.
    #[must_use]
    pub fn judge(&self, position: &str, value: Option<&Value>) -> Verdict {
        let fits = match self.assumed {
            Assumed::Anything => true,
            Assumed::Position(assumed) => position == assumed,
            Assumed::Between(low, high) => {
                value.and_then(Value::as_u64).is_some_and(|value| (low..=high).contains(&value))
            }
        };
        if fits { Verdict::AsAssumed } else { Verdict::Differs }
    }

    /// What is assumed, for people.
    #[must_use]
    pub fn assumed_text(&self) -> String {
        match self.assumed {
            Assumed::Anything => "anything".to_owned(),
            Assumed::Position(position) => position.to_owned(),
            Assumed::Between(low, high) if low == high => {
                format!("{low} {}", self.unit).trim_end().to_owned()
            }
            Assumed::Between(0, high) => format!("up to {high} {}", self.unit),
            Assumed::Between(low, u64::MAX) => format!("{low} {} or more", self.unit),
            Assumed::Between(low, high) => format!("{low} to {high} {}", self.unit),
        }
    }

    /// The question with this key.
    #[must_use]
    pub fn of(key: &str) -> Option<&'static Self> {
        QUESTIONS.iter().find(|question| question.key == key)
    }
}

const fn word(key: &'static str, needs: Needs, assumed: &'static str, about: &'static str) -> Question {
    Question { key, about, needs, assumed: Assumed::Position(assumed), unit: "" }
}

const fn number(
    key: &'static str,
    needs: Needs,
    (low, high): (u64, u64),
    unit: &'static str,
    about: &'static str,
) -> Question {
    Question { key, about, needs, assumed: Assumed::Between(low, high), unit }
}

const fn open(key: &'static str, needs: Needs, about: &'static str) -> Question {
    Question { key, about, needs, assumed: Assumed::Anything, unit: "" }
}

use Needs::{Address, Nothing, Patience, Publish, PublishAndPatience};

/// All questions, in the order of reports. Each is a switch of the simulated server (protocol S12.8) or one of
/// the open questions (protocol S13).
pub const QUESTIONS: &[Question] = &[
    word("handshake_extension", Nothing, "none", "WebSocket extension answered although none was offered"),
    word("handshake_subprotocol", Nothing, "none", "subprotocol answered although none was offered"),
    number("user_data_ms", Nothing, (0, 2_000), "ms", "from `connection` to getUserData"),
    word("user_data_echo", Nothing, "echoed", "getUserData repeats what `connection` said"),
    word("user_data_token", Nothing, "given", "getUserData gives an authToken"),
    word("metrics_description", Nothing, "absent", "getUserData asks for metrics"),
    word("version_order", Nothing, "after", "getVersion, relative to getUserData"),
    open("server_version", Nothing, "what getVersion says"),
    number("ping_interval_ms", Nothing, (4_000, 6_000), "ms", "between two pings"),
    word("ping_form", Nothing, "json", "pings are messages, of WebSocket, or both"),
    word("ping_data", Nothing, "null", "`data` of a message without payload: [null] or []"),
    word("client_ping", Nothing, "silent", "answer to a client's `ping`"),
    word("unknown_name_verb", Nothing, "status", "play of an unknown name is refused by"),
    word("unknown_name_info", Nothing, "Stream not found", "and with the text"),
    word("available_stream", Nothing, "string", "availableStream says its status as"),
    word("connect_refusal", Nothing, "stays_open", "the socket after a refused `connection`"),
    open("connect_refusal_info", Nothing, "text of a refused `connection`"),
    word("keep_alive_resume", Nothing, "off", "a connection with keepAlive and a token resumes"),
    word("stale_token", Nothing, "new_session", "keepAlive with a token that nobody gave"),
    word("media_socket", Nothing, "accepted", "a media socket with the session's token"),
    word("media_socket_stranger", Nothing, "closed", "a media socket with a token that nobody gave"),
    word("room_app", Nothing, "answers", "the room application answers a join"),
    number("answer_ms", Publish, (0, 3_000), "ms", "from publishStream to its answer"),
    word("pending_status", Publish, "absent", "a status before PUBLISHING"),
    word("status_order", Publish, "sdp_first", "the remote SDP or the status first"),
    word("third_sdp_argument", Publish, "true", "third element of setRemoteSDP"),
    word("answer_shape", Publish, "A", "shape of the answer (protocol S8.3)"),
    word("answer_bundle", Publish, "bundled", "audio and video share a transport"),
    word("answer_mids", Publish, "present", "mids in the answer"),
    word("answer_setup", Publish, "passive", "a=setup of the answer"),
    word("answer_ice_lite", Publish, "absent", "ice-lite in the answer"),
    word("answer_candidates", Publish, "udp", "transport of the candidates"),
    word("answer_profile", Publish, "UDP/TLS/RTP/SAVPF", "profile of the m-lines"),
    word("answer_payload_types", Publish, "offered", "payload types are those of the offer"),
    word("answer_rtx", Publish, "present", "retransmission (RTX)"),
    word("answer_fingerprints", Publish, "sha-256", "hash of the certificate's fingerprint"),
    word("answer_sections", Publish, "all", "sections that are accepted"),
    open("answer_codecs", Publish, "video codecs of the answer"),
    word("answer_feedback", Publish, "remb, transport-cc", "bandwidth feedback in the answer"),
    word("media_connects", Publish, "yes", "ICE and DTLS come to stand"),
    word("dtls_role", Publish, "waits", "the server starts the DTLS handshake, or waits"),
    word("dtls_certificate", Publish, "ecdsa", "key of the server's certificate"),
    word("rtcp_feedback", Publish, "transport_cc", "bandwidth feedback that the publisher is sent"),
    word("key_frame_on_play", Publish, "asked", "the publisher is asked for a key frame when a player comes"),
    number("first_key_frame_ms", Publish, (0, 2_000), "ms", "from PLAYING to a player's first key frame"),
    word("mse_records", Publish, "records", "an MSE player's media socket carries"),
    word("snapshot", Publish, "event", "a snapshot is answered by"),
    word("duplicate_name_verb", Publish, "status", "a second publish of a name is refused by"),
    word("duplicate_name_info", Publish, "Stream name is already in use", "and with the text"),
    word("rate_messages", Publish, "absent", "messages about the rate of video"),
    number("stop_ms", Publish, (0, 2_000), "ms", "from stopStream to STOPPED"),
    number("unpublish_ms", Publish, (0, 2_000), "ms", "from unPublishStream to UNPUBLISHED"),
    word("players_told", Publish, "told", "players hear that the publisher stopped"),
    word("status_after_resume", Publish, "sent", "a resumed session is told how its streams are"),
    number("missed_pongs", Patience, (10, 10), "pings", "unanswered pings until the session ends"),
    open("missed_pongs_end", Patience, "and how it ends"),
    number("keep_alive_linger_ms", Patience, (10_000, u64::MAX), "ms", "a kept session can be resumed for"),
    number(
        "name_after_loss_ms",
        PublishAndPatience,
        (0, 1_000),
        "ms",
        "a name stays taken after a lost socket",
    ),
    number(
        "name_after_close_ms",
        PublishAndPatience,
        (0, 1_000),
        "ms",
        "a name stays taken after a close frame",
    ),
    word("streams_after_loss", PublishAndPatience, "end", "streams of a session whose socket was lost"),
    word("stat_page", Address, "figures", "the page of figures, ?action=stat"),
    word("agent", Address, "answers", "the agent for HAProxy"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_there_once_and_in_one_form() {
        let keys: BTreeSet<&str> = QUESTIONS.iter().map(|question| question.key).collect();
        assert_eq!(keys.len(), QUESTIONS.len());
        assert!(keys.iter().all(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{keys:?}");
    }

    #[test]
    fn answers_are_compared_with_what_is_assumed() {
        let of = |key| Question::of(key).unwrap();
        assert_eq!(of("version_order").judge("after", None), Verdict::AsAssumed);
        assert_eq!(of("version_order").judge("never", None), Verdict::Differs);
        assert_eq!(of("ping_interval_ms").judge("5000", Some(&json!(5000))), Verdict::AsAssumed);
        assert_eq!(of("ping_interval_ms").judge("none", None), Verdict::Differs);
        assert_eq!(of("server_version").judge("5.2", None), Verdict::AsAssumed);
        assert_eq!(of("missed_pongs").assumed_text(), "10 pings");
        assert_eq!(of("keep_alive_linger_ms").assumed_text(), "10000 ms or more");
    }
}
