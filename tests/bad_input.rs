//! Sockets that do anything but speak WCS: each gets its answer, costs nothing afterwards, and no
//! other session notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs, time::Duration};

use futures_util::{SinkExt, StreamExt};
use net_support::*;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// How the proxy closes a client that begins like this.
async fn close_code_for(proxy: &holdfast::net::Proxy, frames: &[u8]) -> Option<u16> {
    let mut client = connect(proxy.address()).await;
    client.get_mut().write_all(frames).await.unwrap();
    close_of(&mut client).await.map(|close| close.code.into())
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn each_kind_of_bad_frame_gets_its_close_code() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut other, mut other_server) = established(&proxy, &mut upstream, "other").await;
    let huge = [0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("reserved bit", masked(0xC1, b"{}"), 1002),
        ("reserved opcode", masked(0x83, b"{}"), 1002),
        ("unmasked", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("fragmented ping", masked(0x09, b""), 1002),
        ("continuation of nothing", masked(0x80, b"{}"), 1002),
        ("bad close frame", masked(0x88, &[3]), 1002),
        ("invalid UTF-8", masked(0x81, &[0xFF, 0xFE]), 1007),
        ("too large", huge.to_vec(), 1009),
    ];
    for (what, frames, code) in cases {
        assert_eq!(close_code_for(&proxy, &frames).await, Some(code), "{what}");
    }
    wait_until("only the good session is left", || proxy.facts().places_taken == 1).await;
    send(&mut other, r#"{"message":"unheardOf","data":[1]}"#).await;
    assert!(next_text(&mut other_server).await.contains("unheardOf"));
    send(&mut other_server, r#"{"message":"unheardOf","data":[2]}"#).await;
    next(&mut other).await;
}

#[tokio::test]
async fn what_came_before_a_broken_frame_still_goes_on() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    let mut frames = masked(0x81, br#"{"message":"unheardOf","data":["last"]}"#);
    frames.extend(masked(0x83, b""));
    client.get_mut().write_all(&frames).await.unwrap();
    assert!(next_text(&mut server).await.contains("last"));
    assert_eq!(close_of(&mut client).await.map(|close| close.code.into()), Some(1002));
}

#[tokio::test]
async fn bad_messages_inside_a_session_do_not_end_it() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    let deep = format!("{{\"message\":\"x\",\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let messages = [
        "no json",
        "{",
        "[]",
        "7",
        "null",
        "{\"message\":\"publishStream\"}",
        "{\"message\":\"publishStream\",\"data\":{}}",
        "{\"message\":\"publishStream\",\"data\":[7]}",
        "{\"message\":\"unpublishStream\",\"data\":[null]}",
        "{\"message\":\"playStream\",\"data\":[{\"mediaSessionId\":7}]}",
        "{\"message\":null,\"data\":[]}",
        &deep,
    ];
    for message in messages {
        send(&mut client, message).await;
        send(&mut server, message).await;
    }
    send(&mut client, r#"{"message":"unheardOf","data":["end"]}"#).await;
    while !next_text(&mut server).await.contains("unheardOf") {}
    send(&mut server, r#"{"message":"unheardOf","data":["end"]}"#).await;
    while !next_text(&mut client).await.contains("unheardOf") {}
    assert_eq!(proxy.facts().sessions, 1);
}

#[tokio::test]
async fn an_upstream_that_breaks_the_protocol_is_a_lost_upstream() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    // A masked frame from a server.
    server.get_mut().write_all(&masked(0x81, b"{}")).await.unwrap();
    let (mut second, _) = upstream.accept().await;
    assert!(next_text(&mut second).await.contains("\"connection\""));
    client.send(Message::Ping("alive".into())).await.unwrap();
    assert_eq!(proxy.facts().sessions, 1);
}

#[tokio::test]
async fn silence_has_a_limit_before_and_after_the_handshake() {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    // Enough for the good handshake below, however busy the machine is.
    settings.listen.handshake_timeout = Duration::from_secs(2);
    settings.listen.idle_before_first_message = Duration::from_millis(200);
    let proxy = start(settings).await;
    let nothing = raw_exchange(proxy.address(), b"");
    let part = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nHost: x\r\nA: ");
    assert_eq!(tokio::join!(nothing, part), (String::new(), String::new()));
    let mut client = connect(proxy.address()).await;
    assert_eq!(close_of(&mut client).await.map(|close| close.code.into()), Some(1008));
    wait_until("nothing is left", || {
        let facts = proxy.facts();
        (facts.places_taken, facts.handshakes, facts.sessions) == (0, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn signs_of_life_put_the_first_message_off_for_a_while_only() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.idle_before_first_message = Duration::from_millis(600);
    let proxy = start(settings).await;
    let begin = std::time::Instant::now();
    let mut client = connect(proxy.address()).await;
    let _server = upstream.accept().await;
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    let close = loop {
        tokio::select! {
            _ = beat.tick() => {
                // After the close the socket takes no more.
                let _ = client.send(Message::Text(r#"{"message":"ping","data":[]}"#.into())).await;
            }
            close = close_of(&mut client) => break close,
        }
    };
    assert_eq!(close.map(|close| close.code.into()), Some(1008));
    let lived = begin.elapsed();
    assert!(lived >= Duration::from_secs(6), "ten times the patience, not {lived:?}");
    assert!(lived < Duration::from_secs(20), "{lived:?}");
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One bad socket of the kind `index` chooses; returns when it has ended.
async fn bad_socket(proxy: &holdfast::net::Proxy, index: usize) {
    let address = proxy.address();
    match index % 8 {
        0 => drop(TcpStream::connect(address).await.unwrap()),
        1 => {
            raw_exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        }
        2 => {
            raw_exchange(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
        }
        3 => {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        }
        4 => {
            close_code_for(proxy, &masked(0x81, &[0xFF])).await;
        }
        5 => {
            close_code_for(proxy, &masked(0x83, b"reserved")).await;
        }
        6 => {
            // Announces 16 MiB, sends a little of it, and leaves.
            let mut client = connect(address).await;
            let frame = [0x82, 0xFF, 0, 0, 0, 0, 0x00, 0xFF, 0, 0, 0, 0, 0, 0];
            client.get_mut().write_all(&frame).await.unwrap();
            client.get_mut().write_all(&[1; 2_000]).await.unwrap();
        }
        _ => drop(connect(address).await),
    }
}

async fn bad_sockets(proxy: &holdfast::net::Proxy, count: usize) {
    for start in (0..count).step_by(40) {
        let batch = (start..start + 40).map(|index| bad_socket(proxy, index));
        futures_util::future::join_all(batch).await;
    }
    wait_until("all of them are gone", || {
        let facts = proxy.facts();
        facts.sessions == 1 && facts.handshakes == 0 && facts.closing == 0
    })
    .await;
}

/// Answers pings until something else comes, which is told.
async fn answer_pings(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        match socket.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(text))) if text.contains("\"ping\"") => {
                send(socket, r#"{"message":"pong","data":[null]}"#).await;
            }
            Some(Ok(Message::Text(text))) if text.contains("\"pong\"") => {}
            other => return format!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_bad_sockets_leave_no_memory_behind() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "good").await;
    let drain = tokio::spawn(async move {
        while let Some((mut socket, _)) = upstream.accept_forever().await {
            tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
        }
    });
    // The first ones fill what is kept for good: thread buffers, allocator arenas.
    let grown = async {
        bad_sockets(&proxy, 2_000).await;
        let before = resident_kb();
        bad_sockets(&proxy, 10_000).await;
        resident_kb().saturating_sub(before)
    };
    // On a slow machine that takes longer than whoever answers no pings is believed to live.
    let grown = tokio::select! {
        grown = grown => grown,
        heard = answer_pings(&mut client) => panic!("the client heard {heard}"),
        heard = answer_pings(&mut server) => panic!("the server heard {heard}"),
    };
    assert!(grown < 5 * 1024, "{grown} KiB were left behind");
    send(&mut client, r#"{"message":"unheardOf","data":[1]}"#).await;
    while !next_text(&mut server).await.contains("unheardOf") {}
    send(&mut server, r#"{"message":"unheardOf","data":[2]}"#).await;
    while !next_text(&mut client).await.contains("unheardOf") {}
    drain.abort();
}
