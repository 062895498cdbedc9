//! What one client address may take, alone and behind a trusted proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::net::SocketAddr;

use futures_util::SinkExt;
use holdfast::{config::NetSettings, net::Proxy};
use net_support::*;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

async fn proxy_with(change: impl FnOnce(&mut NetSettings)) -> (Proxy, Upstream) {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    change(&mut settings);
    (start(settings).await, upstream)
}

async fn connect_from(source: &str, to: SocketAddr, forwarded: Option<&str>) -> Result<ClientSocket, Error> {
    let mut request = format!("ws://{to}/").into_client_request().unwrap();
    if let Some(client) = forwarded {
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
    }
    let stream = connection_from(source, to).await;
    Ok(in_time("a handshake", client_async(request, stream)).await?.0)
}

/// The status, and whether it says when to come again.
fn refusal(result: Result<ClientSocket, Error>) -> (u16, bool) {
    match result {
        Err(Error::Http(response)) => {
            (response.status().as_u16(), response.headers().contains_key("retry-after"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sessions_of_an_address_are_bounded_where_that_is_set() {
    let (proxy, _upstream) = proxy_with(|settings| settings.limits.address_sessions_max = 2).await;
    let to = proxy.address();
    let _one = connect_from("127.0.0.1", to, None).await.unwrap();
    let two = connect_from("127.0.0.1", to, None).await.unwrap();
    assert_eq!(refusal(connect_from("127.0.0.1", to, None).await), (429, true));
    // What a stranger says of himself does not count.
    assert_eq!(refusal(connect_from("127.0.0.1", to, Some("192.0.2.9")).await), (429, true));
    let _other = connect_from("127.0.0.2", to, None).await.unwrap();
    drop(two);
    wait_until("its place is free", || proxy.facts().places_taken == 2).await;
    connect_from("127.0.0.1", to, None).await.unwrap();
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let (proxy, _upstream) = proxy_with(|settings| {
        settings.limits.address_sessions_max = 1;
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let to = proxy.address();
    let mut kept = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
        kept.push(connect_from("127.0.0.1", to, Some(client)).await.unwrap());
        assert_eq!(refusal(connect_from("127.0.0.1", to, Some(client)).await).0, 429, "{client}");
    }
    let neighbour = Some("2001:db8:0:1:ffff::2");
    assert_eq!(refusal(connect_from("127.0.0.1", to, neighbour).await).0, 429, "the same /64");
    // A proxy that does not say who its clients are stands for all of them.
    kept.push(connect_from("127.0.0.1", to, None).await.unwrap());
    kept.push(connect_from("127.0.0.1", to, None).await.unwrap());
}

#[tokio::test]
async fn handshakes_of_an_address_have_a_rate() {
    let (proxy, upstream) = proxy_with(|settings| settings.limits.address_handshakes_per_second = 1).await;
    let to = proxy.address();
    let begin = tokio::time::Instant::now();
    let mut taken = 0;
    let refused = loop {
        match connect_from("127.0.0.1", to, None).await {
            Ok(_) => taken += 1,
            refused => break refused,
        }
    };
    assert_eq!(refusal(refused), (429, true));
    let most = 11 + begin.elapsed().as_secs();
    assert!((10..=most).contains(&taken), "{taken}");
    assert_eq!(upstream.dials.load(std::sync::atomic::Ordering::SeqCst) as u64, taken, "it was not dialled");
    connect_from("127.0.0.2", to, None).await.unwrap();
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_lock_others_out() {
    let (proxy, mut upstream) = proxy_with(|settings| settings.limits.address_unauthenticated_max = 3).await;
    let to = proxy.address();
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(connection_from("127.0.0.1", to).await);
    }
    wait_until("they are counted", || proxy.facts().handshakes == 3).await;
    assert_eq!(refusal(connect_from("127.0.0.1", to, None).await), (429, true));
    let _other = connect_from("127.0.0.2", to, None).await.unwrap();
    let _its_server = upstream.accept().await;
    // A session that the server has taken is none of them.
    drop(idle);
    wait_until("they are gone", || proxy.facts().handshakes == 0).await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(established(&proxy, &mut upstream, "t").await);
    }
    // One that says nothing after its 101 is.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(connect_from("127.0.0.1", to, None).await.unwrap());
    }
    assert_eq!(refusal(connect_from("127.0.0.1", to, None).await), (429, true));
}

#[tokio::test]
async fn media_sockets_with_unknown_tokens_count_until_media_flows() {
    let (proxy, mut upstream) = proxy_with(|settings| settings.limits.address_unauthenticated_max = 2).await;
    let to = proxy.address();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = connect_from("127.0.0.1", to, None).await.unwrap();
        let (mut server, _) = upstream.accept().await;
        send(&mut client, r#"{"message":"connectMediaTransport","data":[{"authToken":"of nobody"}]}"#).await;
        assert!(next_text(&mut server).await.contains("of nobody"));
        kept.push((client, server));
    }
    assert_eq!(refusal(connect_from("127.0.0.1", to, None).await), (429, true));
    // The server knows the token after all.
    for (client, server) in &mut kept {
        server.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
        let media = in_time("media", futures_util::StreamExt::next(client)).await.unwrap().unwrap();
        assert_eq!(&media.into_data()[..], [1, 2, 3]);
    }
    let _third = connect_from("127.0.0.1", to, None).await.unwrap();
}

#[tokio::test]
async fn those_who_break_the_protocol_count_until_their_connection_is_over() {
    let (proxy, mut upstream) = proxy_with(|settings| settings.limits.address_unauthenticated_max = 1).await;
    let to = proxy.address();
    let mut client = connect_from("127.0.0.1", to, None).await.unwrap();
    let _server = upstream.accept().await;
    // A frame without a mask; the answer is not read, and the connection stays.
    client.get_mut().write_all(&[0x81, 0x02, b'h', b'i']).await.unwrap();
    wait_until("it is being closed", || proxy.facts().closing > 0 && proxy.facts().sessions == 0).await;
    assert_eq!(refusal(connect_from("127.0.0.1", to, None).await), (429, true));
    drop(client);
    wait_until("it is over", || proxy.facts().closing == 0).await;
    let _next = connect_from("127.0.0.1", to, None).await.unwrap();
}

#[tokio::test]
async fn first_messages_of_an_address_have_a_rate() {
    let (proxy, mut upstream) =
        proxy_with(|settings| settings.limits.address_first_messages_per_second = 1).await;
    let (mut passed, mut closed) = (0, 0);
    let mut kept = Vec::new();
    for _ in 0..16 {
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, CONNECTION).await;
        match in_time("the message or the end", futures_util::StreamExt::next(&mut server)).await {
            Some(Ok(message)) if message.is_text() => {
                passed += 1;
                kept.push((client, server));
            }
            _ => {
                closed += 1;
                assert_eq!(close_of(&mut client).await.map(|close| close.code.into()), Some(1013));
            }
        }
    }
    assert!(passed >= 10 && closed >= 1, "{passed} passed, {closed} closed");
}

#[tokio::test]
async fn few_places_are_not_locked_by_connections_that_say_nothing() {
    let (proxy, mut upstream) = proxy_with(|settings| settings.limits.sessions_max = Some(70)).await;
    let to = proxy.address();
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(connection_from("127.0.0.1", to).await);
    }
    wait_until("they are there", || proxy.facts().handshakes >= 35).await;
    let _client = connect_from("127.0.0.2", to, None).await.unwrap();
    upstream.accept().await;
}
