//! `holdfast load` at small size against the bare simulator, against Holdfast and against nginx: what
//! works works without an error, an outage is survived behind Holdfast alone, and the summary says so.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use common::{
    nginx::{self, Nginx},
    ports::free_port,
    proxy_with,
    server::Server,
    wait_until,
};
use holdfast::{
    config::{KeepaliveSettings, MediaMode},
    net::Proxy,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

/// nginx with one upstream, and where it listens.
async fn nginx_before(upstream: SocketAddr) -> (Nginx, SocketAddr) {
    let address = free_port();
    let directory = Nginx::directory("nginx", address);
    let sections = format!(
        "http {{
           access_log off; {}
           server {{
             listen {address};
             location / {{
               proxy_pass http://{upstream};
               proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection \"upgrade\";
               proxy_read_timeout 1h;
             }}
           }}
         }}",
        nginx::temporary(&directory)
    );
    let mut nginx = Nginx::start(directory, "crit", &sections);
    wait_until("nginx listens", || nginx.listens(address)).await;
    (nginx, address)
}

/// Holdfast with the keepalive it has by default: the machine may be busy.
async fn holdfast(upstream: SocketAddr, media: MediaMode) -> Proxy {
    proxy_with(upstream, media, |config| {
        config.session.keepalive = KeepaliveSettings::default();
        config.net.upstream.restore_rate = 0;
    })
    .await
}

fn command(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["load", &format!("ws://{address}"), "--json", "--connect-timeout-ms", "60000"]);
    command.args(arguments);
    command
}

/// Runs `holdfast load` to its end, as it should end; its summary.
async fn load(address: SocketAddr, arguments: &[&str]) -> Value {
    load_with_code(address, arguments, 0).await.0
}

/// As [`load`], with this exit code; its summary and what it tells meanwhile.
async fn load_with_code(address: SocketAddr, arguments: &[&str], code: i32) -> (Value, String) {
    let mut command = command(address, arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains("started") && errors.contains("open"), "progress is told: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "one line of JSON: {text}");
    (serde_json::from_str(&text).unwrap(), errors)
}

/// What is true of every run in which nothing goes wrong.
fn assert_clean(summary: &Value, sessions: u64, who: &str) {
    for (key, wanted) in
        [("started", sessions), ("established", sessions), ("survived", sessions), ("lost", 0)]
    {
        assert_eq!(summary[key], wanted, "{who}, {key}: {summary:#}");
    }
    assert_eq!(summary["errors"], json!({}), "{who}: {summary:#}");
    assert_eq!(summary["connect"]["count"], sessions, "{who}: {summary:#}");
}

async fn echoes(address: SocketAddr, who: &str) {
    let arguments =
        ["--scenario", "echo", "--sessions", "20", "--rate", "200", "--in-flight", "2", "--hold", "3"];
    let summary = load(address, &arguments).await;
    assert_clean(&summary, 20, who);
    let answered = summary["answered"].as_u64().unwrap();
    assert!(answered >= 100, "{who}: {summary:#}");
    assert_eq!(summary["answered_failed"], 0, "{who}: {summary:#}");
    let times = &summary["answer"];
    assert_eq!(times["count"], answered, "{who}: {summary:#}");
    let at = |key: &str| times[key].as_f64().unwrap();
    assert!(at("p50_ms") > 0.0 && at("p50_ms") <= at("p99_ms") && at("p999_ms") <= at("max_ms"), "{times}");
}

async fn publishes(address: SocketAddr, who: &str) {
    let arguments = ["--scenario", "publish", "--sessions", "10", "--rate", "20", "--hold", "3"];
    let summary = load(address, &arguments).await;
    assert_clean(&summary, 10, who);
    assert!(summary["publishing"].as_u64().unwrap() > 10, "{who}: they publish again: {summary:#}");
    assert_eq!((&summary["refused"], &summary["reported"]), (&json!(0), &json!(0)), "{who}: {summary:#}");
    assert!(summary["publish"]["p50_ms"].as_f64().unwrap() > 0.0, "{who}: {summary:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_and_publish_have_no_errors_at_the_server_behind_holdfast_and_behind_nginx() {
    let server = Server::fake(json!({})).await;
    let proxy = holdfast(server.address, MediaMode::Direct).await;
    let (_nginx, before) = nginx_before(server.address).await;
    for (address, who) in
        [(server.address, "the bare server"), (proxy.address(), "Holdfast"), (before, "nginx")]
    {
        echoes(address, who).await;
        publishes(address, who).await;
    }
}

/// A simulated server as somebody would type it, for `--upstream-command`.
fn simulate(address: SocketAddr, media: &str) -> String {
    let control = free_port();
    format!("{PROGRAM} simulate --listen {address} --control {control} --set media={media} --log-level error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_survived_behind_holdfast() {
    let upstream = free_port();
    let proxy = holdfast(upstream, MediaMode::Direct).await;
    let (server, listens) = (simulate(upstream, "fake"), upstream.to_string());
    let storm =
        ["--scenario", "storm", "--sessions", "20", "--hold", "8", "--kill-after", "1", "--down", "1"];
    let controlled = ["--upstream-command", &server, "--upstream-listens", &listens];
    let summary = load(proxy.address(), &[&storm[..], &controlled].concat()).await;
    assert_clean(&summary, 20, "Holdfast");
    // Media that went past the proxy is gone: each stream is reported, and starts again.
    assert_eq!((&summary["reported"], &summary["back"]), (&json!(20), &json!(20)), "{summary:#}");
    assert_eq!(summary["running"], 20, "{summary:#}");
    let outage = &summary["upstream"];
    let away = outage["outages_ms"].as_array().unwrap();
    assert!(away.len() == 1 && away[0].as_u64().unwrap() >= 1_000, "{outage:#}");
    for kind in ["session_restored", "stream_restored"] {
        assert_eq!(outage[kind]["count"], 20, "{kind}: {summary:#}");
    }
    assert!(outage["session_restored"]["p50_ms"].as_f64().unwrap() > 0.0, "{outage:#}");
    // What the command started in its group is not waited for: the system ends it on its own time.
    wait_until("the server is gone with its load", || TcpStream::connect(upstream).is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_kills_the_sockets_behind_nginx_and_the_summary_says_so() {
    let upstream = free_port();
    let (_nginx, before) = nginx_before(upstream).await;
    let (server, listens) = (simulate(upstream, "fake"), upstream.to_string());
    let storm =
        ["--scenario", "storm", "--sessions", "20", "--hold", "2", "--kill-after", "1", "--down", "1"];
    let controlled = ["--upstream-command", &server, "--upstream-listens", &listens];
    let (summary, errors) = load_with_code(before, &[&storm[..], &controlled].concat(), 1).await;
    assert!(errors.contains("0 of 20 sessions survived"), "{errors}");
    assert_eq!((&summary["established"], &summary["survived"]), (&json!(20), &json!(0)), "{summary:#}");
    assert_eq!((&summary["lost"], &summary["running"]), (&json!(20), &json!(0)), "{summary:#}");
    let errors: u64 =
        summary["errors"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(errors, 20, "{summary:#}");
    assert_eq!(summary["upstream"]["session_restored"]["count"], 0, "{summary:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_survive_a_storm_with_real_media() {
    let server = Server::start(json!({"pings": {"interval_ms": 5_000}})).await;
    let proxy = holdfast(server.address, MediaMode::Anchor).await;
    let control = format!("http://{}", server.control());
    let summary = load(
        proxy.address(),
        &[
            "--scenario",
            "storm",
            "--media",
            "real",
            "--video-kbps",
            "200",
            "--sessions",
            "6",
            "--players",
            "2",
            "--kill-after",
            "1",
            "--down",
            "1",
            "--hold",
            "10",
            "--upstream-control",
            &control,
        ],
    )
    .await;
    assert_clean(&summary, 6, "Holdfast");
    assert_eq!((&summary["publishing"], &summary["playing"]), (&json!(2), &json!(4)), "{summary:#}");
    assert_eq!(
        (&summary["reported"], &summary["running"]),
        (&json!(0), &json!(6)),
        "nobody is told: {summary:#}"
    );
    let media = &summary["media"];
    assert_eq!((&media["players"], &media["players_moving"]), (&json!(4), &json!(4)), "{summary:#}");
    assert_eq!(media["publishers"], 2, "{summary:#}");
    for key in ["packets_sent", "packets_received", "frames_received", "bytes_received"] {
        assert!(media[key].as_u64().unwrap() > 100, "{key}: {summary:#}");
    }
    assert!(media["key_frames_received"].as_u64().unwrap() >= 8, "one before and one after: {summary:#}");
    assert!(media["gaps"].as_u64().unwrap() >= 4, "each picture stood: {summary:#}");
    assert!(media["gap"]["max_ms"].as_f64().unwrap() >= 900.0, "{summary:#}");
    assert_eq!(summary["upstream"]["session_restored"]["count"], 6, "{summary:#}");
    assert!(summary["upstream"]["picture_restored"]["count"].as_u64().unwrap() >= 4, "{summary:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_see_the_publishers_of_their_group_and_ctrl_c_ends_with_the_summary() {
    let server = Server::start(json!({})).await;
    let mut child = command(
        server.address,
        &[
            "--scenario",
            "publish-play",
            "--media",
            "real",
            "--video-kbps",
            "100",
            "--sessions",
            "4",
            "--hold",
            "3600",
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let output = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        while !line.contains("4 streams") || !line.contains("2 of 2 pictures move") {
            line.clear();
            assert!(progress.read_line(&mut line).unwrap() > 0, "it ended");
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_clean(&summary, 4, "the bare server");
    assert_eq!((&summary["publishing"], &summary["playing"]), (&json!(2), &json!(2)), "{summary:#}");
    assert_eq!((&summary["media"]["publishers"], &summary["media"]["players"]), (&json!(2), &json!(2)));
    assert_eq!(summary["media"]["first_picture"]["count"], 2, "{summary:#}");
}

#[test]
fn what_does_not_fit_together_is_told_before_anybody_connects() {
    for (arguments, word) in [
        (&["--media", "real"][..], "publish-play"),
        (&["--scenario", "publish-play", "--sessions", "2", "--players", "5"], "--players"),
        (&["--scenario", "storm", "--upstream-command", "true"], "--upstream-listens"),
        (&["--scenario", "publish", "--media", "real", "--sessions", "5000"], "--no-limit"),
    ] {
        let output = command(SocketAddr::from(([127, 0, 0, 1], 1)), arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_without_media_explains_what_an_anchoring_proxy_makes_of_it() {
    let server = Server::fake(json!({})).await;
    let proxy = holdfast(server.address, MediaMode::Anchor).await;
    let arguments = ["--scenario", "publish", "--sessions", "3", "--hold", "2"];
    let (summary, errors) = load_with_code(proxy.address(), &arguments, 0).await;
    for text in [&errors, summary["notes"][0].as_str().unwrap()] {
        assert!(text.contains("--media real") && text.contains("--media direct"), "{text}");
    }
    let direct = holdfast(server.address, MediaMode::Direct).await;
    let summary = load(direct.address(), &arguments).await;
    assert_eq!(summary["notes"], json!([]), "{summary:#}");
}

/// The commands of the storm in `--help`, put together from their lines.
fn storm_in_help() -> (String, String) {
    let output = Command::new(PROGRAM).args(["load", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap().replace("\\\n", " ");
    let line = |start: &str, has: &str| {
        let found = help.lines().find(|line| line.trim().starts_with(start) && line.contains(has));
        found.unwrap_or_else(|| panic!("no `{start}` with `{has}` in {help}")).trim().to_owned()
    };
    (line("holdfast run", "&"), line("holdfast load", "--upstream-command"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_in_the_help_works_as_printed() {
    let (run, load) = storm_in_help();
    // As printed but for what others may have here: the ports, and `holdfast` that is not installed.
    let (front, server, control) = (free_port(), free_port(), free_port());
    let here = |command: &str| {
        let command = command.replace("127.0.0.1:8080", &front.to_string());
        command.replace("127.0.0.1:18080", &server.to_string())
    };
    let bin = PathBuf::from(PROGRAM).parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |command: String| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("PATH", &path);
        shell
    };
    let run = here(run.trim_end_matches('&').trim());
    let mut proxy = shell(format!("exec {run} --admin off --log-level error")).spawn().unwrap();
    let load = here(&load).replace("--set media=fake", &format!("--set media=fake --control {control}"));
    let mut load = shell(format!("{load} --connect-timeout-ms 60000"));
    let output = tokio::task::spawn_blocking(move || load.output().unwrap()).await.unwrap();
    let _ = proxy.kill();
    let _ = proxy.wait();
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert!(text.contains("100 started, 100 established, 100 survived, 0 lost"), "{text}");
    assert!(text.contains("killed 1 times"), "{text}");
}
