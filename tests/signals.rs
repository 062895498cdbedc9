//! Which signals end a proxy: TERM, INT and QUIT do, with 0; no other that can be caught does, and a client
//! goes on through all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    io::{BufRead, BufReader, Lines},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
};

use net_support::*;
use serde_json::Value;

struct Proxy {
    child: Child,
    /// None: nobody reads it any more.
    lines: Option<Lines<BufReader<ChildStderr>>>,
    address: SocketAddr,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json", "--listen=127.0.0.1:0", "--media=direct", "--admin=off"])
            .arg(format!("--upstream=ws://{upstream}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut proxy = Self { child, lines: Some(lines), address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let line = proxy.line(|line| line["message"] == "listening");
        proxy.address = line["address"].as_str().unwrap().parse().unwrap();
        proxy
    }

    /// The next log line that is wanted.
    fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let lines =
            self.lines.as_mut().unwrap().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut lines = lines;
        lines.find(wanted).expect("the proxy ended")
    }

    fn signal(&self, signal: i32) {
        kill(signal, self.child.id());
    }
}

/// By the shell: it sends every number, realtime signals as well.
fn kill(signal: i32, process: u32) {
    let command = format!("kill -{signal} {process}");
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything whose default is to end the process, but for KILL, the orders to end, the faults (SEGV, BUS,
/// FPE, ILL, SYS) and the two that belong to the C library.
fn harmless() -> Vec<i32> {
    let named = [1, 5, 6, 10, 12, 14, 16, 24, 25, 26, 27, 29, 30];
    named.into_iter().chain(34..=64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_signal_ends_it_and_a_client_goes_on() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Proxy::start(upstream.address);
    let mut client = connect(proxy.address).await;
    let (mut server, _) = upstream.accept().await;
    for signal in harmless() {
        proxy.signal(signal);
        let event = if signal == 1 { "reloaded" } else { "signal_ignored" };
        let line = proxy.line(|line| line["event"] == event);
        if signal == 1 {
            assert_eq!(
                (&line["trigger"], &line["summary"]),
                (&"signal".into(), &"nothing changed".into()),
                "{line}"
            );
        }
        assert_eq!(proxy.child.try_wait().unwrap(), None, "signal {signal} ended it");
    }
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
}

#[tokio::test(flavor = "multi_thread")]
async fn term_int_and_quit_end_it_in_good_order() {
    for (signal, name) in [(15, "SIGTERM"), (2, "SIGINT"), (3, "SIGQUIT")] {
        let mut upstream = Upstream::start().await;
        let mut proxy = Proxy::start(upstream.address);
        let mut client = connect(proxy.address).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        assert_eq!(next_text(&mut server).await, HELLO);
        proxy.signal(signal);
        proxy.line(|line| line["signal"] == name);
        let closed = tokio::spawn(async move { close_of(&mut server).await });
        let close = close_of(&mut client).await.expect("a close frame");
        assert_eq!(u16::from(close.code), 1012, "{name}");
        closed.await.unwrap();
        assert_eq!(proxy.child.wait().unwrap().code(), Some(0), "{name}");
    }
}

/// Calls of the system to write that a process has made.
fn writes(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = io.lines().find(|line| line.starts_with("syscw:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_any_more_keeps_it_neither_busy_nor_from_its_work() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Proxy::start(upstream.address);
    let mut client = connect(proxy.address).await;
    let (mut server, _) = upstream.accept().await;
    let process = proxy.child.id();
    proxy.lines = None;
    // Each is told in a line, which raises SIGPIPE (13) now; so does somebody from outside.
    for signal in [13, 1, 10, 13] {
        kill(signal, process);
    }
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    let before = writes(process);
    let_pass(std::time::Duration::from_secs(1)).await;
    let busy = writes(process) - before;
    assert_eq!(proxy.child.try_wait().unwrap(), None);
    assert!(busy < 50, "{busy} writes in a second in which nothing happened");
}
