//! Routes: which pool a session goes to and stays in, and what plain requests hear, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use futures_util::SinkExt;
use holdfast::{
    config::{NetSettings, PoolSettings},
    net::{DrainOrder, Proxy},
};
use net_support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

/// Settings with these routes, the pool `edge`, and the pool `default`.
fn routed(default: &[SocketAddr], edge: &[SocketAddr], routes: &[&str]) -> NetSettings {
    let mut settings = settings(default);
    settings.routes = routes.iter().map(|text| toml::from_str(text).unwrap()).collect();
    // Nobody asks a node but for a client.
    settings.upstream.health = Some(Default::default());
    let nodes = edge.iter().enumerate().map(|(nth, address)| {
        toml::from_str(&format!("name = 'edge-{nth}'\nurl = 'ws://{address}'")).unwrap()
    });
    settings.pools.insert("edge".parse().unwrap(), PoolSettings { node: nodes.collect() });
    settings
}

/// One answer on a connection that goes on: its head, and a body of the length that it tells.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("a byte of the answer", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    in_time("the body", stream.read_exact(&mut body)).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn get(stream: &mut TcpStream, target: &str) -> (String, String) {
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: wcs.example.org\r\n\r\n").as_bytes())
        .await
        .unwrap();
    answer(stream).await
}

/// Whether the other side ends a connection on which nothing more is said.
async fn ends(stream: &mut TcpStream) -> bool {
    matches!(in_time("the end", stream.read(&mut [0; 16])).await, Ok(0) | Err(_))
}

async fn establish(client: &mut ClientSocket, server: &mut UpstreamSocket, token: &str) {
    send(client, CONNECTION).await;
    assert_eq!(next_text(server).await, CONNECTION);
    send(server, &user_data(token)).await;
    assert!(next_text(client).await.contains("getUserData"));
}

#[tokio::test]
async fn several_requests_and_then_a_session_on_one_connection() {
    let mut upstream = Upstream::start().await;
    let routes = [
        "path = '/robots.txt'\nstatic = { body = 'none', content_type = 'text/x', headers = { X-A = 'b' } }",
        "path = '/secret'\ndeny = 404",
        "redirect = 'https://$host:8443'\nredirect_status = 308",
    ];
    let proxy = start(routed(&[upstream.address], &[upstream.address], &routes)).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (head, body) = get(&mut stream, "/robots.txt?x").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/x\r\n"), "{head}");
    assert!(head.contains("x-a: b\r\n") && !head.contains("connection: close"), "{head}");
    assert_eq!(body, "none");
    let (head, _) = get(&mut stream, "/secret/1").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, _) = get(&mut stream, "/page?a=1").await;
    assert!(head.starts_with("HTTP/1.1 308"), "{head}");
    assert!(head.contains("location: https://wcs.example.org:8443/page?a=1\r\n"), "{head}");
    // Two at once are answered in their order.
    let two = "HEAD /robots.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /secret HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(
        String::from_utf8(head).unwrap().contains("content-length: 4\r\n"),
        "HEAD tells it and has no body"
    );
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 404"));
    assert_eq!(proxy.facts().handshakes, 1, "it is one connection");
    let (mut client, _) = tokio_tungstenite::client_async("ws://wcs/", stream).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    establish(&mut client, &mut server, "t").await;
    wait_until("it is a session", || proxy.facts().handshakes == 0 && proxy.facts().sessions == 1).await;
}

#[tokio::test]
async fn a_path_that_a_server_may_read_as_a_denied_one_is_400() {
    let upstream = Upstream::start().await;
    let routes = ["path = '/rest-api'\ndeny = 403", "static = { body = 'page' }"];
    let proxy = start(routed(&[upstream.address], &[upstream.address], &routes)).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    for (target, status) in [
        ("/rest-api", "403"),
        ("/rest-api/stream/find_all", "403"),
        ("http://wcs/rest-api/x", "403"),
        ("/rest-apis", "200"),
        ("/page%20one", "200"),
        ("/x/../page", "200"),
    ] {
        let (head, _) = get(&mut stream, target).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{target}");
    }
    for target in
        ["/%72est-api", "/a/../rest-api", "//rest-api/x", "/a/..;/rest-api", "/a/%2e%2e%2Frest-api", "/%00"]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        let refused = try_connect(proxy.address(), target, &[]).await;
        assert!(refused.is_err(), "{target} by WebSocket");
    }
    assert_eq!(upstream.dials.load(Ordering::SeqCst), 0, "edge is not asked within five seconds either");
}

#[tokio::test]
async fn a_session_goes_to_its_pool_and_comes_back_there() {
    let (mut default, mut edge) = (Upstream::start().await, Upstream::start().await);
    let routes = ["path = '/edge'\npool = 'edge'", "host = '*.edge.example'\npool = 'edge'"];
    let proxy = start(routed(&[default.address], &[edge.address], &routes)).await;
    let mut client = try_connect(proxy.address(), "/edge/x?y=1", &[]).await.unwrap();
    let (mut server, request) = edge.accept().await;
    assert_eq!(request.uri(), "/edge/x?y=1", "the path is the client's own");
    establish(&mut client, &mut server, "t").await;
    drop(server);
    let (mut server, _) = edge.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""), "restored in its pool");
    // While its pool is away it waits, whoever else is there.
    let address = edge.stop().await;
    drop(server);
    let other = connect(proxy.address()).await;
    let _held = default.accept().await;
    let_pass(Duration::from_millis(500)).await;
    assert_eq!(default.dials.load(Ordering::SeqCst), 1);
    let mut edge = Upstream::with(address, std::sync::Arc::new(|_, response| Ok(response))).await;
    let (mut server, _) = edge.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
    drop((client, other));
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    tokio_tungstenite::client_async("ws://a.EDGE.example:8080/", stream).await.unwrap();
    edge.accept().await;
}

#[tokio::test]
async fn drains_and_moves_stay_in_the_pool() {
    let default = Upstream::start().await;
    let (mut one, mut two) = (Upstream::start().await, Upstream::start().await);
    let mut settings =
        routed(&[default.address], &[one.address, two.address], &["path = '/edge'\npool = 'edge'"]);
    settings.upstream.policy = holdfast::config::Policy::First;
    let proxy = start(settings).await;
    let mut client = try_connect(proxy.address(), "/edge", &[]).await.unwrap();
    let (mut server, _) = one.accept().await;
    establish(&mut client, &mut server, "t").await;
    let nodes = proxy.nodes();
    let id = |name: &str| nodes.iter().find(|node| node.name == name).unwrap().id;
    let session = proxy.survey(10).await[0].session;
    let other_pool = nodes.iter().find(|node| node.pool == "default").unwrap().id;
    let moved = proxy.move_session(session, other_pool).await;
    assert!(format!("{moved:?}").contains("another pool"), "{moved:?}");
    proxy.drain(id("edge-0"), DrainOrder::default()).unwrap();
    let (mut server, _) = two.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
    send(&mut server, &user_data("t2")).await;
    wait_until("the session has moved", || {
        proxy.nodes().iter().find(|node| node.name == "edge-1").unwrap().sessions == 1
    })
    .await;
    assert_eq!(default.dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn servers_of_different_pools_share_no_names() {
    let (mut default, mut edge) = (Upstream::start().await, Upstream::start().await);
    let proxy = start(routed(&[default.address], &[edge.address], &["path = '/edge'\npool = 'edge'"])).await;
    let publish = r#"{"message":"publishStream","data":[{"mediaSessionId":"m1","name":"stream","published":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","mediaProvider":"MSE","sdp":""}]}"#;
    let play = r#"{"message":"playStream","data":[{"mediaSessionId":"m2","name":"stream","published":false,"mediaProvider":"MSE","sdp":""}]}"#;
    let mut publisher = connect(proxy.address()).await;
    let (mut server, _) = default.accept().await;
    establish(&mut publisher, &mut server, "t").await;
    send(&mut publisher, publish).await;
    assert_eq!(next_text(&mut server).await, publish);
    let status = r#"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m1","name":"stream","status":"PUBLISHING","published":true}]}"#;
    send(&mut server, status).await;
    next_text(&mut publisher).await;
    let mut player = try_connect(proxy.address(), "/edge", &[]).await.unwrap();
    let (mut edge_server, _) = edge.accept().await;
    establish(&mut player, &mut edge_server, "u").await;
    send(&mut player, play).await;
    assert_eq!(
        next_text(&mut edge_server).await,
        play,
        "asked of its own server, though another has the name"
    );
}

const ROOM: &str = r#"{"message":"connection","data":[{"appKey":"roomApp","mediaProviders":["WebRTC"],"clientVersion":"2.0"}]}"#;

#[tokio::test]
async fn the_application_of_the_first_message_decides() {
    let (mut default, mut edge) = (Upstream::start().await, Upstream::start().await);
    let routes = ["app_key = 'roomApp'\npool = 'edge'", "app_key = 'old'\ndeny = 403"];
    let proxy = start(routed(&[default.address], &[edge.address], &routes)).await;
    let mut client = connect(proxy.address()).await;
    let (mut first, _) = default.accept().await;
    client.send(Message::Ping("x".into())).await.unwrap();
    send(&mut client, ROOM).await;
    let (mut server, _) = edge.accept().await;
    assert_eq!(next_text(&mut server).await, ROOM);
    assert_eq!(close_of(&mut first).await, None, "the first server was told nothing");
    send(&mut server, &user_data("t")).await;
    assert!(next_text(&mut client).await.contains("getUserData"));
    drop(server);
    let (mut server, _) = edge.accept().await;
    assert!(next_text(&mut server).await.contains("roomApp"), "restored in its pool");
    // Others stay where the first dial went.
    let mut other = connect(proxy.address()).await;
    let (mut server, _) = default.accept().await;
    establish(&mut other, &mut server, "u").await;
    let mut old = connect(proxy.address()).await;
    default.accept().await;
    send(&mut old, &ROOM.replace("roomApp", "old")).await;
    assert_eq!(u16::from(close_of(&mut old).await.unwrap().code), 1008);
}

#[tokio::test]
async fn only_the_applications_that_are_named_are_served_where_all_others_are_denied() {
    let (default, mut edge) = (Upstream::start().await, Upstream::start().await);
    let routes = ["app_key = 'roomApp'\npool = 'edge'", "deny = 403"];
    let proxy = start(routed(&[default.address], &[edge.address], &routes)).await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = edge.accept().await;
    send(&mut client, ROOM).await;
    assert_eq!(next_text(&mut server).await, ROOM, "the first dial was right");
    let mut other = connect(proxy.address()).await;
    edge.accept().await;
    send(&mut other, CONNECTION).await;
    assert_eq!(u16::from(close_of(&mut other).await.unwrap().code), 1008);
    let answer =
        raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(default.dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_application_whose_pool_is_away_is_told_to_come_again() {
    let mut default = Upstream::start().await;
    let away = free_address();
    let mut settings = routed(&[default.address], &[away], &["app_key = 'roomApp'\npool = 'edge'"]);
    settings.listen.connect_hold = Duration::from_millis(200);
    let proxy = start(settings).await;
    let mut client = connect(proxy.address()).await;
    default.accept().await;
    send(&mut client, ROOM).await;
    assert_eq!(u16::from(close_of(&mut client).await.unwrap().code), 1013);
}

#[tokio::test]
async fn access_rules_are_for_plain_requests_as_well() {
    let upstream = Upstream::start().await;
    let with = |change: fn(&mut NetSettings)| {
        let mut settings = routed(&[upstream.address], &[upstream.address], &["static = { body = 'page' }"]);
        change(&mut settings);
        start(settings)
    };
    let ask = async |proxy: &Proxy, lines: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    let proxy = with(|settings| settings.listen.deny = vec!["127.0.0.0/8".parse().unwrap()]).await;
    assert_eq!(ask(&proxy, "").await, "403");
    let proxy = with(|settings| {
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        settings.listen.deny = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    assert_eq!(ask(&proxy, "X-Forwarded-For: 192.0.2.7\r\n").await, "403");
    assert_eq!(ask(&proxy, "X-Forwarded-For: 198.51.100.7\r\n").await, "200");
    let proxy =
        with(|settings| settings.listen.origins = vec!["https://good.example".parse().unwrap()]).await;
    assert_eq!(ask(&proxy, "Origin: https://evil.example\r\n").await, "403");
    assert_eq!(ask(&proxy, "Origin: https://good.example\r\n").await, "200");
    let proxy = with(|settings| settings.http.address_requests_per_second = 1).await;
    for nth in 0..10 {
        assert_eq!(ask(&proxy, "").await, "200", "{nth}");
    }
    assert_eq!(ask(&proxy, "").await, "429", "ten seconds' worth");
}

#[tokio::test]
async fn a_connection_has_its_times() {
    let upstream = Upstream::start().await;
    let with = |change: fn(&mut NetSettings)| {
        let mut settings = routed(&[upstream.address], &[upstream.address], &["static = { body = 'page' }"]);
        change(&mut settings);
        start(settings)
    };
    let proxy = with(|settings| settings.http.keep_alive = Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    get(&mut stream, "/").await;
    get(&mut stream, "/").await;
    assert!(ends(&mut stream).await, "no third request in time");
    let proxy = with(|settings| settings.http.keep_alive = Duration::ZERO).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(get(&mut stream, "/").await.0.contains("connection: close"));
    assert!(ends(&mut stream).await);
    let proxy = with(|settings| settings.http.connection_life_max = Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    get(&mut stream, "/").await;
    assert!(ends(&mut stream).await, "its life is over");
    // Whoever is idle does not hold up a shutdown.
    let proxy = with(|_| {}).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    get(&mut stream, "/").await;
    let ended = tokio::spawn(async move { ends(&mut stream).await });
    assert!(proxy.shutdown().await, "clean");
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn health_comes_before_all_routes_and_nothing_is_as_it_was_without_them() {
    let upstream = Upstream::start().await;
    let proxy = start(routed(&[upstream.address], &[upstream.address], &["deny = 403"])).await;
    let answer = raw_exchange(proxy.address(), b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"), "{answer}");
    let plain = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let proxy = start(routed(&[upstream.address], &[upstream.address], &["path = '/x'\ndeny = 403"])).await;
    assert!(raw_exchange(proxy.address(), plain).await.starts_with("HTTP/1.1 426"), "no route says a word");
    let proxy = start(settings(&[upstream.address])).await;
    assert!(raw_exchange(proxy.address(), plain).await.starts_with("HTTP/1.1 426"));
}
