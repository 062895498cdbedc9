//! What the simulation found: races between the client's word, the server's and a loss.

use super::*;
use crate::settings::RestoreMode;

fn join(operation: &str) -> Value {
    json!({"operationId": operation, "payload": {"command": "join", "options": {"name": "r"}}})
}

fn leave(operation: &str) -> Value {
    json!({"operationId": operation, "payload": {"command": "leave", "options": {"name": "r"}}})
}

fn stop(id: &str, name: &str) -> Value {
    json!({"mediaSessionId": id, "name": name, "published": true})
}

impl Bed {
    /// A client that asked to be kept, in a session whose token is `T0`.
    fn kept() -> Self {
        Self::kept_with(|_| {})
    }

    fn kept_with(change: impl FnOnce(&mut SessionSettings)) -> Self {
        let mut bed = Self::with(change);
        let mut fields = connection();
        fields["keepAlive"] = json!(true);
        bed.client("connection", fields);
        bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
        bed.clear();
        bed
    }

    fn opened(&mut self) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::UpstreamOpened(epoch, NodeId(0)));
    }

    fn operations(&self) -> Vec<String> {
        let words = |message: &&Value| {
            let status = &message["data"][0];
            format!("{} {}", status["operationId"].as_str().unwrap(), status["status"].as_str().unwrap())
        };
        self.client_got("DataStatusEvent").iter().map(words).collect()
    }
}

#[test]
fn a_stop_that_meets_an_end_held_back_is_answered_here() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Failed by ICE timeout")));
    bed.client("unPublishStream", stop("a", "cam"));
    assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user"]);
    assert!(bed.upstream_got("unPublishStream").is_empty(), "the server has no such stream");
}

#[test]
fn a_stop_that_crosses_the_end_is_answered_here() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Restricted access")));
    bed.client("unPublishStream", stop("a", "cam"));
    assert!(bed.upstream_got("unPublishStream").is_empty());
    assert_eq!(bed.statuses(), ["a FAILED Restricted access", "a UNPUBLISHED Stopped by user"]);
}

#[test]
fn a_hangup_that_meets_an_end_held_back_is_answered_and_forgotten() {
    let mut bed = Bed::new().established();
    bed.client("call", json!({"callId": "c"}));
    bed.server("finish", json!({"callId": "c", "status": "FINISH"}));
    bed.client("hangup", json!({"callId": "c"}));
    bed.pass(400);
    assert_eq!(bed.client_got("finish").len(), 1);
    bed.client("hangup", json!({"callId": "c"}));
    assert!(bed.session.requests.len() == 0, "no answer will come");
}

#[test]
fn a_join_waits_no_longer_than_the_hold() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.client("sendData", join("j"));
    for _ in 0..31 {
        bed.pass(1_000);
        bed.client("pong", Value::Null);
    }
    assert_eq!(bed.operations(), ["j FAILED"]);
    bed.pass(1_000);
    bed.opened();
    bed.server("getUserData", json!({"authToken": "T1", "status": "ESTABLISHED"}));
    assert!(bed.upstream_got("sendData").is_empty(), "it is no longer wanted");
}

#[test]
fn a_join_under_way_that_is_left_is_answered_when_its_upstream_dies() {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j"));
    bed.client("sendData", leave("l"));
    bed.lose();
    assert_eq!(bed.operations(), ["j FAILED", "l ACCEPTED"]);
}

#[test]
fn a_room_left_while_its_join_is_repeated_is_left_upstream_too() {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.client("publishStream", publish("a", "r-me"));
    bed.lose();
    bed.reconnect();
    bed.clear();
    bed.client("sendData", leave("l"));
    assert_eq!(bed.operations(), ["l ACCEPTED"]);
    let sent = bed.upstream_got("sendData")[0]["data"][0].clone();
    assert_eq!(sent["payload"]["command"], "leave");
    assert_eq!(bed.upstream_got("publishStream").len(), 1, "the streams need not wait for it");
    bed.server("DataStatusEvent", json!({"operationId": sent["operationId"], "status": "ACCEPTED"}));
    assert_eq!(bed.operations(), ["l ACCEPTED"], "our own operation");
}

#[test]
fn a_join_while_others_are_repeated_goes_upstream() {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.lose();
    bed.reconnect();
    bed.clear();
    let other = json!({"operationId": "k", "payload": {"command": "join", "options": {"name": "s"}}});
    bed.client("sendData", other);
    assert_eq!(bed.upstream_got("sendData").len(), 1);
    bed.server("DataStatusEvent", json!({"operationId": "k", "status": "ACCEPTED"}));
    assert_eq!(bed.operations(), ["k ACCEPTED"]);
}

#[test]
fn a_participant_that_comes_back_without_its_stream_has_unpublished() {
    let mut bed = Bed::new().established();
    let event = |name: &str, info: Value| json!({"payload": {"roomName": "r", "name": name, "info": info}});
    bed.client("sendData", join("j"));
    bed.server("OnDataEvent", event("STATE", json!([{"login": "bob", "name": "r-bob"}])));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.lose();
    bed.reconnect();
    let operation = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
    bed.server("DataStatusEvent", json!({"operationId": operation, "status": "ACCEPTED"}));
    bed.server("OnDataEvent", event("STATE", json!([])));
    bed.clear();
    bed.server("OnDataEvent", event("JOINED", json!("bob")));
    bed.pass_in_health(6_000);
    let seen = bed.client_got("OnDataEvent");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0]["data"][0]["payload"]["name"], "UNPUBLISHED");
}

#[test]
fn the_first_words_of_a_client_survive_an_outage_before_them() {
    let mut bed = Bed::new();
    bed.lose();
    bed.client("connection", connection());
    bed.opened();
    assert_eq!(bed.upstream_got("connection").len(), 1);
    bed.server("getUserData", json!({"authToken": "T1", "status": "ESTABLISHED"}));
    assert_eq!(bed.client_got("getUserData").len(), 1);
    bed.client("publishStream", publish("a", "cam"));
    assert_eq!(bed.upstream_got("publishStream").len(), 1);
}

#[test]
fn first_words_that_find_no_upstream_in_time_end_the_session() {
    let mut bed = Bed::new();
    bed.lose();
    bed.client("connection", connection());
    for _ in 0..31 {
        bed.pass(1_000);
        bed.client("pong", Value::Null);
    }
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
}

#[test]
fn a_restart_that_did_not_come_waits_for_the_next_epoch() {
    let restart = |settings: &mut SessionSettings| settings.restore.mode = RestoreMode::Restart;
    let mut bed = Bed::with(restart).established().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.lose();
    bed.pass(5_000);
    let next = bed.session.next_timeout();
    assert!(next.is_some_and(|next| next > bed.now), "{next:?} at {}", bed.now);
    bed.reconnect();
    bed.pass(1_100);
    assert_eq!(bed.client_got("getUserData").len(), 1);
}

#[test]
fn a_question_about_a_stream_that_is_asked_for_anew_is_answered() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stopped by publisher stop")));
    bed.pass(1_000);
    let id = bed.last_upstream_id("playStream");
    assert_ne!(id, "m");
    bed.client("snapshot", json!({"mediaSessionId": "m", "name": "cam"}));
    bed.client("availableStream", json!({"mediaSessionId": "m", "name": "cam"}));
    bed.client("stopStream", json!({"mediaSessionId": "m", "name": "cam", "published": false}));
    assert_eq!(bed.client_got("notifyStreamEvent").len(), 1);
    assert_eq!(bed.client_got("availableStream").len(), 1);
    assert!(bed.session.requests.len() == 0);
}

#[test]
fn the_answer_to_a_replay_is_swallowed_even_after_its_proof() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    let id = bed.last_upstream_id("playStream");
    bed.feed(Input::Mail(Mail::MediaSocketFlows(Epoch(1))));
    bed.server_all("setRemoteSDP", json!([id, "answer", true]));
    assert!(bed.client_got("setRemoteSDP").is_empty(), "the SDK would open another media socket");
}

#[test]
fn a_name_that_another_session_took_over_is_not_held_for_a_restore() {
    let registry = Arc::new(Registry::default());
    let mut old = Bed::member(1, &registry, |_| {});
    let session = Session::new(SessionId(1), Arc::default(), 1, old.now);
    old.session = session.with_media();
    let mut old = old.established();
    old.client("publishStream", publish("a", "cam"));
    let key = StreamKey::of_first_session(1);
    let offer = |epoch| crate::media::Fact::UpstreamOffer { epoch, sdp: "offer".to_owned() };
    old.feed(Input::Media(key, offer(Epoch(0))));
    old.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    let mut new = Bed::member(2, &registry, |_| {}).established().publishing("b", "cam");
    let reason = "no connectivity".to_owned();
    old.feed(Input::Media(key, crate::media::Fact::UpstreamFailed { epoch: Epoch(0), reason }));
    let holder = registry.names().get("cam").holder.unwrap();
    assert_eq!((holder.session, holder.restoring), (SessionId(2), false));
    new.feed(Input::ClientClosed(None));
    assert_eq!(registry.names().get("cam").holder, None);
}

#[test]
fn a_session_that_ends_starts_nothing() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    let mut bed = bed.playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("playStream").is_empty(), "it waits for the publisher of its own session");
    bed.feed(Input::ClientClosed(None));
    assert!(bed.upstream_got("playStream").is_empty());
}

#[test]
fn what_was_reported_is_taken_back_from_a_resumed_session() {
    let mut bed = Bed::kept().publishing("a", "cam");
    bed.client("call", json!({"callId": "c"}));
    bed.lose();
    bed.dial_fails();
    bed.pass(5_100);
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    bed.reconnect();
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
    assert_eq!(bed.upstream_got("hangup").len(), 1);
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    assert_eq!(bed.statuses().len(), 1, "over for the client");
}

#[test]
fn a_replay_in_a_resumed_session_replaces_what_is_there() {
    let mut bed = Bed::kept();
    bed.client("publishStream", publish("a", "cam"));
    bed.lose();
    bed.reconnect();
    let order: Vec<_> = bed.to_upstream.iter().map(|message| message["message"].as_str().unwrap()).collect();
    assert_eq!(order, ["publishStream", "connection", "unPublishStream", "publishStream"]);
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
}

#[test]
fn nothing_is_stopped_in_a_session_that_is_new() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("unPublishStream").is_empty());
}

#[test]
fn a_room_left_in_vain_is_left_in_the_resumed_session() {
    let mut bed = Bed::kept();
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.client("sendData", leave("l"));
    bed.lose();
    bed.reconnect();
    let sent = bed.upstream_got("sendData");
    assert_eq!(sent.last().unwrap()["data"][0]["payload"]["command"], "leave");
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_proof_that_comes_before_the_rooms_counts() {
    let mut bed = Bed::kept();
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    let mut bed = bed.publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    bed.pass_in_health(20_000);
    assert!(bed.statuses().is_empty(), "{:?}", bed.statuses());
}

#[test]
fn a_participant_that_joins_before_the_state_is_known_already() {
    let mut bed = Bed::kept();
    let event = |name: &str, info: Value| json!({"payload": {"roomName": "r", "name": name, "info": info}});
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.server("OnDataEvent", event("STATE", json!(["ann"])));
    bed.lose();
    bed.reconnect();
    bed.clear();
    bed.server("OnDataEvent", event("JOINED", json!("ann")));
    bed.server("OnDataEvent", event("STATE", json!(["ann"])));
    assert!(bed.client_got("OnDataEvent").is_empty());
}

#[test]
fn an_answer_does_not_share_the_end_of_its_stream() {
    let mut bed = Bed::new().established().publishing("a", "cam");
    bed.client("snapshot", json!({"mediaSessionId": "a", "name": "cam"}));
    bed.client("availableStream", json!({"mediaSessionId": "a", "name": "cam"}));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Failed by ICE timeout")));
    bed.server("notifyStreamEvent", json!({"mediaSessionId": "a", "type": "snapshotCompleted"}));
    bed.server("availableStream", json!({"id": "a", "status": "true", "info": ""}));
    bed.lose();
    assert_eq!(bed.client_got("notifyStreamEvent").len(), 1);
    assert_eq!(bed.client_got("availableStream").len(), 1);
}

#[test]
fn an_event_of_a_room_left_meanwhile_is_passed_on_after_its_hold() {
    let mut bed = Bed::new().established();
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.server("OnDataEvent", json!({"payload": {"roomName": "r", "name": "LEFT", "info": "bob"}}));
    bed.client("sendData", leave("l"));
    bed.pass(400);
    assert_eq!(bed.client_got("OnDataEvent").len(), 1);
    assert_eq!(bed.client_got("OnDataEvent")[0]["data"][0]["payload"]["info"], "bob");
}

#[test]
fn a_session_that_is_gone_waits_for_no_name() {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
    let mut player = Bed::member(2, &registry, |_| {}).established().playing_mse("m", "cam");
    publisher.feed(Input::ClientClosed(None));
    let gone = status("m", "cam", "FAILED", Some("Stopped by publisher stop"));
    player.server("notifyStreamStatusEvent", gone);
    player.pass(1_000);
    player.feed(Input::ClientClosed(None));
    assert!(registry.names().take_waiters("cam").is_empty());
}

#[test]
fn a_play_waits_for_a_publisher_lost_while_its_offer_was_made() {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(1, &registry, |_| {}).established();
    publisher.client("publishStream", publish("a", "cam"));
    let mut player = Bed::member(2, &registry, |_| {});
    let session = Session::new(SessionId(2), Arc::default(), 1, player.now);
    player.session = session.with_media();
    let mut player = player.established();
    let key = StreamKey { session: SessionId(2), number: 1 };
    let offer = |epoch| crate::media::Fact::UpstreamOffer { epoch, sdp: "offer".to_owned() };
    let play = json!({"mediaSessionId": "p", "name": "cam", "mediaProvider": "WebRTC", "sdp": "o"});
    player.client("playStream", play);
    player.feed(Input::Media(key, offer(Epoch(0))));
    player.lose();
    player.reconnect();
    publisher.lose();
    let before = player.upstream_got("playStream").len();
    player.feed(Input::Media(key, offer(Epoch(1))));
    assert_eq!(player.upstream_got("playStream").len(), before);
}

#[test]
fn room_events_keep_their_order_when_no_more_can_be_held() {
    let mut bed = Bed::with(|settings| settings.bounds.pending_requests_max = 1).established();
    let event = |name: &str| json!({"payload": {"roomName": "r", "name": name, "info": "bob"}});
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.server("OnDataEvent", event("LEFT"));
    bed.server("OnDataEvent", event("JOINED"));
    bed.pass(400);
    let names: Vec<_> =
        bed.client_got("OnDataEvent").iter().map(|m| m["data"][0]["payload"]["name"].clone()).collect();
    assert_eq!(names, ["LEFT", "JOINED"]);
}

#[test]
fn a_stream_of_an_unknown_participant_waits_for_the_state() {
    let mut bed = Bed::kept();
    let event = |name: &str, info: Value| json!({"payload": {"roomName": "r", "name": name, "info": info}});
    let stream = json!({"login": "ann", "name": "r-ann"});
    bed.client("sendData", join("j"));
    bed.lose();
    bed.reconnect();
    bed.server("OnDataEvent", event("PUBLISHED", stream.clone()));
    assert!(bed.client_got("OnDataEvent").is_empty());
    bed.server("OnDataEvent", event("STATE", json!([stream])));
    assert_eq!(bed.client_got("OnDataEvent").len(), 1);
}

#[test]
fn what_a_kept_session_says_of_a_stream_that_is_to_be_reported_is_not_heard() {
    let mut bed = Bed::with(|settings| settings.restore.mode = RestoreMode::Notify);
    let mut fields = connection();
    fields["keepAlive"] = json!(true);
    bed.client("connection", fields);
    bed.server("getUserData", json!({"authToken": "T0", "status": "ESTABLISHED"}));
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    let mut bed = bed.publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Stream failed")));
    let operation = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
    bed.server("DataStatusEvent", json!({"operationId": operation, "status": "ACCEPTED"}));
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"], "once");
}

#[test]
fn a_stop_while_rooms_are_joined_again_reaches_the_kept_session() {
    let mut bed =
        Bed::kept_with(|settings| settings.restore.mode = RestoreMode::Notify).publishing("a", "cam");
    bed.client("sendData", join("j"));
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.lose();
    bed.reconnect();
    let again = bed.upstream_got("sendData").last().unwrap()["data"][0]["operationId"].clone();
    bed.unpublish("a", "cam");
    assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user"]);
    bed.server("DataStatusEvent", json!({"operationId": again, "status": "ACCEPTED"}));
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a", "or the server would publish it for ever");
}
