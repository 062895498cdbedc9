//! What the admin side answered, read and put in order: the worst first.

use std::{cmp::Reverse, net::IpAddr};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    admin::Status,
    net::{DrainStatus, NodeStatus, SessionFound, SessionPage},
    session::{SessionSnapshot, StreamSnapshot},
    telemetry::past::PastOutage,
};

/// Most sessions that are asked for: those in an outage, and of all.
const SESSIONS_MAX: usize = 100;

/// A node, and the drain of it that runs or ran.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeNews {
    #[serde(flatten)]
    pub(crate) status: NodeStatus,
    pub(crate) drain: Option<DrainStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nodes {
    nodes: Vec<NodeNews>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Outages {
    outages: Vec<PastOutage>,
}

/// A proxy at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) status: Status,
    pub(crate) nodes: Vec<NodeNews>,
    /// Those that are over, the newest first.
    pub(crate) outages: Vec<PastOutage>,
    /// The worst first.
    pub(crate) sessions: Vec<SessionFound>,
    /// What could not be asked or read, in words.
    pub(crate) trouble: Option<String>,
}

impl News {
    /// # Errors
    /// This is no status; the text says what is wrong.
    pub(crate) fn new(status: Value) -> Result<Self, String> {
        if let Some(why) = status.get("error").and_then(Value::as_str) {
            return Err(why.to_owned());
        }
        let status = read(status)?;
        Ok(Self { status, ..Self::default() })
    }

    pub(crate) fn add_nodes(&mut self, answer: Result<Value, String>) {
        let Nodes { nodes } = self.take("nodes", answer);
        self.nodes = nodes;
    }

    pub(crate) fn add_outages(&mut self, answer: Result<Value, String>) {
        let Outages { outages } = self.take("outages", answer);
        self.outages = outages;
    }

    /// More sessions; those that are there already are not there twice.
    pub(crate) fn add_sessions(&mut self, answer: Result<Value, String>) {
        let SessionPage { sessions, .. } = self.take("sessions", answer);
        for found in sessions {
            if !self.sessions.iter().any(|known| known.session.id == found.session.id) {
                self.sessions.push(found);
            }
        }
        self.sessions.sort_by_cached_key(|found| Reverse(badness(&found.session)));
    }

    fn take<T: Default + for<'a> Deserialize<'a>>(&mut self, what: &str, answer: Result<Value, String>) -> T {
        answer.and_then(read).unwrap_or_else(|why| {
            self.trouble = Some(format!("no {what}: {why}"));
            T::default()
        })
    }
}

fn read<T: for<'a> Deserialize<'a>>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer).map_err(|error| format!("not understood: {error}"))
}

/// How badly off a session is: in an outage, how long; on its way; streams that are not live; its last gap.
fn badness(session: &SessionSnapshot) -> (Option<u64>, bool, usize, u64) {
    let unwell = session.streams.iter().filter(|stream| !is_well(stream)).count();
    let gaps = session.streams.iter().filter_map(|stream| stream.numbers.as_ref()?.gaps_ms.last().copied());
    let moves = !matches!(&*session.state, "up" | "passed through");
    (session.outage_ms, moves, unwell, gaps.max().unwrap_or_default())
}

/// Whether nothing is the matter with a stream.
pub(crate) fn is_well(stream: &StreamSnapshot) -> bool {
    stream.state == "live"
}

/// Where the sessions are that match what is looked for, in an outage or all: the address of a client, the name of
/// a node, or a part of the name of a stream.
pub(crate) fn sessions_path(search: &str, nodes: &[NodeNews], in_outage: bool) -> String {
    let mut path = format!("/v1/sessions?limit={SESSIONS_MAX}");
    if in_outage {
        path.push_str("&outage=true");
    }
    let search = search.trim();
    if search.is_empty() {
        return path;
    }
    let kind = if search.parse::<IpAddr>().is_ok() {
        "client"
    } else if nodes.iter().any(|node| node.status.name == search) {
        "node"
    } else {
        "stream"
    };
    path.push_str(&format!("&{kind}="));
    for byte in search.bytes() {
        if byte.is_ascii_alphanumeric() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_session_is_the_first_and_none_is_there_twice() {
        let page = |sessions: Value| Ok(json!({ "sessions": sessions }));
        let mut news = News::new(json!({"version": "1"})).unwrap();
        news.add_sessions(page(json!([
            {"id": "s1", "state": "up", "streams": [{"state": "live"}]},
            {"id": "s2", "state": "waiting", "outage_ms": 20},
            {"id": "s3", "state": "up", "streams": [{"state": "live", "numbers": {"gaps_ms": [9, 700]}}]},
            {"id": "s4", "state": "up", "streams": [{"state": "retry"}]},
        ])));
        news.add_sessions(page(json!([
            {"id": "s5", "state": "moving"},
            {"id": "s2", "state": "waiting", "outage_ms": 20},
            {"id": "s6", "state": "dialing", "outage_ms": 900},
        ])));
        let ids: Vec<_> = news.sessions.iter().map(|found| &*found.session.id).collect();
        assert_eq!(ids, ["s6", "s2", "s5", "s4", "s3", "s1"]);
        assert_eq!(news.trouble, None);
    }

    #[test]
    fn what_is_not_understood_is_told_and_the_rest_stays() {
        assert_eq!(News::new(json!({"error": "starting"})).unwrap_err(), "starting");
        assert!(News::new(json!({"sessions": "many"})).is_err());
        let mut news = News::new(json!({"sessions": 3})).unwrap();
        news.add_nodes(Ok(json!({"nodes": [{"name": "a", "drain": null, "of a later version": 1}]})));
        news.add_outages(Ok(json!({"outages": "none"})));
        assert_eq!((news.status.sessions, news.nodes.len(), news.outages.len()), (3, 1, 0));
        assert!(news.trouble.unwrap().starts_with("no outages: not understood"));
    }

    #[test]
    fn what_is_looked_for_cannot_change_the_question() {
        let nodes = [NodeNews {
            status: NodeStatus { name: "wcs-a".to_owned(), ..NodeStatus::default() },
            drain: None,
        }];
        let path = |search| sessions_path(search, &nodes, false);
        assert_eq!(path(""), "/v1/sessions?limit=100");
        assert_eq!(sessions_path(" ", &nodes, true), "/v1/sessions?limit=100&outage=true");
        assert_eq!(path("wcs-a"), "/v1/sessions?limit=100&node=wcs%2Da");
        assert_eq!(path("2001:db8::1"), "/v1/sessions?limit=100&client=2001%3Adb8%3A%3A1");
        assert_eq!(path("a&limit=9 ü"), "/v1/sessions?limit=100&stream=a%26limit%3D9%20%C3%BC");
    }
}
