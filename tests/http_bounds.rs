//! Bounds and failures of requests that a route passes on: what is too large, too slow, too many or broken off, and what
//! the proxy keeps of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs, time::Duration};

use holdfast::net::Proxy;
use net_support::{origin::*, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn the_bounds_of_a_request_are_told_where_they_are_reached() {
    let (origin, proxy, mut client) = pair(|settings| {
        settings.http.body_bytes_max = 8;
        settings.http.requests_max = 2;
        settings.http.address_requests_max = 1;
    })
    .await;
    let ask = async |request: &str| {
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789").await, "413");
    assert!(origin.is_left_alone().await, "its length was told");
    let long = "y".repeat(20_000);
    assert_eq!(ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")).await, "431");
    say(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n")
        .await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    assert_eq!(ask(&get("/")).await, "429", "one of an address at a time");
    say(&mut client, "1\r\n9\r\n").await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 413"));
    rest(&mut server).await;
    drop(client);

    let (origin, proxy, mut client) = pair(|settings| settings.http.requests_max = 1).await;
    say(&mut client, &get("/")).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    let answer = raw_exchange(proxy.address(), get("/").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{answer}");
    say(&mut server, OK).await;
    head(&mut client).await;
    exactly(&mut client, 2).await;
    say(&mut client, &get("/")).await;
    assert!(head(&mut server).await.starts_with("GET"), "it was given back");
}

#[tokio::test]
async fn a_server_that_fails_is_told_with_502_or_504() {
    let nobody = free_address();
    let proxy = proxy_with(nobody, "", |_| {}).await;
    let answer = raw_exchange(proxy.address(), get("/").as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 502") && answer.ends_with("the server cannot be reached\n"),
        "{answer}"
    );

    let (origin, _proxy, mut client) = pair(|settings| {
        settings.http.response_timeout = Duration::from_millis(300);
        settings.http.connect_timeout = Duration::from_millis(300);
        settings.http.response_header_bytes_max = 8_192;
    })
    .await;
    say(&mut client, &get("/")).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 504"), "no answer in time");
    assert_eq!(rest(&mut server).await, "", "and its connection is over");
    for wrong in ["HTTP/1.1 banana\r\n\r\n", "hello\r\n\r\n", "", "HTTP/1.1 101 Switching Protocols\r\n\r\n"]
    {
        let mut client = TcpStream::connect(_proxy.address()).await.unwrap();
        say(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        let mut server = origin.accept().await;
        head(&mut server).await;
        say(&mut server, wrong).await;
        server.shutdown().await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{wrong:?}: {answer}");
    }
    let mut client = TcpStream::connect(_proxy.address()).await.unwrap();
    say(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    let _ =
        server.write_all(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000)).as_bytes()).await;
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 502"), "a head too large");
}

#[tokio::test]
async fn half_an_answer_is_no_whole_one() {
    let (origin, proxy, mut client) =
        pair(|settings| settings.http.idle_timeout = Duration::from_millis(300)).await;
    for lines in ["Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"] {
        for is_silent in [false, true] {
            say(&mut client, &get("/")).await;
            let mut server = origin.accept().await;
            head(&mut server).await;
            say(&mut server, &format!("HTTP/1.1 200 OK\r\n{lines}")).await;
            let held = is_silent.then_some(server);
            let answer = rest(&mut client).await;
            assert!(answer.contains("12345") && !answer.ends_with("0\r\n\r\n"), "{answer}");
            drop(held);
            client = TcpStream::connect(proxy.address()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_stands_still_takes_its_request_with_it() {
    let (origin, proxy, mut client) =
        pair(|settings| settings.http.idle_timeout = Duration::from_millis(300)).await;
    say(&mut client, &get("/")).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    drop(client);
    assert_eq!(rest(&mut server).await, "", "left before the answer");
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234").await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    assert_eq!(exactly(&mut server, 4).await, "1234");
    assert_eq!(rest(&mut server).await, "", "it sends no more of its body");
    assert!(!rest(&mut client).await.starts_with("HTTP/1.1 2"));
    wait_until("nothing of it is left", || {
        proxy.facts().handshakes == 0 && proxy.facts().files.http == 0 && proxy.facts().closing == 0
    })
    .await;
}

/// Clients whose requests are with the server, each on a connection of its own.
async fn several(count: usize, origin: &Origin, proxy: &Proxy) -> Vec<(TcpStream, TcpStream)> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut client, &get("/")).await;
        let mut server = origin.accept().await;
        head(&mut server).await;
        pairs.push((client, server));
    }
    pairs
}

async fn answer_all(pairs: &mut [(TcpStream, TcpStream)]) {
    for (client, server) in pairs {
        say(server, OK).await;
        head(client).await;
        exactly(client, 2).await;
    }
}

/// How many of the server's connections the proxy has ended.
fn ended(pairs: &[(TcpStream, TcpStream)]) -> usize {
    pairs.iter().filter(|(_, server)| matches!(server.try_read(&mut [0; 1]), Ok(0))).count()
}

#[tokio::test]
async fn only_so_many_connections_to_a_server_are_kept_and_only_for_so_long() {
    let (origin, proxy, _client) = pair(|settings| settings.http.server_connections_idle_max = 2).await;
    let mut pairs = several(5, &origin, &proxy).await;
    assert_eq!(proxy.facts().files.http, 5);
    answer_all(&mut pairs).await;
    wait_until("two of them are kept", || ended(&pairs) == 3 && proxy.facts().files.http == 2).await;
    // They are used again before another one is made.
    for (client, _) in &mut pairs[..2] {
        say(client, &get("/again")).await;
    }
    assert!(origin.is_left_alone().await);
    assert_eq!(proxy.facts().files.http, 2);
    say(&mut pairs[2].0, &get("/again")).await;
    head(&mut origin.accept().await).await;

    let (origin, proxy, _client) = pair(|settings| settings.http.server_connections_idle_max = 0).await;
    let mut pairs = several(2, &origin, &proxy).await;
    answer_all(&mut pairs).await;
    wait_until("none is kept", || ended(&pairs) == 2 && proxy.facts().files.http == 0).await;

    let keep = Duration::from_millis(100);
    let (origin, proxy, _client) = pair(|settings| settings.http.server_connection_idle = keep).await;
    let mut pairs = several(3, &origin, &proxy).await;
    // What a server thinks about is not idle.
    let_pass(keep * 3).await;
    assert_eq!((ended(&pairs), proxy.facts().files.http), (0, 3));
    answer_all(&mut pairs).await;
    wait_until("they have been kept long enough", || ended(&pairs) == 3 && proxy.facts().files.http == 0)
        .await;
}

/// What this process takes of memory, in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

const BIG: usize = 200 * 1024 * 1024;
/// What both ends of this test, the kernel aside, and the proxy may take more than before.
const MORE_BYTES_MAX: usize = 24 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_hundreds_of_megabytes_pass_within_a_few() {
    let (origin, _proxy, mut client) = pair(|_| {}).await;
    let before = resident();
    say(&mut client, &format!("POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: {BIG}\r\n\r\n")).await;
    let (mut from_proxy, mut to_proxy) = client.into_split();
    let sender = tokio::spawn(async move {
        let chunk = vec![b'x'; 64 * 1024];
        for _ in 0..BIG / chunk.len() {
            to_proxy.write_all(&chunk).await.unwrap();
        }
        to_proxy
    });
    let mut server = origin.accept().await;
    head(&mut server).await;
    // It reads nothing for a while: then its client is not read from either.
    let_pass(Duration::from_millis(500)).await;
    assert!(!sender.is_finished(), "all of it was taken from the client");
    assert!(resident() < before + MORE_BYTES_MAX, "{} before, {} now", before, resident());
    let mut chunk = vec![0; 64 * 1024];
    let mut left = BIG;
    while left > 0 {
        left -= in_time("more of the body", server.read(&mut chunk)).await.unwrap();
    }
    say(&mut server, &format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n")).await;
    let answering = tokio::spawn(async move {
        for _ in 0..BIG / chunk.len() {
            server.write_all(&chunk).await.unwrap();
        }
    });
    let_pass(Duration::from_millis(500)).await;
    assert!(!answering.is_finished(), "all of it was taken from the server");
    assert!(resident() < before + MORE_BYTES_MAX, "{} before, {} now", before, resident());
    let mut chunk = vec![0; 64 * 1024];
    let mut got = 0;
    while got < BIG {
        got += in_time("more of the answer", from_proxy.read(&mut chunk)).await.unwrap();
    }
    answering.await.unwrap();
    assert!(resident() < before + MORE_BYTES_MAX, "{} before, {} now", before, resident());
    drop(sender.await.unwrap());
}
