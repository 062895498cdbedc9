//! Servers that are told of each client by the PROXY protocol: Debian's HAProxy and nginx expect it, and say whom they
//! saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{fs, net::SocketAddr, path::PathBuf};

use holdfast::{
    config::{NetSettings, NodeSettings, SendProxy, SessionSettings},
    net::Proxy,
};
use net_support::{
    haproxy::Haproxy,
    nginx::{self, Nginx},
    *,
};
use rcgen::{CertificateParams, KeyPair};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_tungstenite::tungstenite::handshake::server::Request;

const CLIENT: &str = "127.0.0.7";
/// What a connection of our own begins with in version 2.
const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Has HAProxy tell the server whom it saw, and where that one had come to.
const SEEN_BY_HAPROXY: &str = "http-request set-header x-seen %[src]:%[src_port]
 http-request set-header x-reached %[dst]:%[dst_port]";

fn seen(request: &Request) -> [SocketAddr; 2] {
    ["x-seen", "x-reached"].map(|name| request.headers()[name].to_str().unwrap().parse().unwrap())
}

async fn proxy_to(url: String, change: impl FnOnce(&mut NetSettings)) -> Proxy {
    let mut settings = settings(&[]);
    settings.upstream.url = vec![url.parse().unwrap()];
    change(&mut settings);
    start(settings).await
}

async fn haproxy(bind: &str, upstream: &Upstream) -> Haproxy {
    let server = format!("{SEEN_BY_HAPROXY}\n timeout tunnel 1h\n server wcs {}", upstream.address);
    let haproxy = Haproxy::start_as("http", bind, &server);
    wait_until("HAProxy listens", || std::net::TcpStream::connect(haproxy.front).is_ok()).await;
    haproxy
}

#[tokio::test]
async fn haproxy_is_told_of_the_client_in_both_versions_at_each_dial_of_a_session() {
    for kind in [SendProxy::V1, SendProxy::V2] {
        let mut upstream = Upstream::start().await;
        let haproxy = haproxy("accept-proxy", &upstream).await;
        let proxy =
            proxy_to(format!("ws://{}", haproxy.front), |settings| settings.upstream.send_proxy = kind).await;
        let mut client = try_connect_from(CLIENT, proxy.address()).await.unwrap();
        let (mut server, request) = upstream.accept().await;
        let expected = [client.get_ref().local_addr().unwrap(), proxy.address()];
        assert_eq!(seen(&request), expected, "{kind:?}");
        send(&mut client, CONNECTION).await;
        assert_eq!(next_text(&mut server).await, CONNECTION);
        send(&mut server, &user_data("t")).await;
        assert!(next_text(&mut client).await.contains("getUserData"));
        // The way back after an outage.
        drop(server);
        let (_server, request) = upstream.accept().await;
        assert_eq!(seen(&request), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn the_header_stands_before_tls_and_who_expects_one_gets_no_client_without_it() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("send-proxy-tls");
    fs::create_dir_all(&directory).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("both.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
    let mut upstream = Upstream::start().await;
    let haproxy =
        haproxy(&format!("ssl crt {} accept-proxy", directory.join("both.pem").display()), &upstream).await;
    let url = format!("wss://localhost:{}", haproxy.front.port());
    let with = |kind| {
        let ca = directory.join("cert.pem");
        move |settings: &mut NetSettings| {
            settings.upstream.ca = Some(ca);
            settings.upstream.send_proxy = kind;
            settings.listen.connect_hold = std::time::Duration::ZERO;
        }
    };
    let proxy = proxy_to(url.clone(), with(SendProxy::V2)).await;
    let client = try_connect_from(CLIENT, proxy.address()).await.unwrap();
    let (_server, request) = upstream.accept().await;
    assert_eq!(seen(&request)[0], client.get_ref().local_addr().unwrap());
    let without = proxy_to(url, with(SendProxy::Off)).await;
    assert!(try_connect_from(CLIENT, without.address()).await.is_err());
}

/// nginx that expects the header, and passes on whom it names; and where it listens.
async fn nginx_before(upstream: SocketAddr) -> (Nginx, SocketAddr) {
    let front = free_address();
    let directory = Nginx::directory("expects", front);
    let sections = format!(
        "http {{
           access_log off; {}
           server {{
             listen {front} proxy_protocol;
             location / {{
               proxy_pass http://{upstream};
               proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection \"upgrade\";
               proxy_set_header X-Seen $proxy_protocol_addr:$proxy_protocol_port;
               proxy_set_header X-Reached $proxy_protocol_server_addr:$proxy_protocol_server_port;
             }}
           }}
         }}",
        nginx::temporary(&directory)
    );
    let mut nginx = Nginx::start(directory, "error", &sections);
    wait_until("nginx listens", || nginx.listens(front)).await;
    (nginx, front)
}

/// Its complaints of headers.
fn complaints(nginx: &Nginx) -> Vec<String> {
    nginx.errors().lines().filter(|line| line.contains("broken header")).map(str::to_owned).collect()
}

#[tokio::test]
async fn nginx_is_told_of_clients_and_that_probes_are_our_own() {
    for kind in [SendProxy::V1, SendProxy::V2] {
        let mut upstream = Upstream::start().await;
        let (nginx, front) = nginx_before(upstream.address).await;
        let proxy = proxy_to(format!("ws://{front}"), |settings| {
            settings.upstream.send_proxy = kind;
            settings.upstream.health = Some(checks(&[("websocket", None), ("tcp", None)]));
        })
        .await;
        let client = try_connect_from(CLIENT, proxy.address()).await.unwrap();
        let mut probe_seen = false;
        let mut client_seen = false;
        while !(probe_seen && client_seen) {
            let (_socket, request) = in_time("a dial", upstream.accept_forever()).await.unwrap();
            let is_probe = request.headers().get("user-agent").is_some_and(|agent| agent == "holdfast-probe");
            if is_probe {
                // Nobody is named, and nginx passes on nothing.
                assert_eq!(request.headers()["x-seen"], ":", "{kind:?}");
                probe_seen = true;
            } else {
                let expected = [client.get_ref().local_addr().unwrap(), proxy.address()];
                assert_eq!(seen(&request), expected, "{kind:?}");
                client_seen = true;
            }
        }
        assert_eq!(complaints(&nginx), [""; 0], "{kind:?}");
        let status = &proxy.nodes()[0];
        assert_eq!(status.state, "up", "{kind:?}");
    }
}

fn checks(kinds: &[(&str, Option<u16>)]) -> holdfast::config::Checks {
    let one = |(kind, port): &(&str, Option<u16>)| {
        let port = port.map_or_else(String::new, |port| format!(", port = {port}"));
        format!("{{ kind = \"{kind}\", interval_ms = 50{port} }}")
    };
    let text = format!("checks = [{}]", kinds.iter().map(one).collect::<Vec<_>>().join(", "));
    let mut table: std::collections::BTreeMap<String, holdfast::config::Checks> =
        toml::from_str(&text).unwrap();
    table.remove("checks").unwrap()
}

/// The first bytes of the next connection.
async fn begins_with(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = in_time("a connection", listener.accept()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = in_time("its beginning", (&mut stream).take(LOCAL.len() as u64).read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn checks_of_the_port_of_sessions_say_that_they_are_ours_and_others_begin_with_nothing() {
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = |listener: &TcpListener, name: &str, port: Option<u16>, send_proxy| {
        let url = format!("{name}=ws://{}", listener.local_addr().unwrap());
        let health = Some(checks(&[("http", Some(port.unwrap_or(listener.local_addr().unwrap().port())))]));
        NodeSettings { health, send_proxy, ..NodeSettings::of(&url.parse().unwrap()) }
    };
    let mut settings = settings(&[]);
    settings.upstream.send_proxy = SendProxy::V2;
    let beside = Some(other.local_addr().unwrap().port());
    settings.upstream.node = vec![
        node(&own, "own", None, None),
        node(&TcpListener::bind("127.0.0.1:0").await.unwrap(), "beside", beside, None),
        node(&plain, "plain", None, Some(SendProxy::Off)),
    ];
    let _proxy = Proxy::start(settings, SessionSettings::default()).await.unwrap();
    assert_eq!(begins_with(&own).await, LOCAL);
    for listener in [&other, &plain] {
        let began = begins_with(listener).await;
        assert!(began.starts_with(b"GET /"), "{began:?}");
    }
}
