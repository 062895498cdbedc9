//! Each fault does to clients what its name says.

use std::time::Duration;

use holdfast_lab::simulator::Simulator;
use serde_json::{Value, json};

use crate::client::{Client, Ended, wait_until};
use crate::{assert_no_violation, simulator};

fn commit(server: &Simulator, fault: Value) -> Value {
    server.fault(serde_json::from_value(fault).unwrap()).unwrap()
}

#[tokio::test]
async fn connections_end_in_every_way() {
    let server = simulator(json!({})).await;
    for (how, expected) in [("fin", Ended::Fin), ("reset", Ended::Reset), ("rst", Ended::Reset)] {
        let mut client = Client::establish(server.address()).await;
        assert_eq!(commit(&server, json!({"fault": "drop", "how": how})), json!({"struck": 1}));
        assert_eq!(client.end().await, expected, "{how}");
        wait_until("the connection is forgotten", || server.summary()["now"]["connections"] == 0).await;
    }
    for how in ["reserved_bits", "bad_utf8"] {
        let mut client = Client::establish(server.address()).await;
        commit(&server, json!({"fault": "drop", "how": how}));
        let end = client.end().await;
        assert!(matches!(end, Ended::Protocol(_)), "{how}: {end:?}");
        wait_until("the connection is forgotten", || server.summary()["now"]["connections"] == 0).await;
    }
    for code in [Some(1000), Some(1001), Some(1012), Some(4001), None] {
        let mut client = Client::establish(server.address()).await;
        commit(&server, json!({"fault": "close", "code": code, "reason": "bye"}));
        assert_eq!(client.end().await, Ended::Closed(code));
        wait_until("the session ends", || server.summary()["now"]["connections"] == 0).await;
    }
    assert_no_violation(&server);
}

#[tokio::test]
async fn only_the_chosen_are_struck() {
    let server = simulator(json!({})).await;
    let mut chosen = Client::establish_as(server.address(), json!({"appKey": "a"})).await;
    let mut spared = Client::establish_as(server.address(), json!({"appKey": "b"})).await;
    spared.publish("s", "cam").await;
    commit(&server, json!({"fault": "kill_sessions", "whom": {"app_key": "a"}}));
    assert_eq!(chosen.end().await, Ended::Fin);
    assert_eq!(server.summary()["now"]["sessions"], 1);
    spared.stop("unPublishStream", "s", "cam").await;
    assert_eq!(spared.status_of("s").await["status"], "UNPUBLISHED");
}

#[tokio::test]
async fn a_black_hole_is_silent_until_healed() {
    let server = simulator(json!({"pings": {"interval_ms": 20, "missed_max": 0}})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for_pings(1).await;
    commit(&server, json!({"fault": "black_hole", "newcomers": "silent"}));
    client.start("publishStream", "a", "cam").await;
    while !client.quiet_for(Duration::from_millis(200)).await {}
    assert_eq!(server.summary()["now"]["publishes"], 0);
    commit(&server, json!({"fault": "heal"}));
    assert_eq!(client.status_of("a").await["status"], "PUBLISHING");
}

#[tokio::test]
async fn a_session_that_dies_in_a_black_hole_is_not_heard_of() {
    let server = simulator(json!({"pings": {"interval_ms": 20, "missed_max": 2}})).await;
    let mut client = Client::establish(server.address()).await;
    commit(&server, json!({"fault": "black_hole"}));
    wait_until("the session ends", || server.summary()["now"]["sessions"] == 0).await;
    while !client.quiet_for(Duration::from_millis(200)).await {}
    // Newcomers are served meanwhile.
    Client::establish(server.address()).await;
    commit(&server, json!({"fault": "heal"}));
    assert_eq!(client.end().await, Ended::Reset);
}

#[tokio::test]
async fn a_frozen_server_stands_still_and_goes_on() {
    let server = simulator(json!({"pings": {"interval_ms": 20, "missed_max": 3}})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    commit(&server, json!({"fault": "freeze"}));
    let dialling = tokio::spawn(Client::establish(server.address()));
    client.stop("unPublishStream", "a", "cam").await;
    while !client.quiet_for(Duration::from_millis(300)).await {}
    assert!(!dialling.is_finished());
    assert_eq!(server.summary()["now"]["sessions"], 1, "missed pongs do not count while frozen");
    assert_eq!(server.summary()["process"]["frozen"], true);
    commit(&server, json!({"fault": "thaw"}));
    assert_eq!(client.status_of("a").await["status"], "UNPUBLISHED");
    dialling.await.unwrap();
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_freeze_ends_by_itself() {
    let server = simulator(json!({})).await;
    commit(&server, json!({"fault": "freeze", "for_ms": 100}));
    Client::establish(server.address()).await;
    assert_eq!(server.summary()["process"]["frozen"], false);
}

#[tokio::test]
async fn nobody_listens_and_then_again() {
    let server = simulator(json!({})).await;
    let address = server.address();
    let mut client = Client::establish(address).await;
    commit(&server, json!({"fault": "stop_listening"}));
    wait_until("the port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    assert_eq!(client.publish("a", "cam").await["status"], "PUBLISHING");
    commit(&server, json!({"fault": "listen"}));
    wait_until("the port is open", || std::net::TcpStream::connect(address).is_ok()).await;
    Client::establish(address).await;
}

#[tokio::test]
async fn a_restart_forgets_everything() {
    let server = simulator(json!({"sessions": {"linger_ms": 60_000}})).await;
    let address = server.address();
    let mut client = Client::establish(address).await;
    client.publish("a", "cam").await;
    let before = server.summary()["process"]["start_id"].clone();
    commit(&server, json!({"fault": "restart", "down_ms": 1_500}));
    assert_eq!(client.end().await, Ended::Fin);
    wait_until("the port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    wait_until("the port is open", || std::net::TcpStream::connect(address).is_ok()).await;
    let mut next = Client::establish(address).await;
    assert_eq!(next.publish("a", "cam").await["status"], "PUBLISHING");
    let state = server.state();
    assert_eq!(state["process"]["epoch"], 2);
    assert_ne!(state["process"]["start_id"], before);
    assert_eq!(state["past"][0]["counters"]["publishes"]["cam"], 1);
    assert_eq!(state["counters"]["asked"]["connection"], 1);
    assert_no_violation(&server);
}

#[tokio::test]
async fn an_orderly_restart_closes_with_a_code_after_a_burst() {
    let server = simulator(json!({})).await;
    let mut publisher = Client::establish(server.address()).await;
    let mut player = Client::establish(server.address()).await;
    publisher.publish("a", "cam").await;
    player.play("p", "cam").await;
    let restart = json!({
        "fault": "restart", "close_code": 1001, "burst_info": "Stopped by session disconnect", "burst_gap_ms": 20,
    });
    assert_eq!(commit(&server, restart), json!({"burst": 2}));
    for (client, id) in [(&mut publisher, "a"), (&mut player, "p")] {
        let failed = client.status_of(id).await;
        assert_eq!(failed["status"], "FAILED");
        assert_eq!(failed["info"], "Stopped by session disconnect");
        assert_eq!(client.end().await, Ended::Closed(Some(1001)));
    }
}

#[tokio::test]
async fn streams_fail_with_any_info() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    client.publish("b", "other").await;
    let fail = json!({"fault": "fail_stream", "streams": {"name": "cam"}, "info": "Failed by RTP activity"});
    assert_eq!(commit(&server, fail), json!({"struck": 1}));
    let failed = client.status_of("a").await;
    assert_eq!((&failed["status"], &failed["info"]), (&json!("FAILED"), &json!("Failed by RTP activity")));
    assert_eq!(server.summary()["now"]["publishes"], 1);
}

#[tokio::test]
async fn any_message_can_be_sent() {
    let server = simulator(json!({})).await;
    let mut client = Client::establish(server.address()).await;
    commit(&server, json!({"fault": "send", "message": "getVersion", "data": ["9.9"]}));
    assert_eq!(client.wait_for("getVersion").await, "5.2.2000-simulator");
    assert_eq!(client.wait_for("getVersion").await, "9.9");
    commit(
        &server,
        json!({"fault": "send_raw", "text": "{\"message\":\"odd\",\"data\":{\"not\":\"array\"}}"}),
    );
    assert_eq!(client.message().await.unwrap(), ("odd".to_owned(), json!({"not": "array"})));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_reset() {
    let server = simulator(json!({"limits": {"queue_max": 4}})).await;
    let mut client = Client::establish(server.address()).await;
    let big = "x".repeat(1 << 20);
    for _ in 0..64 {
        commit(&server, json!({"fault": "send", "message": "big", "data": [big]}));
    }
    wait_until("the client is dropped", || server.summary()["now"]["connections"] == 0).await;
    assert!(matches!(client.end().await, Ended::Reset | Ended::Fin));
    assert!(server.summary()["counters"]["queue_overflows"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn shutdown_frees_the_address() {
    let server = simulator(json!({})).await;
    let address = server.address();
    let mut client = Client::establish(address).await;
    server.shutdown().await;
    assert_eq!(client.end().await, Ended::Fin);
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn newcomers_can_find_silence_or_nobody() {
    let limits = json!({"handshake_ms_max": 50});
    let server = simulator(json!({"limits": limits})).await;
    let address = server.address();
    commit(&server, json!({"fault": "black_hole", "newcomers": "silent"}));
    // Even past the time limit of its handshake it hears nothing.
    let mut dialling = Box::pin(Client::dial(address));
    assert!(tokio::time::timeout(Duration::from_millis(400), &mut dialling).await.is_err());
    assert_eq!(server.summary()["now"]["connections"], 1);
    drop(dialling);
    commit(&server, json!({"fault": "heal"}));
    Client::establish(address).await;
    commit(&server, json!({"fault": "black_hole", "newcomers": "refused"}));
    wait_until("the port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    commit(&server, json!({"fault": "heal"}));
    wait_until("the port is open", || std::net::TcpStream::connect(address).is_ok()).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_dropped() {
    let server = simulator(json!({"limits": {"handshake_ms_max": 50}})).await;
    let mut tcp = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(server.summary()["counters"]["handshakes_broken"], 1);
}

#[tokio::test]
async fn pings_stall_and_counters_are_reset_on_order() {
    let server = simulator(json!({"pings": {"interval_ms": 10}})).await;
    let mut client = Client::establish(server.address()).await;
    client.wait_for_pings(1).await;
    client.send("nonsense", Value::Null).await;
    wait_until("the nonsense is recorded", || server.violations().len() == 1).await;
    commit(&server, json!({"fault": "ping_stall", "stalled": true}));
    while !client.quiet_for(Duration::from_millis(150)).await {}
    commit(&server, json!({"fault": "reset_counters"}));
    assert_eq!(server.summary()["counters"]["asked"], json!({}));
    assert_no_violation(&server);
    commit(&server, json!({"fault": "ping_stall", "stalled": false}));
    client.wait_for_pings(1).await;
}
