//! `holdfast drain-self` and the signals, on a process: what an operator types, reads and waits for, what the log
//! tells, and what the process exits with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use net_support::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

struct Proxy {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    folder: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    fn start(name: &str, limits: &str, upstream: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (config, admin) = (folder.join("holdfast.toml"), free_address());
        let text = format!("[limits]\n{limits}\n[media]\nmode = \"direct\"\n");
        fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json", "--listen=127.0.0.1:0", "--config"])
            .arg(&config)
            .arg(format!("--upstream=ws://{upstream}"))
            .arg(format!("--admin={admin}"))
            .env("XDG_RUNTIME_DIR", &folder)
            .env_remove("HOLDFAST_ADMIN_TOKEN")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut proxy = Self { child, lines, folder, address: admin, admin };
        let line = proxy.line(|line| line["message"] == "listening");
        proxy.address = line["address"].as_str().unwrap().parse().unwrap();
        proxy
    }

    /// The next log line that is wanted.
    fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut lines =
            self.lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines.find(wanted).expect("the proxy ended")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// A command for it: what it exits with, and what it says on stdout and stderr.
    fn command(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.prepare(arguments);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(arguments).arg(format!("--admin={}", self.admin)).env_remove("HOLDFAST_ADMIN_TOKEN");
        command
    }

    async fn session(&self, upstream: &mut Upstream) -> (ClientSocket, UpstreamSocket) {
        let mut client = connect(self.address).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        assert_eq!(next_text(&mut server).await, HELLO);
        (client, server)
    }

    async fn ready(&self) -> bool {
        raw_exchange(self.admin, b"GET /readyz HTTP/1.0\r\n\r\n").await.contains(" 200 ")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_orders_it_takes_it_back_and_waits_for_it() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Proxy::start("drain-self", "shutdown_ms_max = 4000", upstream.address);
    let (mut client, mut server) = proxy.session(&mut upstream).await;
    let (code, said) = proxy.command(&["drain-self", "--cancel"]);
    assert!(code == 1 && said.contains("nothing is to be called off"), "{code} {said}");
    let (code, said) = proxy.command(&["drain-self", "--grace", "60s"]);
    assert!(code == 0 && said.contains("still taken for 60 s; 1 session"), "{code} {said}");
    assert!(!proxy.ready().await);
    let began = proxy.line(|line| line["event"] == "drain_self_began");
    assert_eq!(
        (&began["by"], &began["sessions"], &began["grace_ms"]),
        (&"socket".into(), &1.into(), &60_000.into())
    );
    let (_, status) = proxy.command(&["status"]);
    assert!(status.contains("ends    balancers are told"), "{status}");
    let (_, status) = proxy.command(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["leaving"]["stage"], "grace", "{status}");
    let (_, top) = proxy.command(&["top", "--once"]);
    assert!(top.contains("ENDS: grace for"), "{top}");
    let (code, said) = proxy.command(&["drain-self", "--cancel"]);
    assert!(code == 0 && said.contains("serves on"), "{code} {said}");
    assert!(proxy.ready().await);
    proxy.line(|line| line["event"] == "drain_self_called_off");
    // Now in earnest: it stays, and is over as soon as the last session has ended.
    let mut waiting = proxy.prepare(&["drain-self", "--stay-for", "1h", "--wait"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let staying = proxy.line(|line| line["event"] == "drain_self_progress");
    assert_eq!((&staying["stage"], &staying["sessions"]), (&"staying".into(), &1.into()), "{staying}");
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    tokio::spawn(async move { close_of(&mut server).await });
    client.close(None).await.unwrap();
    close_of(&mut client).await;
    let ended = proxy.line(|line| line["event"] == "drain_self_ended");
    assert_eq!((&ended["clean"], &ended["closed"]), (&true.into(), &0.into()), "{ended}");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
    let waited = waiting.wait_with_output().unwrap();
    assert!(waited.status.success(), "{waited:?}");
    let said = String::from_utf8(waited.stdout).unwrap();
    assert!(said.contains("has ended") && said.contains("ordered by socket"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_goes_by_the_settings_and_a_second_one_ends_it_at_once() {
    let mut upstream = Upstream::start().await;
    let limits = "ready_grace_ms = 1000\nshutdown_mode = \"stay\"\nstay_ms_max = 600000";
    let mut proxy = Proxy::start("drain-signal", limits, upstream.address);
    let (mut client, mut server) = proxy.session(&mut upstream).await;
    proxy.signal(Signal::TERM);
    proxy.line(|line| line["event"] == "drain_self_began" && line["by"] == "SIGTERM");
    assert!(!proxy.ready().await);
    let begin = Instant::now();
    // Taken while balancers may not know yet.
    let late = proxy.session(&mut upstream).await;
    assert!(begin.elapsed() < Duration::from_millis(900), "too slow a machine for this test");
    proxy.line(|line| line["event"] == "drain_self_progress" && line["stage"] == "staying");
    wait_until("the port is closed", || std::net::TcpStream::connect(proxy.address).is_err()).await;
    let (code, said) = proxy.command(&["drain-self", "--cancel"]);
    assert!(code == 1 && said.contains("takes no new sessions any more"), "{code} {said}");
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.child.wait().unwrap().code(), Some(143));
    drop(late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_hastens_what_an_operator_ordered() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Proxy::start("drain-both", "shutdown_ms_max = 2000", upstream.address);
    let (mut client, mut server) = proxy.session(&mut upstream).await;
    let (code, said) = proxy.command(&["drain-self", "--stay-for", "1h", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["sessions_at_first"], &said["by"]), (0, &1.into(), &"socket".into()), "{said}");
    proxy.line(|line| line["event"] == "drain_self_progress" && line["stage"] == "staying");
    proxy.signal(Signal::TERM);
    tokio::spawn(async move { close_of(&mut server).await });
    let close = close_of(&mut client).await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1012);
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}
