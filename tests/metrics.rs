//! `/metrics`: what it counts is what happened, and what it says is what `docs/metrics.md` promises.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{
    clients::Clients,
    page::Page,
    pool, proxy_with,
    scrape::{Scrape, admin_of, exchange, scrape_until},
    server::Server,
};
use holdfast::{
    admin::{self, Door, Setup},
    config::{ClientAuth, ListenAddress, MediaMode},
    load::{LoadSettings, Scenario, webrtc_client::ClientOptions},
    net::{DrainOrder, Proxy},
};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

/// Most bytes of a scrape of one node: it is as long as the configuration makes it, whoever comes.
const SCRAPE_BYTES_MAX: usize = 64 * 1024;
/// Most series of one family of one node.
const SERIES_MAX: usize = 64;

/// A certificate for `localhost` that ends in so many days, with an OCSP answer that is none, and a list of revoked
/// certificates of clients that ends in half as many.
struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    fn ending_in(days: u64) -> Self {
        let directory = std::env::temp_dir().join(format!("holdfast-metrics-{}-{days}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400)).into();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(directory.join("ocsp.der"), "none").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        fs::write(directory.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
        let list = CertificateRevocationListParams {
            this_update: SystemTime::now().into(),
            next_update: (SystemTime::now() + Duration::from_secs(days * 43_200)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(authority, key)).unwrap();
        fs::write(directory.join("crl.pem"), list.pem().unwrap()).unwrap();
        Self { directory }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A proxy with all that has metrics: two listeners, one of them with TLS, and media workers.
async fn complete(upstream: SocketAddr, certificate: &Certificate) -> Arc<Proxy> {
    let proxy = proxy_with(upstream, MediaMode::Anchor, |config| {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        config.net.listen.address =
            [false, true].map(|tls| ListenAddress { address: any, tls: Some(tls) }).to_vec();
        config.net.listen.tls_cert = Some(certificate.directory.join("cert.pem"));
        config.net.routes = vec![toml::from_str("name = 'no'\npath = '/no'\ndeny = 403").unwrap()];
        config.net.listen.tls_key = Some(certificate.directory.join("key.pem"));
        config.net.listen.tls_ocsp = Some(certificate.directory.join("ocsp.der"));
        config.net.listen.client_auth = ClientAuth::Optional;
        config.net.listen.client_ca = Some(certificate.directory.join("ca.pem"));
        config.net.listen.client_crl = Some(certificate.directory.join("crl.pem"));
    })
    .await;
    Arc::new(proxy)
}

async fn plain(upstream: SocketAddr) -> (Arc<Proxy>, SocketAddr) {
    let proxy = Arc::new(proxy_with(upstream, MediaMode::Direct, |_| {}).await);
    let address = admin_of(&proxy).await;
    (proxy, address)
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing; `scripts/install test` installs it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), said)
}

/// The table of `docs/metrics.md`, as a scrape has it.
fn table(scrape: &Scrape) -> String {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for (name, family) in scrape.families() {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels, help) = (family.kind, labels.join(", "), family.help);
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_is_what_the_documentation_says_and_promtool_has_no_complaint() {
    let server = Server::fake(json!({})).await;
    let certificate = Certificate::ending_in(20);
    let proxy = complete(server.address, &certificate).await;
    let scrape = Scrape::of(admin_of(&proxy).await).await;
    assert_eq!(promtool(&["check", "metrics"], &scrape.text), (true, String::new()));
    // It does complain where there is something to complain of.
    let (is_well, said) = promtool(&["check", "metrics"], "# TYPE x_total gauge\nx_total 1\n");
    assert!(!is_well && said.contains("x_total"), "{said}");
    let documented =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let table = table(&scrape);
    assert!(
        documented.contains(&format!("\n{table}\n")),
        "docs/metrics.md has another table than\n\n{table}"
    );
    for (name, family) in scrape.families() {
        assert!(name.starts_with("holdfast_"), "{name}");
        assert!(family.samples > 0, "{name} has no sample");
        assert!(family.samples <= SERIES_MAX, "{name} has {} samples", family.samples);
    }
    assert!(scrape.text.len() < SCRAPE_BYTES_MAX, "{} bytes", scrape.text.len());
    let file = format!("file=\"{}\"", certificate.directory.join("cert.pem").display());
    let ends = scrape.get(&format!("tls_certificate_expiry_timestamp_seconds{{{file}}}"));
    assert_eq!(scrape.get(&format!("tls_certificate_unusable{{{file}}}")), 0.0);
    assert_eq!(scrape.get(&format!("tls_ocsp_unusable{{{}}}", file.replace("cert.pem", "ocsp.der"))), 1.0);
    let list_ends =
        scrape.get(&format!("tls_crl_expiry_timestamp_seconds{{{}}}", file.replace("cert.pem", "crl.pem")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((ends - now - 20.0 * 86_400.0).abs() < 120.0, "it ends at {ends}, now is {now}");
    assert!((list_ends - now - 10.0 * 86_400.0).abs() < 120.0, "it ends at {list_ends}, now is {now}");
    let build = format!("build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(scrape.text.contains(&format!("holdfast_{build}")), "{}", scrape.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_sessions_are_counted_with_how_they_ended() {
    let server = Server::fake(json!({})).await;
    let certificate = Certificate::ending_in(300);
    let proxy = complete(server.address, &certificate).await;
    let admin = admin_of(&proxy).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    let scrape = scrape_until(admin, "the stream is live", |scrape| {
        scrape.sum("streams", &["kind=\"publish\"", "state=\"live\""]) == 1.0
    })
    .await;
    assert_eq!((scrape.get("sessions"), scrape.get("sessions_begun_total")), (1.0, 1.0));
    assert_eq!((scrape.sum("streams", &[]), scrape.get("sessions_uncounted")), (1.0, 0.0));
    assert_eq!(scrape.get("places_taken"), 1.0);
    assert_eq!(scrape.get("descriptors{kind=\"session\"}"), 2.0);
    let node = format!("node=\"{}\"", server.address);
    assert_eq!(scrape.sum("node_sessions", &[&node]), 1.0);
    assert_eq!(scrape.sum("node_state", &[&node, "state=\"up\""]), 1.0);
    assert_eq!(scrape.sum("node_state", &[&node]), 1.0, "one state at a time");
    assert_eq!(scrape.sum("dials_total", &[&node, "outcome=\"ok\""]), 1.0);
    assert_eq!(scrape.sum("dial_seconds_count", &[&node]), 1.0);
    assert_eq!(scrape.sum("node_transitions_total", &[&node]), 0.0);
    assert!(scrape.get("memory_limit_bytes") > scrape.get("memory_bytes"));
    assert!(scrape.get("kept_bytes") > 0.0, "a session keeps something");

    page.disconnect().await;
    raw(proxy.address(), "GET / HTTP/1.1\r\nHost: x").await;
    let tls = proxy.addresses()[1];
    raw(tls, "GET / HTTP/1.1\r\nHost: x").await;
    // A client sees the end of its connection a moment before it is counted.
    let scrape = scrape_until(admin, "all are gone", |scrape| {
        scrape.get("places_taken") == 0.0
            && scrape.sum("refusals_total", &[]) == 2.0
            && scrape.sum("streams", &[]) == 0.0
    })
    .await;
    assert_eq!(scrape.sum("sessions_ended_total", &[]), 1.0);
    assert_eq!(scrape.get("sessions_ended_total{reason=\"client_closed\"}"), 1.0);
    assert_eq!(scrape.get("refusals_total{reason=\"bad_request\"}"), 1.0);
    assert_eq!(scrape.get("refusals_total{reason=\"tls\"}"), 1.0);
    assert_eq!(scrape.get("tls_handshakes_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(scrape.get("connections_accepted_total"), 3.0);
    assert_eq!(scrape.get("sessions"), 0.0);
}

/// Says something that is no WebSocket handshake, and reads to the end.
async fn raw(address: SocketAddr, head: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_counted_from_its_beginning_to_its_end() {
    let mut server = Server::start(json!({})).await;
    let proxy = Arc::new(common::anchor(server.address).await);
    let admin = admin_of(&proxy).await;
    let pool = pool();
    let publisher = Page::establish(proxy.address()).await;
    let camera = publisher.start_media(&pool, "p1", "cam", ClientOptions::publish()).await;
    publisher.wait_status("p1", "PUBLISHING").await;
    let player = Page::establish(proxy.address()).await;
    let screen = player.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    player.wait_status("v1", "PLAYING").await;
    common::page::media_until(&screen, "a picture", |now| now.video.key_frames > 0).await;
    let node = format!("node=\"{}\"", server.address);

    server.kill().await;
    let during = scrape_until(admin, "both are in the outage", |scrape| {
        scrape.get("sessions_in_outage") == 2.0
            && scrape.sum("node_state", &[&node, "state=\"down\""]) == 1.0
            && scrape.sum("streams", &["state=\"held\""]) == 2.0
    })
    .await;
    assert_eq!(during.sum("outages_begun_total", &[&node]), 1.0);
    assert_eq!(during.sum("outages_running", &[&node]), 1.0);
    assert_eq!(during.sum("outages_ended_total", &[]), 0.0);
    assert_eq!(during.sum("upstream_lost_total", &[]), 2.0);
    assert_eq!(during.sum("node_transitions_total", &[&node, "to=\"down\""]), 1.0);
    server.start_again().await;

    let after =
        scrape_until(admin, "the outage is over", |scrape| scrape.sum("outages_ended_total", &[]) == 1.0)
            .await;
    assert_eq!(after.get("outages_ended_total{outcome=\"unnoticed\"}"), 1.0);
    assert_eq!(after.sum("outages_running", &[]), 0.0);
    assert_eq!(after.get("sessions_in_outage"), 0.0);
    assert_eq!(after.get("outage_sessions_total{outcome=\"restored\"}"), 2.0);
    assert_eq!(after.sum("outage_streams_total", &["outcome=\"restored\""]), 2.0);
    assert_eq!(after.sum("outage_streams_total", &[]), 2.0);
    assert_eq!(after.get("restore_seconds_count"), 2.0);
    assert_eq!(after.get("outage_seconds_count"), 1.0);
    assert!(after.sum("dials_total", &[&node, "outcome=\"unreachable\""]) > 0.0);
    // Whoever looks at the numbers of a stream looks every few seconds.
    let after = scrape_until(admin, "the media is counted", |scrape| {
        scrape.get("media_gap_seconds_count{kind=\"play\"}") == 1.0
            && scrape.get("media_codec_streams{codec=\"opus\"}") == 2.0
            && scrape.sum("media_round_trip_seconds_count", &[]) > 0.0
            && scrape.sum("media_loss_ratio_count", &[]) > 0.0
            && scrape.get("media_key_frame_requests_total") > 0.0
    })
    .await;
    assert!(after.get("media_gap_seconds_sum{kind=\"play\"}") > 0.0);
    assert_eq!(after.get("media_streams"), 2.0);
    assert!(after.get("media_key_frames_total") >= 2.0);
    assert!(after.get("media_forwarded_bytes_total") > 10.0 * after.get("media_packets_forwarded_total"));
    assert_eq!(after.get("media_workers"), after.get("media_workers_alive"));

    publisher.disconnect().await;
    player.disconnect().await;
    scrape_until(admin, "no stream is left", |scrape| {
        scrape.sum("media_codec_streams", &[]) == 0.0 && scrape.get("media_streams") == 0.0
    })
    .await;
    drop((camera, screen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_go_past_the_proxy_are_reported_and_count_as_that() {
    let mut server = Server::fake(json!({})).await;
    let (proxy, admin) = plain(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    server.kill().await;
    server.start_again().await;
    page.wait_status("p1", "FAILED").await;
    let scrape =
        scrape_until(admin, "the outage is over", |scrape| scrape.sum("outages_ended_total", &[]) == 1.0)
            .await;
    assert_eq!(scrape.get("outage_streams_total{kind=\"publish\",outcome=\"reported\"}"), 1.0);
    assert_eq!(scrape.get("outages_ended_total{outcome=\"hurt\"}"), 1.0);
    assert_eq!(scrape.get("restore_seconds_count"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_wait_for_a_server_are_held_and_refused_in_numbers() {
    let nobody = common::ports::free_port();
    let proxy = proxy_with(nobody, MediaMode::Direct, |config| {
        config.net.listen.connect_hold = Duration::from_secs(60);
        config.net.listen.connect_hold_sessions_max = 1;
    })
    .await;
    let (proxy, target) = (Arc::new(proxy), nobody);
    let admin = admin_of(&proxy).await;
    let address = proxy.address();
    let held = tokio::spawn(async move { Page::try_open(address, "/").await });
    let scrape = scrape_until(admin, "one is held", |scrape| scrape.get("handshakes_held") == 1.0).await;
    assert_eq!(scrape.get("handshakes_held_limit"), 1.0);
    let Err(refused) = Page::try_open(address, "/").await else { panic!("there is no server") };
    assert!(refused.contains("503"), "{refused}");
    let scrape = Scrape::of(admin).await;
    assert_eq!(scrape.get("refusals_total{reason=\"upstream\"}"), 1.0);
    assert_eq!(scrape.sum("node_state", &[&target.to_string(), "state=\"down\""]), 1.0);
    held.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_peer_decides_how_long_a_scrape_is_or_what_stands_in_it() {
    let server = Server::fake(json!({})).await;
    let (proxy, admin) = plain(server.address).await;
    let before = Scrape::of(admin).await;
    let mut pages = Vec::new();
    for index in 0..20 {
        let custom = json!({"token": "hunter2", "number": index});
        let key = format!("app-{index}-hunter2\"}} evil 1\n");
        let connection = json!({"appKey": key, "mediaProviders": ["WebRTC"], "custom": custom});
        let page = Page::establish_as(proxy.address(), connection).await;
        page.publish(&format!("p{index}"), &format!("rtsp://user:hunter2@cam-{index}/\"}}\nevil_total 1"));
        pages.push(page);
    }
    let refused = TcpStream::connect(proxy.address()).await.unwrap();
    drop(refused);
    let after = scrape_until(admin, "all have a stream", |scrape| scrape.sum("streams", &[]) == 20.0).await;
    assert_eq!(after.get("sessions"), 20.0);
    assert_eq!(before.series(), after.series());
    for secret in ["hunter2", "evil", "cam-", "app-"] {
        assert!(!after.text.contains(secret), "{secret} is in {}", after.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_at_once_under_load_are_all_answered() {
    let server = Server::fake(json!({})).await;
    let (proxy, admin) = plain(server.address).await;
    let mut clients = Clients::start(LoadSettings {
        scenario: Scenario::Publish,
        sessions: 100,
        hold: Duration::from_secs(60),
        ..LoadSettings::new(format!("ws://{}", proxy.address()).parse().unwrap())
    });
    clients.until("all streams", |now| now.running == 100).await;
    let begun = Instant::now();
    let scrapes: Vec<_> = (0..16).map(|_| tokio::spawn(async move { Scrape::of(admin).await })).collect();
    for scrape in scrapes {
        let scrape = scrape.await.unwrap();
        assert_eq!((scrape.get("sessions"), scrape.get("sessions_uncounted")), (100.0, 0.0));
        assert!(scrape.text.len() < SCRAPE_BYTES_MAX, "{} bytes", scrape.text.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "they took {:?}", begun.elapsed());
    clients.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_asked_as_the_rest_of_the_admin_port_is() {
    let door = Door::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = door.address().unwrap();
    let (started, starting) = watch::channel(None);
    tokio::spawn(admin::serve_from_start(vec![door], Setup::default(), starting));
    assert_eq!(exchange(address, "GET /metrics HTTP/1.0").await.0, 503, "it starts");
    let server = Server::fake(json!({})).await;
    started.send_replace(Some(Arc::new(common::direct(server.address).await)));
    let (status, head, body) = exchange(address, "HEAD /metrics HTTP/1.0").await;
    assert_eq!((status, body.as_str()), (200, ""), "{head}");
    for (asked, wanted) in [
        ("GET /metrics HTTP/1.1\r\nHost: localhost:8089\r\nConnection: close", 200),
        ("POST /metrics HTTP/1.0\r\nContent-Length: 0", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close", 403),
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: close",
            403,
        ),
    ] {
        assert_eq!(exchange(address, asked).await.0, wanted, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_told_of_while_it_runs_and_when_it_is_over() {
    let (first, second) = (Server::fake(json!({})).await, Server::fake(json!({})).await);
    let proxy = proxy_with(first.address, MediaMode::Direct, |config| {
        config.net.upstream.url.push(format!("ws://{}", second.address).parse().unwrap());
    })
    .await;
    let proxy = Arc::new(proxy);
    let admin = admin_of(&proxy).await;
    let page = Page::establish(proxy.address()).await;
    let node = proxy.nodes().into_iter().find(|node| node.sessions == 1).unwrap();
    let of = format!("node=\"{}\"", node.name);
    let before = Scrape::of(admin).await;
    assert_eq!((before.sum("drain_running", &[]), before.sum("drain_sessions", &[])), (0.0, 0.0));
    assert_eq!(before.sum("node_media_healthy", &[]), 2.0);
    assert_eq!(before.sum("node_weight_ratio", &[&of]), 1.0);

    proxy.drain(node.id, DrainOrder::default()).unwrap();
    let after = scrape_until(admin, "the session has moved", |scrape| {
        scrape.sum("drain_sessions", &[&of, "state=\"moved\""]) == 1.0
            && scrape.sum("drain_running", &[]) == 0.0
    })
    .await;
    assert_eq!(after.sum("drain_sessions", &[&of, "state=\"remaining\""]), 0.0);
    assert_eq!(after.sum("node_state", &[&of, "state=\"draining\""]), 1.0);
    assert_eq!(after.sum("node_transitions_total", &[&of, "to=\"draining\"", "reason=\"operator\""]), 1.0);
    assert_eq!(after.sum("node_sessions", &[&of]), 0.0);
    assert_eq!(after.sum("node_sessions", &[]), 1.0);
    assert_eq!(after.get("session_moves_total{outcome=\"done\"}"), 1.0);
    assert_eq!(after.get("session_move_seconds_count"), 1.0);
    page.works().await;
}
