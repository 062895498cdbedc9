//! Which fields of messages are shown, and how. What is not listed here is replaced.

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// An id or a word of the protocol.
    Word,
    /// A text for people.
    Words,
    /// Of a stream, a room, or somebody in a room.
    Name,
    /// A description of media.
    Sdp,
    /// One placeholder for all of it, whatever it is.
    Secret,
    /// Texts have placeholders; what is in it goes by its own name.
    Unknown,
    /// What an application says to another: shown if it is the room protocol, else secret.
    Payload,
    /// The arguments of a message.
    Arguments,
}

/// Ids and words of the protocol (S2.1 to S2.9).
const WORDS: [&str; 20] = [
    "message",
    "mediaSessionId",
    "id",
    "ids",
    "operationId",
    "callId",
    "status",
    "apiMethod",
    "mediaProvider",
    "mediaProviders",
    "appKey",
    "clientVersion",
    "command",
    "type",
    "transport",
    "collect",
    "compression",
    "audioCodec",
    "videoCodec",
    "mediaType",
];

/// Texts for people: what the server says of a refusal, what a browser says of itself.
const TEXTS: [&str; 4] = ["info", "reason", "clientBrowserVersion", "clientOSVersion"];

/// Names, of streams and of rooms.
const NAMES: [&str; 3] = ["name", "roomName", "stream"];

/// What the name of a secret has in it, in any case. Such a field is a secret as a whole, numbers as well.
const SECRETS: [&str; 13] = [
    "token",
    "passw",
    "pwd",
    "secret",
    "credential",
    "auth",
    "cookie",
    "custom",
    "dtmf",
    "apikey",
    "signature",
    "private",
    "bearer",
];
/// Names of secrets that are too short to be looked for in others.
const SHORT_SECRETS: [&str; 4] = ["pin", "key", "code", "otp"];

/// What becomes of the value of this field in a message of this name.
pub(super) fn rule(field: &str, message: &str) -> Rule {
    let is_of_room = message == "OnDataEvent";
    match field {
        "data" => Rule::Arguments,
        "payload" => Rule::Payload,
        "sdp" | "sipSDP" => Rule::Sdp,
        // Who comes and goes.
        "info" | "login" if is_of_room => Rule::Name,
        _ if WORDS.contains(&field) => Rule::Word,
        _ if TEXTS.contains(&field) => Rule::Words,
        _ if NAMES.contains(&field) => Rule::Name,
        _ if is_secret(field) => Rule::Secret,
        _ => Rule::Unknown,
    }
}

/// What becomes of a text that is the argument of this index of a message of this name.
pub(super) fn argument(message: &str, index: usize) -> Rule {
    match message {
        // An id and a description in a list.
        "setRemoteSDP" if index > 0 => Rule::Sdp,
        "setRemoteSDP" | "notifyAudioCodec" => Rule::Word,
        "getVersion" => Rule::Words,
        _ => Rule::Unknown,
    }
}

/// Whether what has this name is a secret.
pub(super) fn is_secret(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    SHORT_SECRETS.contains(&&*field) || SECRETS.iter().any(|secret| field.contains(secret))
}
