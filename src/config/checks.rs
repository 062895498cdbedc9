//! How a node is asked how it is: `health = { kind = ... }` of a node, or several in a list. Shape and ranges
//! only; who asks is in `upstream`.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::number::{Between, MaybeBetween};

/// Most checks of one node.
pub const CHECKS_MAX: usize = 4;
/// What may be waited for, in milliseconds.
type CheckMs = Between<10, 3_600_000>;

/// How a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// A WebSocket handshake, as those of clients.
    Websocket,
    /// A GET; figures in the answer are its load.
    Http,
    /// A TCP connection.
    Tcp,
    /// One line of the HAProxy agent protocol (protocol S14.2).
    Agent,
    /// Not at all.
    Off,
}

impl CheckKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Agent => "agent",
            Self::Off => "off",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// How it asks. No default.
    pub kind: CheckKind,
    /// What for: `websocket`, by default the path of the last client; `http`, by default `/?action=stat`.
    #[serde(default)]
    pub path: Option<String>,
    /// The port; by default 8081 for `http`, 9707 for `agent`, that of the node for `tcp`.
    #[serde(default, with = "MaybeBetween::<1, 65_535>")]
    pub port: Option<u16>,
    /// Time between two, a fifth more or less. Default 5 s; of `agent` 2 s.
    #[serde(default, with = "MaybeBetween::<10, 3_600_000>")]
    interval_ms: Option<u64>,
    /// How long the node has to answer. Default 2 s.
    #[serde(default = "timeout_ms", with = "CheckMs")]
    timeout_ms: u64,
    /// So many answers in a row bring the node back up. Default 2; of `websocket` and `agent` 1.
    #[serde(default, with = "MaybeBetween::<1, 100>")]
    rise: Option<u32>,
    /// So many failures in a row take it down; of `websocket`, make it suspect, which a probe decides.
    /// Default 3; of `websocket` and `agent` 1.
    #[serde(default, with = "MaybeBetween::<1, 100>")]
    fall: Option<u32>,
}

const fn timeout_ms() -> u64 {
    2_000
}

impl CheckSettings {
    /// A check with nothing but defaults.
    #[must_use]
    pub const fn of(kind: CheckKind) -> Self {
        let timeout_ms = timeout_ms();
        Self { kind, path: None, port: None, interval_ms: None, timeout_ms, rise: None, fall: None }
    }

    /// Time between two.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let default = if self.kind == CheckKind::Agent { 2_000 } else { 5_000 };
        Duration::from_millis(self.interval_ms.unwrap_or(default))
    }

    /// How long the node has to answer.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// So many answers in a row bring the node back up.
    #[must_use]
    pub fn rise(&self) -> u32 {
        self.rise.unwrap_or(if self.is_immediate() { 1 } else { 2 })
    }

    /// So many failures in a row are one.
    #[must_use]
    pub fn fall(&self) -> u32 {
        self.fall.unwrap_or(if self.is_immediate() { 1 } else { 3 })
    }

    /// What a client's own dial, or the node itself, says at once.
    const fn is_immediate(&self) -> bool {
        matches!(self.kind, CheckKind::Websocket | CheckKind::Agent)
    }
}

/// The checks of a node: one, or several in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks(pub Vec<CheckSettings>);

impl Checks {
    /// Those that ask.
    pub fn active(&self) -> impl Iterator<Item = &CheckSettings> {
        self.0.iter().filter(|check| check.kind != CheckKind::Off)
    }
}

impl Serialize for Checks {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Checks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check such as { kind = \"http\" }, or a list of at most 4")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checks, A::Error> {
        CheckSettings::deserialize(de::value::MapAccessDeserializer::new(map)).map(|one| Checks(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Checks, A::Error> {
        let mut checks = Vec::new();
        while let Some(check) = list.next_element()? {
            if checks.len() >= CHECKS_MAX {
                return Err(de::Error::invalid_length(checks.len() + 1, &self));
            }
            checks.push(check);
        }
        Ok(Checks(checks))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        health: Checks,
    }

    fn checks(text: &str) -> Result<Checks, String> {
        toml::from_str::<File>(text).map(|file| file.health).map_err(|error| error.to_string())
    }

    #[test]
    fn one_check_or_several_are_taken() {
        let one = checks("health = { kind = \"http\", port = 8444, rise = 1 }").unwrap();
        assert_eq!((one.0[0].kind, one.0[0].port, one.0[0].rise()), (CheckKind::Http, Some(8444), 1));
        assert_eq!((one.0[0].fall(), one.0[0].interval()), (3, Duration::from_secs(5)));
        let two = checks("health = [{ kind = \"agent\" }, { kind = \"websocket\", path = \"/x\" }]").unwrap();
        assert_eq!((two.0[0].fall(), two.0[0].interval()), (1, Duration::from_secs(2)));
        assert_eq!(two.active().count(), 2);
        assert_eq!(checks("health = { kind = \"off\" }").unwrap().active().count(), 0);
    }

    #[test]
    fn a_fifth_check_and_a_wrong_one_are_refused() {
        let list = |count| format!("health = [{}]", ["{ kind = \"tcp\" }"; 5][..count].join(", "));
        assert_eq!(checks(&list(4)).unwrap().0.len(), 4);
        assert!(checks(&list(5)).unwrap_err().contains("at most 4"));
        for (wrong, why) in [
            ("{ kind = \"ping\" }", "unknown variant"),
            ("{ kind = \"tcp\", prot = 1 }", "unknown field"),
            ("{ kind = \"tcp\", port = 0 }", "from 1 to 65535"),
            ("{ kind = \"tcp\", interval_ms = 1 }", "from 10"),
            ("{ port = 1 }", "missing field `kind`"),
            ("3", "a check such as"),
        ] {
            let error = checks(&format!("health = {wrong}")).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
