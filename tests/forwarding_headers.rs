//! What the upstream and the log are told of where a client is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::path::Path;

use holdfast::{
    config::{Config, NetSettings, Overrides},
    net::Proxy,
    telemetry::LogCapture,
};
use net_support::*;
use tokio_tungstenite::tungstenite::handshake::server::Request;

const FORGED: [(&str, &str); 8] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "front.example"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=6.6.6.6"),
    ("x-client-ip", "6.6.6.6"),
    ("x-real-ip", "6.6.6.6"),
    ("x-tenant", "t1"),
];

fn all<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

async fn told(change: impl FnOnce(&mut NetSettings)) -> (Proxy, Request) {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    change(&mut settings);
    let proxy = start(settings).await;
    let _client = try_connect(proxy.address(), "/", &FORGED).await.unwrap();
    let (_, request) = upstream.accept().await;
    (proxy, request)
}

#[tokio::test]
async fn what_a_stranger_claims_is_replaced() {
    let (proxy, request) = told(|_| {}).await;
    let address = proxy.address().to_string();
    assert_eq!(all(&request, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&request, "x-forwarded-host"), [address.as_str()]);
    assert_eq!(all(&request, "x-forwarded-port"), [proxy.address().port().to_string()]);
    assert_eq!(all(&request, "forwarded"), [format!("for=127.0.0.1;host=\"{address}\";proto=http")]);
    assert_eq!(all(&request, "x-client-ip"), ["127.0.0.1"]);
    assert!(all(&request, "x-real-ip").is_empty() && all(&request, "x-tenant").is_empty());
}

#[tokio::test]
async fn what_a_trusted_proxy_claims_is_extended_or_passed() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let (_, request) = told(|settings| {
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        settings.listen.pass_headers = vec!["X-Tenant".parse().unwrap()];
        settings.listen.client_ip_header = Some("X-Real-IP".parse().unwrap());
    })
    .await;
    assert_eq!(all(&request, "x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(all(&request, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&request, "x-forwarded-host"), ["front.example"]);
    assert_eq!(all(&request, "x-forwarded-port"), ["443"]);
    let forwarded = "for=6.6.6.6, for=127.0.0.1;host=\"front.example\";proto=http";
    assert_eq!(all(&request, "forwarded"), [forwarded]);
    assert_eq!(all(&request, "x-real-ip"), ["6.6.6.6"]);
    assert_eq!(all(&request, "x-tenant"), ["t1"]);
    assert!(all(&request, "x-client-ip").is_empty(), "the header has another name here");
    let connected = capture.lines_with("\"event\":\"connected\"");
    assert!(connected[0].contains("\"client\":\"6.6.6.6\""), "{connected:?}");
}

/// A proxy that anchors media, told by a client with `X-Forwarded-For` that a balancer is near.
async fn warnings(media: &str) -> Vec<String> {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let mut upstream = Upstream::start().await;
    let text = format!(
        "[listen]\naddress = [\"127.0.0.1:0\"]\n[upstream]\nurl = [\"ws://{}\"]\n[media]\n\
         listen = \"127.0.0.1:0\"\n{media}",
        upstream.address
    );
    let config = Config::parse(&text, Path::new("test.toml"), &Overrides::default()).unwrap();
    let proxy = Proxy::launch(config).await.unwrap();
    for headers in [&[][..], &FORGED[..1], &FORGED[..1]] {
        let _client = try_connect(proxy.address(), "/", headers).await.unwrap();
        upstream.accept().await;
    }
    capture.lines_with("\"event\":\"balancer_noticed\"")
}

#[tokio::test]
async fn a_balancer_on_this_machine_is_told_once_with_what_to_set() {
    let lines = warnings("").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("media.advertise") && lines[0].contains("listen.trusted_proxies"), "{lines:?}");
    assert_eq!(warnings("advertise = [\"192.0.2.1\"]\n").await, Vec::<String>::new());
    assert_eq!(warnings("mode = \"direct\"\n").await, Vec::<String>::new());
}
