//! What balancers ask: is it alive, is it ready, on the client port, with and without TLS, as HAProxy and
//! others ask it; and that asking leaves no trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use holdfast::{config::SessionSettings, net::Proxy, telemetry::LogCapture};
use net_support::{haproxy::Haproxy, *};
use serde_json::Value;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn ask(proxy: &Proxy, head: &str) -> (u16, String) {
    let answer = raw_exchange(proxy.address(), format!("{head}\r\n\r\n").as_bytes()).await;
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (status.parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn every_way_of_asking_is_answered() {
    let (proxy, upstream) = proxy_and_upstream().await;
    for path in ["/healthz", "/readyz", "/readyz?from=balancer"] {
        for version in ["HTTP/1.0", "HTTP/1.1\r\nHost: balancer"] {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let (status, body) =
                    ask(&proxy, &format!("{method} {path} {version}\r\nConnection: close")).await;
                assert_eq!(status, 200, "{method} {path} {version}: {body}");
                assert_eq!(body.is_empty(), method == "HEAD", "{method} {path} {version}: {body}");
            }
        }
        assert_eq!(ask(&proxy, &format!("POST {path} HTTP/1.0\r\nContent-Length: 0")).await.0, 405);
    }
    let (_, body) = ask(&proxy, "GET /readyz HTTP/1.0").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["status"], &body["reasons"]), (&"ready".into(), &Value::Array(vec![])), "{body}");
    assert_eq!(body["nodes"][0]["url"], format!("ws://{}", upstream.address), "{body}");
    let (_, body) = ask(&proxy, "GET /readyz HTTP/1.0\r\nAccept: text/plain").await;
    let node = format!("ready\nnode {} (ws://{0}): up, ", upstream.address);
    assert!(body.starts_with(&node), "{body}");
}

#[tokio::test]
async fn other_requests_are_answered_as_before() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    for head in
        ["GET / HTTP/1.1\r\nHost: x", "GET /healthz/ HTTP/1.1\r\nHost: x", "GET /health HTTP/1.1\r\nHost: x"]
    {
        assert_eq!(ask(&proxy, &format!("{head}\r\nConnection: close")).await.0, 426, "{head}");
    }
    // A page may well have this path.
    let _client = try_connect(proxy.address(), "/healthz", &[]).await.unwrap();
    let (_, request) = upstream.accept().await;
    assert_eq!(request.uri().path(), "/healthz");
}

#[tokio::test]
async fn paths_are_settings_and_can_be_switched_off() {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.health.live_path = String::new();
    settings.health.ready_path = "/up".to_owned();
    let proxy = start(settings).await;
    assert_eq!(ask(&proxy, "GET /up HTTP/1.0").await.0, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&proxy, &format!("GET {path} HTTP/1.1\r\nHost: x")).await.0, 426, "{path}");
    }
}

#[tokio::test]
async fn nodes_that_do_not_answer_are_told_and_are_no_reason_to_refuse_clients() {
    let mut settings = settings(&[free_address()]);
    settings.listen.connect_hold = Duration::from_secs(60);
    let proxy = start(settings).await;
    let address = proxy.address();
    let waiting = tokio::spawn(async move { try_connect(address, "/", &[]).await });
    wait_until("a client is held", || proxy.facts().held == 1).await;
    let (status, body) = ask(&proxy, "GET /readyz HTTP/1.0").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"state\":\"down\""), "{body}");
    waiting.abort();
}

#[tokio::test]
async fn a_proxy_without_room_lives_and_is_not_ready() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.sessions_max = Some(1);
    let proxy = start(settings).await;
    assert_eq!(ask(&proxy, "GET /readyz HTTP/1.0").await.0, 200);
    let client = connect(proxy.address()).await;
    let server = upstream.accept().await;
    let (status, body) = ask(&proxy, "GET /readyz HTTP/1.0").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("all places"), "{body}");
    assert_eq!(ask(&proxy, "GET /healthz HTTP/1.0").await.0, 200);
    drop((client, server));
    wait_until("the place is free", || proxy.facts().places_taken == 0).await;
    assert_eq!(ask(&proxy, "GET /readyz HTTP/1.0").await.0, 200);
}

#[tokio::test]
async fn checks_leave_no_line_in_the_log() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let (proxy, _upstream) = proxy_and_upstream().await;
    for reset in [false, true] {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        if reset {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(stream);
    }
    assert_eq!(ask(&proxy, "OPTIONS /healthz HTTP/1.0").await.0, 200);
    // As HAProxy does: gone as soon as it knows the status.
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    wait_until("all checks are over", || {
        let facts = proxy.facts();
        facts.handshakes == 0 && facts.closing == 0
    })
    .await;
    let told: Vec<String> = ["\"INFO\"", "\"WARN\"", "\"ERROR\""]
        .iter()
        .flat_map(|level| capture.lines_with(level))
        .filter(|line| !line.contains("\"listening\""))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_sees_it_go_up_down_and_up_again() {
    for check in [
        "option httpchk GET /readyz",
        "option httpchk OPTIONS /readyz",
        "option httpchk\n http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host x",
    ] {
        let mut upstream = Upstream::start().await;
        let mut settings = settings(&[upstream.address]);
        settings.limits.sessions_max = Some(1);
        let proxy = Proxy::start(settings, SessionSettings::default()).await.unwrap();
        let server = format!("server holdfast {} check inter 100ms fall 2 rise 2", proxy.address());
        let haproxy = Haproxy::start(&format!("{check}\n {server}"));
        let is = |wanted| haproxy.is("holdfast", move |server| server.status == wanted, wanted);
        is("UP").await;
        let client = connect(proxy.address()).await;
        let server = upstream.accept().await;
        is("DOWN").await;
        drop((client, server));
        is("UP").await;
        proxy.shutdown().await;
        is("DOWN").await;
    }
}
