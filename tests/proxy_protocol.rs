//! Balancers that say by the PROXY protocol who their clients are: Debian's HAProxy and nginx, and others who claim
//! to be one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use holdfast::{config::NetSettings, net::Proxy, telemetry::LogCapture};
use net_support::{haproxy::Haproxy, nginx::Nginx, *};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
    },
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, handshake::server::Request},
};

const CLIENT: &str = "127.0.0.7";

fn behind_balancers(settings: &mut NetSettings) {
    settings.listen.proxy_protocol = true;
    settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
}

async fn proxy_with(change: impl FnOnce(&mut NetSettings)) -> (Proxy, Upstream) {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    behind_balancers(&mut settings);
    change(&mut settings);
    (start(settings).await, upstream)
}

fn is_429(result: Result<ClientSocket, Error>) -> bool {
    matches!(result, Err(Error::Http(response)) if response.status() == 429)
}

fn told(request: &Request, name: &str) -> String {
    request.headers()[name].to_str().unwrap().to_owned()
}

/// What the server hears of the client's address, the port it reached and how.
fn hop(request: &Request) -> [String; 4] {
    ["x-client-ip", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"]
        .map(|name| told(request, name))
}

#[tokio::test]
async fn haproxy_names_the_client_in_both_versions_and_its_checks_pass() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    for (mode, send) in [("tcp", "send-proxy"), ("tcp", "send-proxy-v2"), ("http", "send-proxy-v2")] {
        let (proxy, mut upstream) = proxy_with(|_| {}).await;
        let server = format!("server holdfast {} {send} check inter 100ms fall 2 rise 2", proxy.address());
        let haproxy = Haproxy::start_as(
            mode,
            "",
            &format!("option httpchk GET /readyz\n timeout tunnel 1h\n {server}"),
        );
        haproxy.is("holdfast", |server| server.status == "UP", "HAProxy sees it up").await;
        let _client = try_connect_from(CLIENT, haproxy.front).await.unwrap();
        let (_, request) = upstream.accept().await;
        let port = haproxy.front.port().to_string();
        assert_eq!(hop(&request), [CLIENT, CLIENT, &port, "http"], "{mode}, {send}");
        proxy.shutdown().await;
    }
    let connected = capture.lines_with("\"event\":\"connected\"");
    assert!(connected.len() == 3 && connected.iter().all(|line| line.contains(CLIENT)), "{connected:?}");
    assert_eq!(capture.lines_with("connection_refused"), [""; 0], "checks are no clients");
}

/// A certificate for `localhost`: files of the proxy's, one of HAProxy's, and what clients trust.
fn certificate(name: &str) -> (PathBuf, CertificateDer<'static>) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("proxy-protocol-{name}"));
    fs::create_dir_all(&directory).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(directory.join("both.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
    (directory, certificate.der().clone())
}

#[tokio::test]
async fn tls_ends_at_haproxy_or_passes_through_it() {
    let (files, trusted) = certificate("tls");
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let ssl = format!("ssl crt {}", files.join("both.pem").display());
    for (bind, send, through) in [(&*ssl, "send-proxy-v2-ssl", false), ("", "send-proxy-v2", true)] {
        let (proxy, mut upstream) = proxy_with(|settings| {
            if through {
                settings.listen.tls_cert = Some(files.join("cert.pem"));
                settings.listen.tls_key = Some(files.join("key.pem"));
            }
        })
        .await;
        let haproxy = Haproxy::start_as("tcp", bind, &format!("server holdfast {} {send}", proxy.address()));
        wait_until("HAProxy listens", || std::net::TcpStream::connect(haproxy.front).is_ok()).await;
        let stream = connection_from(CLIENT, haproxy.front).await;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(tls.clone())).connect(name, stream).await.unwrap();
        let _client = client_async("wss://localhost/", stream).await.unwrap();
        let (_, request) = upstream.accept().await;
        let port = haproxy.front.port().to_string();
        assert_eq!(hop(&request), [CLIENT, CLIENT, &port, "https"], "through: {through}");
    }
}

/// nginx that passes connections on with their header, and where it listens.
async fn nginx_before(to: SocketAddr) -> (Nginx, SocketAddr) {
    let front = free_address();
    // Its stream module is a package of its own; `scripts/install test` installs it.
    let sections = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
         stream {{ server {{ listen {front}; proxy_pass {to}; proxy_protocol on; }} }}"
    );
    let mut nginx = Nginx::start(Nginx::directory("stream", front), "crit", &sections);
    wait_until("nginx listens", || nginx.listens(front)).await;
    (nginx, front)
}

#[tokio::test]
async fn nginx_names_the_client() {
    let (proxy, mut upstream) = proxy_with(|_| {}).await;
    let (_nginx, front) = nginx_before(proxy.address()).await;
    let _client = try_connect_from(CLIENT, front).await.unwrap();
    let (_, request) = upstream.accept().await;
    assert_eq!(hop(&request), [CLIENT, CLIENT, &front.port().to_string(), "http"]);
}

#[tokio::test]
async fn limits_count_by_the_address_that_is_told() {
    let (proxy, _upstream) = proxy_with(|settings| {
        settings.limits.address_sessions_max = 1;
        settings.limits.address_unauthenticated_max = 3;
    })
    .await;
    let server = format!("server holdfast {} send-proxy-v2", proxy.address());
    let haproxy = Haproxy::start_as("tcp", "", &server);
    wait_until("HAProxy listens", || std::net::TcpStream::connect(haproxy.front).is_ok()).await;
    let _one = try_connect_from(CLIENT, haproxy.front).await.unwrap();
    assert!(is_429(try_connect_from(CLIENT, haproxy.front).await));
    let _other = try_connect_from("127.0.0.8", haproxy.front).await.unwrap();
    // Connections that say nothing.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(connection_from("127.0.0.9", haproxy.front).await);
    }
    wait_until("they are counted", || proxy.facts().handshakes == 3).await;
    assert!(is_429(try_connect_from("127.0.0.9", haproxy.front).await));
    let _another = try_connect_from("127.0.0.10", haproxy.front).await.unwrap();
}

#[tokio::test]
async fn a_balancer_without_a_header_is_refused_with_a_word_on_what_to_do() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let (proxy, upstream) =
        proxy_with(|settings| settings.listen.handshake_timeout = Duration::from_millis(300)).await;
    assert!(try_connect_from("127.0.0.1", proxy.address()).await.is_err());
    let mut silent = connection_from("127.0.0.1", proxy.address()).await;
    assert_eq!(in_time("its end", silent.read(&mut [0; 8])).await.unwrap_or_default(), 0);
    wait_until("both are over", || proxy.facts().handshakes == 0).await;
    assert_eq!(upstream.dials.load(std::sync::atomic::Ordering::SeqCst), 0);
    let lines = capture.lines_with("connection_refused");
    assert!(lines.len() == 2 && lines[0].contains("send-proxy-v2"), "{lines:?}");
    assert!(lines[1].contains("in time"), "{lines:?}");
    // A balancer that looks whether the port is open.
    drop(connection_from("127.0.0.1", proxy.address()).await);
    wait_until("that is over", || proxy.facts().handshakes == 0).await;
    assert_eq!(capture.lines_with("connection_refused").len(), 2);
}

#[tokio::test]
async fn others_have_no_header_and_are_not_believed() {
    let (proxy, mut upstream) = proxy_with(|_| {}).await;
    let _client = try_connect_from(CLIENT, proxy.address()).await.unwrap();
    let (_, request) = upstream.accept().await;
    assert_eq!(told(&request, "x-client-ip"), CLIENT);
    let mut liar = connection_from("127.0.0.8", proxy.address()).await;
    liar.write_all(b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    in_time("the answer", liar.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
