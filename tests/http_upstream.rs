//! Requests that a route passes on to an HTTP server: by the letter of RFC 9110 and 9112, within their bounds, and
//! without keeping anything of a body. The server is scripted by hand or is Debian's nginx.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs, net::SocketAddr, time::Duration};

use holdfast::{config::NetSettings, net::Proxy};
use net_support::{
    nginx::{self, Nginx},
    *,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server whose every word is the test's.
struct Origin {
    address: SocketAddr,
    listener: TcpListener,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    async fn accept(&self) -> TcpStream {
        in_time("a connection to the server", self.listener.accept()).await.unwrap().0
    }

    /// Whether nobody connects for a while.
    async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.listener.accept()).await.is_err()
    }
}

/// The head of the next message, byte by byte so that nothing behind it is read.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn exactly(stream: &mut TcpStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    in_time("a body", stream.read_exact(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn say(stream: &mut TcpStream, text: &str) {
    in_time("a word to be taken", stream.write_all(text.as_bytes())).await.unwrap();
}

/// Until the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

async fn proxy_with(origin: SocketAddr, route: &str, change: impl FnOnce(&mut NetSettings)) -> Proxy {
    let mut settings = settings(&[free_address()]);
    settings.listen.connect_hold = Duration::ZERO;
    settings.routes =
        vec![toml::from_str(&format!("name = 'wcs'\nhttp = 'http://{origin}'\n{route}")).unwrap()];
    change(&mut settings);
    start(settings).await
}

async fn pair(change: impl FnOnce(&mut NetSettings)) -> (Origin, Proxy, TcpStream) {
    let origin = Origin::start().await;
    let proxy = proxy_with(origin.address, "", change).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (origin, proxy, client)
}

/// A client's line with no body.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: wcs.example.org\r\n\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

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

#[tokio::test]
async fn a_request_that_goes_round_in_circles_is_found() {
    let address = free_address();
    let mut settings = settings(&[free_address()]);
    settings.listen.address = vec![address.to_string().parse().unwrap()];
    settings.routes = vec![toml::from_str(&format!("http = 'http://{address}'")).unwrap()];
    let _proxy = start(settings).await;
    let answer = raw_exchange(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 508"), "{answer}");
}

#[tokio::test]
async fn paths_hosts_and_query_are_made_as_the_route_says() {
    let origin = Origin::start().await;
    let route = "path = '/wcs'\nreplace_path = '/'\nkeep_host = false";
    let proxy = proxy_with(origin.address, route, |settings| settings.http.via = false).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut client, &get("/wcs/a%2Fb?x=/wcs")).await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await.to_lowercase();
    assert!(request.starts_with("get /a%2fb?x=/wcs http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", origin.address)), "{request}");
    assert!(
        request.contains("x-forwarded-host: wcs.example.org\r\n") && !request.contains("via:"),
        "{request}"
    );
    say(&mut server, OK).await;
    head(&mut client).await;
    exactly(&mut client, 2).await;
    say(&mut client, &get("http://other/wcs")).await;
    assert!(head(&mut server).await.starts_with("GET / HTTP/1.1\r\n"), "what is taken off leaves the root");
}

#[tokio::test]
async fn websockets_are_sessions_beside_the_pages_and_tunnels_where_that_is_said() {
    let (mut upstream, origin) = (Upstream::start().await, Origin::start().await);
    let mut settings = settings(&[upstream.address]);
    settings.routes = ["path = '/chat'\ntunnel = true", ""]
        .map(|more| toml::from_str(&format!("http = 'http://{}'\n{more}", origin.address)).unwrap())
        .to_vec();
    let proxy = start(settings).await;
    let (_client, _server) = established(&proxy, &mut upstream, "t").await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    say(
        &mut client,
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\nearly",
    )
    .await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await.to_lowercase();
    for line in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-extensions: permessage-deflate\r\n",
    ] {
        assert!(request.contains(line), "{request}");
    }
    say(
        &mut server,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    .await;
    let answer = head(&mut client).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
    assert_eq!(exactly(&mut server, 5).await, "early");
    say(&mut server, "bytes").await;
    assert_eq!(exactly(&mut client, 5).await, "bytes");
    say(&mut client, "and back").await;
    assert_eq!(exactly(&mut server, 8).await, "and back");
    assert_eq!(proxy.facts().sessions, 1, "it is none");
    drop(client);
    assert_eq!(rest(&mut server).await, "");
    wait_until("it is over", || proxy.facts().files.http == 0).await;
}

#[tokio::test]
async fn an_answer_for_lb_url_names_the_proxy_and_all_else_stays() {
    let origin = Origin::start().await;
    let proxy = proxy_with(origin.address, "rewrite_lb = true", |settings| {
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let mut server = None;
    let mut ask = async |host: &str, lines: &str, headers: &str, body: &str| {
        let lines = format!("Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n{lines}");
        say(&mut client, &format!("GET /lb HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).await;
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(origin.accept().await),
        };
        let request = head(server).await.to_lowercase();
        assert!(!request.contains("accept-encoding") && !request.contains("range:"), "{request}");
        say(server, &format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        let answer = head(&mut client).await.to_lowercase();
        let length = answer.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        (exactly(&mut client, length.unwrap()).await, answer)
    };
    let lb = r#"{"server":"wcs-1.internal","ws":8080,"wss":8443,"flash":1935,"more":{"ws":1}}"#;
    let port = proxy.address().port();
    let (text, answer) =
        ask(&format!("proxy.example:{port}"), "", "Access-Control-Allow-Origin: *\r\n", lb).await;
    let wanted =
        format!(r#"{{"server":"proxy.example","ws":{port},"wss":{port},"flash":1935,"more":{{"ws":1}}}}"#);
    assert_eq!(text, wanted);
    assert!(answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
    let balancer = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\n";
    let (text, _) = ask("10.0.0.1:8080", balancer, "", lb).await;
    assert_eq!(text, r#"{"server":"public.example","ws":80,"wss":443,"flash":1935,"more":{"ws":1}}"#);
    let page = "<p>no JSON</p>";
    assert_eq!(ask("a", "", "", page).await.0, page);
    assert_eq!(ask("a", "", "Content-Encoding: br\r\n", lb).await.0, lb, "it cannot be looked into");
    let large = format!(r#"{{"server":"wcs","x":"{}"}}"#, "y".repeat(100_000));
    assert_eq!(ask("a", "", "", &large).await.0, large);
    // What the settings say goes before.
    let route = "rewrite_lb = true\nlb = { server = 'set.example', ws = 81, wss = 444 }";
    let proxy = proxy_with(origin.address, route, |_| {}).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut client, &get("/lb")).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    say(&mut server, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{lb}", lb.len())).await;
    head(&mut client).await;
    let wanted = r#"{"server":"set.example","ws":81,"wss":444,"flash":1935,"more":{"ws":1}}"#;
    assert_eq!(exactly(&mut client, wanted.len()).await, wanted);
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

/// nginx with files, an upload that it refuses for its length, and TLS.
struct Pages {
    nginx: Nginx,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Pages {
    async fn start() -> Self {
        let (plain, tls) = (free_address(), free_address());
        let directory = Nginx::directory("origin", plain);
        fs::create_dir_all(directory.join("root/live")).unwrap();
        fs::write(directory.join("root/index.html"), "<p>the page</p>").unwrap();
        fs::write(directory.join("root/live/segment.ts"), vec![7; 1_000_000]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["wcs.internal".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        let dir = directory.display();
        let sections = format!(
            "http {{
               access_log off; client_max_body_size 1m; gzip on; gzip_proxied any; gzip_min_length 1; {}
               server {{
                 listen {plain}; listen {tls} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
                 root {dir}/root;
                 location /told {{ return 200 '$request_uri $http_host $http_x_forwarded_for $scheme\\n'; }}
               }}
             }}",
            nginx::temporary(&directory)
        );
        let mut pages = Self { nginx: Nginx::start(directory, "crit", &sections), plain, tls };
        wait_until("nginx listens", || pages.nginx.listens(plain)).await;
        pages
    }
}

#[tokio::test]
async fn pages_segments_ranges_and_uploads_of_nginx_pass() {
    let pages = Pages::start().await;
    let proxy = proxy_with(pages.plain, "", |_| {}).await;
    let ask = async |line: &str, lines: &str, body: &[u8]| {
        let request = format!("{line} HTTP/1.1\r\nHost: wcs.example.org\r\nConnection: close\r\n{lines}\r\n");
        raw_exchange(proxy.address(), &[request.as_bytes(), body].concat()).await
    };
    let page = ask("GET /", "", b"").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("<p>the page</p>"), "{page}");
    let etag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert!(ask("GET /", &format!("If-None-Match: {etag}\r\n"), b"").await.starts_with("HTTP/1.1 304"));
    let gzip = ask("GET /", "Accept-Encoding: gzip\r\n", b"").await;
    assert!(
        gzip.contains("content-encoding: gzip\r\n") && gzip.contains("transfer-encoding: chunked"),
        "{gzip}"
    );
    let part = ask("GET /live/segment.ts", "Range: bytes=10-19\r\n", b"").await;
    assert!(
        part.starts_with("HTTP/1.1 206") && part.contains("content-range: bytes 10-19/1000000\r\n"),
        "{part}"
    );
    let whole = ask("GET /live/segment.ts", "", b"").await;
    assert!(whole.len() > 1_000_000, "{}", whole.len());
    assert!(ask("HEAD /live/segment.ts", "", b"").await.ends_with("\r\n\r\n"));
    let told = ask("GET /told?a=%20b", "", b"").await;
    assert!(told.ends_with("/told?a=%20b wcs.example.org 127.0.0.1 http\n"), "{told}");
    let large = ask("POST /told", "Content-Length: 2000000\r\n", &vec![b'x'; 2_000_000]).await;
    assert!(large.starts_with("HTTP/1.1 413"), "what nginx says of it: {large}");
    let expects = ask("POST /told", "Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello").await;
    assert!(expects.contains("HTTP/1.1 200"), "{expects}");
}

#[tokio::test]
async fn an_https_server_is_checked_as_its_route_says() {
    let pages = Pages::start().await;
    let with = |tls: &str| {
        let mut settings = settings(&[free_address()]);
        let route = format!("http = 'https://{}'\n{tls}", pages.tls);
        settings.routes = vec![toml::from_str(&route).unwrap()];
        start(settings)
    };
    let certificate = pages.nginx.directory.join("cert.pem");
    let request = b"GET /told HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let proxy = with(&format!("tls = {{ ca = {certificate:?}, server_name = 'wcs.internal' }}")).await;
    let answer = raw_exchange(proxy.address(), request).await;
    assert!(answer.ends_with("/told a 127.0.0.1 https\n"), "{answer}");
    let proxy = with(&format!("tls = {{ ca = {certificate:?}, server_name = 'other.internal' }}")).await;
    assert!(raw_exchange(proxy.address(), request).await.starts_with("HTTP/1.1 502"), "another name");
    let proxy = with("").await;
    assert!(
        raw_exchange(proxy.address(), request).await.starts_with("HTTP/1.1 502"),
        "unknown to public roots"
    );
}
