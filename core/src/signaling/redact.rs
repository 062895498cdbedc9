//! Messages as logs may show them.
//!
//! An allow-list: the message's name if it is a known one, and few fields that hold ids, states
//! and reasons. Tokens, passwords, SDP, `custom`, payloads, user names, SIP data, logs and metrics
//! never appear, in known messages or unknown ones. What is shown is cut and freed of control
//! characters, so that nobody writes lines into a log.

mod address;

use std::fmt::{self, Write as _};

pub use address::{line_without_credentials, without_credentials};

use super::names::{ClientMessage, ServerMessage};
use super::peek::{Peek, peek};
use super::scan::Span;
use super::sdp;
use super::value::{boolean, string};

/// How much of one value is shown, in characters.
const VALUE_CHARS_MAX: usize = 80;

/// Fields of the first argument that may be shown, in any message known by name.
const SHOWN_FIELDS: [&str; 9] =
    ["mediaSessionId", "callId", "operationId", "id", "name", "published", "status", "info", "apiMethod"];

/// Fields shown as well, in the messages where they are harmless.
const CONNECTION_FIELDS: [&str; 3] = ["appKey", "keepAlive", "clientVersion"];

/// Messages whose first argument the application or the user wrote: any field may hold anything.
const FREE_FORM: [&str; 11] = [
    "submitBugReport",
    "pushLogs",
    "sendMessage",
    "notificationResult",
    "subscribe",
    "sendXcapRequest",
    "notifySessionDebugEvent",
    "notifyMessage",
    "notifySubscription",
    "notifyXcapResponse",
    "notifyBugReport",
];

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A message to be shown in a log.
#[derive(Clone, Copy, Debug)]
pub struct Redacted<'a> {
    sender: Sender,
    message: Message<'a>,
}

#[derive(Clone, Copy)]
enum Message<'a> {
    Text(&'a [u8]),
    Peeked(&'a Peek<'a>),
}

// A derived Debug would show the text.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// This text, message or not, as a log may show it.
#[must_use]
pub const fn redacted(sender: Sender, text: &[u8]) -> Redacted<'_> {
    Redacted { sender, message: Message::Text(text) }
}

impl<'a> Redacted<'a> {
    /// A message that is peeked already.
    #[must_use]
    pub const fn of(sender: Sender, message: &'a Peek<'a>) -> Self {
        Self { sender, message: Message::Peeked(message) }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            Message::Peeked(message) => show(self.sender, message, f),
            Message::Text(text) => match peek(text) {
                Ok(message) => show(self.sender, &message, f),
                Err(error) => write!(f, "{} bytes, {error}", text.len()),
            },
        }
    }
}

fn show(sender: Sender, message: &Peek<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let known = match sender {
        Sender::Client => match ClientMessage::from_name(&message.name) {
            ClientMessage::Other => None,
            known => Some(known.name()),
        },
        Sender::Server => match ServerMessage::from_name(&message.name) {
            ServerMessage::Other => None,
            known => Some(known.name()),
        },
    };
    match known {
        Some("setRemoteSDP") => show_remote_sdp(message, f)?,
        Some(name) if FREE_FORM.contains(&name) => f.write_str(name)?,
        Some(name) => {
            f.write_str(name)?;
            if matches!(name, "connection" | "connect" | "getUserData") {
                show_fields(message, CONNECTION_FIELDS, f)?;
                show_fields(message, ["status"], f)?;
            } else {
                show_fields(message, SHOWN_FIELDS, f)?;
            }
            if let Some(offer) = message.string("sdp") {
                write!(f, " sdp={}", sdp::summary(&offer))?;
            }
        }
        None => f.write_str("unknown message")?,
    }
    write!(f, " ({} bytes)", message.text().len())
}

fn show_fields<const N: usize>(
    message: &Peek<'_>,
    keys: [&str; N],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (key, value) in keys.iter().zip(message.fields(keys)) {
        if let Some(value) = value {
            show_value(message, key, value, f)?;
        }
    }
    Ok(())
}

fn show_remote_sdp(message: &Peek<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("setRemoteSDP")?;
    if let Some(id) = message.argument(0) {
        show_value(message, "id", id, f)?;
    }
    let answer = message.string_argument(1).unwrap_or_default();
    write!(f, " sdp={}", sdp::summary(&answer))
}

/// Shows a string, `true` or `false`; values of other types may hold anything and are left out.
fn show_value(message: &Peek<'_>, key: &str, value: Span, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(flag) = boolean(message.text(), value) {
        return write!(f, " {key}={flag}");
    }
    let Some(shown) = string(message.text(), value) else {
        return Ok(());
    };
    // A stream name may be the URL of a camera, with a password before the host.
    let shown = without_credentials(&shown);
    write!(f, " {key}=")?;
    let mut characters = shown.chars();
    for character in characters.by_ref().take(VALUE_CHARS_MAX) {
        f.write_char(if character.is_control() { '\u{fffd}' } else { character })?;
    }
    if characters.next().is_some() {
        f.write_char('…')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
