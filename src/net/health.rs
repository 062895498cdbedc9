//! How the proxy is, for balancers and service managers: whether it lives, and whether new clients are
//! welcome. Reads only.
//!
//! Nodes that do not answer are no reason to say no: a client that comes meanwhile is held (rule R13), and a
//! balancer that took all proxies out would refuse it. They are told in the body.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::{config::HealthSettings, milliseconds::ms, telemetry::events::clean, upstream::NodeStatus};

use super::{
    reload,
    request::{self, Answer},
    shared::Shared,
};

/// How often the runtime shows that it lives, and for how long it may fail to.
const BEAT: Duration = Duration::from_secs(1);
const BEAT_PATIENCE_MS: u64 = 10_000;

/// Which of the two questions is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Should this process be left running?
    Live,
    /// Should new clients be sent here?
    Ready,
}

impl Question {
    /// What the path of a request asks, if it asks anything.
    pub(crate) fn of(path: &str, settings: &HealthSettings) -> Option<Self> {
        match path {
            "" => None,
            path if path == settings.live_path => Some(Self::Live),
            path if path == settings.ready_path => Some(Self::Ready),
            _ => None,
        }
    }
}

/// The heartbeat of the runtime: a task that is due every second.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    last_ms: AtomicU64,
}

/// Beats until the proxy is gone, and sums up outages that are over.
pub(super) async fn beat(shared: std::sync::Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let now = shared.clock.now();
        shared.heart.last_ms.store(now.as_ms(), Ordering::Relaxed);
        shared.sum_up(shared.outages.over(now));
        shared.pool.tick();
        shared.movers.follow(&shared);
        reload::let_go(&shared);
        drop(shared);
        sleep(BEAT).await;
    }
}

/// Reasons against its being alive, where the runtime has to show itself within this time (and in any case within
/// that of [`reasons`]). Empty: it lives.
pub(super) fn faults(shared: &Shared, patience: Duration) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let silence_ms = shared.clock.now().as_ms().saturating_sub(shared.heart.last_ms.load(Ordering::Relaxed));
    // A beat that is a little late is none that is missing.
    let patience_ms = ms(patience).clamp(2 * ms(BEAT), BEAT_PATIENCE_MS);
    if silence_ms > patience_ms {
        faults.push("runtime stalls");
    }
    if shared.media.as_ref().is_some_and(|media| media.workers_live() < media.addresses().len()) {
        faults.push("a media worker has ended");
    }
    faults
}

/// Reasons of our own against a yes. Empty: yes.
pub(crate) fn reasons(shared: &Shared, question: Question) -> Vec<&'static str> {
    let mut reasons = faults(shared, Duration::from_millis(BEAT_PATIENCE_MS));
    if question == Question::Ready {
        if shared.leaving.is_ordered() || shared.stopping.is_cancelled() {
            reasons.push("draining");
        }
        if shared.live.is_full() {
            reasons.push("all places for sessions are taken");
        }
        if shared.memory.is_short() {
            reasons.push("memory is short");
        }
    }
    reasons
}

/// The answer to a request, if it asks for health: GET, HEAD and OPTIONS, with or without Host. A WebSocket
/// handshake is a client, whatever its path.
pub(crate) fn answer(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Answer> {
    let question = Question::of(uri.path(), &shared.settings.load().health)?;
    if headers.contains_key(header::UPGRADE) {
        return None;
    }
    Some(said(question, &reasons(shared, question), method, headers, || shared.pool.nodes()))
}

/// What is said in either way of reading: JSON, or text where the request prefers it.
pub(crate) fn said(
    question: Question,
    reasons: &[&str],
    method: &Method,
    headers: &HeaderMap,
    nodes: impl FnOnce() -> Vec<NodeStatus>,
) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let mut answer = response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        return answer;
    }
    let word = match (question, reasons.is_empty()) {
        (Question::Live, true) => "live",
        (Question::Live, false) => "not live",
        (Question::Ready, true) => "ready",
        (Question::Ready, false) => "not ready",
    };
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let nodes = nodes();
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut answer = if accepted.contains("text/plain") && !accepted.contains("json") {
        let lines = reasons.iter().map(|reason| format!("reason: {reason}\n"));
        let nodes = nodes.iter().map(|node| {
            format!("node {} ({}): {}, {}\n", node.name, node.url, node.state, clean(&node.reason))
        });
        response(
            status,
            "text/plain; charset=utf-8",
            std::iter::once(format!("{word}\n")).chain(lines).chain(nodes).collect(),
        )
    } else {
        let told = |node: &NodeStatus| {
            json!({"name": node.name, "pool": node.pool, "url": node.url, "state": node.state,
                "reason": clean(&node.reason)})
        };
        let nodes: Vec<_> = nodes.iter().map(told).collect();
        let body = json!({"status": word, "reasons": reasons, "nodes": nodes}).to_string();
        response(status, "application/json", body)
    };
    if *method == Method::OPTIONS {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    answer
}

/// The server leaves the body out where the request was HEAD.
fn response(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = request::answer(status, kind, body);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn reasons_and_nodes_are_told_as_json_or_text() {
        let node = NodeStatus {
            name: "a".to_owned(),
            url: "ws://wcs:1".to_owned(),
            state: "down".into(),
            reason: "refused".to_owned(),
            ..NodeStatus::default()
        };
        let nodes = || vec![node.clone()];
        let none = HeaderMap::new();
        let text = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/plain"))]);
        let answer = said(Question::Ready, &["draining"], &Method::GET, &text, nodes);
        assert_eq!(answer.status(), 503);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "not ready\nreason: draining\nnode a (ws://wcs:1): down, refused\n");
        let answer = said(Question::Live, &[], &Method::OPTIONS, &none, nodes);
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (200, &"GET, HEAD, OPTIONS".parse().unwrap())
        );
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["status"], &body["nodes"][0]["url"]), (&json!("live"), &json!("ws://wcs:1")));
        assert_eq!(said(Question::Live, &[], &Method::POST, &none, nodes).status(), 405);
    }

    #[test]
    fn a_path_that_is_switched_off_asks_nothing() {
        let off = HealthSettings { live_path: String::new(), ready_path: "/r".to_owned() };
        assert_eq!(Question::of("", &off), None);
        assert_eq!(Question::of("/healthz", &off), None);
        assert_eq!(Question::of("/r", &off), Some(Question::Ready));
    }
}
