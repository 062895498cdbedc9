//! `holdfast run` as a process of its own, so that what it holds can be told from what its clients
//! and attackers hold.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::ports::free_port;

/// The process; killed when dropped.
pub struct Subject {
    child: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

impl Subject {
    /// Starts it in front of `upstream` with these further arguments, and waits until it listens.
    pub async fn start(upstream: SocketAddr, arguments: &[String]) -> Self {
        let admin = free_port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--listen=127.0.0.1:0", "--log-format=json"])
            .arg(format!("--admin={admin}"))
            .arg(format!("--upstream=ws://{upstream}"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            // Read to the end: what the pipe does not take, the proxy would drop.
            for line in log.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["message"] == "listening"
                    && let Some(found) = found.take()
                {
                    found.send(line["address"].as_str().unwrap().parse().unwrap()).unwrap();
                }
            }
        });
        Self { address: address.await.unwrap(), child, admin }
    }

    /// A file of the process below `/proc`.
    pub fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// A line of `/proc/PID/status` in KiB.
    pub fn status_kb(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Memory that belongs to it alone: what it allocated.
    pub fn memory_kb(&self) -> u64 {
        self.status_kb("RssAnon:")
    }

    /// Files that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
