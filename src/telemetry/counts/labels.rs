//! By what counters are told apart: closed sets of words, so that no peer decides how many series there are.

/// A closed set of words.
pub(crate) trait Label: Copy + 'static {
    /// The name of the label.
    const KEY: &'static str;
    /// All of the set, in the order of their places.
    const ALL: &'static [Self];

    /// The value of the label.
    fn word(self) -> &'static str;

    /// Its place among all.
    fn place(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident $key:literal: $($variant:ident $word:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a session ended.
    SessionEnd "reason":
    Closed "closed", ClientClosed "client_closed", ClientLost "client_lost", Rejected "rejected",
    Idle "idle", Shutdown "shutdown", LifeOver "life_over", MediaSocket "media_socket",
}

label! {
    /// Why a connection never became a session.
    Refusal "reason":
    Places "places", Descriptors "descriptors", Memory "memory",
    AddressSessions "address_sessions", AddressConnections "address_connections",
    AddressHandshakes "address_handshakes", AddressFirstMessages "address_first_messages",
    HandshakeRate "handshake_rate", Network "network", Origin "origin", Route "route",
    Requests "requests", AddressRequests "address_requests", AddressRequestRate "address_request_rate",
    ProxyHeader "proxy_header", Tls "tls", Timeout "timeout", BadRequest "bad_request",
    Stopping "stopping", Upstream "upstream",
}

label! {
    /// What became of a new configuration.
    Reload "result":
    Accepted "accepted", Unchanged "unchanged", Refused "refused",
}

label! {
    /// Why a request that was passed on got no whole answer.
    HttpFailure "reason":
    Connect "connect", ConnectTimeout "connect_timeout", Local "local", Timeout "timeout", Broken "broken",
    Stalled "stalled", TooLarge "too_large", Loop "loop", ClientLeft "client_left",
}

label! {
    /// The kind of an answer (RFC 9110 section 15).
    StatusClass "class":
    Informational "1xx", Successful "2xx", Redirection "3xx", ClientError "4xx", ServerError "5xx",
}

label! {
    /// How a TLS handshake of a client ended.
    TlsOutcome "outcome":
    Ok "ok", Failed "failed", Timeout "timeout", ClientLeft "client_left",
}

label! {
    /// How an upstream connection was lost.
    Loss "reason":
    Closed "closed", EndOfFile "end_of_file", Reset "reset", Protocol "protocol", Stalled "stalled",
    Silent "silent", Left "left",
}

label! {
    /// How a stream left an outage.
    StreamOutcome "outcome":
    Restored "restored", Reported "reported", Cancelled "cancelled",
}

label! {
    /// How a session left an outage.
    SessionOutcome "outcome":
    Restored "restored", GivenUp "given_up", ClientLeft "client_left",
}

label! {
    /// How the move of a session to another node ended.
    MoveEnd "outcome":
    Done "done", Refused "refused", Returned "returned",
}

label! {
    /// What clients noticed of an outage.
    Verdict "outcome":
    Unnoticed "unnoticed", Hurt "hurt",
}

label! {
    /// Which way a stream goes.
    StreamKind "kind":
    Publish "publish", Play "play",
}

label! {
    /// Which side of an anchored stream.
    Leg "leg":
    Client "client", Upstream "upstream",
}

label! {
    /// Which way packets go, seen from here.
    Direction "direction":
    Received "received", Sent "sent",
}

label! {
    /// The codec of a stream; names come from descriptions of clients, so those not known are one.
    Codec "codec":
    Vp8 "VP8", Vp9 "VP9", H264 "H264", H265 "H265", Av1 "AV1", Opus "opus", Pcmu "PCMU", Pcma "PCMA",
    G722 "G722", Other "other",
}

label! {
    /// How important a log line is.
    Level "level":
    Error "error", Warn "warn", Info "info", Debug "debug", Trace "trace",
}

label! {
    /// Which setting bounded a client. Sessions name those that there are; the set is closed all the same.
    Limit "limit":
    HoldBytes "hold.bytes_max", HoldCount "hold.count_max", HoldTime "hold.ms_max",
    Kept "limits.kept_memory_percent_max", Bytes "session.bytes_max", Calls "session.calls_max",
    IdBytes "session.id_bytes_max", Requests "session.pending_requests_max", Rooms "session.rooms_max",
    StreamBytes "session.stream_bytes_max", Streams "session.streams_max", Other "other",
}

impl StatusClass {
    /// That of a status.
    pub(crate) const fn of(status: u16) -> Self {
        match status {
            0..=199 => Self::Informational,
            200..=299 => Self::Successful,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl StreamKind {
    /// As events call it.
    pub(crate) fn of(word: &str) -> Self {
        if word == Self::Publish.word() { Self::Publish } else { Self::Play }
    }
}

impl Codec {
    /// The codec of this encoding name (RFC 4855: case does not matter).
    pub(crate) fn of(name: &str) -> Self {
        let is = |codec: &&Self| name.eq_ignore_ascii_case(codec.word());
        Self::ALL.iter().find(is).copied().unwrap_or(Self::Other)
    }
}

impl Limit {
    /// The one of this setting.
    pub(crate) fn of(setting: &str) -> Self {
        Self::ALL.iter().find(|limit| limit.word() == setting).copied().unwrap_or(Self::Other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn is_closed<L: Label>() {
        let words: BTreeSet<_> = L::ALL.iter().map(|label| label.word()).collect();
        assert_eq!(words.len(), L::ALL.len(), "{}: each word once", L::KEY);
        assert!(L::ALL.iter().enumerate().all(|(place, label)| label.place() == place), "{}", L::KEY);
    }

    #[test]
    fn each_value_has_a_place_and_a_word_of_its_own() {
        is_closed::<Refusal>();
        is_closed::<Limit>();
        is_closed::<Codec>();
    }

    #[test]
    fn what_is_not_known_is_one_value() {
        assert_eq!((Codec::of("vp8"), Codec::of("\"}\nevil 1")), (Codec::Vp8, Codec::Other));
        assert_eq!(Limit::of("session.streams_max").word(), "session.streams_max");
        assert_eq!(Limit::of("a name of a client").word(), "other");
    }

    #[test]
    fn the_settings_are_those_that_sessions_name() {
        let core = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("core/src/session");
        let files =
            ["kept.rs", "client.rs", "calls.rs", "rooms.rs", "context.rs", "held_back.rs", "streams/asks.rs"];
        let text: String =
            files.iter().map(|file| std::fs::read_to_string(core.join(file)).unwrap()).collect();
        for limit in Limit::ALL.iter().filter(|limit| **limit != Limit::Other) {
            let word = limit.word();
            assert!(text.contains(&format!("\"{word}\"")), "no session is bounded by {word}");
        }
    }
}
