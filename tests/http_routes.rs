//! What a route with an HTTP server makes of a request and its answer: path, host, tunnels, answers for `lbUrl`; and what
//! becomes of requests under way when the routes change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use holdfast::{
    config::{NetSettings, SessionSettings},
    net::Proxy,
};
use net_support::{origin::*, *};
use tokio::net::TcpStream;

/// A WebSocket that is to be tunnelled; more headers may follow.
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

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
    say(&mut client, &format!("{HANDSHAKE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\nearly")).await;
    let mut server = origin.accept().await;
    let request = head(&mut server).await.to_lowercase();
    for line in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-extensions: permessage-deflate\r\n",
    ] {
        assert!(request.contains(line), "{request}");
    }
    say(&mut server, SWITCHED).await;
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

/// A client's connection, the request on it, and the server's connection that it reached.
async fn asked(proxy: &Proxy, origin: &Origin, request: &str) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut client, request).await;
    let mut server = origin.accept().await;
    head(&mut server).await;
    (client, server)
}

fn put_in_force(proxy: &Proxy, settings: NetSettings) {
    let prepared = proxy.prepare(settings, SessionSettings::default()).unwrap();
    proxy.put_in_force(prepared);
}

/// The next request on a connection reaches this server.
async fn goes_on_to(origin: &Origin, client: &mut TcpStream) {
    say(client, &get("/next")).await;
    let mut server = origin.accept().await;
    assert!(head(&mut server).await.starts_with("GET /next "));
    say(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    assert!(head(client).await.starts_with("HTTP/1.1 200"));
    assert_eq!(exactly(client, 2).await, "ok");
}

#[tokio::test]
async fn what_is_under_way_ends_where_it_began_when_the_routes_change() {
    let (old, new) = (Origin::start().await, Origin::start().await);
    let settings = routed_to(old.address, "tunnel = true");
    let proxy = start(settings.clone()).await;
    // A body in each direction, a request without its answer, a tunnel, and a connection that is kept.
    let (mut download, mut sends) = asked(&proxy, &old, &get("/down")).await;
    say(&mut sends, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
    head(&mut download).await;
    assert_eq!(exactly(&mut download, 5).await, "12345");
    let post = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345";
    let (mut upload, mut takes) = asked(&proxy, &old, post).await;
    assert_eq!(exactly(&mut takes, 5).await, "12345");
    let (mut unanswered, mut thinks) = asked(&proxy, &old, &get("/late")).await;
    let (mut tunnel, mut switched) = asked(&proxy, &old, &format!("{HANDSHAKE}\r\n")).await;
    say(&mut switched, SWITCHED).await;
    assert!(head(&mut tunnel).await.starts_with("HTTP/1.1 101"));
    let (mut idle, mut kept) = asked(&proxy, &old, &get("/idle")).await;
    say(&mut kept, OK).await;
    head(&mut idle).await;
    exactly(&mut idle, 2).await;

    let mut other = settings.clone();
    other.routes = routed_to(new.address, "").routes;
    put_in_force(&proxy, other);
    goes_on_to(&new, &mut idle).await;
    say(&mut sends, "67890").await;
    assert_eq!(exactly(&mut download, 5).await, "67890");
    say(&mut upload, "67890").await;
    assert_eq!(exactly(&mut takes, 5).await, "67890");
    say(&mut takes, OK).await;
    assert!(head(&mut upload).await.starts_with("HTTP/1.1 200"));
    exactly(&mut upload, 2).await;
    say(&mut thinks, OK).await;
    assert!(head(&mut unanswered).await.starts_with("HTTP/1.1 200"));
    exactly(&mut unanswered, 2).await;
    for client in [&mut download, &mut upload, &mut unanswered] {
        goes_on_to(&new, client).await;
    }
    for server in [&mut sends, &mut takes, &mut thinks, &mut kept] {
        assert_eq!(rest(server).await, "", "nothing is kept of a server that is left");
    }
    say(&mut tunnel, "still").await;
    assert_eq!(exactly(&mut switched, 5).await, "still");

    // The same where no server follows: a body ends whole, and what comes then is refused.
    let (mut download, mut sends) = asked(&proxy, &new, &get("/down")).await;
    say(&mut sends, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    head(&mut download).await;
    let mut denied = settings;
    denied.routes = vec![toml::from_str("deny = 403").unwrap()];
    put_in_force(&proxy, denied);
    say(&mut sends, "0\r\n\r\n").await;
    let whole = "3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(exactly(&mut download, whole.len()).await, whole);
    say(&mut download, &get("/next")).await;
    assert!(head(&mut download).await.starts_with("HTTP/1.1 403"));
    say(&mut switched, "still").await;
    assert_eq!(exactly(&mut tunnel, 5).await, "still");
    drop(tunnel);
    wait_until("no connection to any server is left", || proxy.facts().files.http == 0).await;
    assert!(old.is_left_alone().await && new.is_left_alone().await);
}
