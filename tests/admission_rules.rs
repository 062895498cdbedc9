//! Who is admitted by the rules of an operator: networks, origins of pages, a rate of all together, and for how long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{net::SocketAddr, time::Duration};

use holdfast::{config::NetSettings, net::Proxy, telemetry::LogCapture};
use net_support::*;
use tokio::time::Instant;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, client::IntoClientRequest},
};

async fn proxy_with(change: impl FnOnce(&mut NetSettings)) -> (Proxy, Upstream) {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    change(&mut settings);
    (start(settings).await, upstream)
}

/// The status of the answer to a handshake from this address with these headers.
async fn status(source: &str, to: SocketAddr, headers: &[(&'static str, &str)]) -> u16 {
    let mut request = format!("ws://{to}/").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = connection_from(source, to).await;
    match in_time("a handshake", client_async(request, stream)).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn networks_are_admitted_by_allow_and_deny_behind_balancers_as_well() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let (proxy, upstream) = proxy_with(|settings| {
        settings.listen.trusted_proxies = vec!["127.0.0.9".parse().unwrap()];
        settings.listen.allow = vec!["127.0.0.0/29".parse().unwrap(), "192.0.2.0/24".parse().unwrap()];
        settings.listen.deny = vec!["127.0.0.2".parse().unwrap(), "192.0.2.7".parse().unwrap()];
    })
    .await;
    let to = proxy.address();
    assert_eq!(status("127.0.0.1", to, &[]).await, 101);
    assert_eq!(status("127.0.0.2", to, &[]).await, 403, "denied");
    assert_eq!(status("127.0.0.8", to, &[]).await, 403, "not allowed");
    let by_balancer = |client| async move { status("127.0.0.9", to, &[("x-forwarded-for", client)]).await };
    assert_eq!(by_balancer("192.0.2.1").await, 101);
    assert_eq!(by_balancer("192.0.2.7").await, 403);
    assert_eq!(by_balancer("198.51.100.1").await, 403);
    assert_eq!(upstream.dials.load(std::sync::atomic::Ordering::SeqCst), 2, "it hears of nobody else");
    let answer = raw_exchange_from("127.0.0.8", to, "GET /readyz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "checks: {answer}");
    let lines = capture.lines_with("connection_refused");
    assert!(lines.len() == 1 && lines[0].contains("listen.allow, listen.deny"), "{lines:?}");
}

/// A listener of both families sees IPv4 clients under mapped addresses, and operators may write networks like that.
#[tokio::test]
async fn mapped_addresses_are_those_of_ipv4_on_either_side() {
    for (allow, deny) in [
        ("127.0.0.0/29", "127.0.0.2"),
        ("::ffff:127.0.0.0/125", "127.0.0.2/32"),
        ("127.0.0.0/29", "::ffff:127.0.0.2"),
        ("::ffff:127.0.0.0/125", "::ffff:127.0.0.2/128"),
    ] {
        for listen in ["[::]:0", "127.0.0.1:0"] {
            let (proxy, _upstream) = proxy_with(|settings| {
                settings.listen.address = vec![listen.parse().unwrap()];
                settings.listen.allow = vec![allow.parse().unwrap()];
                settings.listen.deny = vec![deny.parse().unwrap()];
            })
            .await;
            let to = SocketAddr::from(([127, 0, 0, 1], proxy.address().port()));
            // The last of the network, the one that is denied, and the first behind the network.
            for (client, expected) in [("127.0.0.7", 101), ("127.0.0.2", 403), ("127.0.0.8", 403)] {
                let place = format!("{client} at {listen}, allow {allow}, deny {deny}");
                assert_eq!(status(client, to, &[]).await, expected, "{place}");
            }
        }
    }
}

async fn raw_exchange_from(source: &str, to: SocketAddr, text: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = connection_from(source, to).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn pages_are_admitted_by_their_origin() {
    let (proxy, _upstream) = proxy_with(|settings| {
        settings.listen.origins =
            vec!["https://example.com".parse().unwrap(), "https://*.example.net".parse().unwrap()];
    })
    .await;
    let to = proxy.address();
    let of = |origin| async move { status("127.0.0.1", to, &[("origin", origin)]).await };
    assert_eq!(of("https://example.com").await, 101);
    assert_eq!(of("https://a.b.example.net").await, 101);
    for origin in [
        "https://example.net",
        "https://evil.org",
        "http://example.com",
        "null",
        "https://example.com.evil.org",
    ] {
        assert_eq!(of(origin).await, 403, "{origin}");
    }
    assert_eq!(status("127.0.0.1", to, &[]).await, 101, "an app");
    let (proxy, _upstream) =
        proxy_with(|settings| settings.listen.origins = vec!["null".parse().unwrap()]).await;
    assert_eq!(status("127.0.0.1", proxy.address(), &[("origin", "null")]).await, 101);
    assert_eq!(status("127.0.0.1", proxy.address(), &[("origin", "https://a.org")]).await, 403);
}

#[tokio::test]
async fn all_clients_together_have_a_rate() {
    let (proxy, _upstream) = proxy_with(|settings| settings.limits.handshakes_per_second = 1).await;
    let mut statuses = Vec::new();
    for n in 0..12 {
        statuses.push(status(&format!("127.0.1.{}", n + 1), proxy.address(), &[]).await);
    }
    // One more may have been earned meanwhile.
    assert!(statuses[..10].iter().all(|status| *status == 101) && statuses[11] == 429, "{statuses:?}");
}

#[tokio::test]
async fn a_session_that_is_as_old_as_it_may_be_is_closed_so_that_it_comes_again() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let life = Duration::from_millis(600);
    let (proxy, mut upstream) = proxy_with(|settings| settings.limits.session_life_max = life).await;
    let begin = Instant::now();
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    let frame = close_of(&mut client).await.unwrap();
    assert_eq!(u16::from(frame.code), 1012);
    let lived = begin.elapsed();
    assert!(lived >= life.mul_f64(0.9), "{lived:?}");
    assert_eq!(u16::from(close_of(&mut server).await.unwrap().code), 1001);
    wait_until("its end is told", || !capture.lines_with("as old as it may be").is_empty()).await;
    assert_eq!(proxy.facts().sessions, 0);
}
