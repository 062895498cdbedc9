//! The admin port: for this machine alone, open to nobody by being kept busy, and honest about the proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use holdfast::{
    admin::{self, Door, Setup},
    config::AdminSettings,
    net::Proxy,
};
use net_support::*;
use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::Instant};

struct Desk {
    address: SocketAddr,
    proxy: Option<Arc<Proxy>>,
    started: watch::Sender<Option<Arc<Proxy>>>,
}

impl Desk {
    async fn open(change: impl FnOnce(&mut AdminSettings)) -> Self {
        let door = Door::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = door.address().unwrap();
        let mut settings = AdminSettings::default();
        change(&mut settings);
        let (started, starting) = watch::channel(None);
        let setup = Setup { settings, ..Setup::default() };
        tokio::spawn(admin::serve_from_start(vec![door], setup, starting));
        Self { address, proxy: None, started }
    }

    async fn start(&mut self) {
        let proxy = Arc::new(start(settings(&[free_address()])).await);
        self.started.send_replace(Some(Arc::clone(&proxy)));
        self.proxy = Some(proxy);
    }

    async fn ask(&self, head: &str) -> (u16, String) {
        let answer = raw_exchange(self.address, format!("{head}\r\n\r\n").as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (status.parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

#[tokio::test]
async fn it_tells_of_a_proxy_that_starts_runs_and_drains() {
    let mut desk = Desk::open(|_| {}).await;
    let (status, body) = desk.ask("GET /readyz HTTP/1.0").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("starting"), "{body}");
    assert_eq!(desk.ask("GET /healthz HTTP/1.0").await.0, 200);
    assert_eq!(desk.ask("GET /status HTTP/1.0").await.0, 503);
    desk.start().await;
    for path in ["/healthz", "/readyz", "/health", "/status"] {
        let (status, body) = desk.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost:8089")).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["nodes"].is_array(), "{path}: {body}");
        assert_eq!(desk.ask(&format!("HEAD {path} HTTP/1.0")).await, (200, String::new()), "{path}");
        assert_eq!(desk.ask(&format!("POST {path} HTTP/1.0\r\nContent-Length: 0")).await.0, 405, "{path}");
    }
    assert_eq!(desk.ask("GET /nothing HTTP/1.0").await.0, 404);
    desk.proxy.as_ref().unwrap().shutdown().await;
    let (status, body) = desk.ask("GET /readyz HTTP/1.0").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("draining"), "{body}");
    assert_eq!(desk.ask("GET /healthz HTTP/1.0").await.0, 200);
}

#[tokio::test]
async fn pages_of_other_sites_are_turned_away() {
    let mut desk = Desk::open(|settings| settings.hosts = vec!["admin.internal".to_owned()]).await;
    desk.start().await;
    for path in ["/status", "/metrics", "/healthz", "/health", "/nothing"] {
        for strange in [
            "Host: evil.example:8089",
            "Host: 127.0.0.1\r\nOrigin: http://evil.example",
            "Host: localhost\r\nOrigin: null",
        ] {
            assert_eq!(
                desk.ask(&format!("GET {path} HTTP/1.1\r\n{strange}")).await.0,
                403,
                "{path} {strange}"
            );
        }
    }
    for own in ["127.0.0.1:8089", "[::1]", "localhost", "admin.internal"] {
        assert_eq!(
            desk.ask(&format!("GET /status HTTP/1.1\r\nHost: {own}\r\nConnection: close")).await.0,
            200,
            "{own}"
        );
    }
}

#[tokio::test]
async fn idle_connections_keep_nobody_out_and_end() {
    let mut desk = Desk::open(|settings| {
        settings.connections_max = 8;
        settings.request_timeout = Duration::from_secs(5);
    })
    .await;
    desk.start().await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(desk.address).await.unwrap());
    }
    let begun = Instant::now();
    assert_eq!(desk.ask("GET /health HTTP/1.0").await.0, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for the idle ones: {:?}", begun.elapsed());
    for mut stream in idle {
        // Cut off or timed out: an end, or the 408 before it.
        let mut rest = Vec::new();
        let _ = in_time("the end of an idle connection", stream.read_to_end(&mut rest)).await;
    }
}

fn run(arguments: &[&str]) -> std::process::Child {
    let (listen, taken) = ("--listen=127.0.0.1:0", "--upstream=ws://127.0.0.1:9");
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(["run", taken, listen, "--media=direct"]).args(arguments).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_taken_port_is_an_error_unless_the_settings_say_otherwise() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("--admin={}", taken.local_addr().unwrap());
    let output = run(&[&admin]).wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(
        errors.contains("--admin") && errors.contains(&taken.local_addr().unwrap().to_string()),
        "{errors}"
    );

    let config = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("admin-optional.toml");
    std::fs::write(&config, "[admin]\nrequired = false\n").unwrap();
    let mut child = run(&[&admin, "--config", config.to_str().unwrap()]);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let mut seen = Vec::new();
    for line in lines {
        seen.push(line.unwrap());
        if seen.last().unwrap().contains("listening") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.iter().any(|line| line.contains("WARN") && line.contains("no admin port")), "{seen:#?}");
    assert!(seen.last().unwrap().contains("listening"), "{seen:#?}");
}

#[tokio::test]
async fn the_simulators_control_port_turns_pages_of_other_sites_away_as_well() {
    use holdfast::simulator::{Simulator, SimulatorSettings};
    let settings =
        SimulatorSettings { control: Some("127.0.0.1:0".parse().unwrap()), ..SimulatorSettings::default() };
    let simulator = Simulator::start(settings).await.unwrap();
    let control = simulator.control_address().unwrap();
    let post = async |headers: &str| {
        let body = r#"{"fault":"reset_counters"}"#;
        let head = format!(
            "POST /fault HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n{headers}",
            body.len()
        );
        let answer = raw_exchange(control, format!("{head}\r\n\r\n{body}").as_bytes()).await;
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(post(&format!("Host: {control}")).await, 200);
    assert_eq!(post("Host: localhost\r\nOrigin: http://localhost:3000").await, 200);
    assert_eq!(post("Host: evil.example").await, 403);
    assert_eq!(post("Host: localhost\r\nOrigin: https://evil.example").await, 403);
    assert_eq!(post("Host: localhost\r\nOrigin: null").await, 403);
    simulator.shutdown().await;
}
