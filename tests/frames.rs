//! Frames to the letter of RFC 6455 on both legs, and first messages that are none of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use futures_util::SinkExt;
use holdfast::config::SessionSettings;
use net_support::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(payload);
    frame
}

/// The next masked frame of at most 125 bytes: its first byte, its key, its payload.
async fn masked_frame(stream: &mut TcpStream) -> (u8, [u8; 4], Vec<u8>) {
    let mut head = [0; 6];
    in_time("a frame", stream.read_exact(&mut head)).await.unwrap();
    assert!(head[1] & 0x80 != 0, "what goes upstream is masked");
    let key = [head[2], head[3], head[4], head[5]];
    let mut payload = vec![0; usize::from(head[1] & 0x7F)];
    in_time("its payload", stream.read_exact(&mut payload)).await.unwrap();
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    (head[0], key, payload)
}

/// The code and the reason of the close frame that comes next, pings and pongs left out.
async fn raw_close(stream: &mut TcpStream) -> (u16, String) {
    loop {
        let (first, _, payload) = masked_frame(stream).await;
        if first == 0x88 {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
        }
    }
}

const TOO_LARGE: [u8; 10] = [0x82, 0x7F, 0, 0, 0, 1, 0, 0, 0, 0];

#[tokio::test]
async fn an_upstream_that_breaks_the_protocol_is_told_how_and_replaced() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_client, mut server) = established(&proxy, &mut upstream, "t").await;
    for (what, frame, code) in [
        ("a masked frame", masked(0x81, b"{}", [1, 2, 3, 4]), 1002),
        ("a reserved bit", unmasked(0xC1, b"{}"), 1002),
        ("a reserved opcode", unmasked(0x83, b"{}"), 1002),
        ("a fragmented ping", unmasked(0x09, b""), 1002),
        ("a continuation of nothing", unmasked(0x80, b"{}"), 1002),
        ("a close frame of one byte", unmasked(0x88, &[3]), 1002),
        ("a close code that is none", unmasked(0x88, &1005_u16.to_be_bytes()), 1002),
        ("no UTF-8", unmasked(0x81, &[0xFF]), 1007),
        ("no UTF-8 in a reason", unmasked(0x88, &[3, 232, 0xFF]), 1007),
        ("a message that is too large", TOO_LARGE.to_vec(), 1009),
    ] {
        server.get_mut().write_all(&frame).await.unwrap();
        assert_eq!(raw_close(server.get_mut()).await.0, code, "{what}");
        let (next_server, _) = upstream.accept().await;
        server = next_server;
        assert_eq!(next_text(&mut server).await, CONNECTION, "{what}: the session goes on");
        send(&mut server, &user_data("t")).await;
    }
}

#[tokio::test]
async fn a_clients_violation_is_not_blamed_on_the_upstream() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    for (frame, code) in [
        (unmasked(0x81, b"{}"), 1002),
        (masked(0x81, &[0xFF], [1, 2, 3, 4]), 1007),
        ([&TOO_LARGE[..1], &[0xFF], &TOO_LARGE[2..], &[0; 4]].concat(), 1009),
    ] {
        let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
        client.get_mut().write_all(&frame).await.unwrap();
        assert_eq!(close_of(&mut client).await.unwrap().code, CloseCode::from(code));
        assert_eq!(close_of(&mut server).await.unwrap().code, CloseCode::Away, "in a session: {code}");
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        next(&mut server).await;
        client.get_mut().write_all(&frame).await.unwrap();
        assert_eq!(close_of(&mut client).await.unwrap().code, CloseCode::from(code));
        assert_eq!(close_of(&mut server).await.unwrap().code, CloseCode::Away, "passed through: {code}");
    }
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame { code: code.into(), reason: reason.into() }
}

#[tokio::test]
async fn close_reasons_pass_in_both_directions() {
    let upstream = Upstream::start().await;
    let mut session = SessionSettings::default();
    session.restore.connection = false;
    let proxy = holdfast::net::Proxy::start(settings(&[upstream.address]), session).await.unwrap();
    let mut upstream = upstream;
    for passed_through in [false, true] {
        for (code, reason) in [(4001, "see you \u{20ac}"), (1008, "policy"), (1011, &*"x".repeat(123))] {
            let (mut client, mut server) = pair(&proxy, &mut upstream, passed_through).await;
            client.close(Some(frame(code, reason))).await.unwrap();
            assert_eq!(close_of(&mut server).await, Some(frame(code, reason)), "upwards");
            let (mut client, mut server) = pair(&proxy, &mut upstream, passed_through).await;
            server.close(Some(frame(code, reason))).await.unwrap();
            assert_eq!(close_of(&mut client).await, Some(frame(code, reason)), "downwards");
        }
    }
}

/// A client and its upstream connection, in a session or merely passed through.
async fn pair(
    proxy: &holdfast::net::Proxy,
    upstream: &mut Upstream,
    passed_through: bool,
) -> (ClientSocket, UpstreamSocket) {
    if !passed_through {
        return established(proxy, upstream, "t").await;
    }
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    (client, server)
}

#[tokio::test]
async fn the_reason_of_a_lost_upstream_is_not_the_clients() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    server.close(Some(frame(1001, "going away"))).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    assert!(proxy.shutdown().await);
    assert_eq!(close_of(&mut client).await, Some(frame(1012, "")));
}

#[tokio::test]
async fn each_frame_goes_upstream_under_a_key_of_our_own() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    for passed_through in [false, true] {
        let (mut client, mut server) = pair(&proxy, &mut upstream, passed_through).await;
        let mut bytes = Vec::new();
        let texts: Vec<String> = (0..4).map(|n| format!("{{\"message\":\"unheardOf{n}\"}}")).collect();
        for text in &texts {
            bytes.extend(masked(0x81, text.as_bytes(), [7, 7, 7, 7]));
        }
        bytes.extend(masked(0x82, b"", [7, 7, 7, 7]));
        client.get_mut().write_all(&bytes).await.unwrap();
        let mut keys = Vec::new();
        for text in &texts {
            let (first, key, payload) = masked_frame(server.get_mut()).await;
            assert_eq!((first, String::from_utf8(payload).unwrap()), (0x81, text.clone()));
            keys.push(key);
        }
        keys.push(masked_frame(server.get_mut()).await.1);
        let count = keys.len();
        assert!(!keys.contains(&[7, 7, 7, 7]), "{keys:?}");
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "each frame has a key of its own");
    }
}

#[tokio::test]
async fn a_first_message_that_is_not_ours_passes_through() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    for first in [
        Message::binary(vec![0, 1, 2]),
        Message::binary(Vec::new()),
        Message::text("hello"),
        Message::text(""),
        Message::text("[1,2]"),
        Message::text("{\"message\":\"conn"),
        Message::text("{\"message\":7}"),
        Message::text("[".repeat(1_000)),
    ] {
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        client.send(first.clone()).await.unwrap();
        assert_eq!(next(&mut server).await, first);
        server.send(first.clone()).await.unwrap();
        assert_eq!(next(&mut client).await, first);
        client.send(Message::binary(vec![9])).await.unwrap();
        assert_eq!(next(&mut server).await, Message::binary(vec![9]));
        server.close(Some(frame(4000, "over"))).await.unwrap();
        assert_eq!(close_of(&mut client).await, Some(frame(4000, "over")));
    }
}

#[tokio::test]
async fn a_byte_order_mark_costs_no_session() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    let connection = format!("\u{feff}{CONNECTION}");
    send(&mut client, &connection).await;
    assert_eq!(next_text(&mut server).await, connection);
    send(&mut server, &user_data("t")).await;
    next_text(&mut client).await;
    drop(server);
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, connection, "the session is restored");
}

#[tokio::test]
async fn a_ping_before_the_first_message_costs_no_session() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    let ping = r#"{"message":"ping","data":[null]}"#;
    for _ in 0..2 {
        send(&mut client, ping).await;
        assert_eq!(next_text(&mut server).await, ping);
    }
    send(&mut client, CONNECTION).await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    send(&mut server, &user_data("t")).await;
    next_text(&mut client).await;
    drop(server);
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, CONNECTION, "the session is restored");
    send(&mut server, &user_data("t")).await;
    // A media socket may begin like that as well.
    let mut player = connect(proxy.address()).await;
    let (_media, _) = upstream.accept().await;
    send(&mut player, ping).await;
    send(&mut player, r#"{"message":"connectMediaTransport","data":[{"authToken":"t"}]}"#).await;
    wait_until("the player's socket is no session", || {
        (proxy.facts().sessions, proxy.facts().places_taken) == (1, 2)
    })
    .await;
}

fn status(id: &Value, status: &str) -> String {
    let fields = json!({"mediaSessionId": id, "name": "cam", "published": true, "status": status});
    json!({"message": "notifyStreamStatusEvent", "data": [fields]}).to_string()
}

async fn next_json(socket: &mut ClientSocket) -> Value {
    serde_json::from_str(&next_text(socket).await).unwrap()
}

#[tokio::test]
async fn an_id_that_is_a_number_gets_its_verdict_like_any_other() {
    for answered in [true, false] {
        let (proxy, mut upstream) = proxy_and_upstream().await;
        let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
        let fields = json!({"mediaSessionId": 42, "name": "cam", "sdp": "offer", "mediaProvider": "WebRTC"});
        let publish = json!({"message": "publishStream", "data": [fields]}).to_string();
        send(&mut client, &publish).await;
        assert_eq!(next_text(&mut server).await, publish);
        if answered {
            send(&mut server, r#"{"message":"setRemoteSDP","data":[42,"answer",true]}"#).await;
            send(&mut server, &status(&json!("42"), "PUBLISHING")).await;
            for _ in 0..2 {
                next_text(&mut client).await;
            }
        }
        drop(server);
        let (mut server, _) = upstream.accept().await;
        assert_eq!(next_text(&mut server).await, CONNECTION);
        send(&mut server, &user_data("t")).await;
        if !answered {
            let again: Value = serde_json::from_str(&next_text(&mut server).await).unwrap();
            assert_eq!(again["message"], "publishStream");
            send(&mut server, &status(&again["data"][0]["mediaSessionId"], "PUBLISHING")).await;
        }
        let verdict = loop {
            let message = next_json(&mut client).await;
            if message["message"] == "notifyStreamStatusEvent" {
                break message["data"][0].clone();
            }
        };
        assert_eq!(verdict["mediaSessionId"], 42, "{verdict}");
        assert_eq!(verdict["status"], if answered { "FAILED" } else { "PUBLISHING" });
    }
}

#[tokio::test]
async fn a_second_connection_replaces_the_first() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "one").await;
    let second = CONNECTION.replace("\"clientVersion\"", "\"custom\":{\"login\":\"bob\"},\"clientVersion\"");
    send(&mut client, &second).await;
    assert_eq!(next_text(&mut server).await, second);
    send(&mut server, &user_data("two")).await;
    assert_eq!(next_text(&mut client).await, user_data("two"), "the answer to it, under its own token");
    drop(server);
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, second);
}
