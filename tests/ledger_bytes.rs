//! What sessions keep for a restore is bounded in bytes, over real sockets: large messages reach the server
//! whole, and their streams are reported after an outage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use holdfast::{config::SessionSettings, net::Proxy};
use net_support::{
    CONNECTION, ClientSocket, Upstream, UpstreamSocket, close_of, connect, established, in_time, next_text,
    send, settings, start, user_data, wait_until,
};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn publish(id: &str, name: &str, bytes: usize) -> String {
    let data = json!({
        "mediaSessionId": id, "name": name, "mediaProvider": "WebRTC", "sdp": "v=0", "custom": "x".repeat(bytes),
    });
    json!({"message": "publishStream", "data": [data]}).to_string()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The next message of the client that is no ping.
async fn heard(client: &mut ClientSocket) -> Value {
    loop {
        let message = parse(&next_text(client).await);
        if message["message"] != "ping" {
            return message;
        }
    }
}

/// The session again, on a new upstream connection.
async fn restored(upstream: &mut Upstream) -> UpstreamSocket {
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    send(&mut server, &user_data("t2")).await;
    server
}

#[tokio::test]
async fn publishes_of_14_mib_are_passed_on_and_reported_instead_of_kept() {
    let mut upstream = Upstream::start().await;
    let proxy = start(settings(&[upstream.address])).await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    for n in 0..6 {
        let message = publish(&format!("big{n}"), "large", 14 * MIB);
        // They pass while they are written.
        let (_, seen) = tokio::join!(send(&mut client, &message), next_text(&mut server));
        assert!(seen == message, "the server got something else");
        let kept = proxy.registry().kept().bytes();
        assert!(kept < 16 * 1024, "{kept} bytes are kept");
    }
    send(&mut client, &publish("small", "tom", 100)).await;
    assert!(next_text(&mut server).await.contains("small"));
    drop(server);
    let mut server = restored(&mut upstream).await;
    let mut told = Vec::new();
    while told.len() < 6 {
        let message = heard(&mut client).await;
        assert_eq!(message["data"][0]["status"], "FAILED", "{message}");
        told.push(message["data"][0]["mediaSessionId"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, ["big0", "big1", "big2", "big3", "big4", "big5"]);
    assert!(next_text(&mut server).await.contains("tom"), "what is kept is repeated");
    drop(client);
    wait_until("nothing is kept for nobody", || proxy.registry().kept().bytes() == 0).await;
}

/// Nor ids, joins, names of rooms or questions: each reaches the server, none is kept.
#[tokio::test]
async fn everything_else_that_is_large_is_passed_on_and_not_kept() {
    let mut upstream = Upstream::start().await;
    let proxy = start(settings(&[upstream.address])).await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    let before = proxy.registry().kept().bytes();
    let long = "x".repeat(8 * MIB);
    let join = json!({"command": "join", "options": {"name": long}});
    let messages = [
        json!({"message": "publishStream", "data": [{"mediaSessionId": long, "name": "n"}]}),
        json!({"message": "sendData", "data": [{"operationId": "o", "payload": join}]}),
        json!({"message": "sendData", "data": [{"operationId": long, "payload": {}}]}),
        json!({"message": "call", "data": [{"callId": long}]}),
        json!({"message": "availableStream", "data": [{"mediaSessionId": long}]}),
        json!({"message": "snapshot", "data": [{"mediaSessionId": long}]}),
        json!({"message": "unPublishStream", "data": [{"mediaSessionId": long, "name": "n"}]}),
    ];
    for message in messages {
        let message = message.to_string();
        let (_, seen) = tokio::join!(send(&mut client, &message), next_text(&mut server));
        assert!(seen == message, "the server got something else");
    }
    assert_eq!(proxy.registry().kept().bytes(), before);
}

/// The first message of a media socket is repeated after an outage; one too large for that is passed on,
/// and the socket ends with its upstream.
#[tokio::test]
async fn a_media_socket_keeps_no_large_message() {
    let mut upstream = Upstream::start().await;
    let proxy = start(settings(&[upstream.address])).await;
    let (_client, _server) = established(&proxy, &mut upstream, "t").await;
    let mut player = connect(proxy.address()).await;
    let (mut source, _) = upstream.accept().await;
    let hello =
        json!({"message": "connectMediaTransport", "data": [{"authToken": "t", "x": "x".repeat(MIB)}]});
    let hello = hello.to_string();
    let (_, seen) = tokio::join!(send(&mut player, &hello), next_text(&mut source));
    assert!(seen == hello);
    source.close(None).await.unwrap();
    assert!(close_of(&mut player).await.is_none());
}

#[tokio::test]
async fn a_session_whose_connection_is_too_large_is_passed_through() {
    let mut upstream = Upstream::start().await;
    let proxy = start(settings(&[upstream.address])).await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    let mut connection = parse(CONNECTION);
    connection["data"][0]["custom"] = json!("x".repeat(2 * MIB));
    let connection = connection.to_string();
    let (_, seen) = tokio::join!(send(&mut client, &connection), next_text(&mut server));
    assert!(seen == connection);
    assert_eq!(proxy.registry().kept().bytes(), 0);
    server.close(None).await.unwrap();
    let _ = close_of(&mut client).await;
}

/// Sessions with much to keep, one after the other, until no more is kept.
#[tokio::test]
async fn all_sessions_together_keep_their_share_of_the_budget() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    // A budget that the tests of this process do not reach, and a share that they do.
    settings.limits.memory_bytes_max = Some(1024 * MIB as u64);
    settings.limits.kept_memory_percent_max = 1;
    let share = 1024 * MIB / 100;
    let proxy = Proxy::start(settings, SessionSettings::default()).await.unwrap();
    let mut sessions = Vec::new();
    for n in 0..20 {
        sessions.push(established(&proxy, &mut upstream, &format!("t{n}")).await);
    }
    for (n, (client, server)) in sessions.iter_mut().enumerate() {
        for m in 0..14 {
            // Text that does not shrink is not needed: it is kept as it is while it has no answer.
            send(client, &publish(&format!("s{m}"), &format!("n{n}-{m}"), 60 * 1024)).await;
            assert!(next_text(server).await.contains("publishStream"));
        }
        let kept = proxy.registry().kept().bytes() + proxy.registry().names().bytes();
        assert!(kept <= share + 64 * 1024, "{kept} bytes are kept of {share}");
    }
    assert!(proxy.registry().kept().bytes() > share / 2, "the share was reached");
    // The last one found no room: after an outage it is told so.
    let (mut client, server) = sessions.pop().unwrap();
    drop(server);
    let message = in_time("a report", heard(&mut client)).await;
    assert_eq!(message["data"][0]["status"], "FAILED");
}
