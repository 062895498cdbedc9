//! `holdfast run` as a process: it says where it listens, ends on a signal, and tells why it does
//! not start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    io::{BufRead, BufReader, Lines},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
};

use net_support::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

struct Proxy {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Proxy {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json", "--upstream=ws://127.0.0.1:9", "--media-listen=127.0.0.1:0"])
            .arg("--admin=off")
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next log line with this message.
    fn line(&mut self, message: &str) -> Value {
        let found = self
            .lines
            .by_ref()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
            .find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("it ended without saying `{message}`"))
    }

    fn address(&mut self) -> SocketAddr {
        self.line("listening")["address"].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_listens_and_ends_with_0_on_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Proxy::start(&["--listen=127.0.0.1:0"]);
        let address = proxy.address();
        drop(TcpStream::connect(address).unwrap());
        proxy.signal(signal);
        assert_eq!(proxy.child.wait().unwrap().code(), Some(0), "{signal:?}");
        assert!(TcpStream::connect(address).is_err(), "{signal:?}: the port is still open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_with_the_code_of_the_signal() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut upstream = Upstream::start().await;
        let server = format!("--upstream=ws://{}", upstream.address);
        let mut proxy = Proxy::start(&["--listen=127.0.0.1:0", &server]);
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        next(&mut server).await;
        // Neither side answers the close frames, so that the first signal does not end it soon.
        proxy.signal(Signal::TERM);
        proxy.line("ending; a second signal ends at once");
        assert_eq!(proxy.child.try_wait().unwrap(), None);
        proxy.signal(signal);
        assert_eq!(proxy.child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn anchored_media_says_its_ports() {
    let mut proxy = Proxy::start(&["--listen=127.0.0.1:0"]);
    let line = proxy.line("media is anchored here");
    let addresses = line["addresses"].as_array().unwrap();
    assert!(!addresses.is_empty(), "{line}");
    assert!(addresses.iter().all(|address| address.as_str().unwrap().starts_with("127.0.0.1:")), "{line}");
}

#[test]
fn a_taken_port_is_told_and_exits_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let mut proxy = Proxy::start(&[&listen]);
    assert_eq!(proxy.child.wait().unwrap().code(), Some(69));
    let text: Vec<String> = proxy.lines.by_ref().map(Result::unwrap).collect();
    let text = text.join("\n");
    assert!(text.contains("Another process has this port"), "{text}");
}

#[test]
fn a_wrong_configuration_binds_nothing_and_exits_64() {
    let mut proxy = Proxy::start(&["--listen=127.0.0.1:0", "--tls-cert=no-key.pem"]);
    assert_eq!(proxy.child.wait().unwrap().code(), Some(64));
    let text: Vec<String> = proxy.lines.by_ref().map(Result::unwrap).collect();
    let text = text.join("\n");
    assert!(text.contains("--tls-cert: listen.tls_cert: needs its private key"), "{text}");
    assert!(text.contains("Nothing was started"), "{text}");
}
