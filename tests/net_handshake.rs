//! What passes between a client's handshake and the upstream's, and what a refused client hears.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use net_support::*;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};
use tokio_tungstenite::tungstenite::{
    Error,
    handshake::{
        derive_accept_key,
        server::{ErrorResponse, Request, Response},
    },
    http::HeaderValue,
};

const HANDSHAKE: &str = "GET /path HTTP/1.1\r\nHost: proxy\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn header<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

const CLIENT_HEADERS: [(&str, &str); 8] = [
    ("origin", "https://page.example"),
    ("cookie", "session=1; b=2"),
    ("authorization", "Basic bWU6c2VjcmV0"),
    ("user-agent", "Browser/1"),
    ("sec-websocket-extensions", "permessage-deflate"),
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("x-private", "not for the upstream"),
];

fn check_request(request: &Request) {
    assert_eq!(request.uri(), "/wss/a%20b?token=1&x=%2F");
    for (name, value) in &CLIENT_HEADERS[..4] {
        assert_eq!(header(request, name), [*value]);
    }
    assert!(header(request, "sec-websocket-extensions").is_empty());
    assert!(header(request, "x-private").is_empty());
    assert_eq!(header(request, "x-forwarded-host").len(), 1);
}

#[tokio::test]
async fn the_request_reaches_the_upstream_on_every_dial() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = try_connect(proxy.address(), "/wss/a%20b?token=1&x=%2F", &CLIENT_HEADERS).await.unwrap();
    let (mut server, first) = upstream.accept().await;
    check_request(&first);
    // Nobody vouches for what this peer claims.
    assert_eq!(header(&first, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(header(&first, "x-forwarded-proto"), ["http"]);
    assert_eq!(header(&first, "host"), [upstream.address.to_string()]);
    send(&mut client, CONNECTION).await;
    next(&mut server).await;
    send(&mut server, &user_data("t")).await;
    next(&mut client).await;
    drop(server);
    let (_server, second) = upstream.accept().await;
    check_request(&second);
    assert_ne!(header(&first, "sec-websocket-key"), header(&second, "sec-websocket-key"));
}

#[tokio::test]
async fn a_trusted_peer_is_believed_and_its_chain_extended() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let proxy = start(settings).await;
    let _client = try_connect(proxy.address(), "/", &CLIENT_HEADERS).await.unwrap();
    let (_, request) = upstream.accept().await;
    assert_eq!(header(&request, "x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(header(&request, "x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn what_is_no_handshake_gets_a_clear_answer() {
    let (proxy, upstream) = proxy_and_upstream().await;
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426 ", "upgrade: websocket"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405 ", "allow: get"),
        (HANDSHAKE.replace(": 13", ": 8") + "\r\n", "426 ", "sec-websocket-version: 13"),
        (HANDSHAKE.replace("dGhl", "") + "\r\n", "400 ", "sec-websocket-key"),
        (HANDSHAKE.replace("keep-alive, Upgrade", "keep-alive") + "\r\n", "400 ", "connection"),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0") + "\r\n", "400 ", "http/1.1"),
        (format!("{HANDSHAKE}X: {}\r\n\r\n", "y".repeat(40_000)), "431 ", ""),
        ("\u{16}\u{3}\u{1} no http at all\r\n\r\n".to_owned(), "400 ", ""),
    ];
    for (request, status, detail) in cases {
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        let what = &request[..request.len().min(60)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}"))
                || answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{what}: {answer}"
        );
        assert!(answer.to_lowercase().contains(detail), "{what}: {answer}");
    }
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0);
    wait_until("all places are free", || proxy.facts().places_taken == 0).await;
}

fn status_of(error: &Error) -> (u16, Option<String>) {
    let Error::Http(response) = error else { panic!("{error}") };
    let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), retry)
}

#[tokio::test]
async fn a_refusal_reaches_the_client_with_its_status() {
    for (status, retry) in [(401, None), (403, None), (404, None), (503, Some("7"))] {
        let answer = Arc::new(move |_: &Request, _: Response| {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status.try_into().unwrap();
            refusal.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic"));
            if let Some(retry) = retry {
                refusal.headers_mut().insert("retry-after", HeaderValue::from_static(retry));
            }
            Err(refusal)
        });
        let upstream = Upstream::with("127.0.0.1:0".parse().unwrap(), answer).await;
        let proxy = start(settings(&[upstream.address])).await;
        let error = try_connect(proxy.address(), "/", &[]).await.unwrap_err();
        assert_eq!(status_of(&error), (status, retry.map(str::to_owned)));
        let Error::Http(response) = &error else { panic!("{error}") };
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Basic");
        assert_eq!(proxy.facts().places_taken, 0);
    }
}

#[tokio::test]
async fn a_wrong_101_is_refused() {
    let wrong: [(&'static str, &'static str); 3] = [
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("sec-websocket-protocol", "chat"),
    ];
    for (name, value) in wrong {
        let answer = Arc::new(move |_: &Request, mut response: Response| {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            Ok(response)
        });
        let upstream = Upstream::with("127.0.0.1:0".parse().unwrap(), answer).await;
        let proxy = start(settings(&[upstream.address])).await;
        let error = try_connect(proxy.address(), "/", &[]).await.unwrap_err();
        assert_eq!(status_of(&error).0, 502, "{name}");
    }
}

#[tokio::test]
async fn a_subprotocol_that_was_offered_is_answered() {
    let answer = Arc::new(|_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("wcs"));
        Ok(response)
    });
    let upstream = Upstream::with("127.0.0.1:0".parse().unwrap(), answer).await;
    let proxy = start(settings(&[upstream.address])).await;
    let request = format!("{HANDSHAKE}Sec-WebSocket-Protocol: other, wcs\r\n\r\n");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = in_time("the 101", tokio::io::AsyncReadExt::read(&mut stream, &mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: wcs"), "{answer}");
    assert!(!answer.contains("extensions"), "{answer}");
}

#[tokio::test]
async fn there_is_no_101_before_the_upstreams() {
    let release = Arc::new(AtomicBool::new(false));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(settings(&[listener.local_addr().unwrap()])).await;
    let address = proxy.address();
    let seen = Arc::clone(&release);
    let client = tokio::spawn(async move {
        let socket = connect(address).await;
        assert!(seen.load(Ordering::SeqCst), "101 before the upstream answered");
        socket
    });
    let (stream, _) = in_time("the dial", listener.accept()).await.unwrap();
    wait_until("the handshake waits", || proxy.facts().places_taken == 1).await;
    assert_eq!(proxy.facts().sessions, 0);
    let_pass(Duration::from_millis(50)).await;
    release.store(true, Ordering::SeqCst);
    let _server = tokio_tungstenite::accept_async(stream).await.unwrap();
    client.await.unwrap();
}

#[tokio::test]
async fn frames_right_behind_the_handshakes_are_not_lost() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(settings(&[listener.local_addr().unwrap()])).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let hello = b"{\"message\":\"hello\"}";
    let mut bytes = format!("{HANDSHAKE}\r\n").into_bytes();
    bytes.extend_from_slice(&[0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(hello);
    client.write_all(&bytes).await.unwrap();
    let (mut server, _) = in_time("the dial", listener.accept()).await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut server, &mut request).await.unwrap();
        assert!(read > 0);
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n\u{81}"
    );
    // The first frame comes in the same segment as the 101: 0x81 0x02 "hi".
    let mut answer: Vec<u8> = answer.chars().map(|c| c as u32 as u8).collect();
    answer.extend_from_slice(&[2, b'h', b'i']);
    server.write_all(&answer).await.unwrap();
    let mut forwarded = vec![0; 6 + hello.len()];
    in_time("the message", tokio::io::AsyncReadExt::read_exact(&mut server, &mut forwarded)).await.unwrap();
    let key = [forwarded[2], forwarded[3], forwarded[4], forwarded[5]];
    holdfast::wire::websocket::apply_mask(&mut forwarded[6..], key);
    assert_eq!(&forwarded[6..], hello);
    let mut got = Vec::new();
    while !got.ends_with(&[0x81, 2, b'h', b'i']) {
        in_time("the frame", tokio::io::AsyncReadExt::read_buf(&mut client, &mut got)).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_arrives_in_an_outage_waits_for_the_node() {
    let address = free_address();
    let proxy = start(settings(&[address])).await;
    let at = proxy.address();
    let client = tokio::spawn(async move { try_connect(at, "/", &[]).await });
    wait_until("the client waits", || proxy.facts().held == 1).await;
    assert_eq!(proxy.facts().places_taken, 1);
    let mut upstream = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    let (_server, _) = upstream.accept().await;
    client.await.unwrap().unwrap();
    wait_until("nobody waits", || proxy.facts().held == 0 && proxy.facts().sessions == 1).await;
}

#[tokio::test]
async fn patience_ends_with_503_and_waiting_is_bounded() {
    let mut settings = settings(&[free_address()]);
    settings.listen.connect_hold = Duration::from_secs(2);
    settings.listen.connect_hold_sessions_max = 1;
    let proxy = start(settings).await;
    let at = proxy.address();
    let begin = Instant::now();
    let first = tokio::spawn(async move { try_connect(at, "/", &[]).await.map(drop) });
    wait_until("the first waits", || proxy.facts().held == 1).await;
    let second = try_connect(at, "/", &[]).await.unwrap_err();
    assert_eq!(status_of(&second), (503, Some("5".to_owned())));
    assert_eq!(proxy.facts().held, 1, "the second was not refused at once");
    let first = first.await.unwrap().unwrap_err();
    assert_eq!(status_of(&first), (503, Some("5".to_owned())));
    assert!(begin.elapsed() >= Duration::from_secs(2));
    wait_until("all places are free", || proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_waiting_frees_its_place() {
    let proxy = start(settings(&[free_address()])).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    wait_until("the client waits", || proxy.facts().held == 1).await;
    drop(stream);
    wait_until("its place is free", || {
        let facts = proxy.facts();
        (facts.held, facts.places_taken, facts.handshakes) == (0, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn the_next_upstream_is_tried_when_one_is_down() {
    let mut second = Upstream::start().await;
    let proxy = start(settings(&[free_address(), second.address])).await;
    let _client = connect(proxy.address()).await;
    let (_server, _) = second.accept().await;
}
