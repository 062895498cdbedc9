//! Takes secrets out of what goes into transcripts, reports and error texts, and puts stable placeholders there:
//! the same secret is the same placeholder everywhere in a run.
//!
//! Values of fields are shown where the field is known and harmless; whatever else a server says is hidden. It
//! must never be the other way round.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use parking_lot::Mutex;
use serde_json::Value;

/// Fields whose text is shown. All else that is text is hidden.
const SHOWN: [&str; 42] = [
    "message",
    "status",
    "info",
    "name",
    "type",
    "apiMethod",
    "mediaProvider",
    "mediaProviders",
    "clientVersion",
    "clientOSVersion",
    "clientBrowserVersion",
    "appKey",
    "mediaSessionId",
    "id",
    "callId",
    "operationId",
    "transport",
    "mediaType",
    "codec",
    "audioCodec",
    "videoCodec",
    "codecImpl",
    "command",
    "roomName",
    "compression",
    "collect",
    "headers",
    "types",
    "snapshot",
    "recordName",
    "login",
    "text",
    "from",
    "to",
    "rtmpUrl",
    "sdp",
    "constraints",
    "video",
    "audio",
    "state",
    "reason",
    "version",
];
/// Of those, the ones that are shortened whatever they say.
const SHORTENED: [&str; 1] = ["snapshot"];
/// Fields that are hidden with all that is in them.
const HIDDEN: [&str; 8] =
    ["custom", "authToken", "sipOptions", "payload", "recordName", "rtmpUrl", "clientInfo", "localMediaInfo"];
/// Messages whose arguments are texts to show: ids, descriptions, versions.
const PLAIN: [&str; 3] = ["setRemoteSDP", "getVersion", "notifyAudioCodec"];
/// Secrets that are remembered; further ones are hidden without a number.
const SECRETS_MAX: usize = 10_000;
/// Secrets shorter than this are not looked for inside of other texts.
const SEARCHED_BYTES_MIN: usize = 4;
/// The same of texts that nobody knows.
const TEXT_BYTES_MIN: usize = 12;

#[derive(Default)]
struct Known {
    /// Placeholder by secret.
    secrets: HashMap<String, String>,
    /// How many of each kind there are.
    counts: BTreeMap<&'static str, usize>,
}

/// Knows the secrets of a run.
#[derive(Default)]
pub struct Redactor {
    known: Mutex<Known>,
    /// Whether addresses are hidden as well.
    anonymise: bool,
}

impl Redactor {
    /// With `anonymise`, IP addresses are secrets.
    #[must_use]
    pub fn new(anonymise: bool) -> Self {
        Self { known: Mutex::default(), anonymise }
    }

    /// Remembers a secret, so that it is hidden wherever it shows.
    pub fn learn(&self, kind: &'static str, secret: &str) {
        if !secret.is_empty() {
            self.placeholder(kind, secret);
        }
    }

    /// Remembers every text inside a value.
    pub fn learn_all(&self, kind: &'static str, value: &Value) {
        match value {
            Value::String(text) => self.learn(kind, text),
            Value::Array(values) => values.iter().for_each(|value| self.learn_all(kind, value)),
            Value::Object(fields) => fields.values().for_each(|value| self.learn_all(kind, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn placeholder(&self, kind: &'static str, secret: &str) -> String {
        let mut known = self.known.lock();
        if let Some(placeholder) = known.secrets.get(secret) {
            return placeholder.clone();
        }
        if known.secrets.len() >= SECRETS_MAX {
            return format!("<{kind}>");
        }
        let count = known.counts.entry(kind).or_default();
        *count += 1;
        let placeholder = format!("<{kind} {count}>");
        known.secrets.insert(secret.to_owned(), placeholder.clone());
        placeholder
    }

    /// A text of no known form, without the secrets that are known and, if wanted, without addresses.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        {
            let known = self.known.lock();
            let mut secrets: Vec<(&String, &String)> = known
                .secrets
                .iter()
                .filter(|(secret, placeholder)| is_searched(secret, placeholder))
                .collect();
            // The longest first: one may be part of another.
            secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
            for (secret, placeholder) in secrets {
                if out.contains(secret.as_str()) {
                    out = out.replace(secret.as_str(), placeholder);
                }
            }
        }
        if self.anonymise { self.without_addresses(&out) } else { out }
    }

    /// Replaces whatever reads as an IP address.
    fn without_addresses(&self, text: &str) -> String {
        let part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(part) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c| !part(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            out.push_str(before);
            out.push_str(&self.address(word));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn address(&self, word: &str) -> String {
        let hidden = |address: &str| self.placeholder("address", address);
        if word.parse::<IpAddr>().is_ok() {
            return hidden(word);
        }
        // With a port behind it, or a full stop.
        if let Some((address, port)) = word.rsplit_once([':', '.'])
            && address.parse::<IpAddr>().is_ok()
        {
            let separator = word.get(address.len()..=address.len()).unwrap_or(":");
            return format!("{}{separator}{port}", hidden(address));
        }
        word.to_owned()
    }

    /// A message as it was said: a JSON value without what is secret. What is no JSON is told by its length.
    #[must_use]
    pub fn message(&self, text: &str) -> Value {
        match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                self.learn_from(&value);
                let shows =
                    value.get("message").and_then(Value::as_str).is_some_and(|name| PLAIN.contains(&name));
                // Their arguments are texts of known meaning; elsewhere a bare text may be anything.
                let plain = match value.get_mut("data") {
                    Some(Value::Array(data)) if shows => std::mem::take(data),
                    _ => Vec::new(),
                };
                let mut shown = self.value("message", value);
                if let Some(slot) = shown.get_mut("data").filter(|_| shows) {
                    *slot = plain.into_iter().map(|value| self.value("message", value)).collect();
                }
                shown
            }
            Err(_) => Value::String(format!("<no JSON, {} bytes>", text.len())),
        }
    }

    fn learn_from(&self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if key == "authToken" {
                        self.learn_all("token", value);
                    } else if HIDDEN.contains(&key.as_str()) {
                        self.learn_all("secret", value);
                    } else {
                        self.learn_from(value);
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.learn_from(value)),
            _ => {}
        }
    }

    fn value(&self, key: &str, value: Value) -> Value {
        if HIDDEN.contains(&key) {
            return self.hidden(key, value);
        }
        match value {
            Value::String(text) if is_description(&text) => Value::String(self.description(&text)),
            Value::String(text) if SHORTENED.contains(&key) => {
                Value::String(format!("<{} bytes>", text.len()))
            }
            Value::String(text) if SHOWN.contains(&key) => Value::String(self.text(&text)),
            Value::String(text) => Value::String(self.placeholder("text", &text)),
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.value(key, value)).collect())
            }
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| {
                        let value = self.value(&key, value);
                        (self.text(&key), value)
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    fn hidden(&self, key: &str, value: Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::String(text) => {
                Value::String(self.placeholder(if key == "authToken" { "token" } else { "secret" }, &text))
            }
            other => Value::String(self.placeholder("secret", &other.to_string())),
        }
    }

    /// A session description without ICE credentials, fingerprints and keys.
    fn description(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end();
            let ending = line.get(bare.len()..).unwrap_or_default();
            out.push_str(&self.line(bare));
            out.push_str(ending);
        }
        out
    }

    fn line(&self, line: &str) -> String {
        for (prefix, kind) in [("a=ice-ufrag:", "ufrag"), ("a=ice-pwd:", "pwd")] {
            if let Some(secret) = line.strip_prefix(prefix) {
                return format!("{prefix}{}", self.placeholder(kind, secret));
            }
        }
        if let Some(rest) = line.strip_prefix("a=fingerprint:") {
            let (hash, secret) = rest.split_once(' ').unwrap_or(("", rest));
            return format!("a=fingerprint:{hash} {}", self.placeholder("fingerprint", secret));
        }
        if let Some(secret) = line.strip_prefix("a=crypto:").or_else(|| line.strip_prefix("k=")) {
            return format!("a=crypto:{}", self.placeholder("key", secret));
        }
        self.text(line)
    }
}

/// Whether a secret is looked for inside of other texts. What is hidden because nobody knows what it is may be a word
/// that stands everywhere; it has to be long.
fn is_searched(secret: &str, placeholder: &str) -> bool {
    let bytes_min = if placeholder.starts_with("<text ") { TEXT_BYTES_MIN } else { SEARCHED_BYTES_MIN };
    secret.len() >= bytes_min
}

fn is_description(text: &str) -> bool {
    text.starts_with("v=0") && text.contains("\nm=")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_gone_and_equal_ones_have_one_name() {
        let redactor = Redactor::new(false);
        let first = redactor.message(
            &json!({"message": "getUserData", "data": [{"authToken": "tok-12345", "status": "ESTABLISHED",
                "custom": {"password": "hunter2-x"}, "nodeSecret": "s3cret-of-node", "appKey": "defaultApp"}]})
            .to_string(),
        );
        let told = first.to_string();
        for secret in ["tok-12345", "hunter2-x", "s3cret-of-node"] {
            assert!(!told.contains(secret), "{told}");
        }
        assert_eq!(first["data"][0]["authToken"], "<token 1>");
        assert_eq!(first["data"][0]["status"], "ESTABLISHED");
        let later = redactor.message(
            r#"{"message":"fail","data":[{"info":"bad tok-12345 of hunter2-x","authToken":"tok-12345"}]}"#,
        );
        assert_eq!(later["data"][0]["info"], "bad <token 1> of <secret 1>");
        assert_eq!(later["data"][0]["authToken"], "<token 1>");
    }

    #[test]
    fn descriptions_keep_their_form_and_lose_their_credentials() {
        let sdp = "v=0\r\no=Flashphoner 0 1 IN IP4 192.0.2.7\r\nm=audio 31000 RTP/SAVPF 111\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:pass-of-ice\r\na=fingerprint:sha-256 01:AB:CD\r\n\
            a=candidate:1 1 udp 2130706431 192.0.2.7 31000 typ host\r\n";
        let text = json!({"message": "setRemoteSDP", "data": ["id", sdp, true]}).to_string();
        let shown = Redactor::new(false).message(&text)["data"][1].as_str().unwrap().to_owned();
        assert!(
            shown.contains("a=ice-ufrag:<ufrag 1>\r\n") && shown.contains("sha-256 <fingerprint 1>"),
            "{shown}"
        );
        assert!(!shown.contains("pass-of-ice") && !shown.contains("01:AB") && shown.contains("192.0.2.7"));
        let hidden = Redactor::new(true).message(&text)["data"][1].as_str().unwrap().to_owned();
        assert!(!hidden.contains("192.0.2.7") && hidden.contains("<address 1> 31000 typ host"), "{hidden}");
    }

    #[test]
    fn addresses_are_found_in_any_text() {
        let redactor = Redactor::new(true);
        let shown = redactor.text("from 10.1.2.3:5060 by [2001:db8::7]:8443, at 12:30 by version 5.2.1");
        assert!(!shown.contains("10.1.2.3") && !shown.contains("2001:db8"), "{shown}");
        assert!(shown.contains(":5060") && shown.contains("12:30") && shown.contains("5.2.1"), "{shown}");
    }
}
