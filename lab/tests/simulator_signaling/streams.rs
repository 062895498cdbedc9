//! Publishes, plays, their requests and their ends.

use std::time::Duration;

use serde_json::json;

use crate::client::{Client, OFFER, wait_until};
use crate::{assert_no_violation, simulator};

#[tokio::test]
async fn a_publish_is_answered_and_stopped() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    client.start("publishStream", "id-1", "cam").await;
    let remote = client.wait_for_all("setRemoteSDP").await;
    assert_eq!(remote[0], "id-1");
    assert!(remote[1].as_str().unwrap().contains("a=group:BUNDLE 0 1"));
    assert_eq!(remote[2], true);
    let status = client.status_of("id-1").await;
    assert_eq!(status["status"], "PUBLISHING");
    assert_eq!(status["name"], "cam");
    assert_eq!(status["published"], true);
    client.stop("unPublishStream", "id-1", "cam").await;
    let status = client.status_of("id-1").await;
    assert_eq!(status["status"], "UNPUBLISHED");
    assert_eq!(status["info"], "Stopped by user");
    assert_eq!(server.summary()["now"]["publishes"], 0);
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_name_in_use_is_refused() {
    let server = simulator(json!({})).await;
    let mut first = Client::establish(server.address()).await;
    let mut second = Client::establish(server.address()).await;
    assert_eq!(first.publish("a", "cam").await["status"], "PUBLISHING");
    let refused = second.publish("b", "cam").await;
    assert_eq!(refused["status"], "FAILED");
    assert_eq!(refused["info"], "Stream name is already in use");
    first.stop("unPublishStream", "a", "cam").await;
    assert_eq!(first.status_of("a").await["status"], "UNPUBLISHED");
    assert_eq!(second.publish("c", "cam").await["status"], "PUBLISHING");
    assert_no_violation(&server);
    assert_eq!(server.summary()["counters"]["publishes"]["cam"], 3);
    assert_eq!(server.summary()["counters"]["outcomes"]["publish: Stream name is already in use"], 1);
}

#[tokio::test]
async fn a_play_needs_a_publisher_and_ends_with_it() {
    let server = simulator(json!({})).await;
    let mut publisher = Client::establish(server.address()).await;
    let mut player = Client::establish(server.address()).await;
    let refused = player.play("p-1", "cam").await;
    assert_eq!((&refused["status"], &refused["info"]), (&json!("FAILED"), &json!("Stream not found")));
    publisher.publish("a", "cam").await;
    let playing = player.play("p-2", "cam").await;
    assert_eq!(playing["status"], "PLAYING");
    publisher.stop("unPublishStream", "a", "cam").await;
    let ended = player.status_of("p-2").await;
    assert_eq!((&ended["status"], &ended["info"]), (&json!("FAILED"), &json!("Stopped by publisher stop")));
    publisher.status_of("a").await;
    publisher.publish("b", "cam").await;
    player.play("p-3", "cam").await;
    player.stop("stopStream", "p-3", "cam").await;
    assert_eq!(player.status_of("p-3").await["status"], "STOPPED");
    assert_no_violation(&server);
}

#[tokio::test]
async fn codecs_can_be_refused() {
    let server = simulator(json!({"streams": {"refuse_publish_codecs": ["H264"]}})).await;
    let mut client = Client::establish(server.address()).await;
    let refused = client.publish("a", "cam").await;
    assert_eq!((&refused["status"], &refused["info"]), (&json!("FAILED"), &json!("No common codecs")));
    let stripped = OFFER.replace("a=rtpmap:102 H264/90000\r\n", "").replace("96 102", "96");
    let argument = json!({"mediaSessionId": "b", "name": "cam", "mediaProvider": "WebRTC", "sdp": stripped});
    client.send("publishStream", argument).await;
    assert_eq!(client.status_of("b").await["status"], "PUBLISHING");
    assert_no_violation(&server);
}

#[tokio::test]
async fn refusals_by_name_count_down() {
    let refuse = json!([{"name": "cam", "info": "Service Unavailable", "times": 1, "by_fail": true}]);
    let server = simulator(json!({"streams": {"refuse": refuse}})).await;
    let mut client = Client::establish(server.address()).await;
    client.start("publishStream", "a", "cam").await;
    let expected = json!({
        "status": "FAILED", "info": "Service Unavailable", "apiMethod": "StreamStatusEvent", "id": "a",
    });
    assert_eq!(client.wait_for("fail").await, expected);
    assert_eq!(client.publish("b", "cam").await["status"], "PUBLISHING");
}

#[tokio::test]
async fn the_order_of_answers_can_be_turned() {
    let streams = json!({"status_before_sdp": true, "third_sdp_argument": false, "pending_first": true});
    let server = simulator(json!({"streams": streams})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for("getVersion").await;
    client.start("publishStream", "a", "cam").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (name, data) = client.message().await.unwrap();
        if name == "setRemoteSDP" {
            assert_eq!(data.as_array().unwrap().len(), 2);
        }
        seen.push((name, data[0]["status"].as_str().unwrap_or_default().to_owned()));
    }
    let names: Vec<(&str, &str)> =
        seen.iter().map(|(name, status)| (name.as_str(), status.as_str())).collect();
    let expected = [
        ("notifyStreamStatusEvent", "PENDING"),
        ("notifyStreamStatusEvent", "PUBLISHING"),
        ("setRemoteSDP", ""),
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_delayed_message_is_overtaken() {
    let server = simulator(json!({"delay_ms": {"setRemoteSDP": 50}})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for("getVersion").await;
    client.start("publishStream", "a", "cam").await;
    assert_eq!(client.message().await.unwrap().0, "notifyStreamStatusEvent");
    assert_eq!(client.message().await.unwrap().0, "setRemoteSDP");
}

#[tokio::test]
async fn a_stop_during_a_slow_publish_leaves_nothing() {
    let server = simulator(json!({"streams": {"publish_delay_ms": 700}})).await;
    let mut client = Client::establish(server.address()).await;
    client.start("publishStream", "a", "cam").await;
    wait_until("the publish is pending", || server.summary()["now"]["streams_pending"] == 1).await;
    client.stop("unPublishStream", "a", "cam").await;
    assert_eq!(client.status_of("a").await["status"], "UNPUBLISHED");
    assert!(client.quiet_for(Duration::from_millis(1_200)).await, "the answer of a stopped publish came");
    assert_eq!(server.summary()["now"]["publishes"], 0);
    assert_no_violation(&server);
}

#[tokio::test]
async fn availability_is_told_as_text() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    let ask = json!({"mediaSessionId": "x", "name": "cam"});
    client.send("availableStream", ask.clone()).await;
    let answer = client.wait_for("availableStream").await;
    assert_eq!(answer, json!({"id": "x", "status": "false", "info": "Stream not found"}));
    client.publish("a", "cam").await;
    client.send("availableStream", ask).await;
    assert_eq!(client.wait_for("availableStream").await["status"], "true");
}

#[tokio::test]
async fn snapshots_succeed_fail_and_grow() {
    let server = simulator(json!({"streams": {"snapshot_bytes": 2_000_000}})).await;
    let mut client = Client::establish(server.address()).await;
    let ask = json!({"mediaSessionId": "x", "name": "cam"});
    client.send("snapshot", ask.clone()).await;
    let failed = client.wait_for("notifyStreamEvent").await;
    assert_eq!(
        (&failed["type"], &failed["payload"]["info"]),
        (&json!("snapshotFailed"), &json!("Stream not found"))
    );
    client.publish("a", "cam").await;
    client.send("snapshot", ask.clone()).await;
    let done = client.wait_for("notifyStreamEvent").await;
    assert_eq!(done["type"], "snapshotCompleted");
    assert_eq!(done["payload"]["snapshot"].as_str().unwrap().len(), 2_000_000);
    server.switch(&json!({"streams": {"snapshot": "status", "snapshot_bytes": 0}})).unwrap();
    client.send("snapshot", ask).await;
    assert_eq!(client.status_of("x").await["status"], "SNAPSHOT_COMPLETE");
}

#[tokio::test]
async fn stream_events_reach_players_under_their_own_id() {
    let server = simulator(json!({})).await;
    let mut publisher = Client::establish(server.address()).await;
    let mut player = Client::establish(server.address()).await;
    publisher.publish("a", "cam").await;
    player.play("p", "cam").await;
    publisher.send("sendStreamEvent", json!({"mediaSessionId": "a", "type": "audioMuted"})).await;
    let event = player.wait_for("notifyStreamEvent").await;
    assert_eq!(event, json!({"mediaSessionId": "p", "type": "audioMuted"}));
    let data = json!({"mediaSessionId": "a", "type": "data", "payload": {"k": [1]}});
    publisher.send("sendStreamEvent", data).await;
    assert_eq!(player.wait_for("notifyStreamEvent").await["payload"], json!({"k": [1]}));
    // Who comes later learns it from the status.
    let late = player.play("q", "cam").await;
    assert_eq!((&late["audioState"]["muted"], &late["videoState"]["muted"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn quality_messages_come_if_wanted() {
    let server = simulator(json!({"streams": {"rate_interval_ms": 10}})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    client.play("p", "cam").await;
    assert_eq!(client.wait_for("inboundVideoRate").await["mediaSessionId"], "a");
    assert_eq!(client.wait_for("outboundVideoRate").await["mediaSessionId"], "p");
}

#[tokio::test]
async fn every_answer_shape_is_given() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    for shape in ["A", "B", "C", "D", "E", "G"] {
        server.switch(&json!({"streams": {"answer_shape": shape}})).unwrap();
        client.start("publishStream", shape, shape).await;
        let remote = client.wait_for_all("setRemoteSDP").await;
        let sdp = remote[1].as_str().unwrap();
        assert_eq!(sdp.contains("BUNDLE"), "ADE".contains(shape), "{shape}");
        assert_eq!(sdp.contains("a=setup:"), "ACEG".contains(shape), "{shape}");
        assert_eq!(sdp.contains("a=mid:"), "ACDE".contains(shape), "{shape}");
        assert_eq!(sdp.contains("tcptype passive"), shape == "C", "{shape}");
    }
}
