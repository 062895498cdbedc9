//! What one session keeps is bounded in bytes, whatever either side says; what is not kept is
//! passed on.

use crate::{registry::RegistryLimits, session::left_behind::RETIRED_BYTES_MAX};

use super::*;

/// The default bounds, in bytes.
const STREAM: usize = 64 * 1024;
const SESSION: usize = 1024 * 1024;
const ID: usize = 1024;

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn assert_bounded(bed: &Bed, what: &str) {
    let kept = bed.session.kept_bytes();
    assert!(kept <= SESSION + 2 * RETIRED_BYTES_MAX, "{what}: {kept} bytes are kept");
    assert_eq!(bed.registry.kept().bytes(), kept, "{what}: the process knows");
}

fn large_publish(id: &str, name: &str, bytes: usize) -> Value {
    let mut publish = publish(id, name);
    publish["custom"] = json!(long(bytes));
    publish
}

#[test]
fn a_publish_too_large_to_keep_is_passed_on_and_reported() {
    let mut bed = Bed::new().established();
    for n in 0..3 {
        bed.client("publishStream", large_publish(&format!("big{n}"), "cam", STREAM));
    }
    assert_eq!(bed.upstream_got("publishStream").len(), 3);
    assert!(bed.session.kept_bytes() < 4 * 1024, "{}", bed.session.kept_bytes());
    assert_eq!(bed.limits(), ["session.stream_bytes_max"], "the log says it once");
    bed.client("publishStream", publish("small", "tom"));
    bed.clear();
    bed.lose();
    bed.reconnect();
    let repeated = bed.upstream_got("publishStream");
    assert_eq!(repeated.len(), 1, "only what is kept is repeated");
    assert_eq!(repeated[0]["data"][0]["name"], "tom");
    let told = bed.statuses();
    for n in 0..3 {
        assert!(told.contains(&format!("big{n} FAILED Session not ready")), "{told:?}");
    }
}

/// Nor is it anchored: the workers' offer could not be put into it.
#[test]
fn a_publish_too_large_to_keep_goes_the_way_of_direct_media() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("small", "tom"));
    assert_eq!(bed.media.len(), 1);
    bed.client("publishStream", large_publish("big", "cam", STREAM));
    assert_eq!(bed.media.len(), 1);
    assert_eq!(bed.upstream_got("publishStream").len(), 1);
    bed.server_all("setRemoteSDP", json!(["big", "answer", true]));
    bed.server("notifyStreamStatusEvent", status("big", "cam", "PUBLISHING", None));
    assert!(bed.statuses()[0].starts_with("big PUBLISHING"));
}

#[test]
fn an_answer_too_large_for_the_workers_is_the_clients() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    let MediaCommand::Open { key, epoch, .. } = &bed.media[0] else { panic!("{:?}", bed.media) };
    let offer = crate::media::Fact::UpstreamOffer { epoch: *epoch, sdp: "ours".to_owned() };
    let key = *key;
    bed.feed(Input::Media(key, offer));
    bed.server_all("setRemoteSDP", json!(["a", long(STREAM + 1), true]));
    assert!(!bed.media.iter().any(|command| matches!(command, MediaCommand::UpstreamAnswer { .. })));
    // Asked again with the client's own offer, as with any answer that is of no use here.
    let asked = bed.upstream_got("publishStream");
    assert_eq!(asked.last().unwrap()["data"][0]["sdp"], publish("a", "cam")["sdp"]);
}

#[test]
fn many_publishes_just_small_enough_stay_under_the_bound_of_the_session() {
    let mut bed = Bed::new().established();
    for n in 0..100 {
        bed.client("publishStream", large_publish(&format!("s{n}"), &format!("n{n}"), STREAM - 1024));
        assert_bounded(&bed, "publishes");
    }
    assert_eq!(bed.upstream_got("publishStream").len(), 100, "all are passed on");
    assert_eq!(bed.limits(), ["session.bytes_max"]);
    bed.lose();
    bed.reconnect();
    assert_bounded(&bed, "after an outage");
    let restored = bed.upstream_got("publishStream").len() - 100;
    assert!((10..20).contains(&restored), "{restored} fit");
    assert_eq!(bed.statuses().len(), 100 - restored, "the others are reported");
}

#[test]
fn a_connection_too_large_to_keep_is_passed_through() {
    for (bytes, passes) in [(SESSION / 2, false), (SESSION, true)] {
        let mut bed = Bed::new();
        let mut connection = connection();
        connection["custom"] = json!(long(bytes));
        bed.client("connection", connection);
        assert_eq!(bed.to_upstream.len(), 1);
        assert_eq!(bed.passthrough, passes, "{bytes} bytes");
    }
}

#[test]
fn long_ids_and_names_are_passed_on_and_not_kept() {
    let mut bed = Bed::new().established();
    let before = bed.session.kept_bytes();
    let id = long(ID + 1);
    bed.client("publishStream", publish(&id, "cam"));
    bed.client("unPublishStream", json!({"mediaSessionId": id, "name": "cam"}));
    bed.client("call", json!({"callId": id}));
    bed.client("sendData", json!({"operationId": id, "payload": {}}));
    bed.client("availableStream", json!({"mediaSessionId": id}));
    bed.client("snapshot", json!({"mediaSessionId": id}));
    let options = json!({"name": id});
    bed.client("sendData", json!({"operationId": "j", "payload": {"command": "join", "options": options}}));
    bed.client("sendData", json!({"operationId": "l", "payload": {"command": "leave", "options": options}}));
    assert_eq!(bed.to_upstream.len(), 8, "all are passed on");
    assert_eq!(bed.session.kept_bytes(), before);
    assert_eq!(bed.limits(), ["session.id_bytes_max"]);
    // A stream with a long name still gets its verdict.
    bed.client("publishStream", publish("a", &id));
    bed.clear();
    bed.lose();
    bed.pass(6_000);
    assert_eq!(bed.statuses(), ["a FAILED Session not ready"]);
}

#[test]
fn in_an_outage_what_cannot_be_kept_is_answered() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.client("publishStream", large_publish("big", "cam", STREAM));
    bed.client("publishStream", publish(&long(ID + 1), "cam"));
    assert_eq!(bed.statuses().len(), 2);
    let join = json!({"command": "join", "options": {"name": "r"}, "more": long(STREAM)});
    bed.client("sendData", json!({"operationId": "j", "payload": join}));
    assert_eq!(bed.client_got("DataStatusEvent")[0]["data"][0]["status"], "FAILED");
    bed.client("odd", json!({"x": long(SESSION)}));
    assert_bounded(&bed, "held");
}

/// Everything else that a session remembers, said as often and as long as anybody likes.
#[test]
fn nothing_that_is_said_is_kept_without_bound() {
    let mut bed = Bed::with(|settings| settings.restore.mode = crate::settings::RestoreMode::Restart);
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    bed.client("connection", connection);
    let token = long(4 * SESSION);
    bed.server("getUserData", json!({"authToken": token, "status": "ESTABLISHED", "appKey": token}));
    assert_bounded(&bed, "token");
    for n in 0..200 {
        let (part, id) = (long(STREAM - 2_000), format!("{n}{}", long(ID - 10)));
        bed.client("publishStream", publish(&id, &format!("n{id}")));
        bed.client("webRTCMetricsClientDescription", json!({"mediaSessionId": id, "x": part}));
        let join = json!({"command": "join", "options": {"name": format!("r{n}")}, "x": part});
        bed.client("sendData", json!({"operationId": id, "payload": join}));
        bed.client("call", json!({"callId": id}));
        bed.client("sendData", json!({"operationId": format!("o{id}"), "payload": {}}));
        bed.client("snapshot", json!({"mediaSessionId": id}));
        assert_bounded(&bed, "requests");
    }
    let ids: Vec<_> =
        (0..2_000).map(|n| json!({"login": format!("{n}{}", long(900)), "name": long(900)})).collect();
    for name in ["STATE", "STATE"] {
        bed.server("OnDataEvent", json!({"payload": {"roomName": "r0", "name": name, "info": ids}}));
        assert_bounded(&bed, "participants");
    }
    for n in 0..100 {
        let id = format!("{n}{}", long(ID - 10));
        let mut end = status(&id, "n", "FAILED", Some("Stream failed"));
        end["more"] = json!(long(STREAM / 2));
        bed.server("notifyStreamStatusEvent", end.clone());
        bed.server("notifyStreamStatusEvent", end);
        assert_bounded(&bed, "ends");
    }
    for _ in 0..3 {
        bed.lose();
        assert_bounded(&bed, "outage");
        for _ in 0..100 {
            bed.client("odd", json!({"x": long(STREAM)}));
        }
        assert_bounded(&bed, "held");
        let epoch = *bed.dials.last().unwrap();
        bed.feed(Input::UpstreamOpened(epoch, NodeId(0)));
        bed.server("getUserData", json!({"authToken": "T", "status": "ESTABLISHED", "x": long(2 * SESSION)}));
        assert_bounded(&bed, "after an outage");
        bed.pass(3_000);
    }
    bed.feed(Input::ClientClosed(None));
    assert_eq!(bed.registry.kept().bytes(), 0, "nothing is kept for nobody");
}

/// Events of one stream behind an end that is held back, faster than the hold ends.
#[test]
fn what_follows_an_end_that_is_held_back_is_bounded_and_keeps_its_order() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Restricted access")));
    assert!(bed.to_client.is_empty(), "held back");
    for n in 0..1_000 {
        bed.server(
            "notifyStreamEvent",
            json!({"mediaSessionId": "a", "type": "x", "n": n, "x": long(10_000)}),
        );
        assert_bounded(&bed, "burst");
    }
    let names: Vec<_> = bed.to_client.iter().map(|m| m["message"].as_str().unwrap()).collect();
    assert_eq!(names[0], "notifyStreamStatusEvent", "the end comes first");
    let numbers: Vec<_> =
        bed.client_got("notifyStreamEvent").iter().map(|m| m["data"][0]["n"].clone()).collect();
    let sorted = numbers.windows(2).all(|pair| pair[0].as_u64() < pair[1].as_u64());
    assert!(sorted, "{numbers:?}");
}

#[test]
fn all_sessions_together_are_bounded_and_the_truth_goes_on() {
    let limits_of_all = RegistryLimits { kept_bytes_max: 400 * 1024, ..RegistryLimits::default() };
    let registry = Arc::new(Registry::new(limits_of_all));
    let mut beds: Vec<_> = (0..10).map(|n| Bed::member(n, &registry, |_| {}).established()).collect();
    for (n, bed) in beds.iter_mut().enumerate() {
        bed.client("publishStream", large_publish("a", &format!("n{n}"), STREAM - 1_024));
        assert_eq!(bed.upstream_got("publishStream").len(), 1);
    }
    let kept = registry.kept().bytes();
    assert!(kept <= registry.kept().bytes_max() + 16 * 1024, "{kept} bytes are kept");
    let full = beds.iter().filter(|bed| bed.limits() == ["limits.kept_memory_percent_max"]).count();
    assert!((5..8).contains(&full), "{full} found no room");
    // Who comes now is passed through; who is here is told the truth.
    let mut late = Bed::member(99, &registry, |_| {});
    let mut large = connection();
    large["custom"] = json!(long(STREAM));
    late.client("connection", large);
    assert!(late.passthrough);
    let last = beds.last_mut().unwrap();
    last.lose();
    last.pass(6_000);
    assert_eq!(last.statuses(), ["a FAILED Session not ready"]);
    for bed in &mut beds {
        bed.feed(Input::Shutdown);
    }
    assert_eq!(registry.kept().bytes(), 0);
}

#[test]
fn long_names_are_cut_for_those_who_look() {
    let bed = Bed::new().established().publishing("a", &"ö".repeat(500));
    let shown = bed.session.describe();
    assert_eq!(shown.streams[0].name, format!("{}…", "ö".repeat(128)));
    assert_eq!(shown.streams[0].id, "a");
}
