//! Transitions of the tables in `LIFECYCLE.md` that no other test shows.

use super::*;

impl Bed {
    /// The dial under way succeeds; the server says nothing yet.
    fn opens(&mut self) {
        self.feed(Input::UpstreamOpened(*self.dials.last().unwrap(), NodeId(0)));
    }

    /// The server takes a session on the connection that stands, under this token.
    fn establishes(&mut self, token: &str) {
        self.server("getUserData", json!({"authToken": token, "status": "ESTABLISHED"}));
    }

    fn is(&self, state: &str) -> bool {
        self.session.describe().state == state
    }

    fn stream_is(&self, state: &str) -> bool {
        self.session.describe().streams.first().is_some_and(|stream| stream.state == state)
    }

    /// A client that asked to be kept, with the token `T0`.
    fn keeps_alive() -> Self {
        let mut bed = Self::new();
        let mut fields = connection();
        fields["keepAlive"] = json!(true);
        bed.client("connection", fields);
        bed.establishes("T0");
        bed.clear();
        bed
    }
}

#[test]
fn where_restoring_is_off_the_client_ends_as_its_server_did() {
    for (cause, close) in [
        (LossCause::EndOfFile, Close::Abort),
        (LossCause::Closed(1011), Close::Code(1011)),
        (LossCause::Closed(1005), Close::NoCode),
    ] {
        let mut bed = Bed::with(|settings| settings.restore.connection = false).established();
        bed.feed(Input::UpstreamLost(Epoch(0), cause));
        assert_eq!(bed.client_close, Some(close));
        assert!(bed.dials.is_empty());
    }
}

#[test]
fn a_handshake_refused_for_the_client_is_the_end_at_once() {
    for status in [401, 403] {
        let mut bed = Bed::new().established().publishing("a", "cam");
        bed.lose();
        bed.feed(Input::DialFailed(Epoch(1), DialError::Refused(status)));
        assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
        assert_eq!(bed.client_close, Some(Close::Code(1001)));
    }
}

#[test]
fn a_loss_on_the_way_back_is_another_try() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.opens();
    assert!(bed.is("connecting"));
    bed.lose();
    assert!(bed.is("waiting"));
    bed.pass(4_000);
    assert_eq!(bed.dials.len(), 2);
}

#[test]
fn a_new_upstream_that_never_answers_is_left_for_the_next() {
    let mut bed = Bed::new().established();
    bed.lose();
    bed.opens();
    for _ in 0..10 {
        bed.feed(Input::UpstreamActivity(Epoch(1)));
        assert_eq!(bed.dials.len(), 1, "it has its time");
        bed.pass(1_000);
    }
    bed.pass(4_000);
    assert_eq!(bed.upstream_close, [(Epoch(1), Close::NoCode)]);
    assert_eq!(bed.dials.len(), 2);
}

#[test]
fn a_resume_that_is_not_answered_is_followed_by_the_clients_own_connection() {
    let mut bed = Bed::keeps_alive();
    bed.lose();
    bed.opens();
    assert_eq!(bed.upstream_got("connection")[0]["data"][0]["authToken"], "T0");
    bed.pass(7_000);
    assert_eq!(bed.dials.len(), 2, "on a new socket");
    bed.opens();
    assert!(bed.upstream_got("connection")[1]["data"][0].get("authToken").is_none());
}

#[test]
fn a_registration_that_does_not_come_back_holds_up_nothing_for_ever() {
    let mut bed = Bed::new().established();
    bed.server("registered", json!({}));
    bed.client(
        "sendData",
        json!({"operationId": "j", "payload": {"command": "join", "options": {"name": "r"}}}),
    );
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    bed.clear();
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("sendData").is_empty(), "the registration comes first");
    bed.pass_in_health(10_000);
    assert_eq!(bed.upstream_got("sendData").len(), 1);
}

#[test]
fn a_join_that_is_not_answered_holds_up_no_stream_for_ever() {
    let mut bed = Bed::new().established();
    bed.client(
        "sendData",
        json!({"operationId": "j", "payload": {"command": "join", "options": {"name": "r"}}}),
    );
    bed.server("DataStatusEvent", json!({"operationId": "j", "status": "ACCEPTED"}));
    let mut bed = bed.playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    assert!(bed.is("joining") && bed.upstream_got("playStream").is_empty());
    bed.pass_in_health(10_000);
    assert!(bed.is("up"));
    assert_eq!(bed.upstream_got("playStream").len(), 1);
}

#[test]
fn a_direct_stream_that_outlived_its_ice_is_reported_and_taken_back() {
    let mut bed =
        Bed::with(|settings| settings.keepalive.upstream_silence = std::time::Duration::from_secs(60));
    bed = bed.established().publishing("a", "cam");
    bed.pass(14_000);
    bed.feed(Input::UpstreamActivity(Epoch(0)));
    assert!(bed.statuses().is_empty(), "a browser bears that");
    bed.client("pong", Value::Null);
    bed.pass(16_000);
    bed.feed(Input::UpstreamActivity(Epoch(0)));
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
}

#[test]
fn an_end_on_probation_is_the_servers_own_word() {
    let mut bed = Bed::keeps_alive().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    assert!(bed.stream_is("on probation"));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Failed by RTP activity")));
    bed.pass_in_health(10_000);
    assert_eq!(bed.statuses(), ["a FAILED Failed by RTP activity"], "once");
}

#[test]
fn a_stop_on_probation_is_answered_and_taken_back() {
    let mut bed = Bed::keeps_alive().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.unpublish("a", "cam");
    assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user"]);
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
}

#[test]
fn an_offer_that_is_never_made_is_reported() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    assert!(bed.stream_is("offering"));
    bed.pass_in_health(11_000);
    assert_eq!(bed.statuses(), ["a FAILED Session not ready"]);
}

#[test]
fn a_stop_of_what_is_being_replayed_is_answered_and_taken_back() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    let id = bed.last_upstream_id("playStream");
    assert!(bed.stream_is("replayed"));
    bed.client("stopStream", json!({"mediaSessionId": "m", "name": "cam", "published": false}));
    assert_eq!(bed.statuses(), ["m STOPPED Stopped by user"]);
    assert_eq!(bed.last_upstream_id("stopStream"), id);
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "STOPPED", Some("Stopped by user")));
    assert_eq!(bed.statuses().len(), 1, "the server's own answer is for us");
}

#[test]
fn a_stop_between_two_tries_is_answered_here() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stopped by publisher stop")));
    bed.pass(350);
    assert!(bed.stream_is("retry"));
    bed.client("stopStream", json!({"mediaSessionId": "m", "name": "cam", "published": false}));
    assert_eq!(bed.statuses(), ["m STOPPED Stopped by user"]);
    bed.pass_in_health(20_000);
    assert!(bed.upstream_got("playStream").is_empty() && bed.upstream_got("stopStream").is_empty());
}

#[test]
fn patience_with_a_publisher_ends_in_the_servers_own_words() {
    let mut bed = Bed::new().established().playing_mse("m", "cam");
    bed.server("notifyStreamStatusEvent", status("m", "cam", "FAILED", Some("Stopped by publisher stop")));
    // A little longer than patience, which begins when the end is held back no more.
    for _ in 0..SessionSettings::default().restore.player_hold.as_millis() / 100 + 20 {
        bed.server("ping", Value::Null);
        bed.client("pong", Value::Null);
        bed.pass(100);
        if bed.stream_is("replayed") {
            let id = bed.last_upstream_id("playStream");
            bed.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("Stream not found")));
        }
    }
    assert!(bed.upstream_got("playStream").len() > 1, "it was tried again");
    assert_eq!(bed.statuses(), ["m FAILED Stopped by publisher stop"], "what ended it, not how tries failed");
}

#[test]
fn a_holder_that_never_answers_holds_up_a_newcomer_for_a_bounded_time() {
    let registry = Arc::new(Registry::default());
    let _old = Bed::member(1, &registry, |_| {}).established().publishing("a", "cam");
    let mut bed = Bed::member(2, &registry, |_| {}).established();
    bed.client("publishStream", publish("b", "cam"));
    bed.server(
        "notifyStreamStatusEvent",
        status("b", "cam", "FAILED", Some("Stream name is already in use")),
    );
    assert!(bed.stream_is("awaits a sign of life"));
    bed.pass(3_100);
    assert_eq!(bed.statuses(), ["b FAILED Stream name is already in use"]);
}
