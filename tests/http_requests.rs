//! Requests to the letter of RFC 9112 and RFC 6455: what makes no sense, or might make another sense to
//! the server than to us, is answered 400 and never reaches it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::sync::atomic::Ordering;

use net_support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

/// A handshake with this target and Host, and further lines.
fn handshake(target: &str, host: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n{VERSION}{KEY}{lines}\r\n"
    )
}

async fn status(proxy: &holdfast::net::Proxy, request: &str) -> String {
    let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
    answer.split(' ').nth(1).unwrap_or("no answer").to_owned()
}

const HOST: &str = "Host: proxy\r\n";

#[tokio::test]
async fn a_host_that_is_missing_double_or_malformed_is_400() {
    let (proxy, upstream) = proxy_and_upstream().await;
    for host in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a:b\r\n",
        "Host: a:99999\r\n",
        "Host: [::1\r\n",
        "Host: a, b\r\n",
    ] {
        assert_eq!(status(&proxy, &handshake("/", host, "")).await, "400", "{host:?}");
        let plain = format!("GET / HTTP/1.1\r\n{host}\r\n");
        assert_eq!(status(&proxy, &plain).await, "400", "{host:?} without an upgrade");
    }
    assert_eq!(status(&proxy, "GET / HTTP/1.0\r\n\r\n").await, "426", "HTTP/1.0 knows no Host");
    assert_eq!(status(&proxy, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").await, "400");
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_header_that_may_occur_once_is_400_when_it_occurs_twice() {
    let (proxy, upstream) = proxy_and_upstream().await;
    for line in [
        KEY,
        VERSION,
        "Sec-WebSocket-Version: 8\r\n",
        "Origin: https://a\r\nOrigin: https://b\r\n",
        "Authorization: Basic YQ==\r\nAuthorization: Basic Yg==\r\n",
    ] {
        assert_eq!(status(&proxy, &handshake("/", HOST, line)).await, "400", "{line:?}");
    }
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_handshake_with_a_body_is_400() {
    let (proxy, upstream) = proxy_and_upstream().await;
    for lines in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let answer = status(&proxy, &(handshake("/", HOST, lines) + "0\r\n\r\n")).await;
        assert_eq!(answer, "400", "{lines:?}");
    }
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_target_that_names_no_resource_is_400() {
    let (proxy, upstream) = proxy_and_upstream().await;
    for target in ["*", "proxy:80", "proxy", "a/b", "ftp://proxy/", "http://user@proxy/", "http:///a"] {
        assert_eq!(status(&proxy, &handshake(target, HOST, "")).await, "400", "{target}");
    }
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0);
}

/// What the upstream gets of a handshake.
async fn forwarded(target: &str, lines: &str) -> tokio_tungstenite::tungstenite::handshake::server::Request {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(handshake(target, HOST, lines).as_bytes()).await.unwrap();
    let (_, request) = upstream.accept().await;
    request
}

#[tokio::test]
async fn an_absolute_target_goes_before_host() {
    for (target, path) in [
        ("http://other:81/a?b=1", "/a?b=1"),
        ("ws://other:81/a?b=1", "/a?b=1"),
        ("http://other:81", "/"),
        ("http://other:81?b=1", "/?b=1"),
    ] {
        let request = forwarded(target, "").await;
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), path, "{target}");
        assert_eq!(request.headers()["x-forwarded-host"], "other:81", "{target}");
    }
}

#[tokio::test]
async fn what_connection_names_is_for_this_hop_alone() {
    let lines =
        "Connection: Cookie, Authorization\r\nCookie: a=1\r\nAuthorization: Basic YQ==\r\nUser-Agent: b\r\n";
    let request = forwarded("/", lines).await;
    assert!(!request.headers().contains_key("cookie"));
    assert!(!request.headers().contains_key("authorization"));
    assert_eq!(request.headers()["user-agent"], "b");
}

/// A client that has sent far more than is read gets its answer and an orderly end, no reset.
#[tokio::test]
async fn an_answer_is_not_lost_to_a_reset() {
    let (proxy, _upstream) = proxy_and_upstream().await;
    let long = "y".repeat(200_000);
    for (request, status) in [
        (handshake("/", HOST, &format!("X: {long}\r\n")), "431"),
        (handshake(&format!("/{long}"), HOST, ""), "4"),
        (format!("no http at all {long}\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{long}"), "405"),
    ] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = in_time("the answer and its end", stream.read_to_string(&mut answer)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        read.unwrap_or_else(|error| panic!("{status}: {error}"));
    }
    wait_until("all connections are over", || proxy.facts().closing == 0).await;
}
