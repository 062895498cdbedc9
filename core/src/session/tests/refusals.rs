//! What the server refuses, and when another try is owed (rules R7, R8, R9).

use super::*;
use crate::session::EndOfName;

#[test]
fn a_first_refusal_is_passed_on_at_once() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.server(
        "notifyStreamStatusEvent",
        status("a", "cam", "FAILED", Some("Stream name is already in use")),
    );
    assert_eq!(bed.statuses(), ["a FAILED Stream name is already in use"]);
}

#[test]
fn a_publish_refused_for_its_codecs_is_offered_without_h264_once() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("No common codecs")));
    assert!(bed.statuses().is_empty());
    let sdp = bed.upstream_got("publishStream")[1]["data"][0]["sdp"].as_str().unwrap().to_owned();
    assert!(!sdp.contains("H264") && sdp.contains("VP8"), "{sdp}");
    let id = bed.last_upstream_id("publishStream");
    assert_ne!(id, "a");
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("No common codecs")));
    assert_eq!(bed.statuses(), ["a FAILED No common codecs"]);
}

#[test]
fn a_name_held_by_the_dead_session_is_tried_until_it_is_free() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.lose();
    bed.reconnect();
    for _ in 0..8 {
        let id = bed.last_upstream_id("publishStream");
        bed.server(
            "notifyStreamStatusEvent",
            status(&id, "cam", "FAILED", Some("Stream name is already in use")),
        );
        bed.server("ping", Value::Null);
        bed.client("pong", Value::Null);
        bed.pass(2_500);
    }
    assert!(bed.statuses().is_empty());
    let id = bed.last_upstream_id("publishStream");
    bed.server_all("setRemoteSDP", json!([id, "answer", true]));
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    assert_eq!(bed.statuses(), ["a PUBLISHING -"]);
}

#[test]
fn a_name_whose_publisher_was_lost_here_is_retried_for_a_new_client() {
    let registry = Arc::new(Registry::default());
    let mut old = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
    old.feed(Input::ClientClosed(None));
    let mut bed = Bed::member(2, &registry, |_| {}).established();
    bed.client("publishStream", publish("b", "cam"));
    bed.server(
        "notifyStreamStatusEvent",
        status("b", "cam", "FAILED", Some("Stream name is already in use")),
    );
    bed.pass(300);
    assert_eq!(bed.upstream_got("publishStream").len(), 2);
    assert!(bed.statuses().is_empty());
}

#[test]
fn the_holder_of_a_wanted_name_must_prove_its_client_alive() {
    for alive in [true, false] {
        let registry = Arc::new(Registry::default());
        let mut old = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
        let mut bed = Bed::member(2, &registry, |_| {}).established();
        bed.client("publishStream", publish("b", "cam"));
        bed.server(
            "notifyStreamStatusEvent",
            status("b", "cam", "FAILED", Some("Stream name is already in use")),
        );
        assert!(bed.statuses().is_empty());
        let (to, mail) = bed.posts.remove(0);
        assert_eq!(to, SessionId(1));
        old.feed(Input::Mail(mail));
        if alive {
            old.client("pong", Value::Null);
        } else {
            old.pass(2_100);
            assert_eq!(old.client_close, Some(Close::Abort));
        }
        let (_, mail) = old.posts.remove(0);
        bed.feed(Input::Mail(mail));
        bed.pass(300);
        assert_eq!(bed.statuses().len(), usize::from(alive));
        assert_eq!(bed.upstream_got("publishStream").len(), if alive { 1 } else { 2 });
    }
}

#[test]
fn refused_credentials_are_reported_and_the_client_closed() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.lose();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    bed.server(
        "fail",
        json!({"status": "FAILED", "info": "Forbidden", "apiMethod": "ConnectionStatusEvent"}),
    );
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    assert_eq!(bed.client_got("fail").len(), 1);
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
    bed.pass(60_000);
    assert_eq!(bed.dials.len(), 1, "not hammered");
}

#[test]
fn a_backend_in_trouble_is_no_refusal() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    bed.server(
        "fail",
        json!({"status": "FAILED", "info": "Bad Gateway", "apiMethod": "ConnectionStatusEvent"}),
    );
    assert_eq!(bed.client_close, None);
    bed.pass(3_000);
    assert!(bed.dials.len() > 1);
}

#[test]
fn a_player_whose_publisher_was_lost_is_held_and_played_again() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stopped by publisher stop")));
    bed.pass(1_000);
    assert!(bed.statuses().is_empty());
    let id = bed.last_upstream_id("playStream");
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("Stream not found")));
    for _ in 0..10 {
        bed.server("ping", Value::Null);
        bed.client("pong", Value::Null);
        bed.pass(500);
        let id = bed.last_upstream_id("playStream");
        bed.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("Stream not found")));
    }
    for _ in 0..10 {
        bed.server("ping", Value::Null);
        bed.pass(1_000);
        let id = bed.last_upstream_id("playStream");
        bed.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("Stream not found")));
    }
    assert_eq!(bed.statuses(), ["m FAILED Stopped by publisher stop"], "in the end the server's own event");
}

#[test]
fn a_player_whose_publisher_chose_to_stop_hears_it() {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
    let mut bed = Bed::member(2, &registry, |_| {}).established().playing_mse("m", "cam");
    publisher.unpublish("a", "cam");
    assert_eq!(registry.names().get("cam").ended.map(|ended| ended.0), Some(EndOfName::Chosen));
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stopped by publisher stop")));
    bed.pass(400);
    assert_eq!(bed.statuses(), ["m FAILED Stopped by publisher stop"]);
}

#[test]
fn a_play_waits_for_its_publisher_in_another_session() {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, |_| {}).established();
    publisher.client("publishStream", publish("a", "cam"));
    let mut bed = Bed::member(2, &registry, |_| {}).established().playing_mse("m", "cam");
    publisher.lose();
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("playStream").is_empty(), "the publisher comes first");
    publisher.reconnect();
    let id = publisher.last_upstream_id("publishStream");
    publisher.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    let (to, mail) = publisher.posts.remove(0);
    assert_eq!(to, SessionId(2));
    bed.feed(Input::Mail(mail));
    assert_eq!(bed.upstream_got("playStream").len(), 1);
}

#[test]
fn a_play_of_a_name_that_was_lost_here_a_moment_ago_waits_for_its_publisher() {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
    publisher.lose();
    publisher.reconnect();
    assert_eq!(publisher.statuses().len(), 1, "reported");
    let mut bed = Bed::member(2, &registry, |_| {}).established();
    bed.client(
        "playStream",
        json!({"mediaSessionId": "m", "name": "cam", "mediaProvider": "WebRTC", "sdp": "o"}),
    );
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stream not found")));
    assert!(bed.statuses().is_empty());
    publisher.client("publishStream", publish("b", "cam"));
    publisher.server("notifyStreamStatusEvent", status("b", "cam", "PUBLISHING", None));
    let (to, mail) = publisher.posts.pop().unwrap();
    assert_eq!(to, SessionId(2));
    bed.feed(Input::Mail(mail));
    assert_eq!(bed.upstream_got("playStream").len(), 2, "at once when the publisher is back");
}

#[test]
fn a_restarted_play_waits_for_a_publisher_that_is_restarted_later() {
    let restart =
        |settings: &mut SessionSettings| settings.restore.mode = crate::settings::RestoreMode::Restart;
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, restart).established().publishing("a", "cam");
    let mut bed = Bed::member(2, &registry, restart).established();
    publisher.lose();
    for _ in 0..40 {
        bed.pass_in_health(1_000);
        publisher.client("pong", Value::Null);
        publisher.pass(1_000);
        if publisher.dials.len() < 40 && publisher.session.describe().state == "dialing" {
            publisher.dial_fails();
        }
    }
    assert_eq!(publisher.statuses().len(), 1, "reported long ago");
    bed.now = publisher.now;
    bed.client("pong", Value::Null);
    bed.client(
        "playStream",
        json!({"mediaSessionId": "m", "name": "cam", "mediaProvider": "WebRTC", "sdp": "o"}),
    );
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stream not found")));
    assert!(bed.statuses().is_empty(), "its publisher is expected: {:?}", bed.statuses());
}
