//! Nodes and pools as an operator writes them, and all of them in one list, each with the name it goes by.
//! Parsing and naming only; whether the list makes sense is checked in `check`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    address::UpstreamUrl,
    checks::{CheckKind, CheckSettings, Checks},
    number::Between,
    send_proxy::SendProxy,
    text::as_text,
    upstream::UpstreamSettings,
};

/// The pool of `[upstream]`, which sessions use.
pub const DEFAULT_POOL: &str = "default";
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 63;

/// The short name of a node or a pool: letters, digits, `.`, `_` and `-`, at most 63 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX || !text.chars().all(fits) {
            return Err(format!(
                "not a name: expected 1 to {NAME_CHARS_MAX} letters, digits, `.`, `_` or `-`, such as wcs-a"
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node in the short form: `URL`, or `NAME=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUrl {
    /// Its name; without one it goes by host and port.
    pub name: Option<Name>,
    /// Where it is.
    pub url: UpstreamUrl,
}

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A scheme ends with `://`, so what has a `=` before it is a name.
        let before_scheme = text.split_once("://").map_or("", |(before, _)| before);
        match text.split_once('=').filter(|_| before_scheme.contains('=')) {
            Some((name, url)) => Ok(Self { name: Some(name.parse()?), url: url.parse()? }),
            None => Ok(Self { name: None, url: text.parse()? }),
        }
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}={}", self.url),
            None => self.url.fmt(f),
        }
    }
}

as_text!(Name, NodeUrl);

/// One node: `[[upstream.node]]` or `[[pool.NAME.node]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// Its name, unique over all pools. Default: its host and port.
    #[serde(default)]
    pub name: Option<Name>,
    /// Where it is. No default.
    pub url: UpstreamUrl,
    /// Its share of the sessions beside that of the others. Default 1.
    #[serde(default = "one", with = "Between::<1, 256>")]
    pub weight: u16,
    /// Whether it is used only where no other node is usable. Default false.
    #[serde(default)]
    pub backup: bool,
    /// How it is asked how it is: one check, or several in a list. Default: `upstream.health`.
    #[serde(default)]
    pub health: Option<Checks>,
    /// What its connections begin with. Default: `upstream.send_proxy`.
    #[serde(default)]
    pub send_proxy: Option<SendProxy>,
}

const fn one() -> u16 {
    1
}

impl NodeSettings {
    /// A node of which only this was said.
    #[must_use]
    pub fn of(short: &NodeUrl) -> Self {
        let (name, url) = (short.name.clone(), short.url.clone());
        Self { name, url, weight: 1, backup: false, health: None, send_proxy: None }
    }
}

/// `[pool.NAME]`: nodes that are no part of the pool `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// Its nodes. Default none.
    pub node: Vec<NodeSettings>,
}

/// A node with its pool and the name it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNode {
    /// Its name, or host and port.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// What was said of it.
    pub settings: NodeSettings,
    /// How it is asked how it is.
    pub checks: Vec<CheckSettings>,
    /// What its connections begin with.
    pub send_proxy: SendProxy,
    /// The list it stands in, and where there.
    pub(super) place: (String, usize),
}

impl NamedNode {
    /// The list it stands in, and where there.
    #[must_use]
    pub fn place(&self) -> (&str, usize) {
        (&self.place.0, self.place.1)
    }
}

/// All nodes: those of `[upstream]` first, in the order in which they are written.
pub(super) fn all(upstream: &UpstreamSettings, pools: &BTreeMap<Name, PoolSettings>) -> Vec<NamedNode> {
    let short = upstream.url.iter().map(NodeSettings::of).enumerate();
    let short = short.map(|(nth, node)| (DEFAULT_POOL.to_owned(), ("upstream.url".to_owned(), nth), node));
    let long = upstream.node.iter().cloned().enumerate();
    let long = long.map(|(nth, node)| (DEFAULT_POOL.to_owned(), ("upstream.node".to_owned(), nth), node));
    let others = pools.iter().flat_map(|(pool, settings)| {
        let nodes = settings.node.iter().cloned().enumerate();
        nodes.map(move |(nth, node)| (pool.to_string(), (format!("pool.{pool}.node"), nth), node))
    });
    let mut all: Vec<NamedNode> = Vec::new();
    for (pool, place, settings) in short.chain(long).chain(others) {
        let name = settings.name.as_ref().map_or_else(|| free_name(&settings.url, &all), Name::to_string);
        let send_proxy = settings.send_proxy.unwrap_or(upstream.send_proxy);
        all.push(NamedNode { name, pool, settings, checks: Vec::new(), send_proxy, place });
    }
    let is_lone = all.iter().filter(|node| node.pool == DEFAULT_POOL).count() == 1;
    for node in &mut all {
        let said = node.settings.health.as_ref().or(upstream.health.as_ref());
        // A lone node is asked by those who come, and there is nowhere else to go.
        let is_alone = node.pool == DEFAULT_POOL && is_lone;
        node.checks = match said {
            Some(checks) => checks.active().cloned().collect(),
            None if is_alone => Vec::new(),
            None => vec![CheckSettings::of(CheckKind::Websocket)],
        };
    }
    all
}

/// Host and port; no name that was given has a colon, so that only another one without a name can have it.
fn free_name(url: &UpstreamUrl, taken: &[NamedNode]) -> String {
    let name = url.authority_of_port(url.port());
    let again = (2..).map(|n: usize| format!("{name}-{n}"));
    let mut names = std::iter::once(name.clone()).chain(again);
    names.find(|name| taken.iter().all(|node| node.name != *name)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_the_scheme() {
        let named: NodeUrl = "wcs-a=ws://wcs-a:8080".parse().unwrap();
        assert_eq!(named.name.as_ref().unwrap().as_str(), "wcs-a");
        assert_eq!((named.url.host(), named.url.port()), ("wcs-a", 8080));
        assert_eq!(named.to_string(), "wcs-a=ws://wcs-a:8080");
        let plain: NodeUrl = "wss://wcs".parse().unwrap();
        assert_eq!((plain.name, plain.url.port()), (None, 443));
        for wrong in
            ["=ws://a", "a b=ws://a", "a==ws://a", "a=b", "a=", &format!("{}=ws://a", "x".repeat(64))]
        {
            assert!(wrong.parse::<NodeUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_nodes_are_asked_and_a_lone_one_is_not_unless_that_is_said() {
        let kinds = |urls: &[&str], said: Option<CheckKind>| -> Vec<CheckKind> {
            let upstream = UpstreamSettings {
                url: urls.iter().map(|url| url.parse().unwrap()).collect(),
                health: said.map(|kind| Checks(vec![CheckSettings::of(kind)])),
                ..UpstreamSettings::default()
            };
            let all = all(&upstream, &BTreeMap::new());
            all.iter().flat_map(|node| node.checks.iter().map(|check| check.kind)).collect()
        };
        assert_eq!(kinds(&["ws://a"], None), []);
        assert_eq!(kinds(&["ws://a", "ws://b"], None), [CheckKind::Websocket; 2]);
        assert_eq!(kinds(&["ws://a"], Some(CheckKind::Http)), [CheckKind::Http]);
        assert_eq!(kinds(&["ws://a", "ws://b"], Some(CheckKind::Off)), []);
    }

    #[test]
    fn nodes_without_a_name_go_by_host_and_port_and_none_by_that_of_another() {
        let upstream = UpstreamSettings {
            url: ["ws://a:80", "wss://a:80", "ws://[::1]:8080"].map(|url| url.parse().unwrap()).to_vec(),
            ..UpstreamSettings::default()
        };
        let names: Vec<String> = all(&upstream, &BTreeMap::new()).into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["a:80", "a:80-2", "[::1]:8080"]);
    }
}
