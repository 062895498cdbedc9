//! How sockets end, how sessions are dialed again, and what one peer may cost the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use net_support::*;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

fn frame(code: u16) -> Option<CloseFrame> {
    Some(CloseFrame { code: code.into(), reason: "".into() })
}

#[tokio::test]
async fn a_client_that_closes_closes_its_upstream_at_once() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    client.close(frame(4001)).await.unwrap();
    let close = close_of(&mut server).await;
    assert!(close.is_none() || close.as_ref().unwrap().code != CloseCode::Abnormal, "{close:?}");
    assert_eq!(close_of(&mut client).await.map(|close| u16::from(close.code)), Some(4001));
    wait_until("the session is gone", || proxy.facts().places_taken == 0).await;
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_vanishes_closes_its_upstream_cleanly() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (client, mut server) = established(&proxy, &mut upstream, "t").await;
    drop(client);
    let message = in_time("the close", server.next()).await;
    assert!(matches!(message, Some(Ok(Message::Close(_)))), "{message:?}");
    wait_until("the session is gone", || proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn close_codes_pass_in_both_directions_of_a_passed_through_session() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    for code in [1000, 1001, 1012, 3000, 4999] {
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        next(&mut server).await;
        server.close(frame(code)).await.unwrap();
        assert_eq!(close_of(&mut client).await.map(|close| u16::from(close.code)), Some(code));
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        next(&mut server).await;
        client.close(frame(code)).await.unwrap();
        assert_eq!(close_of(&mut server).await.map(|close| u16::from(close.code)), Some(code));
    }
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    server.close(None).await.unwrap();
    assert_eq!(close_of(&mut client).await, None);
}

#[tokio::test]
async fn a_lost_upstream_is_dialed_again_and_the_client_stays() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, server) = established(&proxy, &mut upstream, "first").await;
    drop(server);
    let (mut server, _) = upstream.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
    send(&mut server, &user_data("second")).await;
    let text = r#"{"message":"OnDataEvent","data":[{"payload":1}]}"#;
    send(&mut server, text).await;
    // The second getUserData is swallowed; what follows arrives.
    loop {
        let got = next_text(&mut client).await;
        assert!(!got.contains("getUserData"), "{got}");
        if got == text {
            break;
        }
    }
}

#[tokio::test]
async fn waiting_sessions_come_back_when_the_node_answers() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for index in 0..20 {
        let (client, server) = established(&proxy, &mut upstream, &format!("t{index}")).await;
        clients.push(client);
        servers.push(server);
    }
    let address = upstream.stop().await;
    drop(servers);
    let_pass(Duration::from_millis(300)).await;
    assert_eq!(proxy.facts().sessions, 20);
    let mut upstream = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    let mut servers = Vec::new();
    for _ in 0..20 {
        let (mut server, _) = upstream.accept().await;
        assert!(next_text(&mut server).await.contains("\"connection\""));
        servers.push(server);
    }
    assert_eq!(proxy.facts().sessions, 20);
}

#[tokio::test]
async fn a_restore_stays_within_the_budget() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.upstream.restore_rate = 10;
    settings.upstream.fall_together_spread = Duration::ZERO;
    let proxy = start(settings).await;
    let mut sessions = Vec::new();
    for index in 0..15 {
        sessions.push(established(&proxy, &mut upstream, &format!("t{index}")).await);
    }
    let before = upstream.dials.load(Ordering::SeqCst);
    assert_eq!(before, 15, "first dials are not limited");
    let (clients, servers): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
    let begin = std::time::Instant::now();
    drop(servers);
    let_pass(Duration::from_millis(950)).await;
    let dials = upstream.dials.load(Ordering::SeqCst) - before;
    // On a busy machine more time has passed than was asked for.
    let most = 1 + begin.elapsed().as_millis() / 100;
    assert!(dials >= 1 && dials as u128 <= most, "{dials} dials in {:?}", begin.elapsed());
    for _ in 0..15 {
        upstream.accept().await;
    }
    drop(clients);
}

#[tokio::test]
async fn more_sessions_than_places_get_503() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.sessions_max = Some(2);
    let proxy = start(settings).await;
    let first = connect(proxy.address()).await;
    let _second = connect(proxy.address()).await;
    upstream.accept().await;
    let refused = try_connect(proxy.address(), "/", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    drop(first);
    wait_until("a place is free", || proxy.facts().places_taken < 2).await;
    let _third = connect(proxy.address()).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped_and_its_upstream_not_read_meanwhile() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.stall_timeout = Duration::from_millis(500);
    settings.limits.client_buffer_bytes_max = 64 * 1024;
    let proxy = start(settings).await;
    let (mut other, mut other_server) = established(&proxy, &mut upstream, "other").await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let chunk = Message::binary(vec![7; 60_000]);
    let flood = tokio::spawn(async move {
        let mut sent = 0_u64;
        while server.send(chunk.clone()).await.is_ok() {
            sent += 60_000;
        }
        sent
    });
    wait_until("the client is dropped", || proxy.facts().sessions == 1).await;
    let sent = in_time("the upstream notices", flood).await.unwrap();
    // Kernel buffers on both ways and ours; without a bound it would have gone on for ever.
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken for a client that reads nothing");
    send(&mut other, r#"{"message":"pong","data":[null]}"#).await;
    send(&mut other_server, r#"{"message":"OnDataEvent","data":[{}]}"#).await;
    next(&mut other).await;
    drop(client);
}

#[tokio::test]
async fn a_slow_client_is_not_dropped_while_it_makes_progress() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    let stall_timeout = Duration::from_millis(1_500);
    settings.limits.stall_timeout = stall_timeout;
    settings.limits.client_buffer_bytes_max = 64 * 1024;
    let proxy = start(settings).await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let total = 24 * 1024 * 1024;
    let sending = tokio::spawn(async move {
        for _ in 0..24 {
            server.send(Message::binary(vec![1; 1024 * 1024])).await.unwrap();
        }
        server
    });
    let stream: &mut TcpStream = client.get_mut();
    let begin = std::time::Instant::now();
    let mut buffer = vec![0; 512 * 1024];
    let mut got = 0;
    while got < total {
        // Slow for longer than is borne from one that takes nothing.
        let is_slow = begin.elapsed() < 2 * stall_timeout;
        let part = if is_slow { 64 * 1024 } else { buffer.len() };
        got += in_time("more bytes", stream.read(&mut buffer[..part])).await.unwrap();
        if is_slow {
            let_pass(Duration::from_millis(20)).await;
        }
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn pings_of_either_side_are_answered_by_the_proxy() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    client.send(Message::Ping("from client".into())).await.unwrap();
    server.send(Message::Ping("from server".into())).await.unwrap();
    let pong = async |socket: &mut ClientSocket| loop {
        if let Message::Pong(payload) = in_time("a pong", socket.next()).await.unwrap().unwrap() {
            return payload;
        }
    };
    assert_eq!(pong(&mut client).await, "from client");
    assert_eq!(pong(&mut server).await, "from server");
}
