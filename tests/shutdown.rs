//! The end of the process: nothing is accepted any more, clients hear 1012, upstreams are closed
//! cleanly so that no ghost stays, and it is over within its limit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use futures_util::StreamExt;
use net_support::*;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn clients_hear_1012_and_upstreams_a_close_frame() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut sessions = Vec::new();
    for index in 0..5 {
        sessions.push(established(&proxy, &mut upstream, &format!("t{index}")).await);
    }
    let mut passed = connect(proxy.address()).await;
    let (mut passed_server, _) = upstream.accept().await;
    send(&mut passed, HELLO).await;
    next(&mut passed_server).await;
    let mut silent = connect(proxy.address()).await;
    let (mut silent_server, _) = upstream.accept().await;
    let all = async {
        for (mut client, mut server) in sessions.into_iter().chain([(passed, passed_server)]) {
            let close = tokio::spawn(async move { close_of(&mut client).await });
            let upstream_end = loop {
                match in_time("the upstream's close", server.next()).await {
                    Some(Ok(Message::Close(_))) => break true,
                    Some(Ok(_)) => {}
                    _ => break false,
                }
            };
            assert!(upstream_end, "an upstream saw no close frame");
            while let Some(Ok(_)) = server.next().await {}
            assert_eq!(close.await.unwrap().map(|close| close.code.into()), Some(1012));
        }
        assert_eq!(close_of(&mut silent).await.map(|close| close.code.into()), Some(1012));
        close_of(&mut silent_server).await;
    };
    // Clean is what needed no end by force, which comes after 5 s.
    let (clean, ()) = tokio::join!(proxy.shutdown(), all);
    assert!(clean);
    assert_eq!(proxy.facts().places_taken, 0);
    assert!(try_connect(proxy.address(), "/", &[]).await.is_err());
}

#[tokio::test]
async fn a_client_that_waits_in_its_handshake_gets_503() {
    let proxy = start(settings(&[free_address()])).await;
    let address = proxy.address();
    let client = tokio::spawn(async move { try_connect(address, "/", &[]).await.map(drop) });
    wait_until("the client waits", || proxy.facts().held == 1).await;
    assert!(proxy.shutdown().await);
    let error = client.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn peers_that_do_not_answer_do_not_delay_the_end() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.shutdown_max = Duration::from_millis(500);
    let proxy = start(settings).await;
    // Neither of the two reads again.
    let _session = established(&proxy, &mut upstream, "t").await;
    let begin = Instant::now();
    assert!(!proxy.shutdown().await, "nobody answered, yet it was called clean");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(10), "{took:?}");
}
