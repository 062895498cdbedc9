//! Messages without their secrets, for what leaves the machine: recordings and transcripts.
//!
//! [`without_credentials`](super::redact::without_credentials) takes away; this puts a placeholder in the place of
//! what it takes, the same for the same value as long as the key is the same, so that whoever reads the text (the
//! session core in a replay too) still sees what equals what, and decides the same. Nothing else of a message
//! changes: its fields, their order and their types stay, and what was JSON stays JSON.
//!
//! A field is shown only if it is known to be harmless (`fields`); the texts of all others are replaced, in messages
//! that nobody knows as well. A number that no name marks as a secret stays, and so do `true`, `false` and `null`.
//!
//! Every function here looks at nothing but its text and the key: it keeps nothing, so that the same text has the same
//! outcome at any time, whatever was seen before.

mod fields;
mod sdp;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use sha1::{Digest as _, Sha1};

use super::redact::{is_border, token_without_credentials};

/// Length of the key, in bytes.
pub const KEY_BYTES: usize = 32;

/// With what placeholders begin.
const PREFIX: &str = "redacted-";
/// Bytes of the digest that are shown: equal placeholders of different secrets do not happen in one recording.
const SHOWN_BYTES: usize = 8;
/// Longest id, status or other short word that is shown, in bytes.
const WORD_BYTES_MAX: usize = 128;
/// The words for what happens in a room.
const ROOM_EVENTS: [&str; 7] = ["STATE", "JOINED", "LEFT", "PUBLISHED", "UNPUBLISHED", "FAILED", "MESSAGE"];
/// From this length on a word of letters and digits in a text for people may be a token, in bytes.
const TOKEN_BYTES_MIN: usize = 20;

/// Whether names and addresses are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Names of streams and rooms, logins in rooms, and addresses of media are shown, without credentials.
    Shown,
    /// These have placeholders too, and so has what a text for people says in other words than of letters alone, and numbers. Whoever has such a
    /// text learns which streams are the same, and not what they are called.
    Anonymous,
}

/// Puts placeholders in the place of secrets.
///
/// Who has the key and a guess of a secret can check the guess: the key has to be random, and is to be
/// forgotten with the redactor.
#[derive(Clone)]
pub struct Redactor {
    key: [u8; KEY_BYTES],
    names: Names,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("names", &self.names).finish_non_exhaustive()
    }
}

/// A message without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The text.
    pub text: String,
    /// False: it could not be read, and all of it is one placeholder. Who reads it does not decide what was
    /// decided of the message.
    pub is_readable: bool,
}

impl Redactor {
    /// With this key, and names shown or not.
    #[must_use]
    pub const fn new(key: [u8; KEY_BYTES], names: Names) -> Self {
        Self { key, names }
    }

    /// Whether names have placeholders too.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.names, Names::Anonymous)
    }

    /// A text message, of either side.
    #[must_use]
    pub fn message(&self, message: &[u8]) -> Redacted {
        match walk::message(self, message) {
            Some(text) => Redacted { text, is_readable: true },
            None => {
                let whole = self.placeholder_of(message);
                Redacted { text: format!("{whole} ({} bytes)", message.len()), is_readable: false }
            }
        }
    }

    /// What stands for this secret. Nothing stands for nothing, and a placeholder for itself.
    #[must_use]
    pub fn secret(&self, value: &str) -> String {
        if value.is_empty() || is_placeholder(value) {
            return value.to_owned();
        }
        self.placeholder_of(value.as_bytes())
    }

    /// The name of a stream or a room, or who somebody is in a room.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        match self.names {
            Names::Shown => self.addresses(name),
            // What happens in a room stands in a field of that name (protocol S2.7).
            Names::Anonymous if ROOM_EVENTS.contains(&name) => name.to_owned(),
            Names::Anonymous => self.secret(name),
        }
    }

    /// A text for people, as the reason of a refusal: words that may be a secret have placeholders.
    #[must_use]
    pub fn words(&self, text: &str) -> String {
        self.each_word(text, |word| match word.split_once('=') {
            Some((name, value)) if fields::is_secret(name) => Some(format!("{name}={}", self.secret(value))),
            _ if may_be_token(word) => Some(self.secret(word)),
            _ if self.names == Names::Anonymous && !is_plain(word) => Some(self.secret(word)),
            _ => self.address(word),
        })
    }

    /// A description of media: credentials and whatever is not known to be harmless have placeholders.
    #[must_use]
    pub fn sdp(&self, sdp: &str) -> String {
        sdp::redacted(self, sdp)
    }

    /// An id or a word of the protocol; what does not look like one is a secret.
    #[must_use]
    pub fn word(&self, word: &str) -> String {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if word.len() <= WORD_BYTES_MAX && word.bytes().all(is_word) {
            word.to_owned()
        } else {
            self.secret(word)
        }
    }

    /// As it is but for credentials in addresses.
    fn addresses(&self, text: &str) -> String {
        self.each_word(text, |word| self.address(word))
    }

    /// The address without credentials; what it had of them has a placeholder, so that two that differ in nothing
    /// else still differ. `None` if it has none.
    fn address(&self, word: &str) -> Option<String> {
        let shown = token_without_credentials(word);
        (shown != word).then(|| format!("{shown};{}", self.secret(word)))
    }

    fn each_word(&self, text: &str, replaced: impl Fn(&str) -> Option<String>) -> String {
        let mut shown = String::with_capacity(text.len());
        for piece in text.split_inclusive(is_border) {
            let word = piece.trim_end_matches(is_border);
            let border = piece.split_at(word.len()).1;
            match replaced(word).filter(|_| !is_placeholder(word)) {
                Some(replaced) => shown.push_str(&replaced),
                None => shown.push_str(word),
            }
            shown.push_str(border);
        }
        shown
    }

    fn placeholder_of(&self, value: &[u8]) -> String {
        let mut placeholder = PREFIX.to_owned();
        for byte in self.digest(value) {
            placeholder.push_str(&format!("{byte:02x}"));
        }
        placeholder
    }

    fn digest(&self, value: &[u8]) -> [u8; SHOWN_BYTES] {
        let digest = Sha1::new().chain_update(self.key).chain_update(value).finalize();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// Whether it is one already: a text is redacted once, however often that is asked for.
fn is_placeholder(value: &str) -> bool {
    value
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == 2 * SHOWN_BYTES && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Long, with letters and digits, and of nothing else but what tokens are made of.
fn may_be_token(word: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/=".contains(&byte);
    word.len() >= TOKEN_BYTES_MIN
        && word.bytes().all(of_token)
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Of letters alone or a number, but for what stands around words in a sentence.
fn is_plain(word: &str) -> bool {
    let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
    word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
        || word.bytes().all(|byte| byte.is_ascii_digit())
}
