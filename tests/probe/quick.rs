//! What shows within seconds and without publishing.

use std::time::{Duration, Instant};

use holdfast::probe::{Outcome, QUICK_TIME_MAX, Verdict};
use serde_json::json;

use super::{all, left_nothing, probed, seen, settings, simulator};

/// The appKey that the probe asks for to be refused.
const UNKNOWN_APP: &str = "holdfastProbeUnknownApp";

#[tokio::test]
async fn a_server_as_assumed_is_told_so_within_its_time() {
    // Pings as often as a real server sends them: this is what the time is bounded for.
    let simulator = simulator(&json!({"pings": {"interval_ms": 5000}})).await;
    let begun = Instant::now();
    let report = probed(settings(&simulator)).await;
    let took = begun.elapsed();
    assert!(took < QUICK_TIME_MAX + Duration::from_secs(1), "{took:?}");
    assert_eq!(report.outcome, Outcome::AsAssumed, "{report}");
    assert_eq!(seen(&report, "ping_form"), "json");
    let unknown: Vec<&str> = report
        .questions
        .iter()
        .filter(|row| row.verdict == Verdict::Unknown && !row.detail.starts_with("needs"))
        .map(|row| row.key)
        .collect();
    // The simulated server takes any appKey.
    assert_eq!(unknown, ["connect_refusal", "connect_refusal_info"], "{report}");
    left_nothing(&simulator, "as assumed").await;
}

#[tokio::test]
async fn each_position_that_shows_at_once_is_recognised() {
    let refuse =
        |close| json!({"sessions": {"refuse": {"app_key": UNKNOWN_APP, "info": "Go away", "close": close}}});
    let play = |by_fail| json!({"streams": {"refuse": [{"verb": "play", "info": "No such thing", "by_fail": by_fail}]}});
    let resume = |mode: &str| json!({"sessions": {"resume": mode}});
    all(
        vec![
            (
                "extension",
                json!({"handshake": {"answer_extension": "x-nothing"}}),
                &[("handshake_extension", "answered")],
            ),
            (
                "subprotocol",
                json!({"handshake": {"answer_protocol": "wcs"}}),
                &[("handshake_subprotocol", "answered")],
            ),
            (
                "version before",
                json!({"sessions": {"version_order": "before"}}),
                &[("version_order", "before"), ("server_version", "5.2.2000-simulator")],
            ),
            (
                "version never",
                json!({"sessions": {"version_order": "never"}}),
                &[("version_order", "never"), ("server_version", "unknown")],
            ),
            (
                "metrics",
                json!({"sessions": {"metrics_description": {"ids": []}}}),
                &[("metrics_description", "present")],
            ),
            ("empty data", json!({"sessions": {"empty_data": "empty"}}), &[("ping_data", "empty")]),
            (
                "null data",
                json!({}),
                &[("ping_data", "null"), ("ping_form", "json"), ("client_ping", "silent")],
            ),
            ("WebSocket pings", json!({"pings": {"websocket_pings": true}}), &[("ping_form", "both")]),
            (
                "only WebSocket pings",
                json!({"pings": {"websocket_pings": true, "missed_max": 0}, "withhold": ["ping"]}),
                &[("ping_form", "websocket"), ("ping_data", "unknown")],
            ),
            ("pong", json!({"pings": {"answer_client_pings": true}}), &[("client_ping", "pong")]),
            (
                "no pings",
                json!({"pings": {"interval_ms": 0}}),
                &[("ping_form", "none"), ("ping_interval_ms", "none")],
            ),
            ("stalled pings", json!({"pings": {"stalled": true}}), &[("ping_form", "none")]),
            (
                "refusal that stays",
                refuse(false),
                &[("connect_refusal", "stays_open"), ("connect_refusal_info", "Go away")],
            ),
            ("refusal that closes", refuse(true), &[("connect_refusal", "closes")]),
            ("no refusal", json!({}), &[("connect_refusal", "unknown")]),
            (
                "play refused by fail",
                play(true),
                &[("unknown_name_verb", "fail"), ("unknown_name_info", "No such thing")],
            ),
            ("play refused by status", play(false), &[("unknown_name_verb", "status")]),
            ("no resume", resume("off"), &[("keep_alive_resume", "off"), ("stale_token", "new_session")]),
            ("same token", resume("same_token"), &[("keep_alive_resume", "same_token")]),
            ("new token", resume("new_token"), &[("keep_alive_resume", "new_token")]),
            (
                "stale token",
                json!({"sessions": {"resume": "new_token", "stale_token_info": "Who?"}}),
                &[("stale_token", "fail"), ("keep_alive_resume", "new_token")],
            ),
            (
                "rooms",
                json!({}),
                &[("room_app", "answers"), ("media_socket", "accepted"), ("media_socket_stranger", "closed")],
            ),
            ("no rooms", json!({"data": {"fail_info": "none here"}}), &[("room_app", "fails")]),
            ("silent rooms", json!({"withhold": ["DataStatusEvent"]}), &[("room_app", "silent")]),
            (
                "silence about streams",
                json!({"withhold": ["availableStream", "notifyStreamStatusEvent"]}),
                &[
                    ("available_stream", "unknown"),
                    ("unknown_name_verb", "unknown"),
                    ("unknown_name_info", "unknown"),
                ],
            ),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test]
async fn numbers_are_measured() {
    let simulator =
        simulator(&json!({"sessions": {"user_data_delay_ms": 400}, "pings": {"interval_ms": 700}})).await;
    let report = probed(settings(&simulator)).await;
    let value = |key| report.row(key).unwrap().value.as_ref().unwrap().as_u64().unwrap();
    assert!((400..900).contains(&value("user_data_ms")), "{report}");
    assert!((600..900).contains(&value("ping_interval_ms")), "{report}");
    assert_eq!(report.outcome, Outcome::Differs, "pings come too often: {report}");
}

#[tokio::test]
async fn dials_are_bounded_and_what_they_are_needed_for_is_unknown() {
    let simulator = simulator(&json!({})).await;
    let mut settings = settings(&simulator);
    settings.dials_max = 2;
    let report = probed(settings).await;
    assert_eq!((report.dials, simulator.summary()["counters"]["dials"].as_u64()), (2, Some(2)));
    assert_eq!(seen(&report, "room_app"), "unknown");
    assert!(report.row("room_app").unwrap().detail.contains("--dials-max"), "{report}");
    assert_eq!(seen(&report, "ping_form"), "json");
    left_nothing(&simulator, "two dials").await;
}

#[tokio::test]
async fn a_server_that_refuses_is_a_wcs_that_differs() {
    let simulator = simulator(&json!({"sessions": {"refuse": {"info": "Forbidden", "close": true}}})).await;
    let report = probed(settings(&simulator)).await;
    assert_eq!((report.outcome, report.dials), (Outcome::Differs, 1), "{report}");
    assert_eq!(seen(&report, "connect_refusal"), "closes");
    assert!(report.reason.as_ref().unwrap().contains("Forbidden"), "{report}");
}

#[tokio::test]
async fn figures_and_agents_are_looked_at_where_they_are_named() {
    let simulator =
        simulator(&json!({"stat": "127.0.0.1:0", "agent": "127.0.0.1:0", "agent_says": "drain"})).await;
    let mut settings = settings(&simulator);
    settings.stat =
        Some(format!("http://{}/?action=stat", simulator.stat_address().unwrap()).parse().unwrap());
    settings.agent = Some(simulator.agent_address().unwrap().to_string());
    let report = probed(settings).await;
    assert_eq!((seen(&report, "stat_page"), seen(&report, "agent")), ("figures", "answers"), "{report}");
}
