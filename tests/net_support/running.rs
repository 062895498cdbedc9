//! The program itself as a proxy, for commands that watch one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

/// A proxy of its own process, which ends with the test.
pub struct Running(pub Child);

impl Running {
    /// Nobody listens where its upstream is.
    pub fn start(listen: SocketAddr, admin: SocketAddr) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--media=direct", "--upstream=lonely=ws://127.0.0.1:9"])
            .args([format!("--listen={listen}"), format!("--admin={admin}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("listening")), "it starts");
        thread::spawn(move || lines.for_each(drop));
        Self(child)
    }

    /// With these settings, which are put into a file; its stderr is a pipe that is the test's to read.
    pub async fn with_settings(file: &Path, settings: &str, listen: SocketAddr) -> Self {
        fs::write(file, settings).unwrap();
        let child =
            Command::new(PROGRAM).args(["run", "--config"]).arg(file).stderr(Stdio::piped()).spawn().unwrap();
        let running = Self(child);
        super::wait_until("it listens", || std::net::TcpStream::connect(listen).is_ok()).await;
        running
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

/// What the proxy with this admin port says of itself.
pub fn status(admin: SocketAddr) -> Value {
    let admin = format!("--admin={admin}");
    let output = Command::new(PROGRAM).args(["status", "--json", &admin]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
