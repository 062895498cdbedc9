//! Under a service manager: what it is told, the sockets that it hands over, and the unit files, tried with
//! systemd's own tools and a receiver of notifications, because where tests run there is no systemd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use holdfast::{
    config::SessionSettings,
    media::{Fault, MediaHandle, MediaSettings, StreamKey},
    net::Proxy,
    session::SessionId,
};
use net_support::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd")
}

/// A directory of this test's own, short enough for the name of a socket.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is, or becomes, a proxy.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).env_remove("HOLDFAST_ADMIN_TOKEN").spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of its log that is wanted; those of others are passed over.
    fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let lines = self.lines.by_ref().map(Result::unwrap);
        let mut lines = lines.filter_map(|line| serde_json::from_str(&line).ok());
        lines.find(|line| wanted(line)).expect("it ended")
    }

    fn listening(&mut self) -> SocketAddr {
        let line = self.line(|line| line["message"] == "listening");
        line["address"].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holdfast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(["run", "--log-format=json"]);
    command
}

fn run(upstream: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = holdfast();
    command.arg(format!("--upstream=ws://{upstream}")).args(arguments);
    command
}

/// Whoever is notified.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
    heard: Vec<String>,
}

impl Manager {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let socket = UnixDatagram::bind(folder.0.join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder, heard: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("notify")
    }

    /// Waits for a line that begins like this; what came before it is kept.
    fn hears(&mut self, wanted: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|error| panic!("{wanted}: {error}; {:?}", self.heard));
            let text = std::str::from_utf8(&bytes[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
            if let Some(line) = text.lines().find(|line| line.starts_with(wanted)) {
                return line.to_owned();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_start_health_and_end() {
    let (mut manager, mut upstream) = (Manager::new("notify"), Upstream::start().await);
    let mut command =
        run(upstream.address, &["--listen=127.0.0.1:0", "--admin=off", "--media-listen=127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "600000");
    let mut proxy = Process::start(&mut command);
    let address = proxy.listening();
    manager.hears("READY=1");
    assert!(TcpStream::connect(address).is_ok(), "it said that it is ready");
    assert_eq!(manager.hears("STATUS="), "STATUS=0 sessions, 1 of 1 node up");
    let begin = Instant::now();
    for _ in 0..5 {
        manager.hears("WATCHDOG=1");
    }
    assert!(begin.elapsed() < Duration::from_millis(2_500), "{:?}", begin.elapsed());
    let mut client = connect(address).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    while manager.hears("STATUS=") != "STATUS=1 session, 1 of 1 node up" {}
    // However much happens, words come once in 5 s.
    let words = manager.heard.iter().filter(|line| line.starts_with("STATUS=")).count();
    assert!(words <= 4, "{:?}", manager.heard);
    assert!(!manager.heard.iter().any(|line| line == "STOPPING=1"));
    tokio::spawn(async move { close_of(&mut server).await });
    proxy.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    close_of(&mut client).await;
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_end_asks_for_time_and_one_that_may_be_called_off_is_none() {
    let (mut manager, mut upstream) = (Manager::new("extend"), Upstream::start().await);
    let (admin, folder) = (free_address(), Folder::new("extend-run"));
    let mut command =
        run(upstream.address, &["--listen=127.0.0.1:0", "--media=direct", &format!("--admin={admin}")]);
    command.env("NOTIFY_SOCKET", manager.path()).env("XDG_RUNTIME_DIR", &folder.0);
    let mut proxy = Process::start(&mut command);
    let mut client = connect(proxy.listening()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    manager.hears("READY=1");
    let order = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        let status =
            command.arg("drain-self").args(arguments).arg(format!("--admin={admin}")).status().unwrap();
        assert!(status.success());
    };
    order(&["--grace=600s"]);
    manager.hears("STATUS=balancers are told");
    assert!(!manager.heard.iter().any(|line| line == "STOPPING=1"), "{:?}", manager.heard);
    order(&["--cancel"]);
    while !manager.hears("STATUS=").contains("node up") {}
    order(&["--grace=0s", "--stay-for=1h"]);
    manager.hears("STOPPING=1");
    assert_eq!(manager.hears("EXTEND_TIMEOUT_USEC="), "EXTEND_TIMEOUT_USEC=30000000");
    manager.hears("STATUS=takes no new sessions; 1 session may stay");
    client.close(None).await.unwrap();
    tokio::spawn(async move { close_of(&mut server).await });
    close_of(&mut client).await;
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_runtime_that_hangs_shows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = runtime.block_on(async { start(settings(&[free_address()])).await });
    let patience = Duration::from_secs(2);
    assert!(proxy.faults(patience).is_empty());
    let (hangs, until) = std::sync::mpsc::sync_channel::<()>(1);
    runtime.spawn(async move {
        let _ = until.recv();
    });
    let begin = Instant::now();
    while proxy.faults(patience).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "nothing shows");
        std::thread::yield_now();
    }
    assert_eq!(proxy.faults(patience), ["runtime stalls"]);
    assert!(proxy.faults(Duration::from_secs(600)).is_empty(), "there is more patience");
    drop(hangs);
    while !proxy.faults(patience).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "it does not come back");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_worker_that_has_ended_shows() {
    let settings_ =
        MediaSettings { listen: "127.0.0.1:0".parse().unwrap(), workers: 1, ..MediaSettings::default() };
    let media = MediaHandle::start(settings_).unwrap();
    let proxy = Proxy::start_with(settings(&[free_address()]), SessionSettings::default(), Some(media))
        .await
        .unwrap();
    let patience = Duration::from_secs(10);
    assert!(proxy.faults(patience).is_empty());
    let key = StreamKey { session: SessionId(1), number: 1 };
    // Each pause before it starts again is longer than the last.
    for _ in 0..3 {
        proxy.media().unwrap().break_on_purpose(key, Fault::Worker);
        let begin = Instant::now();
        while proxy.faults(patience).is_empty() {
            assert!(begin.elapsed() < PATIENCE, "nothing shows");
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.faults(patience), ["a media worker has ended"]);
        wait_until("it works again", || proxy.faults(patience).is_empty()).await;
    }
}

fn activated(listen: &[String], names: Option<&str>, arguments: &[&str], upstream: SocketAddr) -> Process {
    let mut command = Command::new("systemd-socket-activate");
    command.args(listen.iter().map(|at| format!("--listen={at}")));
    command.args(names.map(|names| format!("--fdname={names}")));
    let server = format!("--upstream=ws://{upstream}");
    command.arg(env!("CARGO_BIN_EXE_holdfast")).args(["run", "--log-format=json", "--media=direct", &server]);
    command.args(arguments);
    let proxy = Process::start(&mut command);
    let first = listen[0].clone();
    let begin = Instant::now();
    while TcpStream::connect(&first).is_err() {
        assert!(begin.elapsed() < PATIENCE, "systemd-socket-activate does not listen");
        std::thread::yield_now();
    }
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_are_handed_over_are_taken_and_others_bound() {
    let mut upstream = Upstream::start().await;
    let (given, own) = (free_address(), free_address());
    let listen = [format!("--listen=127.0.0.1:{}", given.port()), format!("--listen={own}")];
    let arguments = ["--admin=off", &listen[0], &listen[1]];
    let mut proxy = activated(&[given.to_string()], None, &arguments, upstream.address);
    assert_eq!(proxy.line(|line| line["sockets"].is_u64())["sockets"], 1);
    assert_eq!([proxy.listening(), proxy.listening()], [given, own]);
    for address in [given, own] {
        let mut client = connect(address).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        assert_eq!(next_text(&mut server).await, HELLO);
    }
    proxy.end();
    assert!(TcpStream::connect(given).is_err(), "nobody else holds it");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_tell_what_a_socket_is_for_and_the_default_address_is_not_bound() {
    let mut upstream = Upstream::start().await;
    let folder = Folder::new("fdname");
    let (given, admin, socket) = (free_address(), free_address(), folder.0.join("changes.sock"));
    let listen = [given.to_string(), admin.to_string(), socket.display().to_string()];
    let mut proxy = activated(&listen, Some("ws:admin:admin"), &[], upstream.address);
    assert_eq!(proxy.line(|line| line["sockets"].is_u64())["sockets"], 3);
    assert_eq!(proxy.listening(), given);
    let mut client = connect(given).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let ask = |at: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        let output = command.args(words).arg(format!("--admin={at}")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let status: Value = serde_json::from_str(&ask(&admin.to_string(), &["status", "--json"])).unwrap();
    assert_eq!(status["listening"], serde_json::json!([given.to_string()]), "{status}");
    // The port names the socket, which lets changes in.
    let said = ask(&admin.to_string(), &["drain-self", "--stay-for=0s"]);
    assert!(said.contains("session"), "{said}");
    tokio::spawn(async move { close_of(&mut server).await });
    close_of(&mut client).await;
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
    assert!(socket.exists(), "the file is not ours to remove");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let script = format!(
        "LISTEN_FDS=1 LISTEN_PID=$$ exec {} run --upstream=ws://127.0.0.1:9 3</dev/null",
        env!("CARGO_BIN_EXE_holdfast")
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("descriptor 3") && said.contains("Accept=no"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_takes_over_the_port_while_the_old_one_drains_itself() {
    let (mut upstream, folder) = (Upstream::start().await, Folder::new("rolling"));
    let (address, admin) = (free_address(), free_address());
    let config = folder.0.join("holdfast.toml");
    let text =
        format!("[listen]\naddress = [\"{address}\"]\nreuse_port = true\n[media]\nmode = \"direct\"\n");
    fs::write(&config, text).unwrap();
    let server = upstream.address;
    let begin = |admin: &str| {
        let mut command = run(server, &["--config", config.to_str().unwrap(), admin]);
        let mut proxy = Process::start(command.env("XDG_RUNTIME_DIR", &folder.0));
        assert_eq!(proxy.listening(), address);
        proxy
    };
    let mut old = begin(&format!("--admin={admin}"));
    let mut client = connect(address).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let new = begin("--admin=off");
    // Who comes in whatever moment of it is taken by one of them.
    let coming = tokio::spawn(async move {
        let mut sessions = Vec::new();
        for _ in 0..200 {
            let mut late = connect(address).await;
            let (mut server, _) = upstream.accept().await;
            send(&mut late, HELLO).await;
            next(&mut server).await;
            sessions.push((late, server));
        }
        sessions
    });
    let ordered = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["drain-self", "--grace=300ms", "--stay-for=1h", &format!("--admin={admin}")])
        .output()
        .unwrap();
    assert!(ordered.status.success(), "{ordered:?}");
    old.line(|line| line["event"] == "drain_self_progress" && line["stage"] == "staying");
    drop(coming.await.unwrap());
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO, "the old session goes on");
    tokio::spawn(async move { close_of(&mut server).await });
    client.close(None).await.unwrap();
    close_of(&mut client).await;
    assert_eq!(old.child.wait().unwrap().code(), Some(0));
    new.end();
    // Without the setting a second process is told what is wrong.
    let taken = TcpListener::bind(address).unwrap();
    let output =
        run(address, &["--media=direct", "--admin=off", &format!("--listen={address}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    drop(taken);
}

/// A unit with the program that is tested in place of the installed one.
fn with_program(name: &str, folder: &Folder) -> PathBuf {
    let text = fs::read_to_string(units().join(name)).unwrap();
    let path = folder.0.join(name);
    fs::write(&path, text.replace("/usr/bin/holdfast", env!("CARGO_BIN_EXE_holdfast"))).unwrap();
    path
}

#[test]
fn systemd_accepts_the_units() {
    let folder = Folder::new("units");
    for name in ["holdfast.service", "holdfast@.service"] {
        with_program(name, &folder);
    }
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no").arg(folder.0.join("holdfast.service"));
    fs::copy(units().join("holdfast.socket"), folder.0.join("holdfast.socket")).unwrap();
    verify.arg(folder.0.join("holdfast.socket")).arg(folder.0.join("holdfast@blue.service"));
    fs::copy(folder.0.join("holdfast@.service"), folder.0.join("holdfast@blue.service")).unwrap();
    let output = verify.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    for name in ["holdfast.service", "holdfast.socket", "holdfast@"] {
        assert!(!said.contains(name), "{said}");
    }
}

#[test]
fn the_units_give_away_little() {
    for name in ["holdfast.service", "holdfast@.service"] {
        // Ten times the exposure that is too much.
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(units().join(name))
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{name}: {said}");
        let line = said.lines().find(|line| line.contains("Overall exposure level")).unwrap();
        let level = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(level.parse::<f64>().unwrap() <= 2.0, "{line}");
        let readme = fs::read_to_string(units().join("README.md")).unwrap();
        assert!(readme.contains(&format!("exposure level: {level}")), "{line} is not what README.md says");
    }
}

#[test]
fn the_unit_of_a_second_process_is_that_of_the_first() {
    let first = fs::read_to_string(units().join("holdfast.service")).unwrap();
    let second = fs::read_to_string(units().join("holdfast@.service")).unwrap();
    let expected = first
        .replace("Description=Holdfast,", "Description=Holdfast %i,")
        .replace("/etc/holdfast/holdfast.toml", "/etc/holdfast/%i.toml");
    assert_eq!(second.split_once("[Unit]").unwrap().1, expected.split_once("[Unit]").unwrap().1);
    assert_ne!(first, expected);
}
