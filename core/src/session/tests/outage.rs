//! The loss of an upstream and the way back.

use super::*;
use crate::settings::RestoreMode;

#[test]
fn an_idle_session_comes_back_without_the_client_noticing() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.reconnect();
    bed.server("getVersion", json!("5.2"));
    assert!(bed.to_client.is_empty() || bed.client_got("getVersion").len() == bed.to_client.len());
    assert_eq!(bed.upstream_got("connection")[0]["data"][0], connection());
    assert!(bed.events.iter().any(|event| matches!(event, Event::SessionRestored { tries: 1, .. })));
}

#[test]
fn pings_reach_the_client_during_an_outage() {
    let mut bed = Bed::new().established();
    bed.lose();
    for _ in 0..4 {
        bed.pass(5_000);
        bed.client("pong", Value::Null);
    }
    assert!(bed.client_got("ping").len() >= 3, "{:?}", bed.to_client);
    assert_eq!(bed.client_close, None);
}

#[test]
fn an_answered_publish_is_reported_once_when_the_new_epoch_stands() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.lose();
    assert!(bed.statuses().is_empty());
    bed.reconnect();
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    assert!(bed.upstream_got("publishStream").is_empty(), "an answered stream is never replayed");
    bed.pass_in_health(60_000);
    assert_eq!(bed.statuses().len(), 1);
    // The next click works at once.
    bed.client("publishStream", publish("b", "cam"));
    assert_eq!(bed.upstream_got("publishStream").len(), 1);
}

#[test]
fn a_report_does_not_wait_longer_than_its_setting() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.lose();
    bed.dial_fails();
    bed.pass(4_900);
    assert!(bed.statuses().is_empty());
    bed.pass(200);
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
}

#[test]
fn a_publish_that_waits_for_its_first_answer_gets_it_from_the_next_server() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.lose();
    bed.pass(2_000);
    bed.reconnect();
    let id = bed.last_upstream_id("publishStream");
    assert_ne!(id, "a", "the dead session may still hold the id");
    bed.server_all("setRemoteSDP", json!([id, "answer", true]));
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    assert_eq!(bed.client_got("setRemoteSDP")[0]["data"], json!(["a", "answer", true]));
    assert_eq!(bed.statuses(), ["a PUBLISHING -"]);
    // Ids are mapped in both directions from now on.
    bed.unpublish("a", "cam");
    assert_eq!(bed.last_upstream_id("unPublishStream"), id);
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "UNPUBLISHED", Some("Stopped by user")));
    assert_eq!(bed.statuses()[1], "a UNPUBLISHED Stopped by user");
}

#[test]
fn a_held_publish_is_reported_once_when_the_hold_ends() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.dial_fails();
    bed.client("publishStream", publish("a", "cam"));
    for _ in 0..40 {
        bed.pass(1_000);
        bed.client("pong", Value::Null);
        if bed.dials.len() > 1 {
            bed.dial_fails();
        }
    }
    assert_eq!(bed.statuses(), ["a FAILED Session not ready"]);
    bed.reconnect_after_wait();
    bed.client("publishStream", publish("b", "cam"));
    assert_eq!(bed.last_upstream_id("publishStream"), "b");
}

impl Bed {
    /// Waits for the next dial and lets it succeed.
    fn reconnect_after_wait(&mut self) {
        let before = self.dials.len();
        self.pass(4_000);
        assert!(self.dials.len() > before, "no dial");
        self.reconnect();
    }
}

#[test]
fn a_stop_during_an_outage_is_answered_and_never_replayed() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.lose();
    bed.client("publishStream", publish("b", "two"));
    bed.unpublish("a", "cam");
    bed.unpublish("b", "two");
    assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user", "b UNPUBLISHED Stopped by user"]);
    bed.reconnect();
    assert!(bed.upstream_got("publishStream").is_empty());
    assert!(bed.upstream_got("unPublishStream").is_empty());
    assert_eq!(bed.statuses().len(), 2);
}

#[test]
fn a_stop_under_way_when_the_server_dies_is_answered() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.unpublish("a", "cam");
    bed.lose();
    assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user"]);
}

#[test]
fn everything_that_waits_is_settled_at_the_loss() {
    let mut bed = Bed::new().established();
    bed.client("sendData", json!({"operationId": "op", "payload": {}}));
    bed.client("availableStream", json!({"mediaSessionId": "q", "name": "cam"}));
    bed.client("snapshot", json!({"mediaSessionId": "s", "name": "cam"}));
    bed.client("call", json!({"callId": "c", "callee": "x"}));
    bed.lose();
    assert_eq!(bed.client_got("DataStatusEvent")[0]["data"][0]["status"], "FAILED");
    assert_eq!(bed.client_got("availableStream")[0]["data"][0]["status"], "false");
    assert_eq!(bed.client_got("notifyStreamEvent")[0]["data"][0]["type"], "snapshotFailed");
    assert_eq!(bed.client_got("finish")[0]["data"][0], json!({"callId": "c", "status": "FAILED"}));
    bed.client("hangup", json!({"callId": "d"}));
    assert_eq!(bed.client_got("finish")[1]["data"][0], json!({"callId": "d", "status": "FINISH"}));
}

#[test]
fn a_burst_of_failures_before_the_loss_is_not_heard() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.server(
        "notifyStreamStatusEvent",
        status("a", "cam", "FAILED", Some("Stopped by session disconnect")),
    );
    bed.pass(100);
    bed.lose();
    bed.reconnect();
    assert_eq!(bed.statuses().len(), 1, "one report: {:?}", bed.statuses());
}

#[test]
fn a_failure_in_a_living_epoch_is_passed_on_after_the_hold() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Failed by ICE timeout")));
    assert!(bed.statuses().is_empty());
    bed.pass(400);
    assert_eq!(bed.statuses(), ["a FAILED Failed by ICE timeout"]);
}

#[test]
fn an_mse_play_goes_on_when_frames_flow_again() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    let id = bed.last_upstream_id("playStream");
    bed.server_all("setRemoteSDP", json!([id, "answer", true]));
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PLAYING", None));
    let epoch = *bed.dials.last().unwrap();
    bed.feed(Input::Mail(Mail::MediaSocketFlows(epoch)));
    assert!(bed.to_client.is_empty(), "{:?}", bed.to_client);
    assert!(bed.restored() > 0);
}

#[test]
fn an_mse_play_without_frames_is_reported() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    let id = bed.last_upstream_id("playStream");
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PLAYING", None));
    for _ in 0..11 {
        bed.server("ping", Value::Null);
        bed.pass(1_000);
    }
    assert_eq!(bed.statuses(), ["m FAILED Stopped by session disconnect"]);
    assert_eq!(bed.last_upstream_id("stopStream"), id);
}

#[test]
fn mode_restart_starts_a_client_once_and_not_one_that_restarts_itself() {
    let restart = |settings: &mut SessionSettings| settings.restore.mode = RestoreMode::Restart;
    let mut bed = Bed::with(restart).established().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.pass(3_000);
    let user_data = bed.client_got("getUserData");
    assert_eq!(user_data.len(), 1);
    assert_eq!(user_data[0]["data"][0]["authToken"], "T0", "the client keeps its token");

    let mut bed = Bed::with(restart).established().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.client("publishStream", publish("b", "cam"));
    bed.pass(3_000);
    assert!(bed.client_got("getUserData").is_empty());

    let mut bed = Bed::with(restart).established();
    bed.lose();
    bed.reconnect();
    bed.pass(3_000);
    assert!(bed.client_got("getUserData").is_empty(), "nothing was reported");
}

#[test]
fn a_kept_session_is_resumed_and_its_streams_prove_themselves() {
    let mut bed = Bed::new();
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    connection["sipLogin"] = json!("me");
    bed.client("connection", connection);
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    let mut bed = bed.publishing("a", "cam").publishing("b", "two");
    bed.lose();
    bed.reconnect();
    let sent = &bed.upstream_got("connection")[0]["data"][0];
    assert_eq!(sent["authToken"], "T0");
    assert!(sent.get("sipLogin").is_none());
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    bed.pass(4_000);
    assert_eq!(bed.statuses(), ["b FAILED Stopped by session disconnect"]);
}

#[test]
fn a_stale_token_falls_back_to_the_clients_own_connection_on_a_new_socket() {
    let mut bed = Bed::new();
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    bed.client("connection", connection.clone());
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    bed.clear();
    bed.lose();
    let first = bed.dials.len();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    bed.server(
        "fail",
        json!({"status": "FAILED", "info": "Wrong token", "apiMethod": "ConnectionStatusEvent"}),
    );
    bed.pass(1_000);
    assert_eq!(bed.dials.len(), first + 1);
    bed.reconnect();
    assert_eq!(bed.to_upstream.last().unwrap()["data"][0], connection);
    assert!(bed.client_got("fail").is_empty());
}

#[test]
fn a_silent_upstream_is_probed_and_then_lost() {
    let mut bed = Bed::new().established();
    bed.pass(14_900);
    assert!(bed.dials.is_empty());
    bed.pass(200);
    assert_eq!(bed.upstream_close, [(Epoch(0), Close::Abort)]);
    assert_eq!(bed.dials, [Epoch(1)]);
}

#[test]
fn what_an_older_epoch_says_is_dropped() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.lose();
    let late = json!({"message": "notifyStreamStatusEvent", "data": [status("a", "cam", "FAILED", None)]});
    bed.feed(Input::UpstreamText(Epoch(0), late.to_string().as_bytes()));
    assert!(bed.to_client.is_empty());
}

#[test]
fn patience_ends_with_reports_and_a_close() {
    let mut bed = Bed::with(|settings| settings.restore.tries_max = 3).established().publishing("a", "cam");
    bed.lose();
    for _ in 0..3 {
        bed.dial_fails();
        bed.pass(3_000);
    }
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
    assert!(bed.events.iter().any(|event| matches!(event, Event::GaveUp { tries: 3, .. })));
}

#[test]
fn unknown_messages_wait_for_the_next_upstream() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.client("custom", json!({"n": 1}));
    bed.client("pushLogs", json!({"logs": "x"}));
    bed.reconnect();
    assert_eq!(bed.upstream_got("custom").len(), 1);
    assert!(bed.upstream_got("pushLogs").is_empty());
}

#[test]
fn a_kept_session_that_is_not_there_any_more_is_not_told_of_old_streams() {
    let mut bed = Bed::new();
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    bed.client("connection", connection);
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    let mut bed = bed.publishing("a", "cam");
    bed.lose();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    bed.server("getUserData", json!({"authToken": "another", "status": "ESTABLISHED"}));
    bed.pass_in_health(5_000);
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    assert!(bed.upstream_got("unPublishStream").is_empty());
    // If it was the kept one after all, its old stream holds the name, and goes.
    bed.client("publishStream", publish("b", "cam"));
    bed.server(
        "notifyStreamStatusEvent",
        status("b", "cam", "FAILED", Some("Stream name is already in use")),
    );
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
    bed.pass(300);
    assert_eq!(bed.upstream_got("publishStream").len(), 2);
    assert_eq!(bed.statuses().len(), 1);
}

#[test]
fn a_sip_client_whose_kept_session_is_gone_registers_anew() {
    let mut bed = Bed::new();
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    connection["sipLogin"] = json!("me");
    bed.client("connection", connection.clone());
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    bed.server("registered", json!({}));
    bed.clear();
    bed.lose();
    bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
    bed.server("getUserData", json!({"authToken": "another", "status": "ESTABLISHED"}));
    bed.pass(1_000);
    assert_eq!(bed.dials.len(), 2);
    bed.reconnect();
    assert_eq!(bed.to_upstream.last().unwrap()["data"][0], connection);
    bed.server("registered", json!({}));
    assert!(bed.to_client.is_empty(), "{:?}", bed.to_client);
}

#[test]
fn the_last_word_of_a_kept_session_is_not_the_clients_concern() {
    let mut connection = connection();
    connection["keepAlive"] = json!(true);
    for (word, stops) in [("FAILED", 0), ("PUBLISHING", 1)] {
        let mut bed = Bed::new();
        bed.client("connection", connection.clone());
        bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
        bed.client("publishStream", publish("a", "cam"));
        bed.lose();
        bed.feed(Input::UpstreamOpened(*bed.dials.last().unwrap(), NodeId(0)));
        bed.server("getUserData", json!({"authToken": "another", "status": "ESTABLISHED"}));
        let replayed = bed.last_upstream_id("publishStream");
        assert_ne!(replayed, "a");
        for _ in 0..2 {
            let info = Some("Stopped by session disconnect");
            bed.server("notifyStreamStatusEvent", status("a", "cam", word, info));
        }
        assert!(bed.upstream_got("unPublishStream").iter().all(|m| m["data"][0]["mediaSessionId"] == "a"));
        assert_eq!(bed.upstream_got("unPublishStream").len(), stops, "{word}");
        bed.server("notifyStreamStatusEvent", status(&replayed, "cam", "PUBLISHING", None));
        assert_eq!(bed.statuses(), ["a PUBLISHING -"], "after {word}");
    }
}
