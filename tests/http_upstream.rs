//! Requests that a route passes on to an HTTP server: by the letter of RFC 9110 and 9112.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use net_support::{origin::*, *};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_request_and_its_answer_are_passed_on_and_what_is_for_one_hop_is_not() {
    let (origin, _proxy, mut client) = pair(|_| {}).await;
    say(
        &mut client,
        "POST /rest-api/x?a=%20b HTTP/1.1\r\nHost: wcs.example.org:8080\r\nContent-Length: 5\r\n\
         Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Server: evil\r\nX-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\
         Cookie: a=1\r\nRange: bytes=0-1\r\nTE: trailers, deflate\r\n\r\nhello",
    )
    .await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await;
    assert_eq!(exactly(&mut server, 5).await, "hello");
    let lines: Vec<String> = request.lines().map(str::to_lowercase).collect();
    assert_eq!(lines[0], "post /rest-api/x?a=%20b http/1.1");
    let peer = client.local_addr().unwrap().ip();
    for line in [
        "host: wcs.example.org:8080".to_owned(),
        "content-length: 5".to_owned(),
        "cookie: a=1".to_owned(),
        "range: bytes=0-1".to_owned(),
        format!("x-forwarded-for: {peer}"),
        "x-forwarded-proto: http".to_owned(),
        "x-forwarded-host: wcs.example.org:8080".to_owned(),
        "te: trailers".to_owned(),
        "connection: te".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line} in {request}");
    }
    assert!(lines.iter().any(|line| line.starts_with("via: 1.1 holdfast-")), "{request}");
    for gone in
        ["x-hop", "keep-alive", "proxy-connection", "upgrade", "x-real-ip", "x-forwarded-server", "192.0.2.1"]
    {
        assert!(!request.to_lowercase().contains(gone), "{gone} in {request}");
    }
    say(
        &mut server,
        "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close, X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=1\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: wcs\r\n\r\nok",
    )
    .await;
    let answer = head(&mut client).await.to_lowercase();
    assert_eq!(exactly(&mut client, 2).await, "ok");
    assert!(answer.starts_with("http/1.1 201 created\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"), "{answer}");
    assert!(answer.contains("content-length: 2\r\n") && answer.contains("server: wcs\r\n"), "{answer}");
    for gone in ["connection", "x-own", "keep-alive", "via"] {
        assert!(!answer.contains(gone), "{gone} in {answer}");
    }
    // The server's end is not the client's: the same connection has a next request.
    say(&mut client, &get("/next")).await;
    let mut server = origin.accept().await;
    assert!(head(&mut server).await.starts_with("GET /next HTTP/1.1\r\n"));
    say(&mut server, OK).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_to_the_server_are_kept_and_one_that_has_ended_is_replaced() {
    let (origin, proxy, mut client) = pair(|_| {}).await;
    say(&mut client, &get("/1")).await;
    let mut server = origin.accept().await;
    for nth in 1..4 {
        assert!(head(&mut server).await.starts_with(&format!("GET /{nth} ")));
        say(&mut server, OK).await;
        head(&mut client).await;
        exactly(&mut client, 2).await;
        say(&mut client, &get(&format!("/{}", nth + 1))).await;
    }
    // It reads the request and goes away without a word: a GET is asked again.
    head(&mut server).await;
    drop(server);
    let mut server = origin.accept().await;
    assert!(head(&mut server).await.starts_with("GET /4 "));
    say(&mut server, OK).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    assert_eq!(proxy.facts().files.http, 1);
    exactly(&mut client, 2).await;
    // A POST is not: it may have been done.
    say(&mut client, "POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    head(&mut server).await;
    drop(server);
    assert!(head(&mut client).await.starts_with("HTTP/1.1 502"));
    assert!(origin.is_left_alone().await);
}

#[tokio::test]
async fn bodies_without_a_length_and_their_trailers_are_passed_on() {
    let (origin, _proxy, mut client) = pair(|_| {}).await;
    say(
        &mut client,
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await.to_lowercase();
    assert!(
        request.contains("transfer-encoding: chunked\r\n") && !request.contains("content-length"),
        "{request}"
    );
    assert_eq!(exactly(&mut server, 10).await, "5\r\nhello\r\n", "before the rest has come");
    say(&mut client, "0\r\nX-Sum: 7\r\n\r\n").await;
    let end = "0\r\nx-sum: 7\r\n\r\n";
    assert_eq!(exactly(&mut server, end.len()).await.to_lowercase(), end);
    say(&mut server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n")
        .await;
    assert!(head(&mut client).await.to_lowercase().contains("transfer-encoding: chunked\r\n"));
    assert_eq!(exactly(&mut client, 7).await, "2\r\nok\r\n");
    say(&mut server, "0\r\nX-Sum: 8\r\n\r\n").await;
    let end = "0\r\nx-sum: 8\r\n\r\n";
    assert_eq!(exactly(&mut client, end.len()).await.to_lowercase(), end);
    // An answer that ends with its connection.
    say(&mut client, &get("/")).await;
    head(&mut server).await;
    say(&mut server, "HTTP/1.0 200 OK\r\n\r\nabc").await;
    drop(server);
    assert!(head(&mut client).await.to_lowercase().contains("transfer-encoding: chunked\r\n"));
    assert_eq!(exactly(&mut client, 13).await, "3\r\nabc\r\n0\r\n\r\n");
    // A client that knows no chunks gets the bytes, and the end of the connection.
    let mut old = TcpStream::connect(_proxy.address()).await.unwrap();
    say(&mut old, "GET / HTTP/1.0\r\n\r\n").await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await.to_lowercase();
    assert!(request.starts_with("get / http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", origin.address)), "{request}");
    say(&mut server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let answer = rest(&mut old).await;
    assert!(answer.ends_with("\r\n\r\nabc") && !answer.to_lowercase().contains("chunked"), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (origin, _proxy, mut client) = pair(|_| {}).await;
    let mut server = None;
    for (method, answer, wanted) in [
        ("HEAD", "200 OK\r\nContent-Length: 5", Some("content-length: 5")),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5", Some("etag: \"x\"")),
        ("GET", "200 OK\r\nContent-Length: 0", Some("content-length: 0")),
    ] {
        say(&mut client, &format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(origin.accept().await),
        };
        assert!(head(server).await.starts_with(method));
        say(server, &format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        let told = head(&mut client).await.to_lowercase();
        assert!(told.starts_with(&format!("http/1.1 {}", &answer[..3])), "{told}");
        assert!(wanted.is_none_or(|line| told.contains(line)), "{answer}: {told}");
        assert!(!answer.starts_with("204") || !told.contains("content-length"), "{told}");
    }
}

#[tokio::test]
async fn a_body_that_is_expected_to_be_asked_for_waits_for_the_servers_word() {
    let (origin, _proxy, mut client) = pair(|_| {}).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    say(&mut client, post).await;
    let mut server = origin.accept().await;
    assert!(head(&mut server).await.to_lowercase().contains("expect: 100-continue\r\n"));
    say(&mut server, "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    say(&mut client, "hello").await;
    assert_eq!(exactly(&mut server, 5).await, "hello");
    say(&mut server, OK).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    exactly(&mut client, 2).await;
    // One that says no is heard before the body is sent.
    say(&mut client, post).await;
    head(&mut server).await;
    say(&mut server, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 401"));
    // One that knows nothing of this gets the body after a moment.
    let mut client = TcpStream::connect(_proxy.address()).await.unwrap();
    say(&mut client, post).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    assert_eq!(head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    say(&mut client, "hello").await;
    assert_eq!(exactly(&mut server, 5).await, "hello");
    let answer = raw_exchange(_proxy.address(), b"GET / HTTP/1.1\r\nHost: a\r\nExpect: luck\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer}");
}

#[tokio::test]
async fn what_could_hide_a_second_request_reaches_no_server() {
    let (origin, proxy, _client) = pair(|_| {}).await;
    for lines in [
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "Content-Length: 4, 5\r\n\r\nabcd",
        "Content-Length: +4\r\n\r\nabcd",
        "Content-Length: 0x4\r\n\r\nabcd",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n b\r\n\r\n",
        "Host: b\r\n\r\n",
        "X\0: a\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}");
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "nothing behind it is answered: {answer}");
    }
    for (line, status) in [
        ("CONNECT other:80 HTTP/1.1", "501"),
        ("GET other HTTP/1.1", "400"),
        ("OPTIONS * HTTP/1.1", "400"),
        ("GET http://a@b/ HTTP/1.1", "400"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked", "400"),
    ] {
        let answer = raw_exchange(proxy.address(), format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{line}: {answer}");
    }
    assert!(origin.is_left_alone().await);
    // With both, Transfer-Encoding counts alone, and the connection ends (RFC 9112 section 6.3).
    for lines in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let hidden = get("/hidden");
        say(&mut client, &format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}")).await;
        let mut server = origin.accept().await;
        let request = head(&mut server).await.to_lowercase();
        assert!(request.contains("transfer-encoding: chunked\r\n"), "{request}");
        assert!(!request.contains("content-length"), "{request}");
        assert_eq!(exactly(&mut server, 5).await, "0\r\n\r\n");
        say(&mut server, OK).await;
        let answers = rest(&mut client).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        drop(server);
    }
    assert!(origin.is_left_alone().await);
}
