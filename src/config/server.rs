//! Section `[server]`: what `holdfast probe` saw of the servers, and what that changes for whoever runs this. It
//! changes no behaviour by itself; settings that follow from it are ordinary ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::milliseconds::ms;

use super::{KeepaliveSettings, RestoreMode, SessionSettings};

/// Positions that are kept.
pub const POSITIONS_MAX: usize = 256;
/// Longest key or position, in bytes.
pub const POSITION_BYTES_MAX: usize = 512;
/// A name that is free this soon is as good as free at once, in milliseconds.
const AT_ONCE_MS: u64 = 1_000;

/// What was seen of the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// When, for people.
    pub probed_at: String,
    /// What the server called itself.
    pub version: String,
    /// Positions by the key of their question (docs/probe.md); numbers as text. Those that this version does not
    /// know are let be.
    #[serde(deserialize_with = "positions")]
    pub positions: BTreeMap<String, String>,
}

/// Positions whose words are known, with all of them: what else stands there is a mistake.
const WORDS: [(&str, &[&str]); 6] = [
    ("keep_alive_resume", &["off", "same_token", "new_token", "refused"]),
    ("ping_form", &["json", "websocket", "both", "none"]),
    ("key_frame_on_play", &["asked", "not_asked"]),
    ("media_connects", &["yes", "no"]),
    ("players_told", &["told", "not_told"]),
    ("streams_after_loss", &["end", "go_on"]),
];
/// Positions that are numbers.
const NUMBERS: [&str; 5] =
    ["name_after_loss_ms", "name_after_close_ms", "user_data_ms", "answer_ms", "missed_pongs"];

fn positions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let positions = BTreeMap::<String, String>::deserialize(deserializer)?;
    if positions.len() > POSITIONS_MAX {
        return Err(D::Error::custom(format!("expected at most {POSITIONS_MAX} positions")));
    }
    for (key, position) in &positions {
        if key.len().max(position.len()) > POSITION_BYTES_MAX {
            return Err(D::Error::custom(format!(
                "expected positions of at most {POSITION_BYTES_MAX} bytes, as `holdfast probe --toml` writes them"
            )));
        }
        let words = WORDS.iter().find(|(known, _)| known == key).map(|(_, words)| *words);
        if let Some(words) = words.filter(|words| !words.contains(&position.as_str())) {
            let words = words.join("`, `");
            return Err(D::Error::custom(format!("{key}: `{position}` is none of `{words}`")));
        }
        if NUMBERS.contains(&key.as_str()) && position.parse::<u64>().is_err() {
            return Err(D::Error::custom(format!("{key}: expected a number instead of `{position}`")));
        }
    }
    Ok(positions)
}

impl ServerSettings {
    fn number(&self, key: &str) -> Option<u64> {
        self.positions.get(key)?.parse().ok()
    }

    fn is(&self, key: &str, word: &str) -> bool {
        self.positions.get(key).is_some_and(|position| position == word)
    }

    /// What the servers make weaker of what Holdfast promises, one sentence each; nothing where nothing was
    /// probed.
    #[must_use]
    pub fn consequences(&self, session: &SessionSettings) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(self.of_names(session));
        all.extend(self.of_resume(session));
        all.extend(self.of_pings(&session.keepalive));
        all.extend(self.of_media());
        all.extend(self.of_waiting(session));
        all
    }

    fn of_names(&self, session: &SessionSettings) -> Vec<String> {
        let mut all = Vec::new();
        let patience = ms(session.restore.name_in_use_max);
        if let Some(ms) = self.number("name_after_loss_ms").filter(|ms| *ms > AT_ONCE_MS) {
            let seconds = ms.div_ceil(1_000);
            all.push(if ms > patience {
                format!(
                    "names stay taken for {seconds} s after a lost socket, longer than restore.name_in_use_ms_max: \
                     such publishes are reported FAILED instead of coming back"
                )
            } else {
                format!(
                    "names stay taken for {seconds} s after a lost socket: publishes come back after up to {seconds} s"
                )
            });
        }
        if let Some(ms) = self.number("name_after_close_ms").filter(|ms| *ms > AT_ONCE_MS) {
            let seconds = ms.div_ceil(1_000);
            all.push(format!(
                "names stay taken for {seconds} s after a close frame as well: who publishes a name again waits for it"
            ));
        }
        all
    }

    fn of_resume(&self, session: &SessionSettings) -> Option<String> {
        let wanted = session.restore.mode == RestoreMode::Resume
            || session.apps.values().any(|app| app.restore_mode == Some(RestoreMode::Resume));
        let none = self.is("keep_alive_resume", "off") || self.is("keep_alive_resume", "refused");
        (wanted && none).then(|| {
            "the server resumes no session by its token: restore mode \"resume\" does what \"notify\" does".to_owned()
        })
    }

    fn of_pings(&self, keepalive: &KeepaliveSettings) -> Option<String> {
        if self.is("ping_form", "json")
            || self.is("ping_form", "both")
            || !self.positions.contains_key("ping_form")
        {
            return None;
        }
        let seconds = keepalive.upstream_silence.as_secs();
        Some(format!(
            "the server sends no `ping` messages: that it is silent shows only when Holdfast asks it, and after \
             keepalive.upstream_silence_ms ({seconds} s) at the latest"
        ))
    }

    fn of_media(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.is("key_frame_on_play", "not_asked") {
            all.push(
                "the server asks publishers for no key frame when a player comes: after a restore pictures come \
                 back with the next key frame that a publisher sends by itself"
                    .to_owned(),
            );
        }
        if self.is("media_connects", "no") {
            all.push(
                "media did not connect where the server was probed from: see whether UDP gets through"
                    .to_owned(),
            );
        }
        if self.is("players_told", "not_told") {
            all.push(
                "players are not told when their publisher is lost: their picture stands still until it is back"
                    .to_owned(),
            );
        }
        all
    }

    fn of_waiting(&self, session: &SessionSettings) -> Vec<String> {
        let restore = &session.restore;
        let mut all = Vec::new();
        for (key, setting, limit) in [
            ("user_data_ms", "restore.answer_timeout_ms", restore.answer_timeout),
            ("answer_ms", "restore.proof_timeout_ms", restore.proof_timeout),
        ] {
            let limit = ms(limit);
            if let Some(ms) = self.number(key).filter(|ms| ms.saturating_mul(2) > limit) {
                all.push(format!(
                    "the server took {ms} ms where {setting} allows {limit}: restores may be given up"
                ));
            }
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn server(positions: &str) -> Result<ServerSettings, String> {
        toml::from_str(&format!("[positions]\n{positions}")).map_err(|error| error.to_string())
    }

    fn said(positions: &str) -> Vec<String> {
        server(positions).unwrap().consequences(&SessionSettings::default())
    }

    #[test]
    fn what_is_as_assumed_changes_nothing() {
        assert!(ServerSettings::default().consequences(&SessionSettings::default()).is_empty());
        let assumed = "name_after_loss_ms = \"0\"\nkeep_alive_resume = \"off\"\nping_form = \"json\"\n\
            media_connects = \"yes\"\nkey_frame_on_play = \"asked\"\nuser_data_ms = \"12\"\nnew_key = \"x\"";
        assert_eq!(said(assumed), Vec::<String>::new());
    }

    #[test]
    fn each_weaker_promise_is_said() {
        for (position, words) in [
            ("name_after_loss_ms = \"49500\"", "publishes come back after up to 50 s"),
            ("name_after_loss_ms = \"90000\"", "reported FAILED"),
            ("name_after_close_ms = \"20000\"", "20 s after a close frame"),
            ("ping_form = \"none\"", "no `ping` messages"),
            ("ping_form = \"websocket\"", "no `ping` messages"),
            ("key_frame_on_play = \"not_asked\"", "no key frame"),
            ("media_connects = \"no\"", "UDP"),
            ("players_told = \"not_told\"", "stands still"),
            ("user_data_ms = \"6000\"", "restore.answer_timeout_ms"),
            ("answer_ms = \"9000\"", "restore.proof_timeout_ms"),
        ] {
            let all = said(position);
            assert!(all.len() == 1 && all[0].contains(words), "{position}: {all:?}");
        }
        let mut session = SessionSettings::default();
        session.restore.mode = RestoreMode::Resume;
        let all = server("keep_alive_resume = \"off\"").unwrap().consequences(&session);
        assert!(all.len() == 1 && all[0].contains("resume"), "{all:?}");
    }

    #[test]
    fn mistakes_are_told_and_bounds_hold() {
        assert!(server("ping_form = \"jsn\"").unwrap_err().contains("`jsn` is none of `json`"));
        assert!(server("name_after_loss_ms = \"long\"").unwrap_err().contains("expected a number"));
        let long = format!("x = \"{}\"", "y".repeat(POSITION_BYTES_MAX + 1));
        assert!(server(&long).unwrap_err().contains("at most 512 bytes"));
        let many: String = (0..=POSITIONS_MAX).map(|n| format!("k{n} = \"x\"\n")).collect();
        assert!(server(&many).unwrap_err().contains("at most 256 positions"));
    }
}
