//! What a publish shows, and what takes time.

use std::time::{Duration, Instant};

use holdfast::probe::{Outcome, PUBLISH_TIME_MAX, ProbeSettings, QUICK_TIME_MAX};
use serde_json::{Value, json};

use super::{all, left_nothing, probed, seen, settings, simulator};

fn publishes(settings: &mut ProbeSettings) {
    settings.publish = Some("probe-trial".to_owned());
}

fn streams(changes: &Value) -> Value {
    json!({"streams": changes})
}

#[tokio::test]
async fn a_server_with_real_media_as_assumed_is_told_so() {
    let simulator = simulator(&json!({"media": "real", "pings": {"interval_ms": 5000}})).await;
    let mut settings = settings(&simulator);
    publishes(&mut settings);
    let begun = Instant::now();
    let report = probed(settings).await;
    assert!(begun.elapsed() < QUICK_TIME_MAX + PUBLISH_TIME_MAX + Duration::from_secs(2));
    assert_eq!(report.outcome, Outcome::AsAssumed, "{report}");
    for key in [
        "dtls_role",
        "dtls_certificate",
        "key_frame_on_play",
        "first_key_frame_ms",
        "mse_records",
        "players_told",
    ] {
        assert_ne!(seen(&report, key), "unknown", "{key}: {report}");
    }
    left_nothing(&simulator, "real media").await;
}

#[tokio::test]
async fn each_position_of_signaling_is_recognised() {
    let refuse = |by_fail| json!({"streams": {"refuse": [{"verb": "publish", "name": "probe-trial", "info": "Taken", "by_fail": by_fail}]}});
    let shape = |letter: &str| json!({"streams": {"answer_shape": letter}});
    all(
        vec![
            (
                "shape A",
                shape("A"),
                &[
                    ("answer_shape", "A"),
                    ("answer_bundle", "bundled"),
                    ("answer_mids", "present"),
                    ("answer_setup", "passive"),
                    ("answer_candidates", "udp"),
                    ("duplicate_name_info", "Stream name is already in use"),
                    ("players_told", "told"),
                    ("rate_messages", "absent"),
                ],
            ),
            (
                "shape B",
                shape("B"),
                &[
                    ("answer_shape", "B"),
                    ("answer_bundle", "separate"),
                    ("answer_mids", "absent"),
                    ("answer_setup", "absent"),
                    ("answer_profile", "RTP/SAVPF"),
                ],
            ),
            ("shape C", shape("C"), &[("answer_shape", "C"), ("answer_candidates", "tcp")]),
            ("shape D", shape("D"), &[("answer_shape", "D"), ("answer_setup", "absent")]),
            (
                "shape E",
                shape("E"),
                &[("answer_shape", "E"), ("answer_ice_lite", "present"), ("answer_setup", "active")],
            ),
            ("shape G", shape("G"), &[("answer_shape", "G"), ("answer_setup", "passive")]),
            (
                "status first",
                streams(&json!({"status_before_sdp": true})),
                &[("status_order", "status_first")],
            ),
            (
                "pending first",
                streams(&json!({"pending_first": true})),
                &[("pending_status", "PENDING"), ("status_order", "sdp_first")],
            ),
            (
                "two arguments",
                streams(&json!({"third_sdp_argument": false})),
                &[("third_sdp_argument", "missing")],
            ),
            ("no word to players", streams(&json!({"players_told": false})), &[("players_told", "not_told")]),
            ("rates", streams(&json!({"rate_interval_ms": 100})), &[("rate_messages", "present")]),
            ("snapshot by status", streams(&json!({"snapshot": "status"})), &[("snapshot", "status")]),
            ("snapshot fails", streams(&json!({"snapshot": "fail"})), &[("snapshot", "failed")]),
            ("no snapshot", streams(&json!({"snapshot": "silent"})), &[("snapshot", "silent")]),
            ("refused by status", refuse(false), &[("answer_shape", "unknown"), ("answer_ms", "unknown")]),
            ("refused by fail", refuse(true), &[("answer_shape", "unknown")]),
            ("nothing that is resumed", json!({}), &[("status_after_resume", "unknown")]),
            (
                "status after resume",
                json!({"sessions": {"resume": "new_token"}}),
                &[("status_after_resume", "sent")],
            ),
            (
                "no status after resume",
                json!({"sessions": {
                    "resume": "same_token", "status_after_resume": false, "streams_survive_loss": true
                }}),
                &[("status_after_resume", "absent")],
            ),
        ],
        publishes,
    )
    .await;
}

#[tokio::test]
async fn each_position_of_media_is_recognised() {
    let real =
        |streams: Value, server: Value| json!({"media": "real", "streams": streams, "media_server": server});
    let none = json!({});
    all(
        vec![
            (
                "RSA",
                real(none.clone(), json!({"rsa_certificate": true})),
                &[("dtls_certificate", "rsa"), ("media_connects", "yes"), ("key_frame_on_play", "asked")],
            ),
            (
                "nobody is asked for key frames",
                real(none.clone(), json!({"asks_key_frames": false})),
                &[("key_frame_on_play", "not_asked"), ("first_key_frame_ms", "unknown")],
            ),
            (
                "server starts DTLS",
                real(none.clone(), json!({"dtls_role": "active"})),
                &[("dtls_role", "starts"), ("answer_setup", "active"), ("dtls_certificate", "ecdsa")],
            ),
            (
                "separate transports",
                real(json!({"answer_shape": "B"}), none.clone()),
                &[("media_connects", "yes"), ("dtls_role", "starts")],
            ),
            (
                "TCP",
                real(json!({"answer_shape": "C"}), none.clone()),
                &[("media_connects", "yes"), ("dtls_role", "waits")],
            ),
            (
                "nobody starts",
                real(json!({"answer_shape": "D"}), json!({"dtls_role": "passive"})),
                &[("media_connects", "no"), ("dtls_role", "unknown"), ("key_frame_on_play", "unknown")],
            ),
            ("no repair", real(json!({"without_repair": true}), none.clone()), &[("answer_rtx", "absent")]),
            (
                "own numbers",
                real(json!({"own_payload_types": true}), none.clone()),
                &[("answer_payload_types", "own"), ("media_connects", "yes")],
            ),
            (
                "other hash",
                real(json!({"answer_fingerprints": ["sha-512"]}), none.clone()),
                &[("answer_fingerprints", "sha-512")],
            ),
            (
                "no audio",
                real(json!({"reject_sections": ["audio"]}), none.clone()),
                &[("answer_sections", "video")],
            ),
            (
                "VP8 first",
                real(json!({"prefer_codecs": ["VP8"]}), none.clone()),
                &[("answer_codecs", "VP8, H264")],
            ),
            ("no H264", real(json!({"exclude_codecs": ["H264"]}), none), &[("answer_codecs", "VP8")]),
        ],
        publishes,
    )
    .await;
}

/// Short times stand for those of a real server.
#[tokio::test]
async fn patience_is_measured_and_names_are_given_back() {
    fn patient(settings: &mut ProbeSettings) {
        publishes(settings);
        settings.patient = true;
        settings.kept_looks = [Duration::from_millis(500), Duration::from_secs(4)];
    }
    let session =
        |changes: Value| json!({"sessions": changes, "pings": {"interval_ms": 300, "missed_max": 4}});
    all(
        vec![
            (
                "no linger",
                session(json!({})),
                &[
                    ("missed_pongs", "4"),
                    ("missed_pongs_end", "fin"),
                    ("name_after_loss_ms", "0"),
                    ("name_after_close_ms", "0"),
                    ("streams_after_loss", "end"),
                    ("keep_alive_linger_ms", "unknown"),
                ],
            ),
            (
                "streams go on",
                session(json!({"linger_ms": 2500, "streams_survive_loss": true})),
                &[("streams_after_loss", "go_on"), ("name_after_close_ms", "0")],
            ),
            ("streams end", session(json!({"linger_ms": 2500})), &[("streams_after_loss", "end")]),
        ],
        patient,
    )
    .await;
    let simulator = simulator(&session(json!({
        "linger_ms": 2500, "linger_after_close": true, "resume": "same_token", "keep_alive_linger_ms": 3000
    })))
    .await;
    let mut settings = settings(&simulator);
    patient(&mut settings);
    let report = probed(settings).await;
    let value =
        |key: &str| report.row(key).unwrap().value.as_ref().and_then(Value::as_u64).unwrap_or_default();
    for key in ["name_after_loss_ms", "name_after_close_ms"] {
        assert!((2_400..5_500).contains(&value(key)), "{key}: {report}");
    }
    assert!((500..3_000).contains(&value("keep_alive_linger_ms")), "{report}");
    let _ = simulator;
}
