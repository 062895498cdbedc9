//! `holdfast status` asks a running proxy what it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use holdfast::{
    admin,
    config::{Config, MediaMode, Overrides},
    load::{LoadSettings, Scenario},
    net::Proxy,
    simulator::{Simulator, SimulatorSettings},
};
use net_support::{clients::Clients, running::Running};
use serde_json::Value;
use tokio::{net::TcpListener, task::spawn_blocking};

fn status(arguments: Vec<String>) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast")).arg("status").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_streams_are_shown() {
    let simulator = Simulator::start(SimulatorSettings::default()).await.unwrap();
    let flags = Overrides {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        upstream: vec![format!("ws://{}", simulator.address()).parse().unwrap()],
        media: Some(MediaMode::Direct),
        ..Overrides::default()
    };
    let proxy = Arc::new(Proxy::launch(Config::load(None, &flags).unwrap()).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(admin::serve(listener, Arc::clone(&proxy)));

    let mut clients = Clients::start(LoadSettings {
        scenario: Scenario::Publish,
        sessions: 3,
        hold: Duration::from_secs(60),
        ..LoadSettings::new(format!("ws://{}", proxy.address()).parse().unwrap())
    });
    clients.until("all streams", |now| now.running == 3).await;

    let admin = format!("--admin={address}");
    let asked = admin.clone();
    let (code, out, err) = spawn_blocking(move || status(vec![asked, "--json".to_owned()])).await.unwrap();
    assert_eq!(code, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["sessions"], 3, "{shown}");
    assert_eq!(shown["outages"], 0, "{shown}");
    assert_eq!(shown["streams"], 3, "{shown}");
    // The client's socket and the server's of each.
    assert_eq!(shown["descriptors"]["sessions"], 6, "{shown}");
    assert!(shown["descriptors"]["capacity"].as_u64() > Some(6), "{shown}");
    assert_eq!(shown["memory"]["is_short"], false, "{shown}");
    assert!(shown["memory"]["bytes_max"].as_u64() > shown["memory"]["bytes"].as_u64(), "{shown}");
    for session in shown["shown"].as_array().unwrap() {
        assert_eq!(session["state"], "up", "{session}");
        assert_eq!(session["streams"][0]["state"], "live", "{session}");
    }
    for (wanted, described) in [("0", 0), ("2", 2), ("4000000000", 3)] {
        let question = format!("GET /status?sessions={wanted} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = net_support::raw_exchange(address, question.as_bytes()).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let shown: Value = serde_json::from_str(body).unwrap();
        assert_eq!(shown["shown"].as_array().unwrap().len(), described, "{shown}");
        assert_eq!((&shown["sessions"], &shown["streams"]), (&3.into(), &3.into()), "{shown}");
    }
    let question = b"GET /status?sessions=few HTTP/1.0\r\nHost: localhost\r\n\r\n";
    assert!(net_support::raw_exchange(address, question).await.starts_with("HTTP/1.0 400"));
    let (code, out, err) = spawn_blocking(move || status(vec![admin])).await.unwrap();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("3 sessions, 0 in an outage · 3 streams"), "{out}");
    assert!(out.contains("publish load-"), "{out}");
    assert!(out.contains("room    6 of "), "{out}");

    clients.end().await;
    server.abort();
    assert!(proxy.shutdown().await);
    simulator.shutdown().await;
}

#[test]
fn a_proxy_that_does_not_run_is_told() {
    let (code, _, err) = status(vec![format!("--admin={}", net_support::free_address())]);
    assert_eq!(code, 69);
    assert!(err.contains("Is holdfast running"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_are_counted_and_those_shown_keep_their_order() {
    let mut upstream = net_support::Upstream::start().await;
    let proxy = net_support::start(net_support::settings(&[upstream.address])).await;
    let mut pairs = Vec::new();
    for index in 0..30 {
        pairs.push(net_support::established(&proxy, &mut upstream, &format!("t{index}")).await);
    }
    let ids = |shown: &[holdfast::session::SessionSnapshot]| {
        shown.iter().map(|session| session.id.clone()).collect::<Vec<_>>()
    };
    let first = proxy.describe(10).await;
    assert_eq!(ids(&first), (1..=10).map(|n| format!("s{n}")).collect::<Vec<_>>());
    let _ = upstream.stop().await;
    // The last twenty lose their server: they come first, the others behind.
    let clients: Vec<_> = pairs.drain(10..).map(|(client, server)| (client, drop(server)).0).collect();
    net_support::wait_until("all outages are counted", || proxy.facts().outages == 20).await;
    let shown = proxy.describe(10).await;
    assert_eq!(ids(&shown), (11..=20).map(|n| format!("s{n}")).collect::<Vec<_>>());
    assert_eq!(proxy.facts().outages, 20, "of all, not of those shown");
    for _ in 0..5 {
        assert_eq!(ids(&proxy.describe(10).await), ids(&shown));
    }
    drop(clients);
    net_support::wait_until("they are gone", || proxy.facts().outages == 0).await;
}

#[test]
fn watching_survives_a_restart_of_the_proxy() {
    let (listen, admin) = (net_support::free_address(), net_support::free_address());
    let proxy = Running::start(listen, admin);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["status", "--watch", &format!("--admin={admin}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut screens = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut see = |what: &str| assert!(screens.any(|line| line.contains(what)), "it ended without `{what}`");
    see("0 sessions");
    drop(proxy);
    see("asked again");
    let proxy = Running::start(listen, admin);
    see("0 sessions");
    drop(proxy);
    watch.kill().unwrap();
    watch.wait().unwrap();
}
