//! The dashboard and the alerts of `packaging/monitoring/` on a real Prometheus that scraped a proxy through an
//! outage: every expression is one, and has something to show.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{
    PATIENCE, let_pass,
    page::{Page, media_until},
    pool,
    ports::free_port,
    proxy_with,
    scrape::{admin_of, exchange, scrape_until},
    server::Server,
};
use holdfast::{
    config::{ListenAddress, MediaMode},
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats, WebRtcClient},
    net::Proxy,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Expressions that have nothing to show as long as nothing of the kind happens: quantiles of nothing.
const EMPTY_WHEN_NOTHING_MOVES: [&str; 1] = ["holdfast_session_move_seconds_bucket"];

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring").join(file)
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("dashboard-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A Prometheus that scrapes one proxy, four times a second.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    async fn start(directory: &Directory, target: SocketAddr) -> Self {
        let address = free_port();
        let config = directory.0.join("prometheus.yml");
        let rules = monitoring("alerts.yml");
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  evaluation_interval: 500ms\n\
                 rule_files: ['{}']\n\
                 scrape_configs:\n  - job_name: holdfast\n    static_configs:\n      - targets: ['{target}']\n",
                rules.display()
            ),
        )
        .unwrap();
        let log = File::create(directory.0.join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.0.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is missing; `scripts/install test` installs it");
        let mut prometheus = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while !prometheus.is_ready().await {
            let log = || fs::read_to_string(directory.0.join("prometheus.log")).unwrap_or_default();
            assert_eq!(prometheus.child.try_wait().unwrap(), None, "it ended: {}", log());
            assert!(Instant::now() < deadline, "it does not get ready: {}", log());
            let_pass(Duration::from_millis(50)).await;
        }
        prometheus
    }

    async fn is_ready(&self) -> bool {
        TcpStream::connect(self.address).await.is_ok()
            && exchange(self.address, "GET /-/ready HTTP/1.0").await.0 == 200
    }

    async fn ask(&self, path: &str) -> Value {
        let (status, _, body) = exchange(self.address, &format!("GET {path} HTTP/1.0")).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer
    }

    /// All values that an expression had since then.
    async fn values(&self, expression: &str, since: SystemTime) -> Vec<f64> {
        let at = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step=0.5",
            escaped(expression),
            at(since),
            at(SystemTime::now())
        );
        let answer = self.ask(&path).await;
        let series = answer["data"]["result"].as_array().unwrap();
        let samples = series.iter().flat_map(|series| series["values"].as_array().unwrap());
        samples.map(|sample| sample[1].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An expression as part of a query (RFC 3986 section 2.1).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// The expressions of the dashboard with where they stand, as Grafana would ask them.
fn expressions() -> Vec<(String, String)> {
    let text = fs::read_to_string(monitoring("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    let panels = dashboard["panels"].as_array().unwrap();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (&panel["title"], &target["expr"]))
    });
    for (title, expression) in targets.chain(annotations.iter().map(|one| (&one["name"], &one["expr"]))) {
        let expression = expression.as_str().unwrap();
        let asked = expression.replace("$instance", ".*").replace("$__rate_interval", "2s");
        assert!(!asked.contains('$'), "a variable that this test does not know: {asked}");
        found.push((title.as_str().unwrap().to_owned(), asked));
    }
    found
}

/// A proxy with TLS and media.
async fn proxy(directory: &Directory, upstream: SocketAddr) -> Arc<Proxy> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (cert_file, key_file) = (directory.0.join("cert.pem"), directory.0.join("key.pem"));
    fs::write(&cert_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let proxy = proxy_with(upstream, MediaMode::Anchor, |config| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        config.net.listen.address =
            [false, true].map(|tls| ListenAddress { address, tls: Some(tls) }).to_vec();
        config.net.listen.tls_cert = Some(cert_file);
        config.net.listen.tls_key = Some(key_file);
    });
    Arc::new(proxy.await)
}

/// A publisher and a player with a picture.
async fn cast(address: SocketAddr, pool: &ClientPool) -> (Page, Page, Arc<WebRtcClient>) {
    let publisher = Page::establish(address).await;
    let camera = publisher.start_media(pool, "p1", "cam", ClientOptions::publish()).await;
    publisher.wait_status("p1", "PUBLISHING").await;
    let player = Page::establish(address).await;
    let screen = player.start_media(pool, "v1", "cam", ClientOptions::play()).await;
    player.wait_status("v1", "PLAYING").await;
    drop(camera);
    a_picture_comes(&screen, &ClientStats::default()).await;
    (publisher, player, screen)
}

async fn a_picture_comes(screen: &WebRtcClient, before: &ClientStats) {
    media_until(screen, "a picture", |now| now.video.key_frames > before.video.key_frames).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_has_something_to_show_after_an_outage() {
    let directory = Directory::new();
    let mut server = Server::start(json!({})).await;
    let proxy = proxy(&directory, server.address).await;
    let admin = admin_of(&proxy).await;
    let (pool, begun) = (pool(), SystemTime::now());
    let prometheus = Prometheus::start(&directory, admin).await;
    let (publisher, player, screen) = cast(proxy.address(), &pool).await;
    let before = screen.stats();
    server.kill().await;
    scrape_until(admin, "they are in the outage", |scrape| scrape.get("sessions_in_outage") == 2.0).await;
    // Seen by Prometheus as well, which comes when it comes.
    let deadline = Instant::now() + PATIENCE;
    while !prometheus.values("holdfast_sessions_in_outage", begun).await.contains(&2.0) {
        assert!(Instant::now() < deadline, "Prometheus sees no outage");
    }
    server.start_again().await;
    a_picture_comes(&screen, &before).await;
    scrape_until(admin, "all of it is counted", |scrape| {
        scrape.sum("outages_ended_total", &[]) == 1.0
            && scrape.get("media_gap_seconds_count{kind=\"play\"}") == 1.0
            && scrape.sum("media_round_trip_seconds_count", &[]) > 0.0
            && scrape.sum("media_loss_ratio_count", &[]) > 0.0
    })
    .await;

    // The last that is counted is on its way through two more scrapes.
    let mut silent: Vec<(String, String)> = expressions();
    assert!(silent.len() > 50, "the expressions were not found");
    let deadline = Instant::now() + PATIENCE;
    while !silent.is_empty() {
        let mut still = Vec::new();
        for (title, expression) in silent {
            let values = prometheus.values(&expression, begun).await;
            let may_be_empty = EMPTY_WHEN_NOTHING_MOVES.iter().any(|one| expression.contains(one));
            let has_data = values.iter().any(|value| !value.is_nan());
            assert!(!may_be_empty || !has_data, "{title} has something to show: {expression}");
            if !has_data && !may_be_empty {
                still.push((title, expression));
            }
        }
        silent = still;
        assert!(Instant::now() < deadline, "nothing to show: {silent:#?}");
    }
    let gaps =
        "histogram_quantile(0.99, sum by (le) (rate(holdfast_media_gap_seconds_bucket{kind=\"play\"}[2s])))";
    let gaps = prometheus.values(gaps, begun).await;
    assert!(gaps.iter().any(|seconds| *seconds > 0.0), "viewers saw the picture stand: {gaps:?}");
    alerts_are_well(&prometheus).await;
    drop((publisher, player));
}

/// All alerts are evaluated without an error.
async fn alerts_are_well(prometheus: &Prometheus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = prometheus.ask("/api/v1/rules").await;
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.len() > 20, "{answer:#}");
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{answer:#}");
        if rules.iter().all(|rule| rule["health"] == "ok") {
            return;
        }
        assert!(Instant::now() < deadline, "in vain: all are evaluated: {answer:#}");
        let_pass(Duration::from_millis(100)).await;
    }
}
