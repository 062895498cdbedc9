//! The second kind of socket: over it MSE and WSPlayer players receive their stream, and it
//! survives the loss of the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{sync::Arc, time::Duration};

use futures_util::SinkExt;
use net_support::*;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

fn connect_media(token: &str) -> String {
    format!(r#"{{ "message":"connectMediaTransport", "data":[{{"authToken":"{token}","x":1}}] }}"#)
}

/// A session and a media socket of it, each with its upstream side.
async fn with_media(
    proxy: &holdfast::net::Proxy,
    upstream: &mut Upstream,
    token: &str,
) -> ((ClientSocket, UpstreamSocket), (ClientSocket, UpstreamSocket)) {
    let session = established(proxy, upstream, token).await;
    let mut player = connect(proxy.address()).await;
    let (mut media, _) = upstream.accept().await;
    send(&mut player, &connect_media(token)).await;
    assert_eq!(next_text(&mut media).await, connect_media(token));
    (session, (player, media))
}

/// The session of the next epoch is established with this token.
async fn restored(upstream: &mut Upstream, token: &str) -> UpstreamSocket {
    let (mut server, _) = upstream.accept().await;
    let first = next_text(&mut server).await;
    assert!(first.contains("\"connection\""), "{first}");
    send(&mut server, &user_data(token)).await;
    server
}

#[tokio::test]
async fn a_player_receives_its_stream_and_answers_pings() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_session, (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    for index in 0..100_u8 {
        media.send(Message::binary(vec![index; 3_000])).await.unwrap();
        assert_eq!(next(&mut player).await, Message::binary(vec![index; 3_000]));
    }
    send(&mut media, r#"{"message":"ping"}"#).await;
    assert_eq!(next_text(&mut player).await, r#"{"message":"ping"}"#);
    send(&mut player, r#"{"message":"pong"}"#).await;
    assert_eq!(next_text(&mut media).await, r#"{"message":"pong"}"#);
    assert_eq!(proxy.facts().sessions, 1);
    player.close(None).await.unwrap();
    close_of(&mut media).await;
    wait_until("the player's place is free", || proxy.facts().places_taken == 1).await;
}

#[tokio::test]
async fn the_player_stays_and_is_spliced_at_a_message_boundary() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let ((_client, server), (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    media.send(Message::binary(b"one".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"one".to_vec()));
    // Half a message, then the server dies.
    media.get_mut().write_all(&[0x82, 10, b'h', b'a', b'l', b'f']).await.unwrap();
    drop((server, media));
    let _server = restored(&mut upstream, "t2").await;
    // During all this the player's pings are answered.
    send(&mut player, r#"{"message":"ping"}"#).await;
    assert_eq!(next_text(&mut player).await, r#"{"message":"pong"}"#);
    let (mut media, _) = upstream.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t2"), "only the token differs");
    media.send(Message::binary(b"two".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"two".to_vec()));
}

#[tokio::test]
async fn a_pong_that_comes_too_late_is_not_given_to_the_next_server() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let ((_client, server), (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    send(&mut media, r#"{"message":"ping"}"#).await;
    assert_eq!(next_text(&mut player).await, r#"{"message":"ping"}"#);
    drop((server, media));
    let _server = restored(&mut upstream, "t2").await;
    let (mut media, _) = upstream.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t2"));
    // The answer to the lost server's ping, then something the next one should see.
    send(&mut player, r#"{"message":"pong"}"#).await;
    send(&mut player, r#"{"message":"other"}"#).await;
    assert_eq!(next_text(&mut media).await, r#"{"message":"other"}"#);
    send(&mut media, r#"{"message":"ping"}"#).await;
    assert_eq!(next_text(&mut player).await, r#"{"message":"ping"}"#);
    send(&mut player, r#"{"message":"pong"}"#).await;
    assert_eq!(next_text(&mut media).await, r#"{"message":"pong"}"#);
}

#[tokio::test]
async fn a_player_that_comes_in_an_outage_waits_for_the_session() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_client, server) = established(&proxy, &mut upstream, "t1").await;
    drop(server);
    let (mut second, _) = upstream.accept().await;
    next(&mut second).await;
    // The session has its socket but no token yet.
    let mut player = connect(proxy.address()).await;
    let (mut early, _) = upstream.accept().await;
    send(&mut player, &connect_media("t1")).await;
    close_of(&mut early).await;
    send(&mut second, &user_data("t2")).await;
    let (mut media, _) = upstream.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t2"));
    media.send(Message::binary(b"one".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"one".to_vec()));
}

#[tokio::test]
async fn a_media_socket_that_breaks_alone_is_made_again() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_session, (mut player, media)) = with_media(&proxy, &mut upstream, "t1").await;
    drop(media);
    let (mut media, _) = upstream.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t1"));
    media.send(Message::binary(b"again".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"again".to_vec()));
}

#[tokio::test]
async fn the_player_ends_with_its_session() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let ((mut client, _server), (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    client.close(None).await.unwrap();
    assert_eq!(close_of(&mut player).await.map(|close| close.code.into()), Some(1000));
    close_of(&mut media).await;
    wait_until("all places are free", || proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn waiting_for_an_upstream_has_a_limit() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.media_socket_wait = Duration::from_millis(300);
    let proxy = start(settings).await;
    let ((_client, server), (mut player, media)) = with_media(&proxy, &mut upstream, "t1").await;
    let _address = upstream.stop().await;
    drop((server, media));
    assert_eq!(close_of(&mut player).await.map(|close| close.code.into()), Some(1001));
    assert_eq!(proxy.facts().sessions, 1, "the session itself goes on waiting");
}

#[tokio::test]
async fn an_unknown_token_is_the_upstreams_to_judge() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut player = connect(proxy.address()).await;
    let (mut media, _) = upstream.accept().await;
    send(&mut player, &connect_media("stranger")).await;
    assert_eq!(next_text(&mut media).await, connect_media("stranger"));
    media.send(Message::binary(b"one".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"one".to_vec()));
    media.close(None).await.unwrap();
    close_of(&mut player).await;
    wait_until("its place is free", || proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn a_player_returns_to_the_node_of_its_session() {
    let first = Upstream::start().await;
    let mut second = Upstream::start().await;
    let mut settings = settings(&[first.address, second.address]);
    // A socket of which nothing is known yet goes to the first node, as soon as a probe has found it again.
    settings.upstream.policy = holdfast::config::Policy::First;
    settings.upstream.probe_interval = Duration::from_millis(20);
    let mut first_up = first;
    let proxy = start(settings).await;
    let (_client, server) = established(&proxy, &mut first_up, "t1").await;
    let address = first_up.stop().await;
    drop(server);
    let _server = restored(&mut second, "t2").await;
    let mut first = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    let_pass(Duration::from_secs(1)).await;
    // A new socket goes to the first node again; the player's goes where its session is.
    let mut player = connect(proxy.address()).await;
    let (_early, _) = first.accept().await;
    send(&mut player, &connect_media("t1")).await;
    let (mut media, _) = second.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t2"));
    media.send(Message::binary(b"one".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"one".to_vec()));
}

/// A server that lets each media socket in and ends it again; how often it did.
async fn ending_server(
    mut upstream: Upstream,
    end: impl AsyncFn(&mut UpstreamSocket) + Send + Sync + 'static,
    dials: Arc<std::sync::atomic::AtomicUsize>,
) {
    while let Some((mut media, _)) = upstream.accept_forever().await {
        dials.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        end(&mut media).await;
    }
}

#[tokio::test]
async fn a_media_socket_that_never_stays_is_given_up_after_a_bounded_series() {
    use futures_util::StreamExt;
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.media_socket_tries_max = 4;
    let proxy = start(settings).await;
    let (_session, (mut player, media)) = with_media(&proxy, &mut upstream, "t1").await;
    let begin = tokio::time::Instant::now();
    drop(media);
    let dials = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    // It reads the first message, sends a picture, and is gone.
    let server = async |media: &mut UpstreamSocket| {
        let _ = media.next().await;
        let _ = media.send(Message::binary(b"one".to_vec())).await;
        let _ = media.get_mut().shutdown().await;
    };
    let ending = ending_server(upstream, server, Arc::clone(&dials));
    tokio::select! {
        close = close_of(&mut player) => assert_eq!(close.map(|close| close.code.into()), Some(1001)),
        () = ending => panic!("the server ended"),
    }
    assert_eq!(dials.load(std::sync::atomic::Ordering::SeqCst), 4);
    // Full jitter may make the waits short, but not all of them.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(proxy.facts().sessions, 1, "the session stays");
}

#[tokio::test]
async fn a_player_hears_that_its_server_ends_the_stream() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let dials = Arc::clone(&upstream.dials);
    let (_session, (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    let before = dials.load(std::sync::atomic::Ordering::SeqCst);
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 4000.into(), reason: "".into() };
    media.close(Some(frame)).await.unwrap();
    assert_eq!(close_of(&mut player).await.map(|close| close.code.into()), Some(4000));
    assert_eq!(close_of(&mut media).await.map(|close| close.code.into()), Some(4000), "its own code");
    assert_eq!(dials.load(std::sync::atomic::Ordering::SeqCst), before, "it is not dialled again");
    assert_eq!(proxy.facts().sessions, 1, "the session stays");
}

#[tokio::test]
async fn a_server_that_closes_everything_has_not_ended_the_stream() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let ((_client, server), (mut player, mut media)) = with_media(&proxy, &mut upstream, "t1").await;
    media.close(None).await.unwrap();
    drop((server, media));
    let _server = restored(&mut upstream, "t2").await;
    let (mut media, _) = upstream.accept().await;
    assert_eq!(next_text(&mut media).await, connect_media("t2"));
    media.send(Message::binary(b"two".to_vec())).await.unwrap();
    assert_eq!(next(&mut player).await, Message::binary(b"two".to_vec()));
}

#[tokio::test]
async fn a_media_socket_that_is_refused_is_not_hammered() {
    use tokio_tungstenite::tungstenite::handshake::server::ErrorResponse;
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&refuses);
    let answer: Answer = Arc::new(move |_, response| {
        if !flag.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = 503.try_into().unwrap();
        Err(refusal)
    });
    let mut upstream = Upstream::with("127.0.0.1:0".parse().unwrap(), answer).await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.media_socket_tries_max = 5;
    let proxy = start(settings).await;
    let (_session, (mut player, media)) = with_media(&proxy, &mut upstream, "t1").await;
    let before = upstream.dials.load(std::sync::atomic::Ordering::SeqCst);
    refuses.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(media);
    assert_eq!(close_of(&mut player).await.map(|close| close.code.into()), Some(1001));
    let dials = upstream.dials.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert_eq!(dials, 5);
}
